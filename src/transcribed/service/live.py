"""Live sessions: audio in, events out, with any engine."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace
from functools import reduce
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
class ContainerReport:
    """A report on the container whose audio was sent to a session.

    `track` is the number of the track that was sent, `tracks` are all audio tracks, and `warnings` are
    sentences about audio that could not be decoded.
    """

    track: int
    tracks: tuple[Track, ...]
    warnings: tuple[str, ...]


Feed = Callable[["Session"], Awaitable[ContainerReport | None]]
"""Sends all audio to a session; returns None for samples without a container."""


class SessionTimeline:
    """The id, the time and the segment numbers shared by parallel sessions, or by successive ones.

    `seconds` is the time at which the next session begins.
    """

    def __init__(self, name: str | None = None) -> None:
        self.id = name or str(uuid.uuid4())
        self.seconds = 0.0
        self._segments = 0

    def next_number(self) -> int:
        """The number for a new segment."""
        number = self._segments
        self._segments += 1
        return number


class Session(Protocol):
    """A live session. An async context manager: leaving it closes the engine's streams.

    One task sends audio, then calls `finish`, while another iterates over the events: segments as they
    grow, then one Done.
    """

    @property
    def channels(self) -> int | None:
        """The number of channels if each is recognised separately; None if they are mixed."""
        ...

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio received."""
        ...

    @property
    def first_audio(self) -> float | None:
        """The arrival of the first audio, in seconds of the monotonic clock; None before that."""
        ...

    async def __aenter__(self) -> Self:
        """Open the engine's streams. Raises what the engine raises, such as LimitExceeded."""
        ...

    async def __aexit__(self, *_: object) -> None: ...

    async def send(self, samples: Samples) -> None:
        """Send audio; waits while the engine's buffer is full."""
        ...

    async def flush(self) -> None:
        """Close the open segment after the audio so far."""
        ...

    async def finish(self) -> None:
        """End the audio."""
        ...

    def events(self) -> AsyncGenerator[LiveEvent, None]:
        """The events, as the audio is recognised."""
        ...


class LiveSession:
    """A Session with one engine stream, for one channel or, if `channel` is None, for mixed channels."""

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

    async def __aexit__(self, *_: object) -> None:
        await self._stream.aclose()

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio received."""
        return self._received / SAMPLE_RATE

    @property
    def first_audio(self) -> float | None:
        """When the first audio came."""
        return self._started if self._received else None

    async def send(self, samples: Samples) -> None:
        """Send audio."""
        if self._received == 0:
            self._started = time.monotonic()
        self._received += len(samples)
        await self._stream.send(samples)

    async def flush(self) -> None:
        """Close the open segment after the audio so far."""
        await self._stream.flush()

    async def finish(self) -> None:
        """End the audio."""
        await self._stream.finish()

    async def events(self) -> AsyncGenerator[LiveEvent, None]:
        """The events, as the audio is recognised."""
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
            audio_seconds=self._start + self.audio_seconds,
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
            model=hypothesis.model,
        )

    def _number(self, hypothesis: Hypothesis) -> int:
        segment, number = self._last
        if segment != hypothesis.segment:
            number = self._timeline.next_number()
            self._last = (hypothesis.segment, number)
        return number


@dataclass(frozen=True, slots=True)
class Opened:
    """An open session, the source of its audio, and the processing of its events.

    `feed` sends the audio; None if the caller does. `changes` are applied to each segment, including
    partial ones. Final segments are stored in the transcript `growing`, if any.
    """

    session: Session
    feed: Feed | None = None
    changes: Sequence[Callable[[Segment], Segment]] = ()
    growing: GrowingTranscript | None = None


async def session_events(opening: AbstractAsyncContextManager[Opened]) -> AsyncGenerator[LiveEvent, None]:
    """The events of a session; each final segment is stored before it is yielded.

    Raises what `opening` raises. An error of the feed is raised after the events of the audio before it,
    and then there is no Done. Warnings about a container's audio precede Done.
    """
    async with opening as opened:
        feeding = (
            None if opened.feed is None else asyncio.create_task(_feed_to_end(opened.session, opened.feed))
        )
        try:
            async with aclosing(opened.session.events()) as events:
                async for event in events:
                    outgoing, notices = event, []
                    if isinstance(event, Segment):
                        outgoing = reduce(lambda segment, change: change(segment), opened.changes, event)
                    elif isinstance(event, Done) and feeding and (report := await feeding) is not None:
                        notices = [Notice(UnreadableAudio.code, warning) for warning in report.warnings]
                        outgoing = replace(event, track=report.track, tracks=report.tracks)
                    if opened.growing and (notice := await opened.growing.keep(outgoing)) is not None:
                        notices.append(notice)
                    for notice in notices:
                        yield notice
                    yield outgoing
        finally:
            if opened.growing is not None:
                opened.growing.close()
            if feeding is not None:
                feeding.cancel()
                # A failure of the feed was raised above, or is a consequence of a failure of the events.
                await asyncio.gather(feeding, return_exceptions=True)


async def _feed_to_end(session: Session, feed: Feed) -> ContainerReport | None:
    try:
        return await feed(session)
    finally:
        await session.finish()
