"""The display of live transcripts: finished lines, and below them the current partial."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from transcribed.transcript import LiveEvent, Notice, Segment
from transcribed.wire.native import Format, encode


class Display:
    """Prints final segments to standard output, one per line, unless `form` is None.

    If there is a terminal (`visible`), the current partial and `status` are shown below, in place.
    """

    def __init__(self, form: Format | None, status: RenderableType) -> None:
        self._form = form
        # Lines for a terminal must be printed by rich, which redraws the partial below them.
        self._to_terminal = sys.stdout.isatty()
        console = Console(stderr=not self._to_terminal, highlight=False, markup=False)
        self._partial = Text("")
        self._live = Live(
            Group(self._partial, status),
            console=console,
            transient=True,
            refresh_per_second=12,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
        )
        self.visible = console.is_terminal

    def __enter__(self) -> Self:
        if self.visible:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, event: LiveEvent) -> None:
        """Show an event."""
        if isinstance(event, Segment):
            self._partial.plain = "" if event.final else event.text
        if isinstance(event, Notice) and self._form != "json":
            print(event.message, file=sys.stderr, flush=True)
        if self._form is not None and (not isinstance(event, Segment) or event.final):
            line = encode(event, self._form)
            if line is not None:
                self._print(line)

    def _print(self, line: str) -> None:
        if self._to_terminal:
            self._live.console.print(line, soft_wrap=True)
        else:
            print(line, flush=True)
