"""A MediaStore on an object store such as S3, through obstore.

A store that does not answer holds up a call for seconds, not for ever: every request has a time-out and few
retries, and every call a bound.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

import obstore
from obstore.exceptions import BaseError, NotFoundError, PreconditionError
from obstore.store import from_url

from transcribed.audio.source import Source
from transcribed.errors import NotFound, StorageFailure, TranscribedError
from transcribed.storage.media import (
    STAGING,
    StoredMedia,
    changed,
    full,
    missing,
    not_a_place,
    note_of,
    unavailable,
)

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

_ABANDONED_AFTER = timedelta(hours=1)
_READ_AHEAD = 256 * 1024
_FULL = ("No space left", "StorageFull", "QuotaExceeded")

_CONNECTING = timedelta(seconds=3)
# From one byte of an answer to the next.
_ANSWERING = timedelta(seconds=8)
# A part of an upload has to be sent before it is answered.
_TAKING = timedelta(seconds=20)
# Some copy a large object whole before they answer.
_COPYING = timedelta(minutes=2)
_LONGEST_ANSWER = timedelta(hours=24)
_RETRYING = timedelta(seconds=5)
_RETRIES = 3
_CALL_SECONDS = 20.0
# What is not cleared away now is swept at a later start.
_CLEARING_SECONDS = 2.0

_log = logging.getLogger(__name__)


class ObjectMediaStore:
    """A MediaStore on S3. Objects are named as the recordings are; staged ones lie under `.incoming/`."""

    def __init__(self, location: str) -> None:
        self.place = location
        self._store = _connected(location, _ANSWERING)
        self._taking = _connected(location, _TAKING)
        self._copying = _connected(location, _COPYING)

    @classmethod
    def at(cls, location: str) -> Self:
        """A store at an address such as s3://bucket/prefix. Raises ConfigurationError.

        Credentials, region and endpoint of S3 come from the usual AWS_… variables.
        """
        try:
            return cls(location)
        except (BaseError, OSError, ValueError) as error:
            raise not_a_place(location, error) from error

    async def sweep(self) -> None:
        """Remove what a crash left staged, but not what another server may be staging just now."""
        try:
            await self._sweep()
        except TranscribedError as error:
            _log.warning("What earlier uploads left in %s stays: %s", self.place, error.message)

    async def _sweep(self) -> None:
        left: list[ObjectMeta] = []
        async with _bounded("what was left behind"):
            async for page in obstore.list(self._store, STAGING):
                left += page
        if not left:
            return
        # The store's own clock, by which its objects are dated: this machine's may have jumped.
        now = (await self._now()) - _ABANDONED_AFTER
        abandoned = [entry["path"] for entry in left if entry["last_modified"] < now]
        if abandoned:
            async with _bounded("what was left behind"):
                await obstore.delete_async(self._store, abandoned)

    async def _now(self) -> datetime:
        trial = f"{STAGING}/{uuid.uuid4().hex}"
        async with _bounded("what was left behind"):
            await obstore.put_async(self._store, trial, b"")
            try:
                return (await obstore.head_async(self._store, trial))["last_modified"]
            finally:
                await obstore.delete_async(self._store, trial)

    async def stage(self, chunks: AsyncIterator[bytes]) -> StoredMedia:
        """Keep bytes under a hidden name of their own."""
        name = f"{STAGING}/{uuid.uuid4().hex}"
        given_up = asyncio.Event()
        putting = asyncio.ensure_future(obstore.put_async(self._taking, name, _unless(given_up, chunks)))
        with _translated("the upload"):
            try:
                await asyncio.shield(putting)
            except asyncio.CancelledError:
                # obstore cleans up behind chunks that fail, and not behind a call that is cancelled.
                given_up.set()
                await asyncio.wait([putting], timeout=_CLEARING_SECONDS)
                putting.cancel()
                await asyncio.gather(putting, return_exceptions=True)
                raise
        return await self.find(name)

    async def commit(self, staged: StoredMedia, name: str) -> None:
        """Give staged bytes their name."""
        with _translated(name):
            await obstore.rename_async(self._copying, staged.name, name)

    async def discard(self, staged: StoredMedia) -> None:
        """Forget staged bytes."""
        with suppress(StorageFailure):
            async with _bounded(staged.name, _CLEARING_SECONDS):
                await obstore.delete_async(self._store, staged.name)

    async def find(self, name: str) -> StoredMedia:
        """What is stored under a name."""
        async with _bounded(name):
            return _stored(await obstore.head_async(self._store, name))

    async def list(self) -> list[StoredMedia]:
        """All recordings, in the order of their names."""
        async with _bounded("the list"):
            listed = await obstore.list_with_delimiter_async(self._store)
        found = (_stored(entry) for entry in listed["objects"])
        return sorted((m for m in found if not m.name.startswith(".")), key=lambda m: m.name)

    async def delete(self, name: str) -> None:
        """Remove a recording."""
        await self.find(name)  # An object store itself does not tell whether there was something.
        async with _bounded(name):
            await obstore.delete_async(self._store, name)
        with suppress(NotFound, StorageFailure):
            async with _bounded("a note"):
                await obstore.delete_async(self._store, note_of(name))

    async def read(self, media: StoredMedia, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end) of this very version."""
        if start >= end:
            return
        options: GetOptions = {"range": (start, end), "if_match": media.version}
        async with _bounded(media.name):
            found = await obstore.get_async(self._store, media.name, options=options)
        with _translated(media.name):
            async for chunk in found.stream(min_chunk_size=_READ_AHEAD):
                yield bytes(chunk)

    async def open(self, media: StoredMedia) -> Source:
        """This very version."""
        return _ObjectSource(self._store, media)

    async def note(self, name: str) -> bytes:
        """What was noted beside a recording."""
        try:
            async with _bounded("a note"):
                found = await obstore.get_async(self._store, note_of(name))
                return bytes(await found.bytes_async())
        except NotFound:
            return b""

    async def set_note(self, name: str, note: bytes) -> None:
        """Note something beside a recording."""
        async with _bounded("a note"):
            await obstore.put_async(self._store, note_of(name), note)


