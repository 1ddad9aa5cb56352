"""What is computed once and kept in the user's cache folder."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

_log = logging.getLogger(__name__)


def cached_files(
    folder: Path,
    names: Sequence[str],
    source: Path,
    recipe: str,
    make: Callable[[bytes], Sequence[bytes]],
) -> list[bytes | str]:
    """The files that `make` computes from `source`: their paths, or their bytes if they cannot be kept.

    They are keyed by the hash of `source` and by `recipe`, which changes whenever `make` does. Several
    processes may do this at once: each writes files of its own and renames them into place.
    """
    content = source.read_bytes()
    key = hashlib.sha256(content).hexdigest()[:16]
    home = folder / f"{recipe}-{key}"
    paths = [home / name for name in names]
    if all(path.exists() for path in paths):
        return [str(path) for path in paths]
    made = make(content)
    try:
        home.mkdir(parents=True, exist_ok=True)
        for path, data in zip(paths, made, strict=True):
            _write_atomically(path, data)
    except OSError as error:
        _log.warning("The model cannot be kept in %s (%s): the next start will be slow too.", home, error)
        return list(made)
    return [str(path) for path in paths]


def _write_atomically(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
