"""The queue of received requests and audio that wait for their turn."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from transcribed.audio.formats import Encoding, InputFormat
from transcribed.errors import BadRequest, Disconnected, TooLarge, TranscribedError
from transcribed.http.spool import Spool
from transcribed.wire.audio import AudioChunk, EndOfAudio, Flush

REQUESTS_AHEAD = 4096
"""The most requests that may wait; with more, the conversation ends."""
AUDIO_AHEAD_SECONDS = 1.0
"""Live audio that may wait in memory, in addition to the buffer of the engine's stream."""
CONTAINER_AHEAD_BYTES = 64 * 1024
"""The same for a container, whose duration is unknown before it is decoded."""
AUDIO_WAIT = 60.0
"""The longest that live audio waits for room; then the conversation ends."""

MOST_CHUNK_BYTES = 1024 * 1024
"""The most bytes of a chunk; larger ones are divided, so that all but the first wait in the spool."""

R = TypeVar("R")
Item = AudioChunk | EndOfAudio | Flush | TranscribedError | None
# The memory that a chunk takes in addition to its bytes.
_CHUNK_COST = 128
_SPOOLED_CHUNK_BYTES = 64 * 1024
# A client whose messages follow one another within this time is sending as fast as it can.
_FLOOD_SECONDS = 0.05
_FLOOD_PAUSE = 0.25


@dataclass(slots=True)
class Spooled:
    """A run of live audio that waits in the spool; `size` is in bytes."""

    size: int


def audio_ahead(form: InputFormat) -> int:
    """The bytes of live audio in this format that may wait in memory."""
    if form.encoding is Encoding.AUTO:
        return CONTAINER_AHEAD_BYTES
    return round(AUDIO_AHEAD_SECONDS * form.sample_rate) * form.frame_bytes


