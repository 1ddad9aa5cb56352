"""Files that are nobody else's."""

import logging
import os
import stat
import tempfile
from pathlib import Path

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
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # With the mode 0600.
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def make_private_folder(path: Path) -> None:
    """Make a folder that its owner alone can enter; one that is there stays as it is. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
