"""A MediaStore in a local folder.

A recording is a regular file directly in the folder. Symbolic links, subfolders, pipes, sockets and devices
are ignored, so that no name leads outside the folder or to a file without end. Only the owner can read the
files.
"""

import asyncio
import errno
import fcntl
import logging
import os
import stat
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from transcribed.audio.source import Source
from transcribed.errors import InvalidName, TranscribedError
from transcribed.principal import NOBODY
from transcribed.storage.files import is_full
from transcribed.storage.media import (
    STAGING,
    StoredMedia,
    full,
    missing,
    not_a_place,
    note_of,
    taken,
    unavailable,
)
from transcribed.storage.open_file import READING, OpenFile, check_regular, is_locked, version_of
from transcribed.storage.owners import owners_in, place_of
from transcribed.storage.private import make_private_folder, write_private

P = ParamSpec("P")
T = TypeVar("T")

_ABANDONED_AFTER = 3600.0
_READ_AHEAD = 256 * 1024
_WRITTEN_AT_ONCE = 256 * 1024
_LONGEST_NOTE = 64 * 1024
# Bounds how many threads a hanging disk can block.
_THREADS = 8
_CLEARING_SECONDS = 2.0
_MAKING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# The errors of opening a link (ELOOP) or a socket (ENXIO) that has just replaced a file.
_NO_FILE = frozenset({errno.ELOOP, errno.ENXIO})

# The errors of linking on file systems without hard links.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})

_log = logging.getLogger(__name__)


class FolderMediaStore:
    """A MediaStore in a folder, in which each owner has one (`owners.place_of`)."""

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self._folder = folder
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="recordings")
        # Descriptors by name. Each holds a lock, which tells other servers that the file is still in use.
        self._staged: dict[str, int] = {}

    @classmethod
    def at(cls, location: str) -> Self:
        """Open a store in a folder, which is created if missing.

        A folder that cannot be written is served read-only, with a warning in the log. Raises
        ConfigurationError for a folder that cannot be created or listed.
        """
        folder = Path(location).expanduser().resolve()
        try:
            make_private_folder(folder)
            with os.scandir(folder):
                pass
        except (OSError, ValueError) as error:
            raise not_a_place(location, error) from error
        store = cls(folder)
        try:
            store.of(NOBODY).try_writing()
        except OSError as error:
            _log.warning(
                "Recordings in %s can be listed and transcribed, and none be uploaded or deleted: "
                "the folder cannot be written (%s).",
                folder,
                error.strerror,
            )
        return store

    def close(self) -> None:
        """Stop the threads and release the locks on staged files, which any server may then sweep."""
        for descriptor in self._staged.values():
            os.close(descriptor)
        self._staged.clear()
        self._threads.shutdown(wait=False)

    def of(self, owner: str) -> "OwnersFolder":
        """The recordings of one owner."""
        return OwnersFolder(self._folder, owner, self._threads, self._staged)

    async def owners(self) -> list[str]:
        """All who have a folder, and NOBODY."""
        return await self.of(NOBODY).run("the owners", owners_in, self._folder)

    async def sweep(self) -> None:
        """Remove files that a crash left staged."""
        try:
            owners = await self.owners()
        except TranscribedError:  # It is logged.
            owners = [NOBODY]
        for owner in owners:
            await self.of(owner).sweep()