class Inbox(Generic[R]):
    """A queue of requests, errors (of invalid messages), audio, and None (the end), in order.

    One task puts, another takes. About `audio_bytes` of audio wait in memory, and further audio in the
    spool, so that the connection is always read: otherwise pings would not be answered.
    """

    def __init__(self, audio_bytes: int, spool: Spool) -> None:
        self.gone = asyncio.Event()
        """Set when the client is gone, does not read, or cannot be read any more. Audio that it sent before
        is still recognised, but no request is answered."""
        self.error: TranscribedError | None = None
        """The error that ended the inbox; None while it accepts items."""
        self._items: deque[R | Item | Spooled] = deque()
        self._audio_bytes = audio_bytes
        self._spool = spool
        self._held = 0
        self._requests = 0
        self._spooled_at = float("-inf")
        self._stopped: TranscribedError | None = None
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    async def put(self, item: R | Item) -> None:
        """Add an item; waits while there is no room for audio. Raises BadRequest if too much waits.

        After the end, items are discarded.
        """
        if isinstance(item, AudioChunk):
            if len(item.data) <= MOST_CHUNK_BYTES:
                await self._put_audio(item)
                return
            for start in range(0, len(item.data), MOST_CHUNK_BYTES):
                await self._put_audio(AudioChunk(item.data[start : start + MOST_CHUNK_BYTES]))
        elif isinstance(item, Flush) and self._items and isinstance(self._items[-1], Flush):
            pass
        elif self._requests < REQUESTS_AHEAD:
            self._append(item)
        elif self.error is None:
            # An error, because a connection that is not read would not notice a disconnection.
            raise BadRequest(
                f"More than {REQUESTS_AHEAD} names are waiting. Send the next when some have been answered."
            )

    async def _put_audio(self, chunk: AudioChunk) -> None:
        size = len(chunk.data)
        if not self._has_room(size):
            await self._wait_for_room(size)
        if self.error is not None:
            return
        if self._held <= self._audio_bytes:
            self._held += size + _CHUNK_COST
            self._items.append(chunk)
            self._filled.set()
            return
        last = self._items[-1]
        if isinstance(last, Spooled):
            last.size += size
        else:
            self._items.append(Spooled(size))
        self._spooled_at = asyncio.get_running_loop().time()
        await self._spool.write(chunk.data)

    def _append(self, item: R | Item) -> None:
        if self.error is None:
            self._items.append(item)
            self._requests += 1
            self._filled.set()

    def end(self, error: TranscribedError) -> None:
        """Accept no more items. The waiting items remain, followed by the error, which is never removed."""
        self._append(error)
        self.error = self.error or error
        self._emptied.set()

    def abandon(self, error: Disconnected | TooLarge) -> None:
        """End with an error after which the client gets no answers, and set `gone`."""
        self.end(error)
        self.gone.set()

    @property
    def abandoned(self) -> bool:
        """Whether the client no longer reads any answer."""
        return self.gone.is_set() and isinstance(self.error, Disconnected)

    def stop(self, error: TranscribedError) -> None:
        """Start no more answers, and end a running stream with the error after the audio in memory."""
        self._stopped = error
        # Audio in the spool is discarded, because recognising it would take too long.
        spooled = next((at for at, item in enumerate(self._items) if isinstance(item, Spooled)), None)
        if spooled is not None:
            self.error = None
            while len(self._items) > spooled:
                self._discount(self._items.pop())
        self.end(error)

    async def peek(self) -> R | Item | Spooled:
        """Wait for the first item, without removing it. After `stop` raises the error that ended it."""
        first = await self.peek_in_stream()
        if self._stopped is not None:
            raise self._stopped
        return first

    async def peek_in_stream(self) -> R | Item | Spooled:
        """The same for a live stream that has begun, which continues after `stop`."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self._items[0]

    def drop(self) -> None:
        """Remove the first item."""
        self._discount(self._items.popleft())
        self._emptied.set()

    async def read_spooled(self, waiting: Spooled) -> bytes:
        """Read some bytes of the first item, which is spooled audio; the rest remains.

        While the client sends as fast as it can, this is limited to 64 KiB in 0.25 s, so that receiving has
        precedence. Recognition would slow the client tenfold, and some clients read nothing, not even a
        pong, until all is sent.
        """
        if asyncio.get_running_loop().time() - self._spooled_at < _FLOOD_SECONDS:
            await asyncio.sleep(_FLOOD_PAUSE)
        data = await self._spool.read(min(waiting.size, _SPOOLED_CHUNK_BYTES))
        waiting.size -= len(data)
        if not waiting.size and self._items and self._items[0] is waiting:
            self._items.popleft()
        self._emptied.set()
        return data

    async def aclose(self) -> None:
        """Close the spool."""
        await self._spool.aclose()

    def _discount(self, item: R | Item | Spooled) -> None:
        if isinstance(item, AudioChunk):
            self._held -= len(item.data) + _CHUNK_COST
        elif not isinstance(item, Spooled):
            self._requests -= 1

    def _has_room(self, size: int) -> bool:
        return self.error is not None or self._held <= self._audio_bytes or self._spool.has_room(size)

    async def _wait_for_room(self, size: int) -> None:
        try:
            async with asyncio.timeout(AUDIO_WAIT):
                while not self._has_room(size):
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError as error:
            raise BadRequest(
                f"Live audio has waited {AUDIO_WAIT:.0f} seconds for what was sent before it. Send it when "
                "that has been answered, or on a connection of its own."
            ) from error


class LiveAudio(Generic[R]):
    """Iterates over the chunks and flushes of one live stream, which are the first items of an inbox.

    It ends at EndOfAudio, or before any other item that is not audio, and raises an error in its place.
    """

    def __init__(self, inbox: Inbox[R]) -> None:
        self._inbox = inbox
        self._ended = False

    def __aiter__(self) -> "LiveAudio[R]":
        return self

    async def __anext__(self) -> bytes | Flush:
        if self._ended:
            raise StopAsyncIteration
        item = await self._inbox.peek_in_stream()
        if isinstance(item, Spooled):
            return await self._inbox.read_spooled(item)
        if isinstance(item, AudioChunk):
            self._inbox.drop()
            return item.data
        if isinstance(item, Flush):
            self._inbox.drop()
            return item
        if isinstance(item, TranscribedError):
            if item is not self._inbox.error:
                self._inbox.drop()
            raise item
        self._ended = True
        if isinstance(item, EndOfAudio):
            self._inbox.drop()
        raise StopAsyncIteration

    async def skip(self) -> None:
        """Discard the rest of the stream. Raises the error that ended the inbox."""
        while not self._ended:
            try:
                await anext(self, None)
            except TranscribedError as error:
                if error is self._inbox.error:
                    raise
