"""A whole recording through a live session."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from enum import Enum

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.audio.media import ByteSource, MediaReader
from transcribed.engines.base import Engine, Pace, StreamOptions
from transcribed.recognition.stabilizer import Stability
from transcribed.service.live import LiveSession
from transcribed.service.threads import in_thread
from transcribed.transcript import Done, LiveEvent

_LIVE_CHUNK = SAMPLE_RATE // 10


class FilePace(Enum):
    """How fast a recording is read."""

    FAST = "fast"
    REALTIME = "realtime"
    """As if it were being spoken."""


async def transcribe(
    engine: Engine,
    source: ByteSource,
    pace: FilePace = FilePace.FAST,
    stability: Stability = Stability.OFF,
) -> AsyncGenerator[LiveEvent, None]:
    """The events of a recording, while it is read. Raises UnreadableAudio and what the engine raises."""
    live = pace is FilePace.REALTIME
    options = StreamOptions(pace=Pace.LIVE if live else Pace.FAST, stability=stability)
    async with LiveSession(engine, options) as session:
        reading = asyncio.create_task(_read(source, session, live=live))
        try:
            async with aclosing(session.events()) as events:
                async for event in events:
                    if isinstance(event, Done):
                        await reading  # What cut it short is raised here, behind all that came of it.
                    yield event
        finally:
            reading.cancel()
            await asyncio.wait([reading])


async def _read(source: ByteSource, session: LiveSession, *, live: bool) -> None:
    try:
        with await in_thread(MediaReader, source) as media:
            blocks = media.blocks()
            spoken_at = asyncio.get_running_loop().time()
            while (block := await in_thread(next, blocks, None)) is not None:
                if not live:
                    await session.send(block)
                    continue
                for chunk in np.split(block, range(_LIVE_CHUNK, len(block), _LIVE_CHUNK)):
                    spoken_at += len(chunk) / SAMPLE_RATE
                    await asyncio.sleep(spoken_at - asyncio.get_running_loop().time())
                    await session.send(chunk)
    finally:
        await session.finish()
