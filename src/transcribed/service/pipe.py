"""Bytes from the event loop to a thread that reads them as a file."""

import asyncio
import threading
from collections import deque


class Pipe:
    """One task writes, one thread reads. It cannot seek, and holds about `limit` bytes.

    A full pipe makes the writer wait, an empty one the reader. Whoever makes it must `close` it, whatever
    happens: that is what frees a reader.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._taken = 0
        self._held = 0
        self._ended = False

    async def write(self, data: bytes) -> None:
        """Add bytes; waits while the pipe is full. Behind its end they are dropped."""
        with self._changed:
            if self._ended:
                return
            self._chunks.append(data)
            self._held += len(data)
            self._changed.notify()
        while self._is_full():
            await self._room.wait()

    def end(self) -> None:
        """No more bytes come; the reader gets those that are there."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def close(self) -> None:
        """Nobody needs the bytes any more; reader and writer are freed."""
        with self._changed:
            self._ended = True
            self._chunks.clear()
            self._held = 0
            self._changed.notify()
        self._room.set()

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, as soon as there are any; none at the end. For the thread."""
        with self._changed:
            while not self._chunks and not self._ended:
                self._changed.wait()
            return self._take(size) if self._chunks else b""

    def _take(self, size: int) -> bytes:
        first = self._chunks[0]
        data = first[self._taken : self._taken + size]
        self._taken += len(data)
        if self._taken == len(first):
            self._chunks.popleft()
            self._taken = 0
        was_full = self._held >= self._limit
        self._held -= len(data)
        if was_full and self._held < self._limit:
            self._loop.call_soon_threadsafe(self._room.set)
        return data

    def _is_full(self) -> bool:
        with self._changed:
            full = self._held >= self._limit and not self._ended
            if full:
                self._room.clear()
            return full
