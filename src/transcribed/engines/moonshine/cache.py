"""What is computed once and kept in the user's cache folder."""

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
    """The files that `make` computes from sources: their paths, or their bytes if they cannot be kept.

    They are keyed by the hash of the sources and by `version`, which changes whenever `make` does. Several
    processes may do this at once: each writes files of its own and renames them into place.
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
            write_whole(path, data, mode=0o644)  # Other users of the folder may read it.
    except OSError as error:
        _log.warning("The model cannot be kept in %s (%s): the next start will be slow too.", home, error)
        return list(made)
    return [str(path) for path in paths]
