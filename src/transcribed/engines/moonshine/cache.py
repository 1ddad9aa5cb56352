"""Files that are computed once and kept in a cache folder."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from transcribed.storage.files import write_whole

_log = logging.getLogger(__name__)


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
    contents = [source.read_bytes() for source in sources]
    key = hashlib.sha256(b"".join(contents)).hexdigest()[:16]
    home = folder / f"{version}-{key}"
    paths = [home / name for name in names]
    if all(path.exists() for path in paths):
        return [str(path) for path in paths]
    made = make(contents)
    try:
        home.mkdir(parents=True, exist_ok=True)
        for path, data in zip(paths, made, strict=True):
            write_whole(path, data, mode=0o644)  # Other users may share the folder.
    except OSError as error:
        _log.warning("The model cannot be kept in %s (%s): the next start will be slow too.", home, error)
        return list(made)
    return [str(path) for path in paths]
