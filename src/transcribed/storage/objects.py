"""A MediaStore on an object store such as S3, through obstore.

Every request has a time-out and few retries, and every call a time limit, so that a store that does not
answer delays a call by seconds only.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

import obstore
from obstore.exceptions import BaseError, NotFoundError, PreconditionError
from obstore.store import from_url

from transcribed.audio.source import Source
from transcribed.errors import NotFound, StorageFailure, TranscribedError
from transcribed.principal import NOBODY
from transcribed.storage.media import (
    STAGING,
    StoredMedia,
    changed,
    full,
    missing,
    not_a_place,
    note_of,
    taken,
    unavailable,
)
from transcribed.storage.owners import OWNERS, owner_at, place_of

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

_ABANDONED_AFTER = timedelta(hours=1)
_READ_AHEAD = 256 * 1024
_FULL = ("No space left", "StorageFull", "QuotaExceeded")

_CONNECTING = timedelta(seconds=3)
# The longest wait between two bytes of a response.
_ANSWERING = timedelta(seconds=8)
# The same for uploads: the response begins only when a whole part has been sent.
_TAKING = timedelta(seconds=20)
# The same for copies: some stores respond only when a large object is copied.
_COPYING = timedelta(minutes=2)
_LONGEST_ANSWER = timedelta(hours=24)
_RETRYING = timedelta(seconds=5)
_RETRIES = 3
_CALL_SECONDS = 20.0
# Staged objects that cannot be deleted within this time are swept at a later start.
_CLEARING_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Connections:
    """Three ways to one store, which differ in how long an answer is waited for."""

    store: "ObjectStore"
    taking: "ObjectStore"
    copying: "ObjectStore"


class ObjectMediaStore:
    """A MediaStore on S3, in which each owner has a prefix (`owners.place_of`)."""

    def __init__(self, location: str) -> None:
        self.place = location
        self._connections = _Connections(
            _connected(location, _ANSWERING), _connected(location, _TAKING), _connected(location, _COPYING)
        )

    @classmethod
    def at(cls, location: str) -> Self:
        """Open a store at an address such as s3://bucket/prefix. Raises ConfigurationError.

        S3 credentials, region and endpoint come from the usual AWS_… environment variables.
        """
        try:
            return cls(location)
        except (BaseError, OSError, ValueError) as error:
            raise not_a_place(location, error) from error

    def of(self, owner: str) -> "OwnersObjects":
        """The recordings of one owner."""
        return OwnersObjects(self._connections, owner)

    async def owners(self) -> list[str]:
        """All who have an object, and NOBODY."""
        async with _bounded("the owners"):
            listed = await obstore.list_with_delimiter_async(self._connections.store, OWNERS)
        names = (prefix.rpartition("/")[2] for prefix in listed["common_prefixes"])
        return sorted([NOBODY, *(owner for name in names if (owner := owner_at(name)) is not None)])

    async def sweep(self) -> None:
        """Remove objects that a crash left staged an hour ago or earlier."""
        try:
            for owner in await self.owners():
                await self.of(owner).sweep()
        except TranscribedError as error:
            _log.warning("What earlier uploads left in %s stays: %s", self.place, error.message)


class OwnersObjects:
    """The OwnersMedia on S3. Objects have the recordings' names; staged ones are under `.incoming/`."""

    def __init__(self, connections: _Connections, owner: str) -> None:
        self._owner = owner
        self._place = place_of(owner)
        self._store = connections.store
        self._taking = connections.taking
        self._copying = connections.copying

    async def sweep(self) -> None:
        """Remove objects that a crash left staged an hour ago or earlier. Raises TranscribedError."""
        left: list[ObjectMeta] = []
        async with _bounded("what was left behind"):
            async for page in obstore.list(self._store, self._key(STAGING)):
                left += page
        if not left:
            return
        # Objects are dated by the store's clock, and this machine's clock may differ.
        now = (await self._now()) - _ABANDONED_AFTER
        abandoned = [entry["path"] for entry in left if entry["last_modified"] < now]
        if abandoned:
            async with _bounded("what was left behind"):
                await obstore.delete_async(self._store, abandoned)

    async def _now(self) -> datetime:
        trial = self._key(f"{STAGING}/{uuid.uuid4().hex}")
        async with _bounded("what was left behind"):
            await obstore.put_async(self._store, trial, b"")
            try:
                return (await obstore.head_async(self._store, trial))["last_modified"]
            finally:
                await obstore.delete_async(self._store, trial)

    async def stage(self, chunks: AsyncIterator[bytes]) -> StoredMedia:
        """Store bytes under a unique hidden name."""
        name = f"{STAGING}/{uuid.uuid4().hex}"
        given_up = asyncio.Event()
        putting = asyncio.ensure_future(
            obstore.put_async(self._taking, self._key(name), _unless(given_up, chunks))
        )
        with _translated("the upload"):
            try:
                await asyncio.shield(putting)
            except asyncio.CancelledError:
                # obstore aborts the upload when the chunks fail, but not when its call is cancelled.
                given_up.set()
                await asyncio.wait([putting], timeout=_CLEARING_SECONDS)
                putting.cancel()
                await asyncio.gather(putting, return_exceptions=True)
                raise
        return await self.find(name)

    async def commit(self, staged: StoredMedia, name: str) -> None:
        """Rename a staged recording to its own name."""
        with _translated(name):
            await obstore.rename_async(self._copying, self._key(staged.name), self._key(name))

    async def discard(self, staged: StoredMedia) -> None:
        """Delete a staged recording."""
        with suppress(StorageFailure):
            async with _bounded(staged.name, _CLEARING_SECONDS):
                await obstore.delete_async(self._store, self._key(staged.name))

    async def find(self, name: str) -> StoredMedia:
        """Look up a recording."""
        async with _bounded(name):
            return self._stored(await obstore.head_async(self._store, self._key(name)))

    async def list(self) -> list[StoredMedia]:
        """All recordings, sorted by name."""
        async with _bounded("the list"):
            listed = await obstore.list_with_delimiter_async(self._store, self._place or None)
        found = (self._stored(entry) for entry in listed["objects"])
        return sorted((m for m in found if not m.name.startswith(".")), key=lambda m: m.name)

    async def rename(self, name: str, new: str) -> None:
        """Give a recording another name: it is copied, then deleted."""
        await self.find(name)
        # Not all stores can copy on the condition that there is nothing yet.
        with suppress(NotFound):
            await self.find(new)
            raise taken(new)
        with _translated(name):
            await obstore.rename_async(self._copying, self._key(name), self._key(new))
        await self._delete_note(name)

    async def delete(self, name: str) -> None:
        """Delete a recording and its note."""
        await self.find(name)  # Raises NotFound; an object store reports success for a missing object too.
        async with _bounded(name):
            await obstore.delete_async(self._store, self._key(name))
        await self._delete_note(name)

    async def _delete_note(self, name: str) -> None:
        with suppress(NotFound, StorageFailure):
            async with _bounded("a note"):
                await obstore.delete_async(self._store, self._key(note_of(name)))

    async def read(self, media: StoredMedia, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end) of this version."""
        if start >= end:
            return
        options: GetOptions = {"range": (start, end), "if_match": media.version}
        async with _bounded(media.name):
            found = await obstore.get_async(self._store, self._key(media.name), options=options)
        with _translated(media.name):
            async for chunk in found.stream(min_chunk_size=_READ_AHEAD):
                yield bytes(chunk)

    async def open(self, media: StoredMedia) -> Source:
        """Open this version for reading."""
        return _ObjectSource(self._store, self._key(media.name), media)

    async def note(self, name: str) -> bytes:
        """The note on a recording; empty when there is none."""
        try:
            async with _bounded("a note"):
                found = await obstore.get_async(self._store, self._key(note_of(name)))
                return bytes(await found.bytes_async())
        except NotFound:
            return b""

    async def set_note(self, name: str, note: bytes) -> None:
        """Set the note on a recording."""
        async with _bounded("a note"):
            await obstore.put_async(self._store, self._key(note_of(name)), note)

    def _key(self, name: str) -> str:
        """The key of what has a name here."""
        return f"{self._place}/{name}" if self._place else name

    def _stored(self, meta: "ObjectMeta") -> StoredMedia:
        name = meta["path"].removeprefix(self._key(""))
        return StoredMedia(name, meta["size"], meta["e_tag"] or str(meta["last_modified"]), self._owner)


class _ObjectSource:
    """A Source: one version of a recording on S3.

    Each read names the version (If-Match), so that the old and the new bytes of a replaced recording are
    never mixed.
    """

    descriptor = None

    def __init__(self, store: "ObjectStore", key: str, media: StoredMedia) -> None:
        self._store = store
        self._key = key
        self._media = media
        self.size = media.size

    async def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at an offset. Raises MediaChanged and NotFound."""
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        options: GetOptions = {"range": (offset, end), "if_match": self._media.version}
        async with _bounded(self._media.name):
            found = await obstore.get_async(self._store, self._key, options=options)
            return bytes(await found.bytes_async())

    def close(self) -> None:
        """Do nothing: no connection is held between reads."""


