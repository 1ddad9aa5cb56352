"""Recordings to text in a terminal."""

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
from transcribed.engines.base import Engine
from transcribed.errors import NotFound, TranscribedError
from transcribed.service.files import transcribe
from transcribed.service.threads import in_thread
from transcribed.settings import RecognitionSettings
from transcribed.terminal.display import Display
from transcribed.transcript import Segment
from transcribed.wire.native import Format

_IN_MEMORY = 16 * 1024 * 1024


async def transcribe_files(settings: RecognitionSettings, files: Sequence[str], form: Format) -> int:
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


async def _transcribe_file(engine: Engine, file: str, form: Format) -> None:
    with _opened(file) as source:
        progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        )
        task = progress.add_task(Path(file).name, total=await in_thread(_duration, source))
        source.seek(0)
        with Display(form, progress) as display:
            async with aclosing(transcribe(engine, source)) as events:
                async for event in events:
                    if isinstance(event, Segment):
                        progress.update(task, completed=event.end)
                    display.show(event)


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
