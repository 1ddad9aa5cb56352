"""Queues of bytes in files, so that received data can wait without taking memory."""

import asyncio
import logging
import os
import tempfile
from typing import BinaryIO

from transcribed.service.threads import OwnThread

SPOOL_BYTES = 256 * 1024 * 1024
"""The most bytes in one spool: 2.3 hours of 16 kHz pcm."""
SPOOLED_BYTES = 1024 * 1024 * 1024
"""The most bytes in the files of all spools together."""

_PIECE_BYTES = 256 * 1024

_log = logging.getLogger(__name__)


class Spools:
    """All spools of the server: their remaining disk space, and the thread that accesses files."""

    def __init__(self, each: int = SPOOL_BYTES, together: int = SPOOLED_BYTES) -> None:
        self.each = each
        self.room = together
        self.thread = OwnThread("spool")

    def spool(self) -> "Spool":
        """A new, empty spool."""
        return Spool(self)


class Spool:
    """A queue of bytes in a file, except the last ones, which are in memory. To be closed.

    One task writes, one reads. The file has no name. It is a ring buffer, so that it never exceeds the
    spool's limit, and is truncated whenever it has been read to its end. If it cannot be written, the spool
    has no room until all is read.
    """

    def __init__(self, spools: Spools) -> None:
        self._spools = spools
        self._run = spools.thread.run
        self._file: BinaryIO | None = None
        self._busy = asyncio.Lock()
        self._extent = 0
        self._read = 0
        self._written = 0
        self._last = bytearray()
        self._refused = False

    def __len__(self) -> int:
        return self._written - self._read + len(self._last)

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes may be written."""
        return not self._refused and len(self) + size <= self._spools.each

    async def write(self, data: bytes) -> None:
        """Append bytes, for which there must be room."""
        self._last += data
        if len(self._last) >= _PIECE_BYTES:
            async with self._busy:
                await self._store()

    async def read(self, most: int) -> bytes:
        """Remove and return the first bytes, at most `most`."""
        async with self._busy:
            if self._file is not None and self._written > self._read:
                start = self._read % self._spools.each
                size = min(most, self._written - self._read, self._spools.each - start)
                data = await self._run(os.pread, self._file.fileno(), size, start)
                self._read += len(data)
                if self._read == self._written:
                    await self._run(self._file.truncate, 0)
                    self._read = self._written = 0
                    self._take_room(0)
            else:
                data = bytes(self._last[:most])
                del self._last[:most]
            self._refused = self._refused and len(self) > 0
            return data

    async def aclose(self) -> None:
        """Close the file, and discard unread bytes."""
        async with self._busy:
            self._last.clear()
            self._read = self._written = 0
            file, self._file = self._file, None
            if file is not None:
                await self._run(file.close)
            self._take_room(0)

    async def _store(self) -> None:
        extent = max(self._extent, min(self._written + len(self._last), self._spools.each))
        if extent - self._extent > self._spools.room:
            self._refused = True
            return
        self._take_room(extent)
        try:
            file = self._file
            if file is None:
                file = self._file = await self._run(_file)
            await self._run(self._write, file.fileno(), bytes(self._last))
        except OSError as error:
            self._refused = True
            _log.warning("Live audio cannot wait in a file: %s. Its clients are slowed.", error.strerror)
            return
        self._written += len(self._last)
        self._last.clear()

    def _write(self, file: int, data: bytes) -> None:
        at = self._written
        while data:
            start = at % self._spools.each
            size = os.pwrite(file, data[: self._spools.each - start], start)
            data = data[size:]
            at += size

    def _take_room(self, extent: int) -> None:
        self._spools.room += self._extent - extent
        self._extent = extent


def _file() -> BinaryIO:
    return tempfile.TemporaryFile(buffering=0)
