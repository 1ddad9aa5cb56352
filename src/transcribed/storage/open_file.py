"""An open file with one version of a recording, for the store in a folder."""

import fcntl
import os
import stat
from pathlib import Path

from transcribed.storage.media import StoredMedia, changed, missing

# A file may be replaced before it is opened: a link is not followed, and opening a pipe does not block.
READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OpenFile:
    """An open file with one version of a recording, unaffected by a later file of the same name.

    Raises MediaChanged if the file itself is written while it is open.
    """

    def __init__(self, folder: Path, media: StoredMedia) -> None:
        self._media = media
        self.descriptor = -1
        # Checked before opening, because merely opening a device may have an effect.
        check_regular(media.name, (folder / media.name).lstat())
        self.descriptor = os.open(folder / media.name, READING)
        try:
            found = os.fstat(self.descriptor)
            check_regular(media.name, found)
            self._check(found)
        except BaseException:
            self.close()
            raise

    def at(self, start: int, size: int) -> bytes:
        """Up to `size` bytes at `start`, at least one. Raises MediaChanged if there are none."""
        data = os.pread(self.descriptor, size, start)
        self._check(os.fstat(self.descriptor))
        if not data:
            raise changed(self._media.name)
        return data

    def close(self) -> None:
        """Close the file; may be called more than once."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _check(self, found: os.stat_result) -> None:
        if version_of(found) != self._media.version:
            raise changed(self._media.name)


def check_regular(name: str, found: os.stat_result) -> None:
    """Raise NotFound unless this is a regular file."""
    if not stat.S_ISREG(found.st_mode):
        raise missing(name)


def version_of(found: os.stat_result) -> str:
    """The version of a recording, from its file's status."""
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"


def is_locked(path: Path) -> bool:
    """Whether this or another server holds the lock on a staged file."""
    descriptor = os.open(path, READING)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # The file system has no locks.
    finally:
        os.close(descriptor)
    return False
