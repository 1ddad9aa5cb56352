"""Middleware that applies the rules of `origins.py` and `proxies.py` before a request is read."""

import logging

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from transcribed.errors import AccessDenied
from transcribed.http.addresses import subscriber
from transcribed.http.connections import sharing
from transcribed.http.errors import response
from transcribed.http.origins import EntryRequest, EntryRules
from transcribed.http.proxies import Proxies
from transcribed.request_context import REQUEST
from transcribed.scheduling.admission import CLIENT

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
# Response headers that scripts may read, in addition to those that CORS always permits.
_EXPOSED = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
    "x-amzn-errortype",
    "x-amzn-request-id",
    "x-amzn-transcribe-session-id",
)
_POLICY_VIOLATION = 1008
# Clients can invent host names and origins, so the log has a line for this number of them only.
_MOST_LOGGED = 100

_log = logging.getLogger(__name__)


def entrance(app: ASGIApp, entry: EntryRules, proxies: Proxies) -> ASGIApp:
    """An application with the rules applied to every request, and with CORS for the allowed origins."""
    if entry.origins:
        app = CORSMiddleware(
            app,
            allow_origins=["*"] if entry.origins.every else sorted(entry.origins.allowed),
            allow_methods=_METHODS,
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=_EXPOSED,
        )
    checked = _EntryCheck(app, entry)
    return _ForwardedHeaders(checked, proxies) if proxies.networks else checked


class _EntryCheck:
    """ASGI middleware that refuses requests by the rules."""

    def __init__(self, app: ASGIApp, entry: EntryRules) -> None:
        self._app = app
        self._entry = entry
        self._logged = set[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            try:
                self._entry.check(_entry_request(scope))
            except AccessDenied as error:
                self._log(error)
                await _refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _log(self, error: AccessDenied) -> None:
        """Log a reason once. A browser does not show a page why its WebSocket was refused."""
        new = error.message not in self._logged and len(self._logged) < _MOST_LOGGED
        if new:
            self._logged.add(error.message)
        _log.log(logging.WARNING if new else logging.DEBUG, "Refused: %s", error.message)


async def _refuse(error: AccessDenied, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        # Before the WebSocket is accepted, this becomes a 403 response to the handshake.
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})
        return
    await response(scope["path"], error, before_routes=True)(scope, receive, send)


def _entry_request(scope: Scope) -> EntryRequest:
    headers = Headers(scope=scope)
    return EntryRequest(
        method=scope.get("method", "GET"),
        path=scope["path"],
        scheme=_plain_scheme(scope["scheme"]),
        hosts=headers.getlist("host"),
        origins=headers.getlist("origin"),
        site=headers.get("sec-fetch-site"),
        mode=headers.get("sec-fetch-mode"),
        dest=headers.get("sec-fetch-dest"),
    )


def _plain_scheme(scheme: str) -> str:
    return "https" if scheme in {"https", "wss"} else "http"


class _ForwardedHeaders:
    """ASGI middleware that applies the forwarding headers of trusted proxies to the request."""

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and self._proxies.include(scope["client"][0]):
            scope = self._forwarded(scope)
        await self._app(scope, receive, send)

    def _forwarded(self, scope: Scope) -> Scope:
        headers = Headers(scope=scope)
        names = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
        forwarded = self._proxies.forwarded(*map(headers.getlist, names))
        client, scheme, host = forwarded.client, forwarded.scheme, forwarded.host
        scope = {**scope}
        if client is not None:
            scope["client"] = (client, 0)
            CLIENT.set(subscriber(client) if sharing(client) else None)
            if (context := REQUEST.get()) is not None:
                context.address = client
        if scheme is not None:
            secure = scheme == "https"
            scope["scheme"] = ("wss" if secure else "ws") if scope["type"] == "websocket" else scheme
        if host is not None:
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [(b"host", host.encode("latin-1")), *others]
        return scope
