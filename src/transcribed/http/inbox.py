"""What a client has sent and what waits for its turn."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from transcribed.audio.formats import Encoding, InputFormat
from transcribed.errors import BadRequest, Disconnected, Stopping, TooLarge, TranscribedError
from transcribed.http.spool import Spool
from transcribed.wire.audio import AudioChunk, EndOfAudio, Flush

REQUESTS_AHEAD = 4096
"""Requests that a client may send before their turn; with more the conversation ends."""
AUDIO_AHEAD_SECONDS = 1.0
"""Live audio that may wait in memory, in front of the engine's stream, which holds some itself."""
CONTAINER_AHEAD_BYTES = 64 * 1024
"""The same for a container, of which nobody knows how long it sounds before it is decoded."""
AUDIO_WAIT = 60.0
"""Seconds that live audio may wait for room; then the conversation ends."""

R = TypeVar("R")
Item = AudioChunk | EndOfAudio | Flush | TranscribedError | None
# What a chunk takes beside its bytes.
_CHUNK_COST = 128
_SPOOLED_CHUNK_BYTES = 64 * 1024
# A client whose messages follow one another as closely as this sends as fast as it can.
_FLOOD_SECONDS = 0.05
_FLOOD_PAUSE = 0.25


@dataclass(slots=True)
class Spooled:
    """Some bytes of live audio that wait in the spool."""

    size: int


def audio_ahead(form: InputFormat) -> int:
    """Bytes of live audio that may wait in memory."""
    if form.encoding is Encoding.AUTO:
        return CONTAINER_AHEAD_BYTES
    return round(AUDIO_AHEAD_SECONDS * form.sample_rate) * form.frame_bytes


class Inbox(Generic[R]):
    """Requests, errors (of messages that are none), audio, and None for the goodbye, in their order.

    One task puts, another takes. About `audio_bytes` of audio wait in memory, and what comes behind them in
    the spool, so that the connection is read on: where it is not, nobody answers its client's pings.
    """

    def __init__(self, audio_bytes: int, spool: Spool) -> None:
        self.gone = asyncio.Event()
        """The client is gone, does not listen or can be read no more: what it said is heard, and nothing
        else is answered."""
        self.error: TranscribedError | None = None
        """What ended it; None while it takes something."""
        self._items: deque[R | Item | Spooled] = deque()
        self._audio_bytes = audio_bytes
        self._spool = spool
        self._held = 0
        self._requests = 0
        self._spooled_at = float("-inf")
        self._stopped = False
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    async def put(self, item: R | Item) -> None:
        """Add something; waits while there is more audio than has room. Raises BadRequest for too much.

        After the end it is dropped.
        """
        if isinstance(item, AudioChunk):
            await self._put_audio(item)
        elif isinstance(item, Flush) and self._items and isinstance(self._items[-1], Flush):
            pass
        elif self._requests < REQUESTS_AHEAD:
            self._append(item)
        elif self.error is None:
            # To stop reading instead would hide that the client goes.
            raise BadRequest(
                f"More than {REQUESTS_AHEAD} names are waiting. Send the next when some have been answered."
            )

    async def _put_audio(self, chunk: AudioChunk) -> None:
        size = len(chunk.data)
        if not self._has_room(size):
            await self._room(size)
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
        """Take no more; what is here is there still, and the error behind it, for good."""
        self._append(error)
        self.error = self.error or error
        self._emptied.set()

    def leave(self, error: Disconnected | TooLarge) -> None:
        """The client is gone, does not listen, or can be read no more: see `gone`."""
        self.end(error)
        self.gone.set()

    @property
    def unheard(self) -> bool:
        """Whether nobody listens to an answer any more."""
        return self.gone.is_set() and isinstance(self.error, Disconnected)

    def stop(self, error: Stopping) -> None:
        """Begin nothing; audio that has begun raises the error behind what is in memory."""
        self._stopped = True
        # What waits in the spool would take longer than a stop may.
        spooled = next((at for at, item in enumerate(self._items) if isinstance(item, Spooled)), None)
        if spooled is not None:
            self.error = None
            while len(self._items) > spooled:
                self._forget(self._items.pop())
        self.end(error)

    async def first(self) -> R | Item | Spooled:
        """What came first of all that is here; waits for it, and leaves it here. Raises Stopping."""
        first = await self.first_of_begun()
        if self._stopped:
            raise Stopping
        return first

    async def first_of_begun(self) -> R | Item | Spooled:
        """The same for live audio that has begun, which is heard up to the stop."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self._items[0]

    def drop(self) -> None:
        """Remove what came first."""
        self._forget(self._items.popleft())
        self._emptied.set()

    async def spooled(self, waiting: Spooled) -> bytes:
        """Some of the spooled audio that came first; what is left of it stays here.

        While more comes as fast as it can, that is received first: it is 64 KiB in a quarter of a second.
        Recognition would slow the client tenfold, which may read no result, and no pong, until all is sent.
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
        """Nobody takes anything any more."""
        await self._spool.aclose()

    def _forget(self, item: R | Item | Spooled) -> None:
        if isinstance(item, AudioChunk):
            self._held -= len(item.data) + _CHUNK_COST
        elif not isinstance(item, Spooled):
            self._requests -= 1

    def _has_room(self, size: int) -> bool:
        return self.error is not None or self._held <= self._audio_bytes or self._spool.has_room(size)

    async def _room(self, size: int) -> None:
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
    """The chunks of one live stream and the flushes among them, out of an inbox of which they come first.

    They end at EndOfAudio, or in front of anything else that is no audio; an error among them is raised.
    """

    def __init__(self, inbox: Inbox[R]) -> None:
        self._inbox = inbox
        self._ended = False

    def __aiter__(self) -> "LiveAudio[R]":
        return self

    async def __anext__(self) -> bytes | Flush:
        if self._ended:
            raise StopAsyncIteration
        item = await self._inbox.first_of_begun()
        if isinstance(item, Spooled):
            return await self._inbox.spooled(item)
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
        """Drop what is left of it. Raises the error that ended the inbox."""
        while not self._ended:
            try:
                await anext(self, None)
            except TranscribedError as error:
                if error is self._inbox.error:
                    raise
