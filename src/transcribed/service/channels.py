"""The channels of one recording or live stream, recognised each on its own."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Self

import numpy as np

from transcribed.audio.formats import Samples
from transcribed.engines.base import Engine
from transcribed.event_queue import EventQueue
from transcribed.options import StreamOptions
from transcribed.service.live import LiveSession, SessionTimeline
from transcribed.transcript import Done, LiveEvent


class ChannelSession:
    """A Session over one stream of an engine for each channel, all of them on one timeline.

    Samples have the shape [channels, n]. Either all channels get their streams or none does. Segments come
    as each channel has them, numbered in the order in which they begin to be known.
    """

    def __init__(
        self, engine: Engine, options: StreamOptions, channels: int, timeline: SessionTimeline | None = None
    ) -> None:
        timeline = timeline or SessionTimeline()
        self.channels = channels
        self._sessions = [LiveSession(engine, options, timeline, channel) for channel in range(channels)]

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            for session in self._sessions:
                await opened.enter_async_context(session)
            self._opened = opened.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._opened.aclose()

    @property
    def heard(self) -> float:
        """Seconds of audio received."""
        return self._sessions[0].heard

    async def send(self, samples: Samples) -> None:
        """Give audio of all channels."""
        for session, channel in zip(self._sessions, samples, strict=True):
            await session.send(np.ascontiguousarray(channel))

    async def flush(self) -> None:
        """Close the open segments of all channels behind all audio given so far."""
        for session in self._sessions:
            await session.flush()

    async def finish(self) -> None:
        """No more audio comes."""
        for session in self._sessions:
            await session.finish()

    async def events(self) -> AsyncGenerator[LiveEvent, None]:
        """What was said, as it is recognised, of all channels."""
        # Of one: the rest waits in the engine's streams, which know what a slow reader may do without.
        said: EventQueue[LiveEvent] = EventQueue(1)
        reading = [asyncio.create_task(_read(session, said)) for session in self._sessions]
        try:
            ended = 0
            async for event in said:
                ended += isinstance(event, Done)
                if not isinstance(event, Done) or ended == len(reading):
                    yield event
                if ended == len(reading):
                    break
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)


async def _read(session: LiveSession, said: EventQueue[LiveEvent]) -> None:
    try:
        async with aclosing(session.events()) as events:
            async for event in events:
                await said.wait_for_room()
                said.put(event)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the events are read
        said.end(error)
