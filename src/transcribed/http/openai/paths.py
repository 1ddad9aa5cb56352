"""Paths below `/v1` that end in a slash, as users write them in the settings of clients."""

from starlette.types import ASGIApp, Receive, Scope, Send

from transcribed.wire.openai import is_below


class FinalSlashes:
    """ASGI middleware that removes the final slash of a path below `/v1`.

    A redirect would not do: many clients follow none for POST, and the body would remain unread.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a WebSocket (ASGI)."""
        path = scope.get("path", "")
        if path.endswith("/") and is_below(path):
            scope = {**scope, "path": path.rstrip("/")}
        await self._app(scope, receive, send)
