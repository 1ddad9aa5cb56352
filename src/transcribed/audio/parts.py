"""Containers behind one another in one file or stream, as a recorder that begins again writes them.

FFmpeg itself reads on in Ogg, FLAC, MP3, MPEG and the like. Where it stops at the end of the first, or
takes the next one's header for sound, that end is found here: ISO media (MP4, MOV, M4A), WAV, Wave64, AIFF,
AU, CAF, ASF, FLV and finished Matroska. They are walked from header to header, by offsets from the start.
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
    returned,
)

_READ_BYTES = 32 * 1024


class ByteStream(Protocol):
    """Bytes that can be read once, as PyAV does it."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...


class ByteSource(ByteStream, Protocol):
    """A seekable file of bytes, as PyAV reads it."""

    def seek(self, offset: int, whence: int, /) -> int:
        """The new position."""
        ...

    def tell(self) -> int:
        """The position."""
        ...


class Part(Protocol):
    """One container, as a file for FFmpeg to read.

    `options` are those that its demuxer needs; `sized` is false if its header may have a wrong length;
    `codecs` are the names that the sound tracks of ISO media have for theirs, as far as they are known.
    """

    options: dict[str, str]
    sized: bool
    codecs: list[str]

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the container's end."""
        ...


# --- A file


class StoredPart:
    """A stretch of a file, as a file of its own: [start, end), or to the end of the file."""

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
        """Whether its header can be believed, where it says how long it is."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        at = self._start + self._position
        if self._end is not None:
            size = max(min(size, self._end - at), 0)
        data = self._parts.read(at, size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """The new position."""
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            size = self._parts.size()
            offset += min(size, size if self._end is None else self._end) - self._start
        self._position = max(offset, 0)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position


class StoredParts:
    """The containers of a file. Where they begin and end is looked up before they are read."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._at: int | None = None
        self._size: int | None = None
        self._next: int | None = 0
        self.error: BaseException | None = None
        """What the file's own read raised."""
        self.left_behind = False
        """Whether there is something behind the last container that is none."""

    def next(self) -> StoredPart | None:
        """The next container, or at first what may be one. Raises UnreadableAudio."""
        if self._next is None or self._next == NO_CONTAINER:
            return None
        start = self._next
        head = self._exactly(start, HEADER_BYTES)
        found = Findings(live=False)
        end = self._walked(container_end(start, found))
        self._next = None
        if end is not None:
            self._next = self._walked(next_start(end))
            self.left_behind = self._next == NO_CONTAINER
        return StoredPart(self, start, end, demuxer_options(head), found.codecs)

    def read(self, at: int, size: int) -> bytes:
        """Up to `size` bytes from there."""
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
        """Of the file, in bytes."""
        if self._size is None:
            self._at = None
            self._size = self._source.seek(0, io.SEEK_END)
        return self._size

    def _exactly(self, at: int, size: int) -> bytes:
        data = b""
        size = min(size, self.size() - at)
        while len(data) < size and (more := self.read(at + len(data), size - len(data))):
            data += more
        return data

    def _walked(self, walk: Walk) -> int | None:
        try:
            request = next(walk)
            while True:
                request = walk.send(self._exactly(*request))
        except StopIteration as found:
            return returned(found)


# --- A stream


class LivePart:
    """What comes of a stream until its container ends. It cannot seek."""

    def __init__(self, parts: "LiveParts", options: dict[str, str], codecs: list[str]) -> None:
        self._parts = parts
        self.options = options
        self.codecs = codecs
        self.sized = True

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        return self._parts.read(size)


class LiveParts:
    """The containers of a stream. Their headers are looked at as they pass."""

    def __init__(self, source: ByteStream) -> None:
        self._source = source
        self._held = b""
        self._at = 0
        self._ended = False
        self._walk: Walk | None = None
        self._request = (0, 0)
        self._end: int | None = 0
        self.error: BaseException | None = None
        """What the stream's own read raised, or what is wrong with the container."""
        self.left_behind = False
        """Whether there is something behind the last container that is none."""

    def next(self) -> LivePart | None:
        """The next container, or at first what may be one; waits until it is known whether there is one.

        Raises UnreadableAudio and what the stream raises.
        """
        while self.read(_READ_BYTES):
            pass
        if self._end is None:
            return None
        start = self._followed(next_start(self._end)) if self._at else 0
        if start is None or start == NO_CONTAINER:
            self.left_behind = start is not None
            return None
        head = self._waited_for(HEADER_BYTES)
        self._end = None
        found = Findings(live=True)
        self._begin(container_end(start, found))
        return LivePart(self, demuxer_options(head), found.codecs)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the container; none at its end."""
        try:
            return self._released(size)
        except BaseException as error:
            self.error = error
            raise

    def _begin(self, walk: Walk) -> None:
        self._request = next(walk)
        self._walk = walk

    def _released(self, size: int) -> bytes:
        while True:
            self._answer()
            length = min(size, len(self._held))
            if self._walk is not None:
                length = min(length, self._request[0] - self._at)
            elif self._end is not None:
                length = min(length, self._end - self._at)
            if length > 0 or self._over():
                return self._dropped(length)
            self._more()

    def _over(self) -> bool:
        if self._walk is None and self._end is not None and self._at >= self._end:
            return True
        return self._ended and not self._held

    def _answer(self) -> None:
        """Go on walking, as far as the bytes are there."""
        while self._walk is not None:
            offset, length = self._request
            found = self._held[offset - self._at : offset - self._at + length]
            if len(found) < length and not self._ended:
                return
            try:
                self._request = self._walk.send(found)
            except StopIteration as done:
                self._walk, self._end = None, returned(done)

    def _followed(self, walk: Walk) -> int | None:
        """Where the walk ends, everything before it dropped."""
        try:
            offset, length = next(walk)
            while True:
                while self._at < offset and (self._held or not self._ended):
                    self._dropped(offset - self._at)
                    if self._at < offset:
                        self._more()
                offset, length = walk.send(self._waited_for(length))
        except StopIteration as done:
            return returned(done)

    def _waited_for(self, length: int) -> bytes:
        while len(self._held) < length and not self._ended:
            self._more()
        return self._held[:length]

    def _more(self) -> None:
        data = self._source.read(_READ_BYTES)
        self._ended = not data
        self._held += data

    def _dropped(self, length: int) -> bytes:
        dropped, self._held = self._held[:length], self._held[length:]
        self._at += len(dropped)
        return dropped
