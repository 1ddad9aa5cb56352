"""`transcribed listen`: live audio to captions."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from typing import Any, Protocol

from rich.text import Text

from transcribed.audio.formats import InputFormat
from transcribed.loading import recognition
from transcribed.options import StreamOptions, TranscriptForm
from transcribed.service.transcription import TranscriptionRequest
from transcribed.settings import RecognitionSettings
from transcribed.terminal.display import Display
from transcribed.transcript import Segment
from transcribed.wire.native import Format


class LiveSource(AbstractContextManager[Any], Protocol):
    """An asynchronous iterator of chunks of live audio, which is opened by entering its context."""

    @property
    def format(self) -> InputFormat:
        """The format of the chunks."""
        ...

    @property
    def name(self) -> str:
        """The name of the source for display."""
        ...

    @property
    def lost(self) -> float:
        """Seconds of audio that were dropped because they were not taken in time."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The source itself."""
        ...

    async def __anext__(self) -> bytes:
        """Return the next chunk. Raises TranscribedError if the source fails."""
        ...

    def stop(self) -> None:
        """Stop recording. The iteration ends after the chunks that are already buffered."""
        ...


async def listen(
    settings: RecognitionSettings,
    source: LiveSource,
    form: Format,
    track: int | None = None,
    transcript_form: TranscriptForm | None = None,
) -> None:
    """Print the transcript of live audio until the source ends, or SIGINT or SIGTERM stops it.

    `track` is the number of the audio track in a container, `transcript_form` how numbers are written.
    Raises ConfigurationError, and errors of the audio and the engine after the last words.
    """
    async with recognition(settings) as recogniser:
        status = Text(f"{source.name}: Ctrl-C ends", style="dim")
        options = StreamOptions(transcript_form=transcript_form)
        request = TranscriptionRequest(options=options, format=source.format, track=track)
        with source, _stopped_by_signal(source.stop), Display(form, status) as display:
            reported = 0.0
            async with (
                recogniser.transcription.open_live(request) as live,
                aclosing(live.events(source)) as events,
            ):
                async for event in events:
                    display.show(event)
                    if source.lost > reported and (not isinstance(event, Segment) or event.final):
                        reported = source.lost
                        print(
                            f"{reported:.1f} s of audio were lost: this machine is too busy.",
                            file=sys.stderr,
                        )


@contextmanager
def _stopped_by_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first signal stop the audio; the next one meets the original handler and ends the process."""
    loop = asyncio.get_running_loop()
    original = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in original.items():
            if loop.remove_signal_handler(number):
                signal.signal(number, handler)

    def end() -> None:
        restore()
        stop()

    for number in original:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        restore()
