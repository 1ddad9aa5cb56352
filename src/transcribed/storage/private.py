"""Files that are nobody else's."""

import logging
import os
import stat
from pathlib import Path

from transcribed.storage.files import write_whole

_log = logging.getLogger(__name__)


def read_secret(path: Path) -> bytes:
    """The content of a file with a secret; the log says so if everybody can read it. Raises OSError."""
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IROTH:
            _log.warning("%s can be read by everybody on this machine: chmod 600 %s", path, path)
        return file.read()


def write_private(path: Path, content: bytes) -> None:
    """Write a file that its owner alone can read: all of it, or nothing. Raises OSError."""
    write_whole(path, content, mode=0o600)


def make_private_folder(path: Path) -> None:
    """Make a folder that its owner alone can enter; one that is there stays as it is. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