class OwnersFolder:
    """The OwnersMedia in a folder. Files have the recordings' names; staged ones are in `.incoming`."""

    def __init__(self, root: Path, owner: str, threads: ThreadPoolExecutor, staged: dict[str, int]) -> None:
        self._owner = owner
        self._folder = root / place_of(owner)
        self._incoming = self._folder / STAGING
        self._parents = [] if owner == NOBODY else [self._folder.parent, self._folder]
        self._threads = threads
        self._staged = staged

    async def sweep(self) -> None:
        """Remove files that a crash left staged."""
        try:
            await self._run("what was left behind", self._sweep)
        except TranscribedError as error:
            _log.warning("What earlier uploads left in %s stays: %s", self._incoming, error.message)

    async def stage(self, chunks: AsyncIterator[bytes]) -> StoredMedia:
        """Store bytes under a unique hidden name."""
        name = f"{STAGING}/{uuid.uuid4().hex}"
        try:
            await self._run("the upload", self._begin, name)
            held = bytearray()
            async for chunk in chunks:
                held += chunk
                if len(held) >= _WRITTEN_AT_ONCE:
                    await self._run("the upload", self._write, name, bytes(held))
                    held.clear()
            return await self._run("the upload", self._end, name, bytes(held))
        except BaseException:
            with suppress(TranscribedError):
                await self._run("the upload", self._discard, name)
            raise

    async def commit(self, staged: StoredMedia, name: str) -> None:
        """Rename a staged recording to its own name."""
        await self._run(name, self._commit, staged.name, name)

    async def discard(self, staged: StoredMedia) -> None:
        """Delete a staged recording."""
        await self._run("the upload", self._discard, staged.name)

    async def find(self, name: str) -> StoredMedia:
        """Look up a recording."""
        return await self._run(name, self._find, name)

    async def list(self) -> list[StoredMedia]:
        """All recordings, sorted by name."""
        return sorted(await self._run("the list", self._found), key=lambda media: media.name)

    async def rename(self, name: str, new: str) -> None:
        """Give a recording another name."""
        await self._run(name, self._rename, name, new)

    async def delete(self, name: str) -> None:
        """Delete a recording and its note."""
        await self._run(name, self._delete, name)

    async def read(self, media: StoredMedia, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end) of this version."""
        if start >= end:
            return
        file = await self._run(media.name, self._opened, media)
        try:
            while start < end:
                chunk = await self._run(media.name, file.at, start, min(_READ_AHEAD, end - start))
                start += len(chunk)
                yield chunk
        finally:
            file.close()

    async def open(self, media: StoredMedia) -> Source:
        """Open this version for reading, with a file descriptor."""
        return _FolderSource(self, media, await self._run(media.name, self._opened, media))

    async def note(self, name: str) -> bytes:
        """The note on a recording; empty when there is none."""
        return await self._run("a note", self._noted, note_of(name))

    async def set_note(self, name: str, note: bytes) -> None:
        """Set the note on a recording."""
        await self._run("a note", self._note, note_of(name), note)

    async def read_open(self, file: OpenFile, media: StoredMedia, offset: int, size: int) -> bytes:
        """Up to `size` bytes of an open recording."""
        size = min(size, media.size - offset)
        return await self._run(media.name, file.at, offset, size) if size > 0 else b""

    async def _run(self, subject: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in a thread. When cancelled, wait for the call, which may be using a file."""
        return await self.run(subject, self._inside, partial(function, *args, **kwargs))

    async def run(self, subject: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for a call that may work outside the owner's folder."""
        call = asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))
        with _translated(subject):
            try:
                return await asyncio.shield(call)
            except asyncio.CancelledError:
                # The wait is bounded, so that a hanging disk does not delay the server's stop.
                await asyncio.wait([call], timeout=_CLEARING_SECONDS)
                if call.done() and not call.cancelled():
                    call.exception()  # Retrieved, so that asyncio does not log it.
                raise

    # --- In threads

    def try_writing(self) -> None:
        """Raises OSError when the folder cannot be written."""
        make_private_folder(self._incoming)
        trial = self._incoming / uuid.uuid4().hex
        os.close(os.open(trial, _MAKING, 0o600))
        trial.unlink()

    def _inside(self, call: Callable[[], T]) -> T:
        """Make a call, unless a folder has been replaced by a link, whose target may belong to others."""
        for folder in self._parents:
            if folder.is_symlink():
                raise OSError(f"{folder} is a link")
        return call()

    def _begin(self, name: str) -> None:
        if not self._incoming.is_dir():
            for folder in (*self._parents, self._incoming):
                make_private_folder(folder)
        if self._incoming.is_symlink():
            raise OSError(f"{self._incoming} is a link")
        descriptor = os.open(self._folder / name, _MAKING, 0o600)
        self._staged[name] = descriptor
        with suppress(OSError):  # Some network file systems have no locks; there the age protects the file.
            fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _write(self, name: str, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._staged[name], left) :]

    def _end(self, name: str, data: bytes) -> StoredMedia:
        self._write(name, data)
        return self._stored(name, os.fstat(self._staged[name]))

    def _commit(self, staged: str, name: str) -> None:
        try:
            (self._folder / staged).replace(self._folder / name)
        except IsADirectoryError as error:
            raise InvalidName(f"{name!r} is the name of a folder there. Choose another name.") from error
        self._let_go(staged)

    def _discard(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        finally:
            self._let_go(name)

    def _let_go(self, name: str) -> None:
        descriptor = self._staged.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def _found(self) -> Sequence[StoredMedia]:
        try:
            return tuple(self._recordings())
        except FileNotFoundError:
            if not self._parents:
                raise
            return ()  # The owner has not stored any yet.

    def _recordings(self) -> Iterator[StoredMedia]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not _can_be_said(entry.name):
                    continue
                with suppress(FileNotFoundError):  # The file may just have been deleted.
                    if entry.is_file(follow_symlinks=False):
                        yield self._stored(entry.name, entry.stat(follow_symlinks=False))

    def _stored(self, name: str, found: os.stat_result) -> StoredMedia:
        return StoredMedia(name, found.st_size, version_of(found), self._owner)

    def _opened(self, media: StoredMedia) -> OpenFile:
        return OpenFile(self._folder, media)

    def _find(self, name: str) -> StoredMedia:
        found = (self._folder / name).lstat()
        check_regular(name, found)
        return self._stored(name, found)

    def _delete(self, name: str) -> None:
        self._find(name)
        (self._folder / name).unlink()
        with suppress(OSError):
            (self._folder / note_of(name)).unlink(missing_ok=True)

    def _rename(self, name: str, new: str) -> None:
        self._find(name)
        try:
            # Unlike a rename, a link never replaces what has the new name.
            (self._folder / new).hardlink_to(self._folder / name)
        except FileExistsError:
            raise taken(new) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(self._folder / new):
                raise taken(new) from None
            (self._folder / name).rename(self._folder / new)
        else:
            (self._folder / name).unlink()
        with suppress(OSError):
            (self._folder / note_of(name)).unlink(missing_ok=True)

    def _noted(self, path: str) -> bytes:
        try:
            descriptor = os.open(self._folder / path, READING)
        except FileNotFoundError:
            return b""
        with os.fdopen(descriptor, "rb") as file:
            return file.read(_LONGEST_NOTE)

    def _note(self, path: str, note: bytes) -> None:
        folder = (self._folder / path).parent
        for each in (*self._parents, folder):
            make_private_folder(each)
        if folder.is_symlink():
            raise OSError(f"{folder} is a link")
        write_private(self._folder / path, note)

    def _sweep(self) -> None:
        """Delete staged files that are unlocked and differ by over an hour from the disk's clock.

        A jump of the clock can date a file far in the past or the future; its lock still protects it.
        """
        if not self._incoming.is_dir() or self._incoming.is_symlink():
            return
        now = None
        for path in [*self._incoming.iterdir()]:
            with suppress(FileNotFoundError):  # Another server may have deleted it.
                found = path.lstat()
                if not stat.S_ISREG(found.st_mode):
                    continue
                now = self._now() if now is None else now
                if abs(now - found.st_mtime) > _ABANDONED_AFTER and not is_locked(path):
                    path.unlink()

    def _now(self) -> float:
        """The time by the file system's clock, which on a network share is another machine's."""
        trial = self._incoming / uuid.uuid4().hex
        descriptor = os.open(trial, _MAKING, 0o600)
        try:
            return os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)
            trial.unlink()


class _FolderSource:
    """A Source: one version of a recording, read through a descriptor of its own."""

    def __init__(self, store: OwnersFolder, media: StoredMedia, file: OpenFile) -> None:
        self._store = store
        self._media = media
        self._file = file
        self.size = media.size
        self.descriptor = file.descriptor

    async def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at an offset. Raises MediaChanged if the file has been written since."""
        return await self._store.read_open(self._file, self._media, offset, size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _can_be_said(name: str) -> bool:
    """Whether a file's name is valid UTF-8; clients can ask for no other."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _translated(subject: str) -> Iterator[None]:
    """Translate the operating system's errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise missing(subject) from error
    except OSError as error:
        if error.errno in _NO_FILE:
            raise missing(subject) from error
        raise (full() if is_full(error) else unavailable(subject, error)) from error
