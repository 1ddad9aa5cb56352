"""This server's own WebSocket, `/stream`."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.websockets import WebSocket

from transcribed.engines.base import Engine
from transcribed.errors import BadRequest, TranscribedError
from transcribed.http.relay import Relays
from transcribed.http.transports import WebSocketTransport
from transcribed.recognition.stabilizer import Stability
from transcribed.service.files import FilePace, transcribe
from transcribed.service.library import Library
from transcribed.transcript import LiveEvent
from transcribed.wire import native as wire

_CLOSE_POLICY_VIOLATION = 1008


class StreamQuery(BaseModel):
    """The query of `/stream`."""

    model_config = ConfigDict(extra="forbid")

    format: wire.Format = "text"
    pace: FilePace = FilePace.FAST
    stability: Literal["off", "low", "medium", "high"] = "off"


class NativeConversation:
    """Names of recordings in, transcripts out."""

    def __init__(self, engine: Callable[[], Engine], library: Library, query: StreamQuery) -> None:
        self._engine = engine
        self._library = library
        self._query = query

    def decode(self, message: str | bytes) -> wire.TranscribeFile | None:
        """See Conversation."""
        return wire.decode(message)

    async def answer(self, request: wire.TranscribeFile) -> AsyncGenerator[LiveEvent, None]:
        """See Conversation."""
        source = await self._library.open(request.name)
        events = transcribe(
            self._engine(), source, self._query.pace, Stability[self._query.stability.upper()]
        )
        async with aclosing(events):
            async for event in events:
                yield event

    def encode(self, event: LiveEvent) -> str | None:
        """See Conversation."""
        return wire.encode(event, self._query.format)

    def encode_error(self, error: TranscribedError) -> str:
        """See Conversation."""
        return wire.encode_error(error, self._query.format)


def router(engine: Callable[[], Engine], library: Library, relays: Relays) -> APIRouter:
    """The WebSocket route."""
    routes = APIRouter()

    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        transport = WebSocketTransport(websocket)
        try:
            query = _query(websocket)
        except BadRequest as error:
            form: wire.Format = "json" if websocket.query_params.get("format") == "json" else "text"
            await transport.send(wire.encode_error(error, form))
            await transport.close(_CLOSE_POLICY_VIOLATION, "bad query")
            return
        await relays.run(transport, NativeConversation(engine, library, query))

    routes.add_websocket_route("/stream", stream)
    return routes


def _query(websocket: WebSocket) -> StreamQuery:
    try:
        return StreamQuery.model_validate(dict(websocket.query_params))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadRequest(f"The query of /stream is not valid: {problems}.") from error
