"""Bytes of a recording, wherever they are kept."""

import asyncio
import os
from typing import BinaryIO, Protocol, Self


class Source(Protocol):
    """A recording of known length, read at any position. To be closed."""

    @property
    def size(self) -> int:
        """Its length in bytes."""
        ...

    @property
    def descriptor(self) -> int | None:
        """The descriptor of a regular file that holds just these bytes, open until `close`.

        Another process may be handed it, and then reads for itself. None where there is no such file.
        """
        ...

    async def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from a position on; none behind the end. May raise TranscribedError."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


class FileSource:
    """A Source over a regular file that is open. Closing it closes the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.descriptor = file.fileno()
        self.size = os.fstat(self.descriptor).st_size

    async def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from a position on."""
        return await asyncio.to_thread(os.pread, self.descriptor, size, offset)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
