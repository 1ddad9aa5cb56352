"""Live audio to captions in a terminal."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from typing import Any, Protocol

from rich.text import Text

from transcribed.audio.formats import InputFormat
from transcribed.loading import recognition
from transcribed.service.transcription import TranscriptionRequest
from transcribed.settings import RecognitionSettings
from transcribed.terminal.display import Display
from transcribed.transcript import Segment
from transcribed.wire.native import Format


class LiveSource(AbstractContextManager[Any], Protocol):
    """Chunks of live audio, from when the context is entered."""

    @property
    def format(self) -> InputFormat:
        """How they are written."""
        ...

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    @property
    def lost(self) -> float:
        """Seconds of audio that could not be taken in time."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The source itself."""
        ...

    async def __anext__(self) -> bytes:
        """The next chunk. May raise TranscribedError."""
        ...

    def stop(self) -> None:
        """No more than what is here already; then the iteration ends."""
        ...


async def listen(
    settings: RecognitionSettings, source: LiveSource, form: Format, track: int | None = None
) -> None:
    """Print what is said until the source ends, or is ended by SIGINT or SIGTERM.

    `track` is the audio track of a container.

    Raises ConfigurationError, and what the audio and the engine raise, behind the last words.
    """
    async with recognition(settings) as recogniser:
        status = Text(f"{source.name}: Ctrl-C ends", style="dim")
        request = TranscriptionRequest(format=source.format, track=track)
        with source, _ended_by_signals(source.stop), Display(form, status) as display:
            told = 0.0
            async with (
                recogniser.transcription.open_live(request) as live,
                aclosing(live.events(source)) as events,
            ):
                async for event in events:
                    display.show(event)
                    if source.lost > told and (not isinstance(event, Segment) or event.final):
                        told = source.lost
                        print(
                            f"{told:.1f} s of audio were lost: this machine is too busy.", file=sys.stderr
                        )


@contextmanager
def _ended_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first signal ends the audio. The next finds what was there before, and ends everything."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            if loop.remove_signal_handler(number):
                signal.signal(number, handler)

    def end() -> None:
        restore()
        stop()

    for number in before:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        restore()
