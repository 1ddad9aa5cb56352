"""The WebSocket `/v1/realtime`: OpenAI's realtime transcription."""

import asyncio
import itertools
import json
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress

from fastapi import APIRouter
from starlette.websockets import WebSocket

from transcribed.audio.formats import InputFormat
from transcribed.errors import (
    BadRequest,
    Disconnected,
    ExpiredToken,
    LimitExceeded,
    Stopping,
    TranscribedError,
    Unavailable,
)
from transcribed.http.access import authorize
from transcribed.http.authentication import REALTIME, agreed_subprotocol
from transcribed.http.errors import log_hidden, with_request_id
from transcribed.http.inbox import audio_ahead
from transcribed.http.relay import Conversation, Relays, Reply, code_and_reason
from transcribed.http.transports import WebSocketTransport
from transcribed.options import Capabilities, StreamOptions
from transcribed.principal import Role
from transcribed.service import trail
from transcribed.service.access_keys import Access
from transcribed.service.live import SessionTimeline
from transcribed.service.live_audio import Chunks
from transcribed.service.transcription import Transcription, TranscriptionRequest
from transcribed.service.transcripts import TranscriptSource
from transcribed.wire import openai as wire
from transcribed.wire.audio import AudioChunk, Flush
from transcribed.wire.languages import matching
from transcribed.wire.openai_items import Items, ServerEvent, Turns, error_event
from transcribed.wire.openai_realtime import (
    LANGUAGE_FIELD,
    RATE,
    Append,
    BadEvent,
    Clear,
    Commit,
    SessionConfig,
    Update,
    decode,
)
from transcribed.wire.prompt import phrases_of

