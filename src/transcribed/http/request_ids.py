"""Ids of HTTP requests and WebSockets, for the log and for the headers of HTTP responses."""

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transcribed.request_context import REQUEST, RequestContext

HEADER = "x-request-id"

_NAME = HEADER.encode()
# Ids that need no escaping in logs and headers, and are short.
_VALID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


class RequestIds:
    """The outermost ASGI middleware: gives each request a RequestContext, and adds its id to the response.

    Granian sends no additional headers in the response to a WebSocket handshake. Clients of WebSockets can
    choose an id themselves, and error messages contain the id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a WebSocket (ASGI)."""
        context = _context(scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message.setdefault("headers", []))[HEADER] = context.id
            await send(message)

        token = REQUEST.set(context)
        try:
            await self._app(scope, receive, sending if scope["type"] == "http" else send)
        finally:
            REQUEST.reset(token)


def _context(scope: Scope) -> RequestContext:
    host = scope["client"][0] if scope.get("client") else None
    given = next((value for name, value in scope["headers"] if name == _NAME), b"")
    if _VALID.fullmatch(given):
        return RequestContext(given.decode(), host)
    return RequestContext(address=host)
