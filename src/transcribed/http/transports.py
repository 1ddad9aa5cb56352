"""Connections as one thing: receive, send, close."""

import asyncio
from typing import Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from transcribed.errors import Disconnected
from transcribed.http.timeouts import SEND_TIMEOUT

_CLOSE_TIMEOUT = 2.0


class Transport(Protocol):
    """A connection in both directions."""

    async def receive(self) -> str | bytes:
        """The next message. Raises Disconnected."""
        ...

    async def send(self, message: str | bytes) -> None:
        """Send a message; waits while the client does not read. Raises Disconnected."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """End the connection in good order, if it still stands."""
        ...


class WebSocketTransport:
    """A Transport over an accepted WebSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> str | bytes:
        """The next message."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise Disconnected("The client has closed the connection.")
        text: str | None = message.get("text")
        return message["bytes"] if text is None else text

    async def send(self, message: str | bytes) -> None:
        """Send a message."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                if isinstance(message, str):
                    await self._websocket.send_text(message)
                else:
                    await self._websocket.send_bytes(message)
        except TimeoutError as error:
            raise Disconnected("The client does not read what is sent to it.") from error
        except (WebSocketDisconnect, RuntimeError, OSError) as error:
            raise Disconnected("The client has gone.") from error

    async def close(self, code: int, reason: str) -> None:
        """End the connection."""
        if self._websocket.application_state is WebSocketState.CONNECTED:
            try:
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await self._websocket.close(code, reason)
            except (WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
                pass  # It is gone already, which is what was wanted.