_BETA_HEADER, _BETA_PROTOCOL = "realtime=v1", "openai-beta.realtime-v1"
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds before audio is tried again after a failure."""

Request = Update | Commit | Clear


class RealtimeConversation(Conversation[Request, ServerEvent]):
    """One connection, as a Conversation. All its audio is one session and one transcript.

    A stream is opened for the first audio after a change of the configuration, a commit, a clear, or a
    pause that was too long for the engine's stream; each of them ends the stream before it.
    """

    def __init__(
        self,
        transcription: Transcription,
        capabilities: Callable[[], Sequence[Capabilities]],
        access: Access,
        config: SessionConfig,
        *,
        beta: bool = False,
    ) -> None:
        self._transcription = transcription
        self._capabilities = capabilities
        self._access = access
        self._config = config
        self._beta = beta
        self._timeline = SessionTimeline()
        self._items = Items(lambda: f"item_{secrets.token_hex(11)}", self._turns(config))
        self._requests: deque[Request] = deque()
        """Those that have been decoded, and not answered."""
        self._session = f"sess_{self._timeline.id.replace('-', '')}"
        self._events = (f"event_{secrets.token_hex(6)}{number:06d}" for number in itertools.count())

    @property
    def audio_ahead(self) -> int:
        """The bytes of live audio that may wait in memory."""
        return audio_ahead(InputFormat(sample_rate=RATE))

    # --- Messages

    def greeting(self) -> str:
        """The first event."""
        return self.encode(self._configuration("created"))

    def decode(self, message: str | bytes) -> Request | AudioChunk | Reply:
        """A message. Those that are not valid, or change nothing in recognition, are answered at once."""
        try:
            event = decode(message)
        except BadEvent as bad:
            return Reply(self.encode(error_event(wire.openai_error(bad.error), bad.event_id)))
        if isinstance(event, Append):
            return AudioChunk(event.audio)
        if isinstance(event, Update) and not self._requests and self._changes_nothing(event):
            self._beta = event.beta
            return Reply(self.encode(self._configuration("updated")))
        self._requests.append(event)
        return event

    def encode(self, event: ServerEvent) -> str:
        """An event as a message."""
        return json.dumps({"event_id": next(self._events), **event})

    def encode_error(self, error: TranscribedError) -> str:
        """An error as a message."""
        return self.encode(error_event(wire.openai_error(error)))

    # --- Requests

    async def answer(self, request: Request) -> AsyncGenerator[ServerEvent, None]:
        """The events that answer a request, after all of the audio before it."""
        self._requests.popleft()
        at = self._timeline.seconds
        match request:
            case Commit(event_id=event_id):
                events = self._items.commit(at, event_id)
            case Clear():
                events = self._items.clear(at)
            case Update():
                events = await self._update(request, at)
        for event in events:
            yield event

    async def _update(self, update: Update, at: float) -> list[ServerEvent]:
        try:
            config = self._config.updated(update.changes)
            with suppress(Unavailable):
                await self._transcription.check(self._request(config))
        except TranscribedError as error:
            self._items.let_go(at)
            log_hidden(error)
            return [error_event(wire.openai_error(with_request_id(error)), update.event_id)]
        self._config, self._beta = config, update.beta
        return [*self._items.switch(at, self._turns(config)), self._configuration("updated")]

    def _changes_nothing(self, update: Update) -> bool:
        """Whether an update changes nothing that a running stream depends on; then it is made."""
        try:
            config = self._config.updated(update.changes)
        except TranscribedError:
            return False
        quiet = {"noise_reduction": config.audio.input.noise_reduction}
        same = self._config.audio.input.model_copy(update=quiet) == config.audio.input
        if not same or config.include != self._config.include or update.beta != self._beta:
            return False
        self._config = config
        return True

    def _configuration(self, what: str) -> ServerEvent:
        kind = "transcription_session" if self._beta else "session"
        # The session of a client secret has no end.
        ends = None if self._access.session is not None else self._access.expires
        expires = None if ends is None else int(ends)
        shown = self._config.shown(self._session, expires, beta=self._beta)
        return {"type": f"{kind}.{what}", "session": shown}

    def _turns(self, config: SessionConfig) -> Turns:
        return Turns(
            committed_here=config.has_turns,
            padding=config.prefix_padding,
            silence=config.endpoint_silence,
            logprobs=config.logprobs,
            beta=self._beta,
        )

    def _request(self, config: SessionConfig) -> TranscriptionRequest:
        """Raises InvalidField for a language that is not known; Unavailable until engines are loaded."""
        asked = config.audio.input.transcription
        can, model = wire.chosen_engine(asked.model, self._capabilities())
        options = StreamOptions(
            stability=config.stability,
            speech_events=config.has_turns,
            endpoint_silence=config.endpoint_silence if can.endpoint_silence else None,
            speech_threshold=config.speech_threshold if can.speech_threshold else None,
            language=wire.chosen_language(asked.language, can, LANGUAGE_FIELD)
            or _first(asked.languages, can),
            phrases=phrases_of(asked.prompt or "", asked.keywords or ()) if can.phrases else (),
        )
        return TranscriptionRequest(
            engine=can.name,
            model=model,
            options=options,
            format=config.input_format,
            owner=self._access.principal.owner,
            source=TranscriptSource.OPENAI,
        )

    # --- Audio

    async def listen(self, chunks: Chunks) -> AsyncGenerator[ServerEvent, None]:
        """The events of audio while it arrives, up to the next request."""
        audio, pause = _Audio(chunks, self._on_end), _FIRST_PAUSE
        while await audio.has_more():
            self._access.check()
            try:
                async with aclosing(self._heard(audio)) as events:
                    async for event in events:
                        yield event
                pause = _FIRST_PAUSE
            except (Disconnected, ExpiredToken, LimitExceeded, Stopping):
                raise
            except TranscribedError as error:
                # Audio that the configuration does not allow would hold up the update that mends it.
                if error is audio.error or (isinstance(error, BadRequest) and audio.is_unheard):
                    raise
                log_hidden(error)
                for event in self._items.fail(self._timeline.seconds, with_request_id(error)):
                    yield event
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _heard(self, audio: "_Audio") -> AsyncGenerator[ServerEvent, None]:
        """The events of one stream, up to the end of its audio, or to a pause that is too long for it."""
        opening = self._transcription.open_live(self._request(self._config), self._timeline)
        broken: TranscribedError | None = None
        try:
            async with opening as live, aclosing(live.events(audio)) as events:
                async for event in events:
                    for told in self._items.on(event):
                        yield told
        except TranscribedError as error:
            if error is not audio.error:
                raise
            broken = error  # The server stops, perhaps: a speech that was committed is complete.
        for told in self._items.end(self._timeline.seconds):
            yield told
        if broken is not None:
            raise broken
        if not audio.ended:
            self._items.let_go(self._timeline.seconds)

    def _on_end(self) -> None:
        if self._requests and isinstance(self._requests[0], Clear):
            self._items.forget()


class _Audio:
    """Audio up to the next request, for several streams: each takes on where the one before it ended.

    `on_end` is called at the end, from which on it has `ended`. `error` is the error of the audio itself
    that ended it.
    """

    def __init__(self, chunks: Chunks, on_end: Callable[[], None]) -> None:
        self._chunks = chunks
        self._on_end = on_end
        self._next: bytes | Flush | None = None
        self.ended = False
        self.error: TranscribedError | None = None

    @property
    def is_unheard(self) -> bool:
        """Whether a stream that has been opened for this audio has taken nothing of it."""
        return self._next is not None

    async def has_more(self) -> bool:
        """Wait for more audio; False at the end."""
        if self._next is None:
            self._next = await anext(self, None)
        return self._next is not None

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes | Flush:
        if self._next is not None:
            chunk, self._next = self._next, None
            return chunk
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            self.ended = True
            self._on_end()
            raise
        except TranscribedError as error:
            self.error = error
            raise


def _first(hints: Iterable[str] | None, can: Capabilities) -> str | None:
    """The first language of hints that the engine knows, if any."""
    known = (matching(each, can.languages) for each in hints or ())
    return next(filter(None, known), None)


def router(
    transcription: Transcription, capabilities: Callable[[], Sequence[Capabilities]], relays: Relays
) -> APIRouter:
    """The route. `capabilities` are those of the engines, the default first; it may raise Unavailable."""
    routes = APIRouter()

    async def realtime(websocket: WebSocket) -> None:
        offered = websocket.scope.get("subprotocols", ())
        beta = websocket.headers.get("openai-beta") == _BETA_HEADER or _BETA_PROTOCOL in offered
        await websocket.accept(agreed_subprotocol(websocket, REALTIME))
        transport = WebSocketTransport(websocket)
        try:
            access = authorize(websocket, Role.TRANSCRIBE, session=True)
        except TranscribedError as error:
            trail.record_refusal(error, f"GET {wire.REALTIME_PATH}")
            refused = json.dumps({"event_id": "event_0", **error_event(wire.openai_error(error))})
            await transport.refuse(refused, *code_and_reason(error))
            return
        config = SessionConfig().updated(access.session or {})
        if model := websocket.query_params.get("model"):
            config = config.updated({"audio": {"input": {"transcription": {"model": model}}}})
        conversation = RealtimeConversation(transcription, capabilities, access, config, beta=beta)
        with suppress(Disconnected):  # The relay notices it as well.
            await transport.send(conversation.greeting())
        await relays.run(transport, conversation, access.revoked)

    routes.add_websocket_route(wire.REALTIME_PATH, realtime)
    return routes
