"""The live loop: requests and audio in, events out, over any transport and in any protocol.

One task reads, so that a disconnection is noticed at once; another task answers requests in order. A live
stream is answered in its turn like a request, while its audio arrives. The task that ends first ends the
other. When the server stops, no new answer begins; running ones have a grace period for their last events.

A disconnection ends the audio of a live stream, which is still recognised to its end for the stored
transcript; other answers are cancelled. A client that does not read counts as disconnected. In protocols
with one live stream per connection, the end or error of the stream closes the connection.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Never, Protocol, TypeVar

from transcribed.errors import (
    AccessDenied,
    BadRequest,
    Disconnected,
    ExpiredToken,
    LimitExceeded,
    Stopping,
    TooLarge,
    TranscribedError,
    UnknownClient,
    Unread,
)
from transcribed.http.errors import log_hidden, with_request_id
from transcribed.http.inbox import Inbox, Item, LiveAudio, Spooled
from transcribed.http.spool import Spools
from transcribed.http.transports import Transport
from transcribed.wire.audio import AudioChunk, EndOfAudio, Flush

R = TypeVar("R")
M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
E = TypeVar("E")
"""The events of a front end: LiveEvent, or messages that it has made of them."""
DRAIN_SECONDS = 600.0
"""The longest that audio is recognised after its client is gone; it may have sent hours in advance."""

REVOKED_SECONDS = 1.5
"""The time for the last results of a client whose key has been removed or rotated, in seconds."""

_CLOSE_NORMAL = 1000

# For sending errors to clients after the grace period.
_CLOSING_SECONDS = 2.0

_log = logging.getLogger(__name__)

Closing = Callable[[TranscribedError], tuple[int, str]]
"""Maps an error to a WebSocket close code and reason."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a message that waits for nothing. It is sent at once, even beside a running stream."""

    message: str | bytes


class FrontEnd(Protocol[E]):
    """A front end's side of a connection: it answers live audio and encodes events."""

    @property
    def audio_ahead(self) -> int:
        """The bytes of live audio that may wait in memory."""
        ...

    def listen(self, chunks: AsyncIterator[bytes | Flush]) -> AsyncGenerator[E, None]:
        """The events of live audio, while it arrives. Raises TranscribedError."""
        ...

    def encode(self, event: E) -> str | bytes | None:
        """Encode an event; None if the protocol has no message for it."""
        ...

    def encode_error(self, error: TranscribedError) -> str | bytes:
        """Encode an error."""
        ...


class Conversation(FrontEnd[E], Protocol[R, E]):
    """A front end whose connections carry requests and live streams, one after the other."""

    def decode(self, message: str | bytes) -> R | AudioChunk | EndOfAudio | Flush | Reply | None:
        """Decode a message; None ends the conversation. Raises TranscribedError, which ends a stream."""
        ...

    def answer(self, request: R) -> AsyncGenerator[E, None]:
        """The events that answer a request. Raises TranscribedError."""
        ...


class Audience(Protocol):
    """A front end's side of a connection that only receives."""

    def messages(self) -> AsyncGenerator[str | bytes, None]:
        """The messages for the client. Raises TranscribedError."""
        ...

    def check(self, message: str | bytes) -> None:
        """Accept a client's message, which ends the connection. Raises TranscribedError for others."""
        ...

    def encode_error(self, error: TranscribedError) -> str | bytes:
        """Encode an error."""
        ...


class LiveStreamHandler(FrontEnd[E], Protocol[M_contra, E]):
    """A front end whose connections carry one live stream each. An error in a message ends the stream."""

    def decode(self, message: M_contra) -> AudioChunk | EndOfAudio:
        """Decode a message. Raises TranscribedError."""
        ...


