"""A session that recognises each channel separately."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Self

import numpy as np

from transcribed.audio.formats import Samples
from transcribed.engines.base import Engine
from transcribed.event_queue import EventQueue
from transcribed.options import StreamOptions
from transcribed.service.live import LiveSession, SessionTimeline
from transcribed.transcript import Done, LiveEvent


class ChannelSession:
    """A Session with one engine stream for each channel, all on one timeline.

    Samples have the shape [channels, n]. If any stream cannot be opened, none is. Segments of all channels
    are interleaved as they arrive, and numbered in the order of their first partial.
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

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio received."""
        return self._sessions[0].audio_seconds

    @property
    def first_audio(self) -> float | None:
        """When the first audio came."""
        return self._sessions[0].first_audio

    async def send(self, samples: Samples) -> None:
        """Send audio of all channels, with the shape [channels, n]."""
        for session, channel in zip(self._sessions, samples, strict=True):
            await session.send(np.ascontiguousarray(channel))

    async def flush(self) -> None:
        """Close the open segments of all channels after the audio so far."""
        for session in self._sessions:
            await session.flush()

    async def finish(self) -> None:
        """End the audio."""
        for session in self._sessions:
            await session.finish()

    async def events(self) -> AsyncGenerator[LiveEvent, None]:
        """The events of all channels, then one Done."""
        # It holds a single event: further ones wait in the engine's streams, which can drop old partials.
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
    except Exception as error:  # noqa: BLE001 - raised again where the events are read
        said.end(error)
