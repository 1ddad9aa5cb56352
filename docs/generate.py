"""Write docs/cli.md, or the file that is named, from the commands' own help: `make docs`."""  # noqa: INP001 - a script, not a package

import os
import sys
from pathlib import Path

# The help shows these defaults, which must not depend on whose machine wrote the page.
os.environ["XDG_CACHE_HOME"] = str(Path.home() / ".cache")
os.environ["XDG_DATA_HOME"] = str(Path.home() / ".local" / "share")

import click

from transcribed.cli import cli

_WIDTH = 100
_HEAD = """# Commands

What `--help` prints; `make docs` writes this page. With `make`, the program is `.venv/bin/transcribed`.
"""


def page() -> str:
    """The page as it should be."""
    root = click.Context(cli, info_name="transcribed", terminal_width=_WIDTH)
    contexts = [root] + [
        click.Context(command, info_name=name, parent=root, terminal_width=_WIDTH)
        for name, command in sorted(cli.commands.items())
    ]
    sections = (f"## {c.command_path}\n\n```\n{c.get_help()}\n```\n" for c in contexts)
    return "\n".join([_HEAD, *sections])


if __name__ == "__main__":
    (Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("cli.md")).write_text(page())
