"""Recordings in memory, which a decoding process reads through the server."""

from collections.abc import Callable


class MemorySource:
    """A Source of bytes; it calls back when it is read from some position on, and counts what is read."""

    descriptor = None

    def __init__(
        self, content: bytes, at: int | None = None, then: Callable[[], object] = lambda: None
    ) -> None:
        self.size = len(content)
        self.furthest = 0
        self.reads = 0
        self.closed = False
        self._content = content
        self._at = self.size if at is None else at
        self._then = then

    async def read(self, offset: int, size: int) -> bytes:
        assert not self.closed
        self.reads += 1
        end = min(offset + size, self.size)
        if offset < self._at:
            end = min(end, self._at)
        else:
            self._then()
        self.furthest = max(self.furthest, end)
        return self._content[offset:end]

    def close(self) -> None:
        self.closed = True
