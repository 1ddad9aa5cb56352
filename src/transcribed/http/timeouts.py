"""Bounds on how long an HTTP request may stand still."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transcribed.errors import Unread

SEND_TIMEOUT = 20.0
"""Seconds that a client may leave what was sent to it unread."""


_GRACE_SECONDS = 3.0


class HttpRequests:
    """The HTTP requests that are being answered."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[object]] = set()

    async def stop(self) -> None:
        """Let them end, and cut off what stands still."""
        if self.running:
            _, late = await asyncio.wait(self.running, timeout=_GRACE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


class BoundedRequests:
    """ASGI middleware: an HTTP answer that nobody reads for SEND_TIMEOUT is given up."""

    def __init__(self, app: ASGIApp, requests: HttpRequests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def bounded(message: Message) -> None:
            try:
                async with asyncio.timeout(SEND_TIMEOUT):
                    await send(message)
            except TimeoutError as error:
                raise Unread("The client does not read what is sent to it.") from error

        # A task of its own, so that it can be cancelled without the server's.
        answering = asyncio.ensure_future(_call(self._app, scope, receive, bounded))
        self._requests.running.add(answering)
        try:
            await answering
        finally:
            self._requests.running.discard(answering)


async def _call(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)
