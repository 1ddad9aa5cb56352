"""Files and folders that only their owner can read."""

import logging
import os
import stat
from pathlib import Path

from transcribed.storage.files import write_whole

_log = logging.getLogger(__name__)


def read_secret(path: Path) -> bytes:
    """The content of a file with a secret; logs a warning if it is world-readable. Raises OSError."""
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IROTH:
            _log.warning("%s can be read by everybody on this machine: chmod 600 %s", path, path)
        return file.read()


def write_private(path: Path, content: bytes) -> None:
    """Write a file atomically, readable by its owner alone. Raises OSError."""
    write_whole(path, content, mode=0o600)


def make_private_folder(path: Path, *below: str) -> None:
    """Create a folder that only its owner can enter, and in it the folders `below`, each in the one before.

    Existing ones stay unchanged. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    for name in below:
        path /= name
        path.mkdir(mode=0o700, exist_ok=True)
