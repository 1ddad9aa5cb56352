"""A whole recording through a live session."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from enum import Enum

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.source import Source
from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine, Pace, StreamOptions
from transcribed.errors import Stopping
from transcribed.service.live import Heard, LiveSession, Session, transcript_of
from transcribed.service.media import cut, send_decoded
from transcribed.transcript import LiveEvent

_CHUNK_SECONDS = 0.1


class FilePace(Enum):
    """How fast a recording is read."""

    FAST = "fast"
    REALTIME = "realtime"
    """As if it were being spoken."""


def transcribe(
    engine: Engine,
    source: Source,
    pace: FilePace = FilePace.FAST,
    options: StreamOptions | None = None,
    *,
    decoders: Decoders,
    stopping: asyncio.Event | None = None,
    track: int | None = None,
) -> AsyncGenerator[LiveEvent, None]:
    """The events of a recording, while it is read: of the track of that number, or of the one to be played.

    Raises UnreadableAudio, LimitExceeded, and what the source and the engine raise. `options` are those of
    the stream; its pace is that of the reading. `stopping` ends it where it is: what was said up to there
    comes, then Stopping is raised. The source stays the caller's.
    """
    live = pace is FilePace.REALTIME
    options = replace(options or StreamOptions(), pace=Pace.LIVE if live else Pace.FAST)
    reading = _Reading(decoders, source, track, stopping or asyncio.Event())
    return transcript_of(LiveSession(engine, options), reading.speak if live else reading.read)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of a recording, up to its end or the stop."""

    decoders: Decoders
    source: Source
    track: int | None
    stopping: asyncio.Event

    async def read(self, session: Session) -> Heard:
        """Send the audio as fast as the session takes it."""

        async def send(block: Samples) -> None:
            self._go_on()
            await session.send(block)

        return await send_decoded(self.decoders, self.source, send, track=self.track)

    async def speak(self, session: Session) -> Heard:
        """Send the audio as fast as it would be spoken."""
        spoken_at = asyncio.get_running_loop().time()

        async def send(block: Samples) -> None:
            nonlocal spoken_at
            for chunk in cut(block, _CHUNK_SECONDS):
                spoken_at += len(chunk) / SAMPLE_RATE
                await asyncio.sleep(spoken_at - asyncio.get_running_loop().time())
                self._go_on()
                await session.send(chunk)

        return await send_decoded(self.decoders, self.source, send, track=self.track)

    def _go_on(self) -> None:
        if self.stopping.is_set():
            raise Stopping
