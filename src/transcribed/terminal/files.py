"""Recordings to text in a terminal."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from transcribed.app import recognition
from transcribed.audio.media import MediaReader
from transcribed.engines.base import Engine, StreamOptions
from transcribed.errors import NotFound, TranscribedError, UnreadableAudio
from transcribed.service.files import transcribe
from transcribed.service.threads import in_thread
from transcribed.settings import RecognitionSettings
from transcribed.terminal.display import Display
from transcribed.terminal.planning import STANDARD_INPUT
from transcribed.terminal.writing import FileFormat, document
from transcribed.transcript import Segment
from transcribed.wire.native import Format

_IN_MEMORY = 16 * 1024 * 1024
# FFmpeg looks for a tag of this length at the end of what is called .mp3, be that before its start.
_FEWEST_BYTES = 32


async def print_transcripts(settings: RecognitionSettings, files: Sequence[str], form: FileFormat) -> int:
    """Print what is said in the files, "-" being standard input; returns how many could not be read."""
    failed = 0
    async with recognition(settings) as engine:
        for file in files:
            if len(files) > 1 and form == "text":
                print(f"==> {file} <==", flush=True)
            try:
                await _print_transcript(engine, file, form)
            except TranscribedError as error:
                failed += 1
                print(f"{file}: {error.message}", file=sys.stderr)
    return failed


async def _print_transcript(engine: Engine, file: str, form: FileFormat) -> None:
    with opened(file) as source:
        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        task = progress.add_task(Path(file).name, total=await in_thread(duration_of, source))
        finals: list[Segment] = []
        lines: Format | None = form if form == "text" or form == "json" else None  # noqa: PLR1714 - for mypy
        with Display(lines, progress) as display:
            options = StreamOptions(partials=display.visible)
            async with aclosing(transcribe(engine, source, options=options)) as events:
                async for event in events:
                    if isinstance(event, Segment):
                        progress.update(task, completed=event.end)
                        if event.final:
                            finals.append(event)
                    display.show(event)
        if lines is None:
            print(document(finals, form), end="", flush=True)


def duration_of(source: BinaryIO) -> float | None:
    """The seconds of a recording, which is then at its start again."""
    with MediaReader(source) as media:
        duration = media.probe().duration
    source.seek(0)
    return duration


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """A recording that can be read anywhere; "-" is standard input. Raises NotFound and UnreadableAudio."""
    if file == STANDARD_INPUT:
        with _spooled(sys.stdin.buffer) as spool:
            yield spool
        return
    with ExitStack() as stack:
        try:
            source: BinaryIO = stack.enter_context(Path(file).open("rb"))
        except IsADirectoryError as error:
            raise NotFound("it is a folder. Say where its transcripts go: -o FOLDER.") from error
        except OSError as error:
            raise NotFound(f"it cannot be opened ({error.strerror}).") from error
        if not source.seekable():
            source = stack.enter_context(_spooled(source))
        if (size := source.seek(0, os.SEEK_END)) < _FEWEST_BYTES:
            raise UnreadableAudio(f"it is no audio, but {size} bytes.")
        source.seek(0)
        yield source


@contextmanager
def _spooled(pipe: BinaryIO) -> Iterator[BinaryIO]:
    """Many formats keep their index at the end, so that a pipe must be read whole first."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
        shutil.copyfileobj(pipe, spool)
        spool.seek(0)
        yield cast("BinaryIO", spool)
