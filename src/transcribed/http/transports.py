"""The interface of a connection (receive, send, close), and its implementation by a WebSocket."""

import asyncio
from contextlib import suppress
from typing import Protocol, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from transcribed.errors import Disconnected
from transcribed.http.timeouts import Patience

M_co = TypeVar("M_co", covariant=True)

_CLOSE_TIMEOUT = 2.0
_READ_ON_SECONDS = 0.5


class Transport(Protocol[M_co]):
    """A connection in both directions."""

    async def receive(self) -> M_co:
        """Wait for the next message. Raises Disconnected."""
        ...

    async def send(self, message: str | bytes) -> None:
        """Send a message; waits while the client does not read. Raises Disconnected and Unread.

        Concurrent calls wait for one another.
        """
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close the connection cleanly, if it is still open."""
        ...


class WebSocketTransport:
    """A Transport over an accepted WebSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._patience = Patience()
        self._sending = asyncio.Lock()

    async def receive(self) -> str | bytes:
        """Wait for the next message."""
        message = await self._websocket.receive()
        self._patience.heard()
        if message["type"] == "websocket.disconnect":
            raise Disconnected("The client has closed the connection.")
        text: str | None = message.get("text")
        return message["bytes"] if text is None else text

    async def send(self, message: str | bytes) -> None:
        """Send a message."""
        websocket = self._websocket
        try:
            async with self._sending:
                sending = (
                    websocket.send_text(message)
                    if isinstance(message, str)
                    else websocket.send_bytes(message)
                )
                await self._patience.until_sent(sending)
        except (WebSocketDisconnect, RuntimeError, OSError) as error:
            raise Disconnected("The client has gone.") from error

    async def refuse(self, message: str | bytes, code: int, reason: str) -> None:
        """Say why nothing is heard here, and end the connection a little later.

        A connection that is closed while audio arrives is reset, and the client loses what it has not read.
        """
        with suppress(Disconnected, TimeoutError):
            await self.send(message)
            async with asyncio.timeout(_READ_ON_SECONDS):
                while True:
                    await self.receive()
        await self.close(code, reason)

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""
        if self._websocket.application_state is WebSocketState.CONNECTED:
            try:
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await self._websocket.close(code, reason)
            except (WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
                pass  # The connection is closed already.
