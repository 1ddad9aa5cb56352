"""Write docs/cli.md, or the file that is named, from the commands' own help: `make docs`."""  # noqa: INP001 - a script, not a package

import os
import sys
from collections.abc import Iterator
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
    contexts = _contexts(click.Context(cli, info_name="transcribed", terminal_width=_WIDTH))
    sections = (f"## {c.command_path}\n\n```\n{c.get_help()}\n```\n" for c in contexts)
    return "\n".join([_HEAD, *sections])


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """That of a command, and of those below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.commands[name]
            yield from _contexts(
                click.Context(command, info_name=name, parent=context, terminal_width=_WIDTH)
            )


if __name__ == "__main__":
    (Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("cli.md")).write_text(page())
