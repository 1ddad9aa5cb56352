"""Sending a recording to a session."""

import asyncio
from enum import Enum

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.source import Source
from transcribed.decoding.decoders import Decoders
from transcribed.errors import Stopping
from transcribed.service.live import ContainerReport, Session
from transcribed.service.media import cut, send_decoded

_CHUNK_SECONDS = 0.1


class FilePace(Enum):
    """The speed at which a recording is sent to a session."""

    FAST = "fast"
    """As fast as the session takes it."""
    REALTIME = "realtime"
    """At the pace of speech."""


async def send_recording(
    decoders: Decoders,
    source: Source,
    session: Session,
    *,
    track: int | None,
    pace: FilePace,
    stopping: asyncio.Event,
) -> ContainerReport:
    """Decode a recording and send its audio to a session.

    `track` of None selects the default track. Raises UnreadableAudio, LimitExceeded, what the source and
    the session raise, and Stopping once `stopping` is set.
    """
    loop = asyncio.get_running_loop()
    spoken_at = loop.time()

    async def send(block: Samples) -> None:
        nonlocal spoken_at
        for chunk in [block] if pace is FilePace.FAST else cut(block, _CHUNK_SECONDS):
            if pace is FilePace.REALTIME:
                spoken_at += len(chunk) / SAMPLE_RATE
                await asyncio.sleep(spoken_at - loop.time())
            if stopping.is_set():
                raise Stopping
            await session.send(chunk)

    return await send_decoded(decoders, source, send, track=track)
