"""A MediaStore on a local folder or an object store such as S3, through obstore."""

import asyncio
import io
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import obstore
from obstore.exceptions import BaseError, NotFoundError, PreconditionError
from obstore.store import LocalStore, ObjectStore, from_url

from transcribed.audio.media import ByteSource
from transcribed.errors import (
    ConfigurationError,
    MediaChanged,
    NotFound,
    StorageFailure,
    StorageFull,
)
from transcribed.storage.media import StoredMedia

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore import GetOptions, ObjectMeta

_STAGING = ".incoming"
_ABANDONED_AFTER = 3600.0
_READ_AHEAD = 256 * 1024
_FULL = ("No space left", "StorageFull", "QuotaExceeded", "FileTooLarge", "File too large")


class ObjectMediaStore:
    """See MediaStore. Objects are named as the recordings are; staged ones lie under `.incoming/`."""

    def __init__(self, store: ObjectStore, place: str) -> None:
        self._store = store
        self.place = place

    @classmethod
    def at(cls, location: str) -> Self:
        """A store at a folder's path, or at an address such as s3://bucket/prefix.

        Credentials, region and endpoint of S3 come from the usual AWS_… variables.
        """
        try:
            if "://" in location:
                return cls(from_url(location, client_options={"allow_http": True}), location)
            folder = Path(location).expanduser().resolve()
            folder.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(folder), str(folder))
        except (BaseError, OSError, ValueError) as error:
            raise ConfigurationError(
                f"Recordings cannot be kept in {location!r}: {_first_line(error)}. "
                "Name a folder that can be written, or s3://BUCKET/PREFIX."
            ) from error

    async def sweep(self) -> None:
        """Remove what a crash left staged, but not what another server may be staging just now."""
        oldest = time.time() - _ABANDONED_AFTER  # noqa: TID251 - files are dated by the wall clock
        with _translated("what was left behind"):
            if isinstance(self._store, LocalStore):
                # obstore does not list the files that it had not finished writing.
                for path in (Path(self.place) / _STAGING).glob("*"):
                    if path.stat().st_mtime < oldest:
                        path.unlink(missing_ok=True)
                return
            async for page in obstore.list(self._store, _STAGING):
                left = [entry["path"] for entry in page if entry["last_modified"].timestamp() < oldest]
                if left:
                    await obstore.delete_async(self._store, left)

    async def stage(self, chunks: AsyncIterator[bytes]) -> StoredMedia:
        """Keep bytes under a hidden name of their own."""
        name = f"{_STAGING}/{uuid.uuid4().hex}"
        given_up = asyncio.Event()
        putting = asyncio.ensure_future(obstore.put_async(self._store, name, _unless(given_up, chunks)))
        with _translated("the upload"):
            try:
                await asyncio.shield(putting)
            except asyncio.CancelledError:
                # obstore cleans up behind chunks that fail, and not behind a call that is cancelled.
                given_up.set()
                await asyncio.gather(putting, return_exceptions=True)
                raise
        return await self.find(name)

    async def commit(self, staged: StoredMedia, name: str) -> None:
        """Give staged bytes their name."""
        with _translated(name):
            await obstore.rename_async(self._store, staged.name, name)

    async def discard(self, staged: StoredMedia) -> None:
        """Forget staged bytes."""
        await self.delete(staged.name)

    async def find(self, name: str) -> StoredMedia:
        """What is stored under a name."""
        with _translated(name):
            return _stored(await obstore.head_async(self._store, name))

    async def list(self) -> list[StoredMedia]:
        """All recordings, in the order of their names."""
        with _translated("the list"):
            listed = await obstore.list_with_delimiter_async(self._store)
        found = (_stored(entry) for entry in listed["objects"])
        return sorted((m for m in found if not m.name.startswith(".")), key=lambda m: m.name)

    async def delete(self, name: str) -> None:
        """Remove a recording."""
        await self.find(name)  # An object store itself does not tell whether there was something.
        with _translated(name):
            await obstore.delete_async(self._store, name)

    async def read(self, media: StoredMedia, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end) of this very version."""
        if start >= end:
            return
        with _translated(media.name):
            options: GetOptions = {"range": (start, end), "if_match": media.version}
            found = await obstore.get_async(self._store, media.name, options=options)
            async for chunk in found.stream(min_chunk_size=_READ_AHEAD):
                yield bytes(chunk)

    def open(self, media: StoredMedia) -> ByteSource:
        """This very version as a file."""
        return io.BufferedReader(_ObjectFile(self._store, media), _READ_AHEAD)


class _ObjectFile(io.RawIOBase):
    """One version of an object.

    Each read asks for that version, so that a recording that is replaced while it is read is noticed,
    and never mixed with the new one.
    """

    def __init__(self, store: ObjectStore, media: StoredMedia) -> None:
        super().__init__()
        self._store = store
        self._media = media
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._media.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._position + len(view), self._media.size)
        if self._position >= end:
            return 0
        options: GetOptions = {"range": (self._position, end), "if_match": self._media.version}
        with _translated(self._media.name):
            data = obstore.get(self._store, self._media.name, options=options).bytes()
        view[: len(data)] = memoryview(data)
        self._position += len(data)
        return len(data)


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


@contextmanager
def _translated(subject: str) -> Iterator[None]:
    """Obstore's errors as ours."""
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise NotFound(
            f"There is no recording {subject!r}. Upload it first: POST /audio, field `file`."
        ) from error
    except PreconditionError as error:
        raise MediaChanged(
            f"The recording {subject!r} was replaced while it was read. Ask for it again."
        ) from error
    except (BaseError, OSError) as error:
        if any(sign in str(error) for sign in _FULL):
            raise StorageFull("There is no room left for recordings. Delete some, then retry.") from error
        raise StorageFailure(f"The store failed on {subject!r}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
