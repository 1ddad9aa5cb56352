"""Recordings to text in a terminal: a progress bar, and the text growing in place."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self, cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from transcribed.app import recognition
from transcribed.audio.media import MediaReader
from transcribed.engines.base import Engine
from transcribed.errors import NotFound, TranscribedError
from transcribed.service.files import transcribe
from transcribed.service.threads import in_thread
from transcribed.settings import RecognitionSettings
from transcribed.transcript import Done, LiveEvent, Segment
from transcribed.wire.native import encode

_IN_MEMORY = 16 * 1024 * 1024


async def transcribe_files(
    settings: RecognitionSettings, files: Sequence[str], form: Literal["text", "json"]
) -> int:
    """Print what is said in the files, "-" being standard input; returns how many could not be read."""
    failed = 0
    async with recognition(settings) as engine:
        for file in files:
            if len(files) > 1 and form == "text":
                print(f"==> {file} <==", flush=True)
            try:
                await _transcribe_file(engine, file, form)
            except TranscribedError as error:
                failed += 1
                print(f"{file}: {error.message}", file=sys.stderr)
    return failed


async def _transcribe_file(engine: Engine, file: str, form: Literal["text", "json"]) -> None:
    with _opened(file) as source:
        duration = await in_thread(_duration, source)
        source.seek(0)
        with _Display(file, duration) as display:
            async with aclosing(transcribe(engine, source)) as events:
                async for event in events:
                    display.show(event)
                    if isinstance(event, Done) or event.final:
                        line = encode(event, form)
                        if line is not None:
                            display.print(line)


def _duration(source: BinaryIO) -> float | None:
    with MediaReader(source) as media:
        return media.probe().duration


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        # Many formats keep their index at the end, so that a pipe must be read whole first.
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.seek(0)
            yield cast("BinaryIO", spool)
        return
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise NotFound(f"it cannot be opened ({error.strerror}).") from error
        yield opened


class _Display:
    """What a person sees while a recording is transcribed: nothing where no terminal is there."""

    def __init__(self, name: str, duration: float | None) -> None:
        # Where the text itself goes to the terminal, it must go through what draws there.
        self._to_terminal = sys.stdout.isatty()
        console = Console(stderr=not self._to_terminal, highlight=False, markup=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task(Path(name).name, total=duration)
        self._growing = Text("")
        self._live = Live(
            Group(self._growing, self._progress),
            console=console,
            transient=True,
            refresh_per_second=12,
        )
        self._visible = console.is_terminal

    def __enter__(self) -> Self:
        if self._visible:
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
        """Take what is new."""
        if isinstance(event, Segment):
            self._progress.update(self._task, completed=event.end)
            self._growing.plain = "" if event.final else event.text

    def print(self, line: str) -> None:
        """Put a finished line on standard output."""
        if self._to_terminal:
            self._live.console.print(line, soft_wrap=True)
        else:
            print(line, flush=True)
