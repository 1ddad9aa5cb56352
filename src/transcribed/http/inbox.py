"""What a client has sent and what waits for its turn."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from transcribed.audio.formats import Encoding, InputFormat
from transcribed.errors import BadRequest, Stopping, TranscribedError
from transcribed.wire.audio import AudioChunk, EndOfAudio

REQUESTS_AHEAD = 4096
"""Requests that a client may send before their turn; with more the conversation ends."""
AUDIO_AHEAD_SECONDS = 1.0
"""Live audio that may wait in front of the engine's stream, which holds some itself."""
CONTAINER_AHEAD_BYTES = 64 * 1024
"""The same for a container, of which nobody knows how long it sounds before it is decoded."""
AUDIO_WAIT = 60.0
"""Seconds that live audio may wait for what came before it; then the conversation ends."""

R = TypeVar("R")
# What a chunk takes beside its bytes.
_CHUNK_COST = 128


def audio_ahead(form: InputFormat) -> int:
    """Bytes of live audio that may wait."""
    if form.encoding is Encoding.AUTO:
        return CONTAINER_AHEAD_BYTES
    return round(AUDIO_AHEAD_SECONDS * form.sample_rate) * form.frame_bytes


class Inbox(Generic[R]):
    """Requests, errors (of messages that are none), audio, and None for the goodbye, in their order.

    One task puts, another takes. About `audio_bytes` of audio have room.
    """

    def __init__(self, audio_bytes: int) -> None:
        self._items: deque[R | AudioChunk | EndOfAudio | TranscribedError | None] = deque()
        self._audio_bytes = audio_bytes
        self._held = 0
        self._requests = 0
        self._stopped = False
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    async def put(self, item: R | AudioChunk | EndOfAudio | TranscribedError | None) -> None:
        """Add something; waits while there is more audio than has room. Raises BadRequest for too much.

        After `stop` it is dropped.
        """
        if self._stopped:
            return
        if isinstance(item, AudioChunk):
            self._held += len(item.data) + _CHUNK_COST
        elif self._requests >= REQUESTS_AHEAD:
            # To stop reading instead would hide that the client goes.
            raise BadRequest(
                f"More than {REQUESTS_AHEAD} names are waiting. Send the next when some have been answered."
            )
        else:
            self._requests += 1
        self._items.append(item)
        self._filled.set()
        if self._held > self._audio_bytes:
            await self._room()

    def stop(self, error: TranscribedError) -> None:
        """Take no more, begin nothing; audio that has begun raises the error behind what is here."""
        self._stopped = True
        self._items.append(error)
        self._requests += 1
        self._filled.set()

    async def first(self) -> R | AudioChunk | EndOfAudio | TranscribedError | None:
        """What came first of all that is here; waits for it, and leaves it here. Raises Stopping."""
        first = await self.first_of_begun()
        if self._stopped:
            raise Stopping
        return first

    async def first_of_begun(self) -> R | AudioChunk | EndOfAudio | TranscribedError | None:
        """The same for live audio that has begun, which is heard up to the stop."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self._items[0]

    def drop(self) -> None:
        """Remove what came first."""
        item = self._items.popleft()
        if isinstance(item, AudioChunk):
            self._held -= len(item.data) + _CHUNK_COST
            self._emptied.set()
        else:
            self._requests -= 1

    async def _room(self) -> None:
        try:
            async with asyncio.timeout(AUDIO_WAIT):
                while self._held > self._audio_bytes:
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError as error:
            raise BadRequest(
                f"Live audio has waited {AUDIO_WAIT:.0f} seconds for what was sent before it. Send it when "
                "that has been answered, or on a connection of its own."
            ) from error


class LiveAudio(Generic[R]):
    """The chunks of one live stream, out of an inbox of which they come first.

    They end at EndOfAudio, or in front of anything else that is no audio; an error among them is raised.
    """

    def __init__(self, inbox: Inbox[R]) -> None:
        self._inbox = inbox
        self._ended = False

    def __aiter__(self) -> "LiveAudio[R]":
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        item = await self._inbox.first_of_begun()
        if isinstance(item, AudioChunk):
            self._inbox.drop()
            return item.data
        if isinstance(item, TranscribedError):
            self._inbox.drop()
            raise item
        self._ended = True
        if isinstance(item, EndOfAudio):
            self._inbox.drop()
        raise StopAsyncIteration

    async def skip(self) -> None:
        """Drop what is left of it. Raises Stopping."""
        while not self._ended:
            try:
                await anext(self, None)
            except Stopping:
                raise
            except TranscribedError:
                pass
