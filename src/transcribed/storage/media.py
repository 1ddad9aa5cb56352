"""The MediaStore protocol, and the errors that its implementations raise.

Clients see a sentence without paths and addresses; the log has the cause.
"""

import hashlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from transcribed.audio.source import Source
from transcribed.errors import (
    ConfigurationError,
    Conflict,
    MediaChanged,
    NotFound,
    StorageFull,
    StorageUnavailable,
)

STAGING = ".incoming"
"""The folder, or prefix of keys, of recordings that have no name yet."""
_NOTES = ".notes"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredMedia:
    """A stored recording: its name, size in bytes, owner, and a version that changes with the bytes."""

    name: str
    size: int
    version: str
    owner: str


class OwnersMedia(Protocol):
    """The recordings of one owner in a MediaStore, by name; those of other owners do not exist here.

    Callers pass names that `names.valid_name` has accepted. A recording is staged first, so that it can be
    checked before it appears under its name. Methods raise NotFound, MediaChanged, StorageFull and
    StorageUnavailable, and end in bounded time.
    """

    async def stage(self, chunks: AsyncIterator[bytes]) -> StoredMedia:
        """Store bytes under a unique hidden name. If the chunks raise, nothing is kept."""
        ...

    async def commit(self, staged: StoredMedia, name: str) -> None:
        """Rename a staged recording to its own name, atomically replacing any recording of that name."""
        ...

    async def discard(self, staged: StoredMedia) -> None:
        """Delete a staged recording."""
        ...

    async def find(self, name: str) -> StoredMedia:
        """Look up a recording. Raises NotFound."""
        ...

    async def list(self) -> list[StoredMedia]:
        """All recordings, sorted by name."""
        ...

    async def rename(self, name: str, new: str) -> None:
        """Give a recording another name and delete its note. Raises NotFound; Conflict if `new` is taken.

        On S3 a recording that another server stores as `new` at the same time may be replaced.
        """
        ...

    async def delete(self, name: str) -> None:
        """Delete a recording and its note. Raises NotFound."""
        ...

    def read(self, media: StoredMedia, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end) of this version. Raises MediaChanged if it has been replaced."""
        ...

    async def open(self, media: StoredMedia) -> Source:
        """Open this version for reading at any position. The caller closes it."""
        ...

    async def note(self, name: str) -> bytes:
        """The note on a recording; empty when there is none."""
        ...

    async def set_note(self, name: str, note: bytes) -> None:
        """Set the note (up to 64 KiB) on a name. It outlives new versions and ends with a deletion."""
        ...


class MediaStore(Protocol):
    """The recordings of all owners. Methods raise and end as those of OwnersMedia."""

    @property
    def place(self) -> str:
        """The folder or address of the store, for the server's operator."""
        ...

    def of(self, owner: str) -> OwnersMedia:
        """The recordings of one owner, who need not have any yet.

        Raises BadRequest for an owner whose name has no room in the store.
        """
        ...

    async def owners(self) -> list[str]:
        """All who may have recordings, sorted; NOBODY is always among them."""
        ...

    async def sweep(self) -> None:
        """Remove recordings that a crash left staged, except those that another server may be staging now.

        A failure is only logged.
        """
        ...


def note_of(name: str) -> str:
    """The path of the note on a recording: letters and digits, whatever the recording's name is."""
    return f"{_NOTES}/{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def missing(name: str) -> NotFound:
    """The error for a name that no recording has."""
    return NotFound(f"There is no recording {name!r}. Upload it first: POST /audio, field `file`.")


def taken(name: str) -> Conflict:
    """The error for a new name that a recording has already."""
    return Conflict(f"{name!r} exists already. Choose another name, or delete that recording first.")


def changed(name: str) -> MediaChanged:
    """The error for a recording that was replaced."""
    return MediaChanged(f"The recording {name!r} was replaced while it was read. Ask for it again.")


def full() -> StorageFull:
    """The error for a full store."""
    client_message = "There is no room left for recordings. Delete some, then retry."
    return StorageFull(client_message, client_message)


def unavailable(subject: str, error: Exception) -> StorageUnavailable:
    """The error for a store that failed on `subject` (a recording's name or a word); logs the cause."""
    _log.error("The store of recordings failed on %r: %s", subject, first_line(error))
    client_message = (
        "The store of recordings does not answer, or refuses. The server's log has the cause. Retry later."
    )
    return StorageUnavailable(client_message, client_message)


def not_a_place(location: str, error: Exception) -> ConfigurationError:
    """The error for a location that cannot hold a store."""
    return ConfigurationError(
        f"Recordings cannot be kept in {location!r}: {first_line(error)}. "
        "Name a folder that can be written, or s3://BUCKET/PREFIX."
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's text, without the details that libraries add for their developers."""
    return (str(error) or type(error).__name__).splitlines()[0]