class Relays:
    """Runs all conversations and streams of this server."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._grace_over = asyncio.Event()
        self._spools = Spools()
        self._running: set[asyncio.Task[None]] = set()

    async def run(
        self, transport: Transport[str | bytes], conversation: Conversation[R, E], revoked: asyncio.Event
    ) -> None:
        """Run a conversation until its client ends it, leaves or loses its key, or the server stops."""
        inbox: Inbox[R] = Inbox(conversation.audio_ahead, self._spools.spool())
        tasks = (_read(transport, conversation, inbox), _answer(transport, conversation, inbox))
        ends = _revoke(inbox, revoked), self._stop(inbox)
        try:
            await self._run(transport, conversation, (*tasks, *ends), code_and_reason)
        finally:
            await inbox.aclose()

    async def run_stream(
        self, transport: Transport[M], stream: LiveStreamHandler[M, E], revoked: asyncio.Event
    ) -> None:
        """Run a live stream to its end, or until its client's key is revoked, or the server stops."""
        inbox: Inbox[Never] = Inbox(stream.audio_ahead, self._spools.spool())
        answer = stream.listen(LiveAudio(inbox))
        tasks = (_read_stream(transport, stream, inbox), _send_events(transport, stream, inbox, answer))
        ends = _revoke(inbox, revoked), self._stop(inbox)
        try:
            await self._run(transport, stream, (*tasks, *ends), _closing_normally)
        finally:
            await inbox.aclose()

    async def run_audience(
        self, transport: Transport[str | bytes], audience: Audience, revoked: asyncio.Event
    ) -> None:
        """Send to an audience to the end, or until it leaves or loses its key, or the server stops."""
        tasks = _read_until_left(transport, audience), _send_messages(transport, audience)
        ends = _refuse_revoked(revoked), self._stop_at_once()
        await self._run(transport, audience, (*tasks, *ends), _closing_of_audience)

    async def _run(
        self,
        transport: Transport[Any],
        front_end: FrontEnd[Any] | Audience,
        work: tuple[Coroutine[Any, Any, None], ...],
        closing: Closing,
    ) -> None:
        task = asyncio.ensure_future(_relay(transport, front_end, work, closing))
        self._running.add(task)
        try:
            await task
        finally:
            self._running.discard(task)

    async def _stop(self, inbox: Inbox[R]) -> None:
        await self.stopping.wait()
        inbox.stop(Stopping())
        await self._grace_over.wait()
        raise Stopping

    async def _stop_at_once(self) -> None:
        await self._grace_over.wait()
        raise Stopping

    async def stop(self, grace: float) -> None:
        """Stop all: give them `grace` seconds for their last events, then send Stopping and close."""
        self.stopping.set()
        await self._ended(grace)
        self._grace_over.set()
        await self._ended(_CLOSING_SECONDS)
        for task in self._running:
            task.cancel()
        await self._ended(_CLOSING_SECONDS)

    async def _ended(self, seconds: float) -> None:
        if self._running:
            await asyncio.wait(set(self._running), timeout=seconds)


async def _revoke(inbox: Inbox[R], revoked: asyncio.Event) -> None:
    await revoked.wait()
    error = _lost_access()
    inbox.stop(error)
    await asyncio.sleep(REVOKED_SECONDS)
    raise error


async def _refuse_revoked(revoked: asyncio.Event) -> None:
    await revoked.wait()
    raise _lost_access()


def _lost_access() -> UnknownClient:
    return UnknownClient(
        "What let you in does so no more: the key was removed or rotated, or the server asks for keys now. "
        "Show one that is good."
    )


async def _relay(
    transport: Transport[Any],
    front_end: FrontEnd[Any] | Audience,
    work: tuple[Coroutine[Any, Any, None], ...],
    closing: Closing,
) -> None:
    names = ("relay-read", "relay-answer", "relay-revoke", "relay-stop")
    tasks = [asyncio.create_task(part, name=name) for name, part in zip(names, work, strict=True)]
    ended: set[asyncio.Task[None]] = set()
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for task, outcome in zip(tasks, outcomes, strict=True):
        match outcome:
            # Closed only after the reading task has ended, because Granian delays a close while receiving.
            case None:
                await transport.close(_CLOSE_NORMAL, "")
            case Disconnected():
                _log.info("A connection ended: %s", outcome.message)
                # Closed explicitly, because Granian would keep the connection until the client closes it.
                await transport.close(*code_and_reason(outcome))
            case TranscribedError():
                await _close_with(transport, front_end, outcome, closing)
            case asyncio.CancelledError() if task not in ended:
                pass
            case BaseException():  # Including a task that was cancelled from within.
                _log.error("A conversation failed.", exc_info=outcome)
                failure = TranscribedError("The server failed; its log has the cause.")
                await _close_with(transport, front_end, failure, closing)


_CLOSINGS: dict[type[TranscribedError], tuple[int, str]] = {
    Stopping: (1001, "the server is stopping"),
    # Takes effect only if the connection is still open after an invalid message.
    Disconnected: (1002, "what arrived is no valid WebSocket message, or too large for one"),
    TooLarge: (1009, "too large"),
    BadRequest: (1008, ""),
    AccessDenied: (1008, ""),
    Unread: (1008, "nothing was read for too long"),
    TranscribedError: (1011, "internal error"),
    LimitExceeded: (1013, "try again later"),
}
_LONGEST_REASON = 123
"""The most bytes in the reason of a close frame (RFC 6455, section 5.5)."""


def code_and_reason(error: TranscribedError) -> tuple[int, str]:
    """The close code and reason of the error's nearest class in _CLOSINGS; without one, its message."""
    code, reason = next(_CLOSINGS[kind] for kind in type(error).__mro__ if kind in _CLOSINGS)
    return code, (reason or error.client_message).encode()[:_LONGEST_REASON].decode(errors="ignore")


def _closing_of_audience(error: TranscribedError) -> tuple[int, str]:
    """A failure of what is shown is the audience's normal end; reconnecting would not help."""
    return (
        code_and_reason(error)
        if isinstance(error, AccessDenied | BadRequest | Stopping)
        else (_CLOSE_NORMAL, "")
    )


def _closing_normally(_: TranscribedError) -> tuple[int, str]:
    return _CLOSE_NORMAL, ""


