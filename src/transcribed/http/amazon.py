"""Amazon Transcribe's streaming endpoints, over HTTP/2 and over a WebSocket."""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine, Pace, StreamOptions
from transcribed.errors import (
    BadRequest,
    Disconnected,
    LimitExceeded,
    NotFound,
    TranscribedError,
    UnreadableAudio,
)
from transcribed.http.inbox import audio_ahead
from transcribed.http.relay import Relays
from transcribed.http.transports import EventStreamBody, EventStreamSocket
from transcribed.recognition.spoken_form import spoken_form
from transcribed.recognition.stabilizer import Stability
from transcribed.recognition.word_filter import FilterMethod, WordFilter
from transcribed.service.access_keys import AccessKeys
from transcribed.service.channels import ChannelSession
from transcribed.service.live import (
    Feed,
    LiveSession,
    Session,
    SessionTimeline,
    session_events,
    transform_segments,
)
from transcribed.service.live_audio import IdleTimeout, LiveInput
from transcribed.service.sessions import ResumableSession, SessionLease, Sessions
from transcribed.service.threads import in_thread
from transcribed.service.transcripts import Transcripts
from transcribed.storage.transcripts import TranscriptSource
from transcribed.storage.vocabulary_filters import VocabularyFilters
from transcribed.transcript import LiveEvent, Segment
from transcribed.wire import amazon as wire
from transcribed.wire import sigv4
from transcribed.wire.amazon_parameters import (
    StreamRequest,
    parameters_of_headers,
    parameters_of_query,
    stream_request,
)
from transcribed.wire.audio import AudioChunk, EndOfAudio
from transcribed.wire.eventstream import Message

HTTP_PATH = "/stream-transcription"
WEBSOCKET_PATH = "/stream-transcription-websocket"

