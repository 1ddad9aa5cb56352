"""Amazon's event-stream messages over a WebSocket, and over the bodies of an HTTP request and response."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from starlette.types import Receive, Send
from starlette.websockets import WebSocket

from transcribed.errors import BadRequest, Disconnected, Unread
from transcribed.http.transports import WebSocketTransport
from transcribed.wire.amazon import EMPTY
from transcribed.wire.eventstream import Decoder, Message, decode

# Some clients report an error if the response ends before their request has been read to its end.
_READ_ON_SECONDS = 0.5
# A request that is reset with NO_ERROR first appears to end; the disconnection is reported afterwards.
_GONE_SECONDS = 0.05


class EventStreamSocket:
    """A Transport over an accepted WebSocket, with one event-stream message in each binary message."""

    def __init__(self, websocket: WebSocket) -> None:
        self._transport = WebSocketTransport(websocket)
        self._ended = False

    async def receive(self) -> Message:
        """Wait for the next message, which may be EMPTY. Raises Disconnected and MalformedMessage."""
        message = await self._received()
        if isinstance(message, str):
            raise BadRequest(
                "Text arrived where event-stream messages belong. Send each in a binary message of its own."
            )
        decoded = decode(message) if message else EMPTY
        self._ended = not decoded.payload
        return decoded

    async def _received(self) -> str | bytes:
        try:
            return await self._transport.receive()
        except Disconnected:
            self._ended = True
            raise

    async def send(self, message: str | bytes) -> None:
        """Send a message."""
        await self._transport.send(message)

    async def close(self, code: int, reason: str) -> None:
        """Close the connection when the client has ended its audio, or after _READ_ON_SECONDS."""
        # Closing a connection while audio is arriving resets it, and the client loses unread messages.
        with suppress(Disconnected, TimeoutError):
            async with asyncio.timeout(_READ_ON_SECONDS):
                while not self._ended:
                    await self._received()
        await self._transport.close(code, reason)


class EventStreamBody:
    """A Transport over the bodies of an HTTP request and its response, in both directions at once.

    `start` sends the response's headers. ASGI's `send` must have a time limit (http/timeouts.py).
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._decoder = Decoder()
        self._messages = self._decoder.push(b"")
        self._ended = False
        self._unread = False

    async def start(self, headers: Iterable[tuple[str, str]]) -> None:
        """Begin the response."""
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        await self._out({"type": "http.response.start", "status": 200, "headers": raw})
        # Granian delays the headers until the first part of the body, and clients delay their audio until
        # the headers arrive.
        await self.send(b"")

    async def receive(self) -> Message | None:
        """Wait for a message; None at the request's end. Raises Disconnected and MalformedMessage."""
        while (message := next(self._messages, None)) is None:
            if self._ended:
                await self._still_there()
                self._decoder.finish()
                return None
            self._messages = self._decoder.push(await self._more())
        return message

    async def _more(self) -> bytes:
        event = await self._receive()
        self._ended = not event.get("more_body", False)
        if event["type"] == "http.disconnect":
            raise Disconnected("The client has closed the connection.")
        body: bytes = event.get("body", b"")
        return body

    async def _still_there(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_GONE_SECONDS):
                await self._more()

    async def send(self, message: str | bytes) -> None:
        """Send a message."""
        await self._out({"type": "http.response.body", "body": message, "more_body": True})

    async def close(self, code: int, reason: str) -> None:  # noqa: ARG002 - HTTP has no place for them
        """End the response when the request has ended, or after _READ_ON_SECONDS."""
        if self._unread:
            return  # The end of the response would wait behind unread data.
        try:
            async with asyncio.timeout(_READ_ON_SECONDS):
                while not self._ended:
                    await self._more()
        except TimeoutError:
            pass
        except Disconnected:
            return
        with suppress(Disconnected):
            await self._out({"type": "http.response.body", "body": b"", "more_body": False})

    async def _out(self, event: dict[str, object]) -> None:
        try:
            await self._send(event)
        except Unread:
            self._unread = True
            raise
        except (RuntimeError, OSError) as error:
            raise Disconnected("The client has gone.") from error
