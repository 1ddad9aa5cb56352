"""One live session: audio in, segments out, over any engine."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace
from functools import reduce
from types import TracebackType
from typing import Protocol, Self

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Engine, Hypothesis, RecognitionStream
from transcribed.errors import UnreadableAudio
from transcribed.options import StreamOptions
from transcribed.service.transcripts import GrowingTranscript
from transcribed.transcript import (
    Done,
    LiveEvent,
    Notice,
    Segment,
    SpeechEnded,
    SpeechStarted,
    Track,
    shifted,
)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a container held beside the audio that was sent to a session.

    `track` is the number of the track that was sent, `warnings` are sentences about what was not heard.
    """

    track: int
    tracks: tuple[Track, ...]
    warnings: tuple[str, ...]


Feed = Callable[["Session"], Awaitable[Heard | None]]
"""What sends a session all of its audio; it returns None for samples without a container."""


class SessionTimeline:
    """What sessions share that follow one another or stand side by side: an id, the time, and numbers.

    `seconds` is where the next session begins.
    """

    def __init__(self, name: str | None = None) -> None:
        self.id = name or str(uuid.uuid4())
        self.seconds = 0.0
        self._segments = 0

    def next_number(self) -> int:
        """Of a segment that begins."""
        number = self._segments
        self._segments += 1
        return number


class Session(Protocol):
    """What a live session does. An async context manager: leaving it gives the streams back.

    Send audio and `finish` from one task while another iterates over the events: segments as they grow,
    then one Done.
    """

    @property
    def channels(self) -> int | None:
        """How many channels are recognised each on its own; None where they are heard as one."""
        ...

    @property
    def heard(self) -> float:
        """Seconds of audio received."""
        ...

    async def __aenter__(self) -> Self:
        """Raises what the engine raises where it has no room."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    async def send(self, samples: Samples) -> None:
        """Give audio; waits while the engine holds as much as it may."""
        ...

    async def flush(self) -> None:
        """Close the open segment behind all audio given so far."""
        ...

    async def finish(self) -> None:
        """No more audio comes."""
        ...

    def events(self) -> AsyncGenerator[LiveEvent, None]:
        """What was said, as it is recognised."""
        ...


class LiveSession:
    """A Session over one stream of an engine; `channel` is the one that it hears."""

    channels = None

    def __init__(
        self,
        engine: Engine,
        options: StreamOptions,
        timeline: SessionTimeline | None = None,
        channel: int | None = None,
    ) -> None:
        self._timeline = timeline or SessionTimeline()
        self.id = self._timeline.id
        self._start = self._timeline.seconds
        self._channel = channel
        self._engine = engine
        self._options = options
        self._language = options.language or engine.capabilities.languages[0]
        self._received = 0
        self._started = time.monotonic()
        self._last = (-1, -1)

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

    @property
    def heard(self) -> float:
        """Seconds of audio received."""
        return self._received / SAMPLE_RATE

    async def send(self, samples: Samples) -> None:
        """Give audio."""
        if self._received == 0:
            self._started = time.monotonic()
        self._received += len(samples)
        await self._stream.send(samples)

    async def flush(self) -> None:
        """Close the open segment behind all audio given so far."""
        await self._stream.flush()

    async def finish(self) -> None:
        """No more audio comes."""
        await self._stream.finish()

    async def events(self) -> AsyncGenerator[LiveEvent, None]:
        """What was said."""
        async for said in self._stream:
            match said:
                case Hypothesis():
                    yield self._segment(said)
                case SpeechStarted() | SpeechEnded():
                    yield replace(said, at=self._start + said.at, channel=self._channel)
                case _:
                    yield said
        yield Done(
            session_id=self.id,
            audio_seconds=self._start + self.heard,
            processing_seconds=time.monotonic() - self._started,
        )

    def _segment(self, hypothesis: Hypothesis) -> Segment:
        return Segment(
            session=self.id,
            number=self._number(hypothesis),
            start=self._start + hypothesis.start,
            end=self._start + hypothesis.end,
            text=hypothesis.text,
            final=hypothesis.final,
            language=hypothesis.language or self._language,
            words=tuple(shifted(word, self._start) for word in hypothesis.words),
            channel=self._channel,
            entities=tuple(shifted(entity, self._start) for entity in hypothesis.entities),
            languages=hypothesis.languages,
        )

    def _number(self, hypothesis: Hypothesis) -> int:
        segment, number = self._last
        if segment != hypothesis.segment:
            number = self._timeline.next_number()
            self._last = (hypothesis.segment, number)
        return number


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that is open, and what becomes of its audio and of its events.

    `feed` sends it its audio; None where somebody else does. The `changes` are made in each segment,
    partials too, and finals are kept in the transcript that is `growing`, if there is one.
    """

    session: Session
    feed: Feed | None = None
    changes: Sequence[Callable[[Segment], Segment]] = ()
    growing: GrowingTranscript | None = None


async def session_events(opening: AbstractAsyncContextManager[Opened]) -> AsyncGenerator[LiveEvent, None]:
    """The events of a session, each final as soon as it is kept. Raises what the opening raises.

    What makes the feed fail is raised behind all that came of the audio before; then there is no Done. What
    of a container was not heard is told before it.
    """
    async with opening as opened:
        feeding = None if opened.feed is None else asyncio.create_task(_fed(opened.session, opened.feed))
        try:
            async with aclosing(opened.session.events()) as events:
                async for event in events:
                    told, notices = event, []
                    if isinstance(event, Segment):
                        told = reduce(lambda segment, change: change(segment), opened.changes, event)
                    elif isinstance(event, Done) and feeding and (heard := await feeding) is not None:
                        notices = [Notice(UnreadableAudio.code, warning) for warning in heard.warnings]
                        told = replace(event, track=heard.track, tracks=heard.tracks)
                    if opened.growing and (notice := await opened.growing.keep(told)) is not None:
                        notices.append(notice)
                    for notice in notices:
                        yield notice
                    yield told
        finally:
            if opened.growing is not None:
                opened.growing.close()
            if feeding is not None:
                feeding.cancel()
                # Its own failure is told behind the last words, or is what came of the events' failure.
                await asyncio.gather(feeding, return_exceptions=True)


async def _fed(session: Session, feed: Feed) -> Heard | None:
    try:
        return await feed(session)
    finally:
        await session.finish()