def _connected(location: str, answering: timedelta) -> "ObjectStore":
    return from_url(
        location,
        client_options={
            "allow_http": True,
            "connect_timeout": _CONNECTING,
            "read_timeout": answering,
            # For a whole response, which is as slow as the client that downloads the recording.
            "timeout": _LONGEST_ANSWER,
        },
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": _RETRYING,
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1)},
        },
    )


async def _unless(given_up: asyncio.Event, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks; raises StorageFailure once `given_up` is set."""
    giving_up = asyncio.ensure_future(given_up.wait())
    try:
        while True:
            coming = asyncio.ensure_future(anext(chunks, None))
            try:
                await asyncio.wait({coming, giving_up}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not coming.done():
                    coming.cancel()
            if given_up.is_set():
                raise StorageFailure("The upload was given up.")
            chunk = coming.result()
            if chunk is None:
                return
            yield chunk
    finally:
        giving_up.cancel()


@asynccontextmanager
async def _bounded(subject: str, seconds: float = _CALL_SECONDS) -> AsyncIterator[None]:
    """Translate the errors of a call to S3, and limit its time."""
    with _translated(subject):
        async with asyncio.timeout(seconds):
            yield


@contextmanager
def _translated(subject: str) -> Iterator[None]:
    """Translate obstore's errors."""
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise missing(subject) from error
    except PreconditionError as error:
        raise changed(subject) from error
    except (BaseError, OSError) as error:
        if any(sign in str(error) for sign in _FULL):
            raise full() from error
        raise unavailable(subject, error) from error
