"""What every answer tells a browser about how little it may do with it."""

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEFAULT_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of an answer that has none of its own."""

MEDIA_POLICY = f"{DEFAULT_POLICY}; media-src 'self'"
"""That of a recording, of which browsers make a page with a player when somebody goes to its address."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; font-src 'self'; worker-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""That of a page of this server's own, whose scripts and styles are in files.

`connect-src 'self'` includes its WebSockets.
"""

_HEADERS = {
    # What is told depends on who asks, and may change at any time.
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": DEFAULT_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def with_security_headers(app: ASGIApp, *, shared: bool) -> ASGIApp:
    """An application whose answers all have the headers; what it sets itself goes before.

    `shared`: all pages are let in. Those of some origins need no more than CORS, which tells who asks.
    """
    resources = "cross-origin" if shared else "same-origin"
    headers: Mapping[str, str] = _HEADERS | {"Cross-Origin-Resource-Policy": resources}

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": list(message.get("headers", ()))}
                own = MutableHeaders(scope=message)
                for name, value in headers.items():
                    own.setdefault(name, value)
            await send(message)

        await app(scope, receive, sending if scope["type"] == "http" else send)

    return guarded
