"""The contract of a store of recordings."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from transcribed.audio.media import ByteSource


@dataclass(frozen=True, slots=True)
class StoredMedia:
    """A stored recording: its name, bytes, and a version that changes whenever the bytes do."""

    name: str
    size: int
    version: str


class MediaStore(Protocol):
    """Named recordings. Names are valid (`names.valid_name`).

    A recording is staged first, so that it can be looked at before it appears under its name. Methods
    raise NotFound, MediaChanged, StorageFull and StorageFailure.
    """

    async def stage(self, chunks: AsyncIterator[bytes]) -> StoredMedia:
        """Keep bytes under a hidden name of their own. Nothing stays if the chunks raise."""
        ...

    async def commit(self, staged: StoredMedia, name: str) -> None:
        """Give staged bytes their name, in one step, in place of what had it."""
        ...

    async def discard(self, staged: StoredMedia) -> None:
        """Forget staged bytes."""
        ...

    async def find(self, name: str) -> StoredMedia:
        """What is stored under a name."""
        ...

    async def list(self) -> list[StoredMedia]:
        """All recordings, in the order of their names."""
        ...

    async def delete(self, name: str) -> None:
        """Remove a recording."""
        ...

    def read(self, media: StoredMedia, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end) of this very version."""
        ...

    def open(self, media: StoredMedia) -> ByteSource:
        """This very version as a file. Its methods block."""
        ...
