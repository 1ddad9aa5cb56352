"""The rules of `origins.py` and `proxies.py` for each request and WebSocket, before it is read."""

import logging

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from transcribed.errors import AccessDenied
from transcribed.http.connections import sharing
from transcribed.http.errors import status_of
from transcribed.http.origins import Asked, EntryRules
from transcribed.http.proxies import Proxies
from transcribed.request_context import REQUEST
from transcribed.scheduling.admission import CLIENT

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
# What a script is shown of an answer beside the few headers that it always is.
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
# Anybody can make up names: of more than so many the log says nothing.
_MOST_TOLD = 100

_log = logging.getLogger(__name__)


def entrance(app: ASGIApp, entry: EntryRules, proxies: Proxies) -> ASGIApp:
    """An application behind the rules, and with CORS for the origins that they allow."""
    if entry.origins:
        app = CORSMiddleware(
            app,
            allow_origins=["*"] if entry.origins.every else sorted(entry.origins.allowed),
            allow_methods=_METHODS,
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=_EXPOSED,
        )
    return _Believing(_Guarded(app, entry), proxies) if proxies.networks else _Guarded(app, entry)


class _Guarded:
    """ASGI middleware: refuses what the rules do not let in."""

    def __init__(self, app: ASGIApp, entry: EntryRules) -> None:
        self._app = app
        self._entry = entry
        self._told = set[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            try:
                self._entry.check(_asked(scope))
            except AccessDenied as error:
                self._tell(error)
                await _refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _tell(self, error: AccessDenied) -> None:
        """Once for each reason: a browser is told nothing of why a WebSocket is refused."""
        new = error.message not in self._told and len(self._told) < _MOST_TOLD
        if new:
            self._told.add(error.message)
        _log.log(logging.WARNING if new else logging.DEBUG, "Refused: %s", error.message)


async def _refuse(error: AccessDenied, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        # Before it is accepted this is 403 in place of the handshake.
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})
        return
    content = {"detail": error.told, "Message": error.told}  # The latter is for Amazon's clients.
    await JSONResponse(content, status_of(error))(scope, receive, send)


def _asked(scope: Scope) -> Asked:
    headers = Headers(scope=scope)
    return Asked(
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


class _Believing:
    """ASGI middleware: what named proxies say takes the place of what is seen of themselves."""

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and self._proxies.include(scope["client"][0]):
            scope = self._behind(scope)
        await self._app(scope, receive, send)

    def _behind(self, scope: Scope) -> Scope:
        headers = Headers(scope=scope)
        names = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
        said = self._proxies.forwarded(*map(headers.getlist, names))
        scope = {**scope}
        if said.client is not None:
            scope["client"] = (said.client, 0)
            CLIENT.set(said.client if sharing(said.client) else None)
            if (context := REQUEST.get()) is not None:
                context.address = said.client
        if said.scheme is not None:
            secure = said.scheme == "https"
            scope["scheme"] = ("wss" if secure else "ws") if scope["type"] == "websocket" else said.scheme
        if said.host is not None:
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [(b"host", said.host.encode("latin-1")), *others]
        return scope
