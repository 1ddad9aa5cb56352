"""The WebSocket route `/stream`."""

from collections.abc import Callable
from contextlib import suppress

from fastapi import APIRouter
from starlette.websockets import WebSocket

from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine
from transcribed.errors import BadRequest, Unavailable
from transcribed.http.native.conversation import NativeConversation
from transcribed.http.native.query import StreamQuery
from transcribed.http.relay import Relays
from transcribed.http.transports import WebSocketTransport
from transcribed.service.library import Library
from transcribed.service.transcripts import Transcripts
from transcribed.wire import native as wire

_CLOSE_POLICY_VIOLATION = 1008


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
            query = StreamQuery.parsed(websocket.query_params)
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
