"""An id for each HTTP request and WebSocket: in what is logged for it, and in an HTTP answer's header."""

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transcribed.request_context import REQUEST, RequestContext

HEADER = "x-request-id"

_NAME = HEADER.encode()
# What goes into a log and a header as it is, and is short enough to be read out.
_TAKEN = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


class RequestIds:
    """ASGI middleware around all else: gives each request a RequestContext, and tells the client its id.

    Granian sends no headers with the answer to a WebSocket's handshake: its client may choose an id itself,
    and errors name the id.
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
    if _TAKEN.fullmatch(given):
        return RequestContext(given.decode(), host)
    return RequestContext(address=host)