class _ObjectSource:
    """One version of a recording on S3, read at any position.

    Each read asks for the one version, so that a recording that is replaced while it is read is noticed,
    and never mixed with the new one.
    """

    descriptor = None

    def __init__(self, store: "ObjectStore", media: StoredMedia) -> None:
        self._store = store
        self._media = media
        self.size = media.size

    async def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from a position on. Raises MediaChanged and NotFound."""
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        options: GetOptions = {"range": (offset, end), "if_match": self._media.version}
        async with _bounded(self._media.name):
            found = await obstore.get_async(self._store, self._media.name, options=options)
            return bytes(await found.bytes_async())

    def close(self) -> None:
        """Nothing is open between two reads."""


def _connected(location: str, answering: timedelta) -> "ObjectStore":
    return from_url(
        location,
        client_options={
            "allow_http": True,
            "connect_timeout": _CONNECTING,
            "read_timeout": answering,
            # Of a whole answer: a recording is downloaded as slowly as its client reads it.
            "timeout": _LONGEST_ANSWER,
        },
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": _RETRYING,
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1)},
        },
    )


async def _unless(given_up: asyncio.Event, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, which fail once they are given up."""
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


def _stored(meta: "ObjectMeta") -> StoredMedia:
    return StoredMedia(meta["path"], meta["size"], meta["e_tag"] or str(meta["last_modified"]))


@asynccontextmanager
async def _bounded(subject: str, seconds: float = _CALL_SECONDS) -> AsyncIterator[None]:
    """Raise the errors of a call to S3 as StorageFailure; what takes longer than `seconds` is one too."""
    with _translated(subject):
        async with asyncio.timeout(seconds):
            yield


@contextmanager
def _translated(subject: str) -> Iterator[None]:
    """Obstore's errors as ours."""
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
