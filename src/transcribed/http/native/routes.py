"""The WebSocket routes `/stream`, and `/live/{id}` for viewers of shared sessions."""

from contextlib import suppress

from fastapi import APIRouter
from starlette.websockets import WebSocket

from transcribed.errors import BadRequest, NotFound, TranscribedError, Unavailable
from transcribed.http.access import authorize
from transcribed.http.authentication import agreed_subprotocol
from transcribed.http.native.conversation import NativeConversation
from transcribed.http.native.query import StreamQuery
from transcribed.http.native.viewer import Viewer
from transcribed.http.relay import Relays, code_and_reason
from transcribed.http.transports import WebSocketTransport
from transcribed.principal import Role
from transcribed.scheduling.admission import CLIENT
from transcribed.service import trail
from transcribed.service.broadcasts import Broadcasts
from transcribed.service.transcription import Transcription
from transcribed.wire import native as wire

_CLOSE_POLICY_VIOLATION = 1008
_NOT_FOUND = (_CLOSE_POLICY_VIOLATION, "not found")


def router(transcription: Transcription, broadcasts: Broadcasts, relays: Relays) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    async def stream(websocket: WebSocket) -> None:
        await websocket.accept(agreed_subprotocol(websocket))
        transport = WebSocketTransport(websocket)
        form: wire.Format = "json" if websocket.query_params.get("format") == "json" else "text"
        try:
            access = authorize(websocket, Role.TRANSCRIBE)
            query = StreamQuery.parsed(websocket.query_params)
            with suppress(Unavailable):
                query.check(transcription.capabilities(query.engine))
                await transcription.check(query.request(access.principal.owner))
        except BadRequest as error:
            await transport.refuse(wire.encode_error(error, form), _CLOSE_POLICY_VIOLATION, "bad query")
            return
        except TranscribedError as error:
            trail.record_refusal(error, "GET /stream")
            await transport.refuse(wire.encode_error(error, form), *code_and_reason(error))
            return
        conversation = NativeConversation(transcription, broadcasts, query, access)
        await relays.run(transport, conversation, access.revoked)

    async def live(websocket: WebSocket) -> None:
        await websocket.accept(agreed_subprotocol(websocket))
        transport = WebSocketTransport(websocket)
        try:
            access = authorize(websocket, Role.READ)
            with broadcasts.view(websocket.path_params["id"], CLIENT.get()) as broadcast:
                await relays.run_audience(transport, Viewer(broadcast), access.revoked)
        except TranscribedError as error:
            trail.record_refusal(error, "GET /live")
            closing = _NOT_FOUND if isinstance(error, NotFound) else code_and_reason(error)
            await transport.refuse(wire.encode_error(error, "json"), *closing)

    routes.add_websocket_route("/stream", stream)
    routes.add_websocket_route("/live/{id}", live)
    return routes
