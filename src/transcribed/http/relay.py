"""The live loop: requests and audio in, events out, over any transport and in any protocol.

One task reads, so that a client's going is noticed at once; another answers in the order of what came. Live
audio takes its turn like a request, and feeds its answer while it comes. Whichever task ends first ends the
other. When the server stops, nothing new begins; what runs has a time of grace for its last words.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from transcribed.errors import BadRequest, Disconnected, LimitExceeded, Stopping, TranscribedError
from transcribed.http.inbox import Inbox, LiveAudio
from transcribed.http.transports import Transport
from transcribed.transcript import LiveEvent
from transcribed.wire.audio import AudioChunk, EndOfAudio

R = TypeVar("R")
_CLOSE_NORMAL, _CLOSE_GOING_AWAY = 1000, 1001
_CLOSE_POLICY_VIOLATION, _CLOSE_INTERNAL_ERROR, _CLOSE_TRY_AGAIN_LATER = 1008, 1011, 1013

# For what is said to clients when the grace is over. Who does not read is cut off.
_GOODBYE_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Conversation(Protocol[R]):
    """What a front end speaks, and what it does about it."""

    @property
    def audio_ahead(self) -> int:
        """Bytes of live audio that may wait to be taken."""
        ...

    def decode(self, message: str | bytes) -> R | AudioChunk | EndOfAudio | None:
        """A message as a request or audio; None where the client is done. Raises TranscribedError."""
        ...

    def answer(self, request: R) -> AsyncGenerator[LiveEvent, None]:
        """The events that answer a request. May raise TranscribedError."""
        ...

    def listen(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[LiveEvent, None]:
        """The events of live audio, while it comes. May raise TranscribedError."""
        ...

    def encode(self, event: LiveEvent) -> str | bytes | None:
        """An event as a message; None where the protocol has no message for it."""
        ...

    def encode_error(self, error: TranscribedError) -> str | bytes:
        """An error as a message."""
        ...


class Relays:
    """All conversations of this server."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._grace_over = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, transport: Transport, conversation: Conversation[R]) -> None:
        """Converse until the client is done or gone, or the server stops."""
        stop = partial(_stop, self.stopping, self._grace_over)
        task = asyncio.ensure_future(_relay(transport, conversation, stop))
        self._running.add(task)
        try:
            await task
        finally:
            self._running.discard(task)

    async def stop(self, grace: float) -> None:
        """End them all: with their last words within `grace` seconds, or without, and all are told."""
        self.stopping.set()
        await self._ended(grace)
        self._grace_over.set()
        await self._ended(_GOODBYE_SECONDS)
        for task in self._running:
            task.cancel()
        await self._ended(_GOODBYE_SECONDS)

    async def _ended(self, seconds: float) -> None:
        if self._running:
            await asyncio.wait(set(self._running), timeout=seconds)


async def _relay(
    transport: Transport,
    conversation: Conversation[R],
    stop: Callable[[Inbox[R]], Coroutine[Any, Any, None]],
) -> None:
    inbox: Inbox[R] = Inbox(conversation.audio_ahead)
    tasks = [
        asyncio.create_task(_read(transport, conversation, inbox), name="relay-read"),
        asyncio.create_task(_answer(transport, conversation, inbox), name="relay-answer"),
        asyncio.create_task(stop(inbox), name="relay-stop"),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        match outcome:
            # Only now, when nothing receives any more: until then Granian would hold the close back.
            case None:
                await transport.close(_CLOSE_NORMAL, "")
            case Disconnected():
                _log.info("A connection ended: %s", outcome.message)
                # Also where nobody reads: else Granian keeps the connection for as long as the client does.
                await transport.close(_CLOSE_GOING_AWAY, "nothing was read for too long")
            case Stopping():
                await _part(transport, conversation, outcome, _CLOSE_GOING_AWAY, "the server is stopping")
            case LimitExceeded():
                await _part(transport, conversation, outcome, _CLOSE_TRY_AGAIN_LATER, "try again later")
            case BadRequest():
                await _part(transport, conversation, outcome, _CLOSE_POLICY_VIOLATION, "too much at once")
            case Exception():
                _log.error("A conversation failed.", exc_info=outcome)
                await transport.close(_CLOSE_INTERNAL_ERROR, "internal error")


async def _part(
    transport: Transport, conversation: Conversation[R], error: TranscribedError, code: int, reason: str
) -> None:
    with suppress(Disconnected):
        await transport.send(conversation.encode_error(error))
    await transport.close(code, reason)


async def _stop(stopping: asyncio.Event, grace_over: asyncio.Event, inbox: Inbox[R]) -> None:
    await stopping.wait()
    inbox.stop()
    await grace_over.wait()
    raise Stopping


async def _read(transport: Transport, conversation: Conversation[R], inbox: Inbox[R]) -> None:
    while True:
        message = await transport.receive()
        # Decoded at once, and without the traceback, which holds the message: what waits is small.
        try:
            item: R | AudioChunk | EndOfAudio | TranscribedError | None = conversation.decode(message)
        except TranscribedError as error:
            item = error.with_traceback(None)
        del message
        await inbox.put(item)


async def _answer(transport: Transport, conversation: Conversation[R], inbox: Inbox[R]) -> None:
    while (item := await inbox.first()) is not None:
        if isinstance(item, AudioChunk | EndOfAudio):
            audio = LiveAudio(inbox)
            await _send(transport, conversation, conversation.listen(audio))
            # After an error the client may not know yet that nobody listens any more.
            await audio.skip()
            continue
        inbox.drop()
        if isinstance(item, TranscribedError):
            await transport.send(conversation.encode_error(item))
        else:
            await _send(transport, conversation, conversation.answer(item))


async def _send(
    transport: Transport, conversation: Conversation[R], answer: AsyncGenerator[LiveEvent, None]
) -> None:
    try:
        async with aclosing(answer) as events:
            async for event in events:
                encoded = conversation.encode(event)
                if encoded is not None:
                    await transport.send(encoded)
    except (Disconnected, LimitExceeded, Stopping):
        raise
    except TranscribedError as error:
        await transport.send(conversation.encode_error(error))
