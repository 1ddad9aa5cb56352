"""Splits a file or stream of concatenated containers, as a restarted recorder writes them, into its parts.

FFmpeg itself reads on in formats such as Ogg, FLAC, MP3 and MPEG. For those in which it does not, walks.py
finds where each container ends.
"""

import io
from typing import Protocol

from transcribed.audio.walks import (
    HEADER_BYTES,
    NO_CONTAINER,
    Findings,
    Walk,
    container_end,
    demuxer_options,
    next_start,
    walk_result,
)

_READ_BYTES = 32 * 1024


class ByteStream(Protocol):
    """Bytes that can be read only once, in the interface that PyAV expects."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; empty at the end."""
        ...


class ByteSource(ByteStream, Protocol):
    """Bytes that can be read from any position, in the interface that PyAV expects."""

    def seek(self, offset: int, whence: int, /) -> int:
        """Move to a position, with `whence` as for `io.IOBase.seek`; returns the new position."""
        ...

    def tell(self) -> int:
        """The current position."""
        ...


class Part(Protocol):
    """One of the concatenated containers, as a file for FFmpeg."""

    options: dict[str, str]
    """Options for FFmpeg's demuxer."""
    sized: bool
    """Whether the duration in its header is reliable."""
    codecs: list[str]
    """Four-character codes of the audio tracks of ISO media; filled while the index is read."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; empty at the container's end."""
        ...


# --- Files


class StoredPart:
    """The bytes [start, end) of a file, or with None those to its end, as a seekable Part."""

    def __init__(
        self,
        parts: "StoredParts",
        start: int,
        end: int | None,
        options: dict[str, str],
        codecs: list[str],
    ) -> None:
        self._parts = parts
        self._start = start
        self._end = end
        self._position = 0
        self.options = options
        self.codecs = codecs
        self.sized = end is not None or not options

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; empty at the end."""
        at = self._start + self._position
        if self._end is not None:
            size = max(min(size, self._end - at), 0)
        data = self._parts.read(at, size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position, with `whence` as for `io.IOBase.seek`; returns the new position."""
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            size = self._parts.size()
            offset += min(size, size if self._end is None else self._end) - self._start
        self._position = max(offset, 0)
        return self._position

    def tell(self) -> int:
        """The current position."""
        return self._position


class StoredParts:
    """The containers of a file. The end of each is found before it is read."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._at: int | None = None
        self._size: int | None = None
        self._next: int | None = 0
        self.error: BaseException | None = None
        """The error that reading the file raised."""
        self.has_trailing_data = False
        """Whether bytes that are no container follow the last one."""

    def next(self) -> StoredPart | None:
        """The next container; at first the start of the file, whatever it is. Raises UnreadableAudio."""
        if self._next is None or self._next == NO_CONTAINER:
            return None
        start = self._next
        head = self._read_exactly(start, HEADER_BYTES)
        found = Findings(live=False)
        end = self._run(container_end(start, found))
        self._next = None
        if end is not None:
            self._next = self._run(next_start(end))
            self.has_trailing_data = self._next == NO_CONTAINER
        return StoredPart(self, start, end, demuxer_options(head), found.codecs)

    def read(self, at: int, size: int) -> bytes:
        """Up to `size` bytes of the file from `at`."""
        try:
            if at != self._at:
                self._source.seek(at, io.SEEK_SET)
            data = self._source.read(size)
        except BaseException as error:
            self._at = None
            self.error = error
            raise
        self._at = at + len(data)
        return data

    def size(self) -> int:
        """The size of the file in bytes."""
        if self._size is None:
            self._at = None
            self._size = self._source.seek(0, io.SEEK_END)
        return self._size

    def _read_exactly(self, at: int, size: int) -> bytes:
        data = b""
        size = min(size, self.size() - at)
        while len(data) < size and (more := self.read(at + len(data), size - len(data))):
            data += more
        return data

    def _run(self, walk: Walk) -> int | None:
        try:
            request = next(walk)
            while True:
                request = walk.send(self._read_exactly(*request))
        except StopIteration as found:
            return walk_result(found)


# --- Streams


class LivePart:
    """A container of a stream, as a Part that cannot seek."""

    def __init__(self, parts: "LiveParts", options: dict[str, str], codecs: list[str]) -> None:
        self._parts = parts
        self.options = options
        self.codecs = codecs
        self.sized = True

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; empty at the end."""
        return self._parts.read(size)


class LiveParts:
    """The containers of a stream. The walk to the end of each follows the bytes as they arrive."""

    def __init__(self, source: ByteStream) -> None:
        self._source = source
        self._held = b""
        self._at = 0
        self._source_ended = False
        self._walk: Walk | None = None
        self._request = (0, 0)
        self._end: int | None = 0
        self.error: BaseException | None = None
        """The error that reading the stream raised, or UnreadableAudio for its container."""
        self.has_trailing_data = False
        """Whether bytes that are no container follow the last one."""

    def next(self) -> LivePart | None:
        """The next container, after the rest of the current one; the first time the stream's start.

        Blocks until it is known whether there is one. Raises UnreadableAudio and what the stream raises.
        """
        while self.read(_READ_BYTES):
            pass
        if self._end is None:
            return None
        start = self._run(next_start(self._end)) if self._at else 0
        if start is None or start == NO_CONTAINER:
            self.has_trailing_data = start is not None
            return None
        head = self._peek(HEADER_BYTES)
        self._end = None
        found = Findings(live=True)
        self._start_walk(container_end(start, found))
        return LivePart(self, demuxer_options(head), found.codecs)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the current container; empty at its end."""
        try:
            return self._next_bytes(size)
        except BaseException as error:
            self.error = error
            raise

    def _start_walk(self, walk: Walk) -> None:
        self._request = next(walk)
        self._walk = walk

    def _next_bytes(self, size: int) -> bytes:
        while True:
            self._continue_walk()
            length = min(size, len(self._held))
            if self._walk is not None:
                length = min(length, self._request[0] - self._at)
            elif self._end is not None:
                length = min(length, self._end - self._at)
            if length > 0 or self._is_at_end():
                return self._take(length)
            self._read_more()

    def _is_at_end(self) -> bool:
        if self._walk is None and self._end is not None and self._at >= self._end:
            return True
        return self._source_ended and not self._held

    def _continue_walk(self) -> None:
        """Continue the walk as far as the held bytes allow."""
        while self._walk is not None:
            offset, length = self._request
            found = self._held[offset - self._at : offset - self._at + length]
            if len(found) < length and not self._source_ended:
                return
            try:
                self._request = self._walk.send(found)
            except StopIteration as done:
                self._walk, self._end = None, walk_result(done)

    def _run(self, walk: Walk) -> int | None:
        """The result of a walk between containers; bytes before its requests are dropped."""
        try:
            offset, length = next(walk)
            while True:
                while self._at < offset and (self._held or not self._source_ended):
                    self._take(offset - self._at)
                    if self._at < offset:
                        self._read_more()
                offset, length = walk.send(self._peek(length))
        except StopIteration as done:
            return walk_result(done)

    def _peek(self, length: int) -> bytes:
        while len(self._held) < length and not self._source_ended:
            self._read_more()
        return self._held[:length]

    def _read_more(self) -> None:
        data = self._source.read(_READ_BYTES)
        self._source_ended = not data
        self._held += data

    def _take(self, length: int) -> bytes:
        dropped, self._held = self._held[:length], self._held[length:]
        self._at += len(dropped)
        return dropped
