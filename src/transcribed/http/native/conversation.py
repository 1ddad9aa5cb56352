"""The conversation on `/stream`: names of recordings and live audio in, transcripts out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, closing

from transcribed.audio.formats import (
    InputFormat,
)
from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine
from transcribed.errors import TranscribedError
from transcribed.http.inbox import audio_ahead
from transcribed.http.native.query import StreamQuery
from transcribed.recognition.spoken_form import spoken_form
from transcribed.service.files import transcribe
from transcribed.service.library import Library
from transcribed.service.live import transform_segments
from transcribed.service.live_audio import transcribe_live
from transcribed.service.transcripts import Transcripts
from transcribed.storage.names import valid_name
from transcribed.storage.transcripts import TranscriptSource
from transcribed.transcript import LiveEvent, Segment
from transcribed.wire import native as wire
from transcribed.wire.audio import AudioChunk, EndOfAudio, Flush


class NativeConversation:
    """Names of recordings and live audio in, transcripts out."""

    def __init__(
        self,
        engine: Callable[[str | None], Engine],
        library: Library,
        transcripts: Callable[[], Transcripts],
        query: StreamQuery,
        *,
        decoders: Decoders,
        audio_timeout: float,
        stopping: asyncio.Event,
    ) -> None:
        self._engine = engine
        self._decoders = decoders
        self._library = library
        self._transcripts = transcripts
        self._query = query
        self._format = InputFormat(query.encoding, query.sample_rate, query.channels)
        self._audio_timeout = audio_timeout
        self._stopping = stopping
        self._shown: tuple[str, str] | None = None

    @property
    def audio_ahead(self) -> int:
        """See Conversation."""
        return audio_ahead(self._format)

    def decode(self, message: str | bytes) -> wire.TranscribeFile | AudioChunk | EndOfAudio | Flush | None:
        """See Conversation."""
        return wire.decode(message, self._query.format)

    async def answer(self, request: wire.TranscribeFile) -> AsyncGenerator[LiveEvent, None]:
        """See Conversation."""
        recording = valid_name(request.name)
        with closing(await self._library.open(recording)) as source:
            engine = self._engine(self._query.engine)
            options = self._query.options(engine)
            events = transcribe(
                engine,
                source,
                self._query.pace,
                options,
                decoders=self._decoders,
                stopping=self._stopping,
                track=self._query.track,
            )
            async with aclosing(self._persisted(events, engine, TranscriptSource.FILE, recording)) as kept:
                async for event in kept:
                    yield event

    async def listen(self, chunks: AsyncIterator[bytes | Flush]) -> AsyncGenerator[LiveEvent, None]:
        """See Conversation."""
        engine = self._engine(self._query.engine)
        options = self._query.options(engine)
        events = transcribe_live(
            engine,
            chunks,
            self._format,
            options,
            decoders=self._decoders,
            idle_timeout=self._audio_timeout,
            track=self._query.track,
        )
        async with aclosing(self._persisted(events, engine, TranscriptSource.LIVE)) as kept:
            async for event in kept:
                yield event

    def _persisted(
        self,
        events: AsyncGenerator[LiveEvent, None],
        engine: Engine,
        source: TranscriptSource,
        recording: str | None = None,
    ) -> AsyncGenerator[LiveEvent, None]:
        changes = [spoken_form] if self._query.transcript_format == "spoken" else []
        return self._transcripts().persist_finals(
            transform_segments(events, changes), source, engine.capabilities.name, recording
        )

    def encode(self, event: LiveEvent) -> str | None:
        """See Conversation."""
        if self._query.format == "text" and isinstance(event, Segment) and not event.final:
            if (event.id, event.text) == self._shown:
                return None  # Words have settled, which text does not tell.
            self._shown = (event.id, event.text)
        return wire.encode(event, self._query.format)

    def encode_error(self, error: TranscribedError) -> str:
        """See Conversation."""
        return wire.encode_error(error, self._query.format)
