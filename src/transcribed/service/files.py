"""A whole recording through a live session."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from enum import Enum
from functools import partial

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.audio.media import ByteSource, MediaReader
from transcribed.engines.base import Engine, Pace, StreamOptions
from transcribed.errors import Stopping
from transcribed.service.live import LiveSession, Session, transcript_of
from transcribed.service.media import blocks, cut
from transcribed.service.threads import in_thread
from transcribed.transcript import LiveEvent

_CHUNK_SECONDS = 0.1


class FilePace(Enum):
    """How fast a recording is read."""

    FAST = "fast"
    REALTIME = "realtime"
    """As if it were being spoken."""


def transcribe(
    engine: Engine,
    source: ByteSource,
    pace: FilePace = FilePace.FAST,
    options: StreamOptions | None = None,
    stopping: asyncio.Event | None = None,
) -> AsyncGenerator[LiveEvent, None]:
    """The events of a recording, while it is read. Raises UnreadableAudio and what the engine raises.

    `options` are those of the stream; its pace is that of the reading.
    `stopping` ends it where it is: what was said up to there comes, then Stopping is raised.
    """
    live = pace is FilePace.REALTIME
    options = replace(options or StreamOptions(), pace=Pace.LIVE if live else Pace.FAST)
    feed = partial(_speak if live else _read, source, stopping or asyncio.Event())
    return transcript_of(LiveSession(engine, options), feed)


async def _read(source: ByteSource, stopping: asyncio.Event, session: Session) -> None:
    async with aclosing(blocks(in_thread, partial(MediaReader, source))) as read:
        async for block in read:
            _go_on(stopping)
            await session.send(block)


async def _speak(source: ByteSource, stopping: asyncio.Event, session: Session) -> None:
    spoken_at = asyncio.get_running_loop().time()
    async with aclosing(blocks(in_thread, partial(MediaReader, source))) as read:
        async for block in read:
            for chunk in cut(block, _CHUNK_SECONDS):
                spoken_at += len(chunk) / SAMPLE_RATE
                await asyncio.sleep(spoken_at - asyncio.get_running_loop().time())
                _go_on(stopping)
                await session.send(chunk)


def _go_on(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        raise Stopping
