"""Amazon Transcribe's streaming endpoints, over HTTP/2 and over a WebSocket."""

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from transcribed.errors import (
    BadRequest,
    Disconnected,
    TranscribedError,
)
from transcribed.http.amazon.opening import AmazonFront, OpenedStream
from transcribed.http.amazon.transports import EventStreamBody, EventStreamSocket
from transcribed.http.authentication import agreed_subprotocol
from transcribed.http.errors import with_request_id
from transcribed.http.relay import Relays
from transcribed.request_context import request_id
from transcribed.service import trail
from transcribed.wire import amazon as wire
from transcribed.wire import sigv4
from transcribed.wire.amazon_parameters import (
    parameters_of_headers,
    parameters_of_query,
)

HTTP_PATH = "/stream-transcription"
WEBSOCKET_PATH = "/stream-transcription-websocket"

_CLOSE_NORMAL = 1000
_FIRST_MESSAGE_SECONDS = 0.5
_HTTP_2 = "2"

_log = logging.getLogger(__name__)


class _HttpEndpoint:
    """The HTTP/2 route. It is an ASGI application, because Starlette's Request would read the body."""

    def __init__(self, front: AmazonFront, relays: Relays) -> None:
        self._front = front
        self._relays = relays

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request (ASGI)."""
        async with AsyncExitStack() as opened:
            try:
                stream = await self._open(HTTPConnection(scope), opened)
            except TranscribedError as error:
                await _refuse(error, send)
                return
            transport = EventStreamBody(receive, send)
            try:
                await transport.start(stream.headers)
            except Disconnected:
                return
            await self._relays.run_stream(transport, stream.handler, stream.revoked)

    async def _open(self, connection: HTTPConnection, opened: AsyncExitStack) -> OpenedStream:
        if not connection.scope["http_version"].startswith(_HTTP_2):
            raise BadRequest(
                "The request uses HTTP/1.1, which cannot stream in both directions at once. Use HTTP/2: "
                "most clients use it only with TLS (transcribed serve --tls, and https://localhost:8443)."
            )
        given = partial(parameters_of_headers, connection.headers.items())
        return await self._front.open(connection, given, opened, unsigned=False)


async def _refuse(error: TranscribedError, send: Send) -> None:
    trail.record_refusal(error, f"POST {HTTP_PATH}")
    _log.info("A stream was refused: %s", error.message)
    status, headers, body = wire.error_response(with_request_id(error))
    headers = [*headers, ("x-amzn-request-id", request_id()), ("content-length", str(len(body)))]
    raw = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _refuse_socket(error: TranscribedError, websocket: WebSocket) -> None:
    trail.record_refusal(error, f"GET {WEBSOCKET_PATH}")
    _log.info("A stream was refused: %s", error.message)
    await websocket.accept(agreed_subprotocol(websocket))
    transport = EventStreamSocket(websocket)
    # The JavaScript SDK in Node.js begins to listen only after the WebSocket has opened, and would miss a
    # message right after the upgrade. A client that has sent something is listening.
    with suppress(TranscribedError, TimeoutError):
        async with asyncio.timeout(_FIRST_MESSAGE_SECONDS):
            await transport.receive()
    with suppress(Disconnected):
        await transport.send(wire.exception_message(with_request_id(error)))
    await transport.close(_CLOSE_NORMAL, "")


def router(front: AmazonFront, relays: Relays) -> APIRouter:
    """Both endpoints."""
    routes = APIRouter()

    async def websocket(websocket: WebSocket) -> None:
        query = websocket.scope["query_string"].decode("latin-1")
        _log.debug("GET %s?%s", WEBSOCKET_PATH, sigv4.redacted(query))
        async with AsyncExitStack() as opened:
            try:
                given = partial(parameters_of_query, query)
                stream = await front.open(websocket, given, opened, unsigned=True)
            except TranscribedError as error:
                await _refuse_socket(error, websocket)
                return
            raw = [(name.lower().encode(), value.encode()) for name, value in stream.headers]
            raw = [pair for pair in raw if pair[0] != b"content-type"]
            await websocket.accept(agreed_subprotocol(websocket), headers=raw)
            await relays.run_stream(EventStreamSocket(websocket), stream.handler, stream.revoked)

    # Starlette accepts an ASGI application instead of a function, which its types do not declare.
    endpoint: Any = _HttpEndpoint(front, relays)
    routes.add_route(HTTP_PATH, endpoint, methods=["POST"])
    routes.add_websocket_route(WEBSOCKET_PATH, websocket)
    return routes
