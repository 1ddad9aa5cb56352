"""Files that are computed once and kept in a cache folder."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

from transcribed.storage.files import write_whole

_log = logging.getLogger(__name__)

_MAKING = Lock()
"""Files are made one after the other, since making them takes much memory."""
_BLOCK = 1 << 20


def cached_files(
    folder: Path,
    names: Sequence[str],
    sources: Sequence[Path],
    version: str,
    make: Callable[[Sequence[bytes]], Sequence[bytes]],
) -> list[bytes | str]:
    """Return the files that `make` computes from sources: their paths, or their bytes if not writable.

    The key is the hash of the sources and `version`, which must change whenever `make` does. Several
    processes may fill the cache at once: each writes its own files and renames them into place.
    """
    home = folder / f"{version}-{_digest(sources)[:16]}"
    paths = [home / name for name in names]
    if all(path.exists() for path in paths):
        return [str(path) for path in paths]
    with _MAKING:
        made = make([source.read_bytes() for source in sources])
    try:
        home.mkdir(parents=True, exist_ok=True)
        for path, data in zip(paths, made, strict=True):
            write_whole(path, data, mode=0o644)  # Other users may share the folder.
    except OSError as error:
        _log.warning("The model cannot be kept in %s (%s): the next start will be slow too.", home, error)
        return list(made)
    return [str(path) for path in paths]


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
