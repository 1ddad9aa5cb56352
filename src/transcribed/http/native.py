"""This server's own WebSocket, `/stream`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, closing, suppress
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket

from transcribed.audio.formats import (
    HIGHEST_RATE,
    LOWEST_RATE,
    MOST_CHANNELS,
    SAMPLE_RATE,
    Encoding,
    InputFormat,
)
from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine, Pace, StreamOptions
from transcribed.errors import BadRequest, TranscribedError, Unavailable
from transcribed.http.inbox import audio_ahead
from transcribed.http.relay import Relays
from transcribed.http.transports import WebSocketTransport
from transcribed.recognition.spoken_form import spoken_form
from transcribed.recognition.stabilizer import Stability
from transcribed.service.files import FilePace, transcribe
from transcribed.service.library import Library
from transcribed.service.live import transform_segments
from transcribed.service.live_audio import transcribe_live
from transcribed.service.transcripts import Transcripts
from transcribed.storage.names import valid_name
from transcribed.storage.transcripts import TranscriptSource
from transcribed.transcript import LiveEvent, Segment
from transcribed.wire import native as wire
from transcribed.wire.amazon_parameters import in_any_case, one_of
from transcribed.wire.audio import AudioChunk, EndOfAudio

_CLOSE_POLICY_VIOLATION = 1008


class StreamQuery(BaseModel):
    """The query of `/stream`."""

    model_config = ConfigDict(extra="forbid")

    format: wire.Format = "text"
    pace: FilePace = FilePace.FAST
    stability: Literal["off", "low", "medium", "high"] = "off"
    encoding: Encoding = Encoding.PCM
    sample_rate: int = Field(SAMPLE_RATE, ge=LOWEST_RATE, le=HIGHEST_RATE)
    channels: int = Field(1, ge=1, le=MOST_CHANNELS)
    language: str | None = None
    transcript_format: Literal["written", "spoken"] = "written"
    engine: str | None = None
    track: int | None = Field(None, ge=1)

    def options(self, engine: Engine) -> StreamOptions:
        """What is asked of this engine. Raises BadRequest for what it cannot do."""
        languages = engine.capabilities.languages
        language = None if self.language is None else in_any_case(self.language, languages)
        if self.language is not None and language is None:
            raise BadRequest(
                f"The language {self.language!r} is not recognised here. Ask for {one_of(languages)}, "
                "or for none."
            )
        meant = language or languages[0]
        if self.transcript_format == "spoken" and not meant.lower().startswith("en"):
            raise BadRequest(f"transcript_format=spoken is for English alone, and not for {meant}.")
        return StreamOptions(Pace.LIVE, Stability[self.stability.upper()], language=language)


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

    def decode(self, message: str | bytes) -> wire.TranscribeFile | AudioChunk | EndOfAudio | None:
        """See Conversation."""
        return wire.decode(message)

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

    async def listen(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[LiveEvent, None]:
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


def router(
    engine: Callable[[str | None], Engine],
    library: Library,
    transcripts: Callable[[], Transcripts],
    relays: Relays,
    *,
    decoders: Decoders,
    audio_timeout: float,
) -> APIRouter:
    """The WebSocket route; live audio that stays away for `audio_timeout` seconds ends."""
    routes = APIRouter()

    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        transport = WebSocketTransport(websocket)
        try:
            query = _query(websocket)
            with suppress(Unavailable):
                query.options(engine(query.engine))
        except BadRequest as error:
            form: wire.Format = "json" if websocket.query_params.get("format") == "json" else "text"
            await transport.send(wire.encode_error(error, form))
            await transport.close(_CLOSE_POLICY_VIOLATION, "bad query")
            return
        conversation = NativeConversation(
            engine,
            library,
            transcripts,
            query,
            decoders=decoders,
            audio_timeout=audio_timeout,
            stopping=relays.stopping,
        )
        await relays.run(transport, conversation)

    routes.add_websocket_route("/stream", stream)
    return routes


def _query(websocket: WebSocket) -> StreamQuery:
    try:
        return StreamQuery.model_validate(dict(websocket.query_params))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadRequest(f"The query of /stream is not valid: {problems}.") from error
