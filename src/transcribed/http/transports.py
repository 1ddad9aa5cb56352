"""Connections as one thing: receive, send, close."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol, TypeVar

from starlette.types import Receive, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from transcribed.errors import BadRequest, Disconnected, Unread
from transcribed.http.timeouts import Patience
from transcribed.wire.eventstream import Decoder, Message
from transcribed.wire.eventstream import decode as decode_message

M_co = TypeVar("M_co", covariant=True)

_CLOSE_TIMEOUT = 2.0
# Some clients log an error when their request is not read to its end before the answer ends.
_READ_ON_SECONDS = 0.5
# A request reset with NO_ERROR looks like one that has ended; that its client is gone comes behind it.
_GONE_SECONDS = 0.05
_EMPTY = Message({}, b"")


class Transport(Protocol[M_co]):
    """A connection in both directions."""

    async def receive(self) -> M_co:
        """The next message. Raises Disconnected."""
        ...

    async def send(self, message: str | bytes) -> None:
        """Send a message; waits while the client does not read. Raises Disconnected or Unread."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """End the connection in good order, if it still stands."""
        ...


class WebSocketTransport:
    """A Transport over an accepted WebSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._patience = Patience()

    async def receive(self) -> str | bytes:
        """The next message."""
        message = await self._websocket.receive()
        self._patience.heard()
        if message["type"] == "websocket.disconnect":
            raise Disconnected("The client has closed the connection.")
        text: str | None = message.get("text")
        return message["bytes"] if text is None else text

    async def send(self, message: str | bytes) -> None:
        """Send a message."""
        websocket = self._websocket
        sending = (
            websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message)
        )
        try:
            await self._patience.until_sent(sending)
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


class EventStreamSocket:
    """Event-stream messages over an accepted WebSocket, each in a binary message of its own."""

    def __init__(self, websocket: WebSocket) -> None:
        self._transport = WebSocketTransport(websocket)
        self._ended = False

    async def receive(self) -> Message:
        """The next message; an empty one is one without headers. Raises MalformedMessage too."""
        message = await self._received()
        if isinstance(message, str):
            raise BadRequest(
                "Text arrived where event-stream messages belong. Send each in a binary message of its own."
            )
        decoded = decode_message(message) if message else _EMPTY
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
        """End the connection, when the client has ended its audio or soon after."""
        # A connection that is closed while audio is on its way is reset, and what the client has been told,
        # but has not read yet, is lost.
        with suppress(Disconnected, TimeoutError):
            async with asyncio.timeout(_READ_ON_SECONDS):
                while not self._ended:
                    await self._received()
        await self._transport.close(code, reason)


class EventStreamBody:
    """Event-stream messages in the bodies of an HTTP request and of its answer, both ways at once.

    `send` must be bounded in time (http/timeouts.py). The answer's headers go out with `start`.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._decoder = Decoder()
        self._messages = self._decoder.push(b"")
        self._ended = False
        self._unread = False

    async def start(self, headers: Iterable[tuple[str, str]]) -> None:
        """Begin the answer."""
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        await self._out({"type": "http.response.start", "status": 200, "headers": raw})
        # Granian holds the headers until the first bytes of the body, and clients hold their audio until
        # they have seen the headers.
        await self.send(b"")

    async def receive(self) -> Message | None:
        """The next message; None when the request has ended. Raises MalformedMessage too."""
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
        """End the answer, when the request has ended or soon after."""
        if self._unread:
            return  # What ends it would wait behind what nobody reads.
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