async def _close_with(
    transport: Transport[Any],
    front_end: FrontEnd[Any] | Audience,
    error: TranscribedError,
    closing: Closing,
) -> None:
    log_hidden(error)
    with suppress(Disconnected):
        await transport.send(front_end.encode_error(with_request_id(error)))
    await transport.close(*closing(error))


async def _drain(error: TranscribedError) -> Never:
    """Wait DRAIN_SECONDS for the recognition of audio that came before an error; then raise it."""
    await asyncio.sleep(DRAIN_SECONDS)
    _log.warning("The audio of a disconnected client was not recognised to its end: it took too long.")
    raise error


async def _send_events(
    transport: Transport[Any], front_end: FrontEnd[E], inbox: Inbox[R], answer: AsyncGenerator[E, None]
) -> None:
    """Send the events of an answer. If the client is gone, iterate to the end without sending."""
    connected = True
    async with aclosing(answer) as events:
        async for event in events:
            encoded = front_end.encode(event)
            if encoded is None or not connected or inbox.abandoned:
                continue
            try:
                await transport.send(encoded)
            except Unread as error:
                inbox.abandon(error)
            except Disconnected:
                connected = False  # Audio that was sent before may still arrive.


# --- Conversations


async def _read(
    transport: Transport[str | bytes], conversation: Conversation[R, E], inbox: Inbox[R]
) -> None:
    while True:
        try:
            message = await transport.receive()
        except Disconnected as error:
            await transport.close(*code_and_reason(error))
            inbox.abandon(error)
            await _drain(error)
        except TooLarge as error:
            # The connection can be read no further: recognise the audio so far, and then close.
            inbox.abandon(error)
            await _drain(error)
        except TranscribedError as error:
            inbox.end(error)
            await _drain(error)
        # Decoded at once, and without the traceback, which refers to the message, so that items are small.
        item: R | Item | Reply
        try:
            item = conversation.decode(message)
        except TranscribedError as error:
            item = error.with_traceback(None)
        del message
        if isinstance(item, Reply):
            await _reply(transport, inbox, item)
        else:
            await inbox.put(item)


async def _reply(transport: Transport[str | bytes], inbox: Inbox[R], reply: Reply) -> None:
    try:
        await transport.send(reply.message)
    except Unread as error:
        inbox.abandon(error)
        await _drain(error)
    except Disconnected:
        pass  # Audio that was sent before may still arrive.


async def _answer(
    transport: Transport[str | bytes], conversation: Conversation[R, E], inbox: Inbox[R]
) -> None:
    while (item := await inbox.peek()) is not None:
        if isinstance(item, AudioChunk | Spooled | EndOfAudio):
            audio = LiveAudio(inbox)
            await _send_answer(transport, conversation, inbox, conversation.listen(audio))
            # After an error, the client may still be sending audio.
            await audio.skip()
            continue
        inbox.drop()
        if isinstance(item, TranscribedError) and item is inbox.error:
            raise item
        if inbox.gone.is_set() or isinstance(item, Flush):  # Without audio, no segment is open.
            continue
        if isinstance(item, TranscribedError):
            await transport.send(conversation.encode_error(item))
        else:
            await _until_gone(
                inbox, _send_answer(transport, conversation, inbox, conversation.answer(item))
            )


async def _until_gone(inbox: Inbox[R], work: Coroutine[Any, Any, None]) -> None:
    """Run `work`, and cancel it when the client is gone."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(inbox.gone.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcome, _ = await asyncio.gather(*tasks, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome


async def _send_answer(
    transport: Transport[str | bytes],
    front_end: FrontEnd[E],
    inbox: Inbox[R],
    answer: AsyncGenerator[E, None],
) -> None:
    try:
        await _send_events(transport, front_end, inbox, answer)
    except (Disconnected, ExpiredToken, LimitExceeded, Stopping):
        raise
    except TranscribedError as error:
        if error is inbox.error:
            raise
        log_hidden(error)
        if not inbox.abandoned:
            await transport.send(front_end.encode_error(with_request_id(error)))


# --- Connections that only receive


async def _read_until_left(transport: Transport[str | bytes], audience: Audience) -> None:
    audience.check(await transport.receive())


async def _send_messages(transport: Transport[str | bytes], audience: Audience) -> None:
    async with aclosing(audience.messages()) as messages:
        async for message in messages:
            await transport.send(message)


# --- Connections that are one stream


async def _read_stream(
    transport: Transport[M], stream: LiveStreamHandler[M, E], inbox: Inbox[Never]
) -> None:
    """Read to the end of the audio, or to an error (such as Disconnected), which ends it."""
    item: AudioChunk | EndOfAudio | TranscribedError | None = None
    while item is None or isinstance(item, AudioChunk):
        try:
            item = stream.decode(await transport.receive())
        except TranscribedError as error:
            item = error.with_traceback(None)
        if isinstance(item, Disconnected):
            await transport.close(*code_and_reason(item))
        await inbox.put(item)
    if isinstance(item, Disconnected):
        await _drain(item)
    await asyncio.Event().wait()  # The answering task ends the conversation.
