"""`transcribed transcribe`: recordings to text on standard output."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from transcribed.audio.source import FileSource, Source
from transcribed.decoding.decoders import Decoders
from transcribed.errors import NotFound, TranscribedError, UnreadableAudio
from transcribed.loading import Recognition, recognition
from transcribed.options import StreamOptions, TranscriptForm
from transcribed.service.transcription import TranscriptionRequest
from transcribed.settings import RecognitionSettings
from transcribed.terminal.display import Display
from transcribed.terminal.planning import STANDARD_INPUT
from transcribed.terminal.writing import FileFormat, document
from transcribed.transcript import Notice, Segment
from transcribed.wire.native import Format

# FFmpeg seeks to a tag of this length before the end of an .mp3 file, even in a shorter file.
_FEWEST_BYTES = 32


async def print_transcripts(
    settings: RecognitionSettings,
    files: Sequence[str],
    form: FileFormat,
    track: int | None = None,
    transcript_form: TranscriptForm | None = None,
) -> int:
    """Print the transcripts of files ("-" is standard input). Return how many could not be read.

    `track` is the number of the audio track, `transcript_form` how numbers are written.
    """
    failed = 0
    async with recognition(settings) as recogniser:
        for file in files:
            if len(files) > 1 and form == "text":
                print(f"==> {file} <==", flush=True)
            try:
                await _print_transcript(recogniser, file, form, track, transcript_form)
            except TranscribedError as error:
                failed += 1
                print(f"{file}: {error.message}", file=sys.stderr)
    return failed


async def _print_transcript(
    recogniser: Recognition,
    file: str,
    form: FileFormat,
    track: int | None,
    transcript_form: TranscriptForm | None,
) -> None:
    with opened(file) as source:
        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        task = progress.add_task(Path(file).name, total=await duration_of(recogniser.decoders, source))
        finals: list[Segment] = []
        lines: Format | None = form if form == "text" or form == "json" else None  # noqa: PLR1714 - for mypy
        with Display(lines, progress) as display:
            options = StreamOptions(partials=display.visible, transcript_form=transcript_form)
            request = TranscriptionRequest(options=options, track=track)
            events = recogniser.transcription.transcribe_upload(source, request)
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Segment):
                        progress.update(task, completed=event.end)
                        if event.final:
                            finals.append(event)
                    elif isinstance(event, Notice):
                        print(f"{file}: {event.message}", file=sys.stderr)
                    display.show(event)
        if lines is None:
            print(document(finals, form), end="", flush=True)


async def duration_of(decoders: Decoders, source: Source) -> float | None:
    """Return the duration of a recording in seconds, or None if unknown."""
    return (await decoders.probe(source)).duration


@contextmanager
def opened(file: str) -> Iterator[Source]:
    """Open a recording for random access; "-" is standard input. Raises NotFound and UnreadableAudio."""
    if file == STANDARD_INPUT:
        with _spooled(sys.stdin.buffer) as spool:
            yield FileSource(spool)
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
        found = FileSource(source)
        if found.size < _FEWEST_BYTES:
            raise UnreadableAudio(f"it is too short to be audio: {found.size} bytes.")
        yield found


@contextmanager
def _spooled(pipe: BinaryIO) -> Iterator[BinaryIO]:
    """Copy a pipe to a temporary file, since many formats have their index at the end."""
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(pipe, spool)
        spool.flush()
        yield cast("BinaryIO", spool)
