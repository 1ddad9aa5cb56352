"""Access to a recording's bytes, wherever it is stored."""

import asyncio
import os
from typing import BinaryIO, Protocol, Self


class Source(Protocol):
    """A recording of known length that can be read from any position. Must be closed."""

    @property
    def size(self) -> int:
        """The length in bytes."""
        ...

    @property
    def descriptor(self) -> int | None:
        """The descriptor of a regular file with exactly these bytes, open until `close`; None without one.

        It can be sent to another process, which then reads the file itself.
        """
        ...

    async def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; empty at the end. May raise TranscribedError."""
        ...

    def close(self) -> None:
        """Release its resources."""
        ...


class FileSource:
    """A Source over an open regular file, which it closes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.descriptor = file.fileno()
        self.size = os.fstat(self.descriptor).st_size

    async def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; empty at the end."""
        return await asyncio.to_thread(os.pread, self.descriptor, size, offset)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
