"""Commands, as who types them sees them."""

import os
import pty
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


def assert_refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Ends with code 1 and one line of error that says what it should."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def in_terminal(
    command: Sequence[str | Path], environment: Mapping[str, str], folder: Path, *, redirected: bool = False
) -> tuple[int, bytes, bytes]:
    """Run a command in a terminal: its exit code, all that is shown, and its output if `redirected`."""
    ours, theirs = pty.openpty()
    shown, written = b"", b""
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=subprocess.PIPE if redirected else theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm", "COLUMNS": "100"},
        cwd=folder,
    ) as process:
        os.close(theirs)
        with suppress(OSError):  # The terminal's other end is closed.
            while part := os.read(ours, 65536):
                shown += part
        os.close(ours)
        if process.stdout is not None:
            written = process.stdout.read()
    return process.returncode, shown, written
