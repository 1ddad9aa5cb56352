"""vosk-transcriber --server, at a server that is not at port 2700, without a model of its own.

The command makes a model even where a server has one: of the package itself that is all that is left out.
"""

import sys
from unittest import mock

from vosk.transcriber import cli, transcriber

url, *arguments = sys.argv[1:]
for action in cli.parser._actions:
    if action.dest == "server":
        action.const = url
sys.argv[1:] = ["--server", *arguments]
with mock.patch.object(transcriber, "Model"):
    cli.main()
