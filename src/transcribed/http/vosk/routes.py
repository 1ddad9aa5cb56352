"""The WebSocket routes `/vosk` and `/`; clients that accept only a host and a port use the latter."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter
from starlette.websockets import WebSocket

from transcribed.audio.formats import InputFormat
from transcribed.errors import TranscribedError
from transcribed.http.access import authorize
from transcribed.http.authentication import agreed_subprotocol
from transcribed.http.inbox import audio_ahead
from transcribed.http.relay import Relays, code_and_reason
from transcribed.http.transports import WebSocketTransport
from transcribed.principal import Role
from transcribed.service import trail
from transcribed.service.access_keys import Access
from transcribed.service.live_audio import Chunks
from transcribed.service.transcription import Transcription, TranscriptionRequest
from transcribed.transcript import Done, LiveEvent, Segment
from transcribed.wire import vosk as wire
from transcribed.wire.audio import AudioChunk, EndOfAudio, Flush


class VoskStreamHandler:
    """One stream of a client. The first message opens it, and may be the configuration."""

    def __init__(self, transcription: Transcription, transport: WebSocketTransport, access: Access) -> None:
        self._transcription = transcription
        self._transport = transport
        self._access = access
        self._config = wire.Config()
        self._finals, self._partial = list[Segment](), ""

    @property
    def audio_ahead(self) -> int:
        """The bytes of live audio that may wait in memory."""
        return audio_ahead(InputFormat())

    def decode(self, message: str | bytes) -> AudioChunk | EndOfAudio:
        """A message as audio; a configuration becomes a chunk without audio. Raises BadRequest."""
        item = wire.decode(message)
        if isinstance(item, wire.Config):
            self._config = item
            return AudioChunk(b"")
        return item

    async def listen(self, chunks: Chunks) -> AsyncGenerator[LiveEvent, None]:
        """The events of the audio. Waits for the first message before it opens a stream."""
        first = await anext(chunks, b"")
        self._access.check()
        request = TranscriptionRequest(
            format=InputFormat(sample_rate=round(self._config.sample_rate)),
            owner=self._access.principal.owner,
        )
        async with (
            self._transcription.open_live(request) as live,
            aclosing(self._answered(first, chunks)) as answered,
            aclosing(live.events(answered)) as events,
        ):
            async for event in events:
                yield event

    async def _answered(self, first: bytes | Flush, chunks: Chunks) -> AsyncGenerator[bytes | Flush, None]:
        """The chunks. Each is answered by one message once the engine has taken it, as clients expect."""
        chunk: bytes | Flush | None = first
        while chunk is not None:
            yield chunk
            if chunk:
                finals, self._finals = self._finals, []
                partial = json.dumps({"partial": self._partial})
                await self._transport.send(wire.result(finals, self._config) if finals else partial)
            chunk = await anext(chunks, None)

    def encode(self, event: LiveEvent) -> str | None:
        """The last result, for Done; None for other events, whose results answer the next message."""
        if isinstance(event, Segment):
            self._partial = "" if event.final else event.text
            self._finals += [event] if event.final and event.text else []
        return wire.result(self._finals, self._config) if isinstance(event, Done) else None

    def encode_error(self, error: TranscribedError) -> str:
        """An error as a message."""
        return wire.encode_error(error)


def router(transcription: Transcription, relays: Relays) -> APIRouter:
    """Both routes."""
    routes = APIRouter()

    async def stream(websocket: WebSocket) -> None:
        await websocket.accept(agreed_subprotocol(websocket))
        transport = WebSocketTransport(websocket)
        try:
            access = authorize(websocket, Role.TRANSCRIBE)
        except TranscribedError as error:
            trail.record_refusal(error, f"GET {websocket.url.path}")
            await transport.refuse(wire.encode_error(error), *code_and_reason(error))
            return
        stream_handler = VoskStreamHandler(transcription, transport, access)
        await relays.run_stream(transport, stream_handler, access.revoked)

    for path in ("/vosk", "/"):
        routes.add_websocket_route(path, stream)
    return routes
