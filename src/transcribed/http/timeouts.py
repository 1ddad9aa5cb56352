"""Time limits for clients that do not read."""

import asyncio
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transcribed.errors import Unread

SEND_TIMEOUT = 20.0
"""Seconds after which a client that neither reads nor sends is disconnected."""

_GRACE_SECONDS = 3.0


class Patience:
    """A time limit for sending, which ends SEND_TIMEOUT after the last message from the client.

    Many programs send all of their data before they read.
    """

    def __init__(self) -> None:
        self._waiting: asyncio.Timeout | None = None

    def heard(self) -> None:
        """Note a message from the client."""
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time() + SEND_TIMEOUT)

    async def until_sent(self, sending: Awaitable[None]) -> None:
        """Wait until a message is sent. Raises Unread. Not for concurrent calls."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT) as self._waiting:
                await sending
        except TimeoutError as error:
            raise Unread("The client does not read what is sent to it.") from error
        finally:
            self._waiting = None


class HttpRequests:
    """The HTTP requests that are being answered."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[object]] = set()

    async def stop(self) -> None:
        """Wait _GRACE_SECONDS for the requests to end, then cancel the rest."""
        if self.running:
            _, late = await asyncio.wait(self.running, timeout=_GRACE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


class BoundedRequests:
    """ASGI middleware that cancels an HTTP response when its client does not read (see Patience)."""

    def __init__(self, app: ASGIApp, requests: HttpRequests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a WebSocket (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        patience = Patience()

        async def heard() -> Message:
            message = await receive()
            patience.heard()
            return message

        async def bounded(message: Message) -> None:
            await patience.until_sent(send(message))

        # A separate task, which can be cancelled without cancelling the server's.
        answering = asyncio.ensure_future(self._app(scope, heard, bounded))
        self._requests.running.add(answering)
        try:
            await answering
        except asyncio.CancelledError:
            # A cancellation by `HttpRequests.stop` is not raised: Granian would spend 15 ms on each.
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
        finally:
            self._requests.running.discard(answering)
