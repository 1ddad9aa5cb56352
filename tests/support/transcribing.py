"""A transcription service over one engine, for tests of what it does with audio and with events."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, nullcontext

from transcribed.audio.formats import InputFormat
from transcribed.audio.source import Source
from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine
from transcribed.options import StreamOptions
from transcribed.principal import NOBODY
from transcribed.service.files import FilePace
from transcribed.service.live import Feed, Opened, Session, session_events
from transcribed.service.transcription import Transcription, TranscriptionRequest
from transcribed.service.transcripts import GrowingTranscript, Transcripts, TranscriptSource
from transcribed.transcript import LiveEvent

DEFAULTS = StreamOptions()
PCM = InputFormat()


def transcribe(
    engine: Engine,
    source: Source,
    pace: FilePace = FilePace.FAST,
    options: StreamOptions = DEFAULTS,
    *,
    decoders: Decoders,
    stopping: asyncio.Event | None = None,
) -> AsyncGenerator[LiveEvent, None]:
    """The events of a recording."""
    service = Transcription(lambda _: engine, decoders, stopping=stopping)
    return service.transcribe_upload(source, TranscriptionRequest(options=options), pace)


async def transcribe_live(
    engine: Engine,
    chunks: AsyncIterator[bytes],
    form: InputFormat = PCM,
    options: StreamOptions = DEFAULTS,
    *,
    decoders: Decoders,
    idle_timeout: float | None = None,
) -> AsyncGenerator[LiveEvent, None]:
    """The events of live audio."""
    seconds = math.inf if idle_timeout is None else idle_timeout
    service = Transcription(lambda _: engine, decoders, audio_timeout=seconds)
    request = TranscriptionRequest(options=options, format=form)
    async with service.open_live(request) as live, aclosing(live.events(chunks)) as events:
        async for event in events:
            yield event


async def transcript_of(
    session: Session, feed: Feed, growing: GrowingTranscript | None = None
) -> AsyncGenerator[LiveEvent, None]:
    """The events of a session that is to be opened, while `feed` sends it audio."""
    async with session:
        async for event in session_events(nullcontext(Opened(session, feed, growing=growing))):
            yield event


class Told:
    """A session of which the events are known."""

    def __init__(self, events: AsyncGenerator[LiveEvent, None]) -> None:
        self.events = lambda: events


def persisted(
    kept: Transcripts,
    events: AsyncGenerator[LiveEvent, None],
    engine: str = "scripted",
    owner: str = NOBODY,
) -> AsyncGenerator[LiveEvent, None]:
    """The events of a live session, as the service keeps and tells them."""
    growing = kept.growing(owner, TranscriptSource.LIVE, engine)
    return session_events(nullcontext(Opened(Told(events), growing=growing)))
