"""The WebSocket route `/stream`."""

from contextlib import suppress

from fastapi import APIRouter
from starlette.websockets import WebSocket

from transcribed.errors import BadRequest, Unavailable
from transcribed.http.access import allowed
from transcribed.http.native.conversation import NativeConversation
from transcribed.http.native.query import StreamQuery
from transcribed.http.relay import Relays
from transcribed.http.transports import WebSocketTransport
from transcribed.principal import Role
from transcribed.service.transcription import Transcription
from transcribed.wire import native as wire

_CLOSE_POLICY_VIOLATION = 1008


def router(transcription: Transcription, relays: Relays) -> APIRouter:
    """The WebSocket route."""
    routes = APIRouter()

    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        transport = WebSocketTransport(websocket)
        owner = allowed(websocket, Role.TRANSCRIBE).owner
        try:
            query = StreamQuery.parsed(websocket.query_params)
            with suppress(Unavailable):
                query.check(transcription.capabilities(query.engine))
                transcription.check(query.request(owner))
        except BadRequest as error:
            form: wire.Format = "json" if websocket.query_params.get("format") == "json" else "text"
            await transport.send(wire.encode_error(error, form))
            await transport.close(_CLOSE_POLICY_VIOLATION, "bad query")
            return
        await relays.run(transport, NativeConversation(transcription, query, owner))

    routes.add_websocket_route("/stream", stream)
    return routes
