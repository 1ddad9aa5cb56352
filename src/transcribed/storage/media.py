"""The contract of a store of recordings, and what its stores say when they fail.

Clients are told in a sentence, without paths and addresses; the log has the cause.
"""

import hashlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from transcribed.audio.source import Source
from transcribed.errors import (
    ConfigurationError,
    MediaChanged,
    NotFound,
    StorageFull,
    StorageUnavailable,
)

STAGING = ".incoming"
"""The folder, or prefix, of what has no name yet."""
_NOTES = ".notes"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredMedia:
    """A stored recording: its name, bytes, and a version that changes whenever the bytes do."""

    name: str
    size: int
    version: str


class MediaStore(Protocol):
    """Named recordings. Names are valid (`names.valid_name`).

    A recording is staged first, so that it can be looked at before it appears under its name. Methods
    raise NotFound, MediaChanged, StorageFull and StorageUnavailable, in bounded time.
    """

    @property
    def place(self) -> str:
        """Where recordings are kept, for whoever runs the server."""
        ...

    async def sweep(self) -> None:
        """Remove what a crash left staged, but not what another server may be staging just now.

        Where that cannot be done, the log says so.
        """
        ...

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

    async def open(self, media: StoredMedia) -> Source:
        """This very version, read at any position. To be closed."""
        ...

    async def note(self, name: str) -> bytes:
        """What was noted beside a recording; nothing where nothing was."""
        ...

    async def set_note(self, name: str, note: bytes) -> None:
        """Note something small beside a recording, until it is deleted. A new version keeps it."""
        ...


def note_of(name: str) -> str:
    """Where the note beside a recording is: a path of letters and digits, whatever the name is."""
    return f"{_NOTES}/{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def missing(name: str) -> NotFound:
    """Nothing has the name."""
    return NotFound(f"There is no recording {name!r}. Upload it first: POST /audio, field `file`.")


def changed(name: str) -> MediaChanged:
    """Something else has the name now."""
    return MediaChanged(f"The recording {name!r} was replaced while it was read. Ask for it again.")


def full() -> StorageFull:
    """Nothing more fits."""
    told = "There is no room left for recordings. Delete some, then retry."
    return StorageFull(told, told)


def unavailable(subject: str, error: Exception) -> StorageUnavailable:
    """The store failed on a recording, or on what else is named; the cause is logged."""
    _log.error("The store of recordings failed on %r: %s", subject, first_line(error))
    told = (
        "The store of recordings does not answer, or refuses; the server's log says how. Try again later."
    )
    return StorageUnavailable(told, told)


def not_a_place(location: str, error: Exception) -> ConfigurationError:
    """Recordings cannot be kept there."""
    return ConfigurationError(
        f"Recordings cannot be kept in {location!r}: {first_line(error)}. "
        "Name a folder that can be written, or s3://BUCKET/PREFIX."
    )


def first_line(error: BaseException) -> str:
    """An error's text, without what a library adds for its own developers."""
    return (str(error) or type(error).__name__).splitlines()[0]
