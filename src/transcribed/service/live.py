"""One live session: audio in, segments out, over any engine."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Self

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Engine, Hypothesis, RecognitionStream, StreamOptions
from transcribed.transcript import Done, LiveEvent, Segment


class LiveSession:
    """An async context manager around one stream of an engine.

    Send audio and `finish` from one task while another iterates over the events: segments as they grow,
    then one Done. Leaving the context gives the stream back, whatever happened.
    """

    def __init__(self, engine: Engine, options: StreamOptions) -> None:
        self.id = str(uuid.uuid4())
        self._engine = engine
        self._options = options
        self._language = engine.capabilities.languages[0]
        self._received = 0
        self._started = time.monotonic()

    async def __aenter__(self) -> Self:
        self._stream: RecognitionStream = await self._engine.open(self._options)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stream.aclose()

    async def send(self, samples: Samples) -> None:
        """Give audio; waits while the engine holds as much as it may."""
        if self._received == 0:
            self._started = time.monotonic()
        self._received += len(samples)
        await self._stream.send(samples)

    async def finish(self) -> None:
        """No more audio comes."""
        await self._stream.finish()

    async def events(self) -> AsyncGenerator[LiveEvent, None]:
        """What was said, as it is recognised."""
        async for hypothesis in self._stream:
            yield self._segment(hypothesis)
        yield Done(
            session_id=self.id,
            audio_seconds=self._received / SAMPLE_RATE,
            processing_seconds=time.monotonic() - self._started,
        )

    def _segment(self, hypothesis: Hypothesis) -> Segment:
        return Segment(
            session=self.id,
            number=hypothesis.segment,
            start=hypothesis.start,
            end=hypothesis.end,
            text=hypothesis.text,
            final=hypothesis.final,
            language=self._language,
            words=hypothesis.words,
        )


async def transcript_of(
    engine: Engine, options: StreamOptions, feed: Callable[[LiveSession], Awaitable[None]]
) -> AsyncGenerator[LiveEvent, None]:
    """The events of a session, while `feed` sends it audio.

    What makes `feed` fail is raised behind all that came of the audio before; then there is no Done.
    Raises what the engine raises.
    """
    async with LiveSession(engine, options) as session:
        feeding = asyncio.create_task(_fed(session, feed))
        try:
            async with aclosing(session.events()) as events:
                async for event in events:
                    if isinstance(event, Done):
                        await feeding
                    yield event
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])


async def _fed(session: LiveSession, feed: Callable[[LiveSession], Awaitable[None]]) -> None:
    try:
        await feed(session)
    finally:
        await session.finish()
