"""The WebSocket route `/stream`."""

from contextlib import suppress

from fastapi import APIRouter
from starlette.websockets import WebSocket

from transcribed.errors import BadRequest, TranscribedError, Unavailable
from transcribed.http.access import authorize
from transcribed.http.authentication import agreed_subprotocol
from transcribed.http.native.conversation import NativeConversation
from transcribed.http.native.query import StreamQuery
from transcribed.http.relay import Relays, code_and_reason
from transcribed.http.transports import WebSocketTransport
from transcribed.principal import Role
from transcribed.service import trail
from transcribed.service.transcription import Transcription
from transcribed.wire import native as wire

_CLOSE_POLICY_VIOLATION = 1008


def router(transcription: Transcription, relays: Relays) -> APIRouter:
    """The route `/stream`."""
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
        conversation = NativeConversation(transcription, query, access)
        await relays.run(transport, conversation, access.revoked)

    routes.add_websocket_route("/stream", stream)
    return routes
