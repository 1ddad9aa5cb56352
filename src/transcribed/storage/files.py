"""Atomic file writes."""

import errno
import os
import secrets
from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_whole(path: Path, content: bytes, mode: int | None = None) -> None:
    """Replace a file's content atomically: a crash leaves either the old or the new content.

    `mode` is the file's permissions; None applies the process's umask. Raises OSError.
    """
    unfinished = path.with_name(f".{secrets.token_hex(8)}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(unfinished, flags, 0o666 if mode is None else mode), "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def is_full(error: OSError) -> bool:
    """Whether the error means that the disk or the quota is full."""
    return error.errno in _FULL
