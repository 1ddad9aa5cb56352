"""Response headers that limit what browsers may do with a response."""

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEFAULT_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of responses that set none themselves."""

MEDIA_POLICY = f"{DEFAULT_POLICY}; media-src 'self'"
"""The policy for a recording, for which browsers show a page with a player when a user opens its URL."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "media-src 'self' blob:; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""The policy for pages of this server whose scripts and styles are in files.

`connect-src 'self'` includes its WebSockets.
"""

PAGE_PERMISSIONS = "camera=(), display-capture=(self), geolocation=(), microphone=(self)"
"""The Permissions-Policy of those pages, which transcribe a microphone or the sound of a tab."""

_HEADERS = {
    # Responses depend on the key of the request, and may change at any time.
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": DEFAULT_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def with_security_headers(app: ASGIApp, *, shared: bool) -> ASGIApp:
    """Wrap an application so that all responses have the headers. Headers that it sets itself remain.

    `shared` means that pages of all origins may embed responses. If only some origins are allowed, their
    pages use CORS, which names the origin, and do not need this.
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