_MAGIC = {"flac": b"fLaC", "ogg-opus": b"OggS"}
_CLOSE_NORMAL = 1000
_FIRST_MESSAGE_SECONDS = 0.5
_HTTP_2 = "2"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a stream: seconds without audio, seconds in all; and whether its end must be said."""

    audio_timeout: float
    longest: float
    strict: bool


@dataclass(frozen=True, slots=True)
class AmazonDependencies:
    """What is needed to serve a stream."""

    engine: Callable[[], Engine]
    decoders: Decoders
    transcripts: Callable[[], Transcripts]
    filters: VocabularyFilters
    sessions: Sessions
    relays: Relays
    keys: AccessKeys
    limits: Limits


@dataclass(frozen=True, slots=True)
class OpenSession:
    """What a connection has of a session: its id, what is heard, and how to say that the client lives."""

    lease: SessionLease
    hear: Callable[[Feed], AsyncGenerator[LiveEvent, None]]
    confirm: Callable[[], None]


class AmazonStreamHandler:
    """One StartStreamTranscription, its stream of the engine open: see LiveStreamHandler."""

    def __init__(
        self,
        request: StreamRequest,
        reader: wire.AudioReader,
        decoders: Decoders,
        limits: Limits,
        open_session: OpenSession,
    ) -> None:
        self._request = request
        self._input = LiveInput(decoders, request.format)
        self._reader = reader
        self._limits = limits
        self._session = open_session
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + limits.longest
        self._magic = _MAGIC.get(request.echo["media-encoding"], b"")
        self._first = b""

    @property
    def audio_ahead(self) -> int:
        """See FrontEnd."""
        return audio_ahead(self._request.format)

    def decode(self, message: Message | None) -> AudioChunk | EndOfAudio:
        """See LiveStreamHandler. None is the end of a request's body."""
        self._session.confirm()
        if self._loop.time() >= self._until:
            raise LimitExceeded(
                f"The stream is older than {self._limits.longest:g} seconds, the most that one may "
                "last. Go on with another."
            )
        if message is None:
            if self._limits.strict:
                raise BadRequest("A complete signal was sent without the preceding empty frame.")
            return EndOfAudio()
        item = self._reader.read(message, _now())
        if self._magic and isinstance(item, AudioChunk):
            self._check_container(item.data)
        return item

    def _check_container(self, data: bytes) -> None:
        self._first += data[: len(self._magic)]
        if not self._first.startswith(self._magic[: len(self._first)]):
            raise UnreadableAudio(
                f"The audio does not begin as {self._request.echo['media-encoding']} does. Send it from "
                "its first byte, or say in media-encoding what it is."
            )
        if len(self._first) >= len(self._magic):
            self._magic = b""

    async def listen(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[LiveEvent, None]:
        """See FrontEnd."""
        with closing(IdleTimeout(chunks, self._limits.audio_timeout)) as timed:
            self._session.lease.watch(timed)
            events = self._session.hear(partial(self._input.send, timed))
            async with aclosing(events):
                async for event in events:
                    yield event

    def encode(self, event: LiveEvent) -> bytes | None:
        """See FrontEnd."""
        return wire.transcript_message(event) if isinstance(event, Segment) else None

    def encode_error(self, error: TranscribedError) -> bytes:
        """See FrontEnd."""
        return wire.exception_message(error)


class AmazonFront:
    """Opens the streams that clients ask for."""

    def __init__(self, dependencies: AmazonDependencies) -> None:
        self._dependencies = dependencies

    async def open(
        self,
        signed: sigv4.Request,
        given: Callable[[], Mapping[str, str]],
        opened: AsyncExitStack,
        *,
        unsigned: bool,
    ) -> tuple[AmazonStreamHandler, list[tuple[str, str]]]:
        """A stream, to be closed with `opened`, and the headers of the answer. Raises TranscribedError.

        `unsigned` messages may come, though the request is signed.
        """
        dependencies = self._dependencies
        signature = self._signature(signed)
        engine = dependencies.engine()
        can = engine.capabilities
        request = stream_request(given(), can.languages, can.features)
        words = await self._filter(request)
        session_id = request.session_id or str(uuid.uuid4())
        owner = None if signature is None else signature.credentials.access_key
        open_session = await self._open_session(request, engine, words, (owner, session_id.lower()), opened)
        chain = None if signature is None else signature.chain()
        reader = wire.AudioReader(request, chain, unsigned=unsigned or chain is None)
        headers = wire.answer_headers(request, str(uuid.uuid4()), session_id)
        return AmazonStreamHandler(
            request, reader, dependencies.decoders, dependencies.limits, open_session
        ), headers

    def _signature(self, request: sigv4.Request) -> sigv4.Signed | None:
        """None where anybody may come in."""
        keys = self._dependencies.keys
        return None if keys.open else sigv4.verify(request, keys.secret, _now())

    async def _filter(self, request: StreamRequest) -> WordFilter | None:
        wanted = request.vocabulary_filter
        if wanted is None:
            return None
        words: list[str] = []
        for name in wanted.names:
            try:
                words += await in_thread(self._dependencies.filters.get, name)
            except NotFound as error:
                raise BadRequest(error.message) from error
        return WordFilter(words, FilterMethod(wanted.method))

    async def _open_session(
        self,
        request: StreamRequest,
        engine: Engine,
        words: WordFilter | None,
        key: tuple[str | None, str],
        opened: AsyncExitStack,
    ) -> OpenSession:
        dependencies = self._dependencies
        transcripts = dependencies.transcripts()
        options = StreamOptions(
            Pace.LIVE,
            Stability[(request.stability or "off").upper()],
            language=request.language,
            asked=request.asked,
        )
        lease = await opened.enter_async_context(dependencies.sessions.hold(key))
        # A session's id is its client's, and may come again when its transcript is long in the store.
        known = lease.took_over or await transcripts.has(key[1])
        timeline = SessionTimeline(None if known else key[1])

        def start(timeline: SessionTimeline) -> Session:
            if request.split_channels:
                return ChannelSession(engine, options, request.format.channels, timeline)
            return LiveSession(engine, options, timeline)

        def decorate(events: AsyncGenerator[LiveEvent, None]) -> AsyncGenerator[LiveEvent, None]:
            changes = [spoken_form] if request.spoken else []
            # A filter sees the words as they are shown.
            changes += [] if words is None else [words.apply]
            return transcripts.persist_finals(
                transform_segments(events, changes), TranscriptSource.LIVE, engine.capabilities.name
            )

        if request.resume_window is not None:
            terms = (request.split_channels, request.vocabulary_filter, request.spoken, options)
            session = dependencies.sessions.resumable(
                key,
                request.resume_window * 60,
                lambda: ResumableSession(
                    timeline, start, decorate, dependencies.limits.audio_timeout, terms
                ),
            )
            if session.terms != terms:
                raise BadRequest(
                    "The session began with other parameters. Go on with the same, or take another "
                    "session-id."
                )
            attachment = await session.open()
            opened.callback(attachment.leave)
            return OpenSession(lease, attachment.hear, attachment.confirm)
        session_of_its_own = await opened.enter_async_context(start(timeline))
        return OpenSession(lease, lambda feed: decorate(session_events(session_of_its_own, feed)), _nothing)


def _nothing() -> None:
    pass


# --- Routes


class _HttpEndpoint:
    """The HTTP/2 route: an ASGI app, since Starlette's Request would read what is the stream's."""

    def __init__(self, front: AmazonFront, relays: Relays) -> None:
        self._front = front
        self._relays = relays

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        async with AsyncExitStack() as opened:
            try:
                stream, headers = await self._open(scope, opened)
            except TranscribedError as error:
                await _refuse(error, send)
                return
            transport = EventStreamBody(receive, send)
            try:
                await transport.start(headers)
            except Disconnected:
                return
            await self._relays.run_stream(transport, stream)

    async def _open(
        self, scope: Scope, opened: AsyncExitStack
    ) -> tuple[AmazonStreamHandler, list[tuple[str, str]]]:
        if not scope["http_version"].startswith(_HTTP_2):
            raise BadRequest(
                "This came as HTTP/1.1, which cannot go both ways at once. Use HTTP/2: most clients speak "
                "it with TLS alone (transcribed serve --tls, and https://localhost:8443)."
            )
        request = _request(scope, "POST")
        given = partial(parameters_of_headers, request.headers)
        return await self._front.open(request, given, opened, unsigned=False)


async def _refuse(error: TranscribedError, send: Send) -> None:
    _log.info("A stream was refused: %s", error.message)
    status, headers, body = wire.refusal(error)
    headers = [*headers, ("x-amzn-request-id", str(uuid.uuid4())), ("content-length", str(len(body)))]
    raw = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _refuse_socket(error: TranscribedError, websocket: WebSocket) -> None:
    _log.info("A stream was refused: %s", error.message)
    await websocket.accept()
    transport = EventStreamSocket(websocket)
    # What comes right behind the upgrade is lost on a client that begins to listen after it has opened, as
    # the JavaScript SDK does in Node.js. Who has sent something listens.
    with suppress(TranscribedError, TimeoutError):
        async with asyncio.timeout(_FIRST_MESSAGE_SECONDS):
            await transport.receive()
    with suppress(Disconnected):
        await transport.send(wire.exception_message(error))
    await transport.close(_CLOSE_NORMAL, "")


def _request(scope: Scope, method: str) -> sigv4.Request:
    path = scope.get("raw_path") or scope["path"].encode()
    return sigv4.Request(
        method,
        path.decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
    )


def router(dependencies: AmazonDependencies) -> APIRouter:
    """Both endpoints."""
    routes = APIRouter()
    front = AmazonFront(dependencies)

    async def websocket(websocket: WebSocket) -> None:
        request = _request(websocket.scope, "GET")
        _log.debug("GET %s?%s", WEBSOCKET_PATH, sigv4.redacted(request.query))
        async with AsyncExitStack() as opened:
            try:
                given = partial(parameters_of_query, request.query)
                stream, headers = await front.open(request, given, opened, unsigned=True)
            except TranscribedError as error:
                await _refuse_socket(error, websocket)
                return
            raw = [(name.lower().encode(), value.encode()) for name, value in headers]
            await websocket.accept(headers=[pair for pair in raw if pair[0] != b"content-type"])
            await dependencies.relays.run_stream(EventStreamSocket(websocket), stream)

    # An ASGI app in place of a function, as Starlette takes it and its types do not say.
    endpoint: Any = _HttpEndpoint(front, dependencies.relays)
    routes.add_route(HTTP_PATH, endpoint, methods=["POST"])
    routes.add_websocket_route(WEBSOCKET_PATH, websocket)
    return routes


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a signature is of a date
