"""Files that a user has: a folder, or a tar or zip archive.

Names in an archive never become paths: the content of the files that belong to a model is copied to files
that the server names. Links and devices in an archive are ignored.
"""

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from transcribed.errors import PullFailed, StorageFailure, shown

UNREADABLE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
"""What reading from a damaged archive raises, besides OSError."""

_MOST_FILES = 10_000
_DEEPEST = 4
_NAMED = 5


@dataclass(frozen=True, slots=True)
class OfferedFile:
    """A file that can be read: its size in bytes."""

    size: int
    open: Callable[[], IO[bytes]]


Folder = Mapping[str, OfferedFile]
"""The files of one folder, by name."""


class Offered:
    """The folders in a user's folder or archive `path`, each with its files."""

    def __init__(self, path: Path, files: Mapping[PurePosixPath, OfferedFile]) -> None:
        self._path = path
        self._folders: dict[PurePosixPath, dict[str, OfferedFile]] = defaultdict(dict)
        for name, file in files.items():
            self._folders[name.parent][name.name] = file

    def folder(self, names: Collection[str], what: str) -> Folder:
        """The least deep folder that has files of all these names. Raises PullFailed if there is none.

        `what` is for the error message: what the files should be.
        """
        wanted = set(names)
        complete = [place for place, files in self._folders.items() if wanted <= files.keys()]
        if complete:
            return self._folders[min(complete, key=lambda place: (len(place.parts), str(place)))]
        best = max(self._folders.values(), key=lambda files: len(wanted & files.keys()), default={})
        missing = sorted(wanted - best.keys())
        some = (
            f"Missing: {_named(missing)}." if len(missing) < len(wanted) else f"It has {self._contents()}."
        )
        raise PullFailed(
            f"{self._path} is not {what}: it has no folder with {_named(sorted(wanted))}. {some}"
        )

    def _contents(self) -> str:
        names = sorted(str(place / name) for place, files in self._folders.items() for name in files)
        return _named(names) if names else "no files at all"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(name if len(name) < 60 else shown(name) for name in names[:_NAMED]) + more  # noqa: PLR2004


@contextmanager
def offered(path: Path) -> Iterator[Offered]:
    """Open a folder or an archive. Raises PullFailed if it is neither, or turns out to be damaged."""
    try:
        if path.is_dir():
            yield Offered(path, dict(_in_folder(path)))
        elif not path.exists():
            raise PullFailed(f"There is no file or folder {path}.")
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield Offered(path, dict(_in_zip(archive)))
        else:
            with tarfile.open(path) as tar:
                yield Offered(path, dict(_in_tar(tar)))
    except tarfile.ReadError as error:
        raise PullFailed(
            f"{path} is neither a folder nor a tar or zip archive (compressed with gz, bz2 or xz at most), "
            f"or is damaged: {' '.join(str(error).split())[:100]}."
        ) from error
    except UNREADABLE as error:
        raise PullFailed(f"The archive {path} is damaged: {error}.") from error


def _in_folder(path: Path) -> Iterator[tuple[PurePosixPath, OfferedFile]]:
    count = 0
    for place, folders, names in os.walk(path):
        below = PurePosixPath(Path(place).relative_to(path))
        if len(below.parts) >= _DEEPEST:
            folders.clear()
        for name in names:
            file = Path(place) / name
            # Links are followed: it is the user's own folder, and the hub's cache consists of links.
            if not file.is_file():
                continue
            if (count := count + 1) > _MOST_FILES:
                raise PullFailed(f"{path} has more than {_MOST_FILES} files. Name the model's own folder.")
            yield below / name, OfferedFile(file.stat().st_size, lambda file=file: _opened(file))  # type: ignore[misc]


def _opened(file: Path) -> IO[bytes]:
    try:
        return file.open("rb")
    except OSError as error:
        raise StorageFailure(f"{file} cannot be read: {error.strerror}.") from error


def _in_zip(archive: zipfile.ZipFile) -> Iterator[tuple[PurePosixPath, OfferedFile]]:
    for count, member in enumerate(archive.infolist()):
        _check_count(count, archive.filename)
        if not member.is_dir() and not _is_link(member):
            yield (
                PurePosixPath(member.filename),
                OfferedFile(member.file_size, lambda member=member: _unzipped(archive, member)),  # type: ignore[misc]
            )


def _unzipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    try:
        return archive.open(member)
    except (RuntimeError, NotImplementedError) as error:  # It is encrypted, or the method unknown.
        raise PullFailed(f"The archive {archive.filename} cannot be read: {error}.") from error


def _is_link(member: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)


def _in_tar(tar: tarfile.TarFile) -> Iterator[tuple[PurePosixPath, OfferedFile]]:
    for count, member in enumerate(tar):
        _check_count(count, tar.name)
        if member.isreg():
            yield PurePosixPath(member.name), OfferedFile(member.size, lambda m=member: _extracted(tar, m))  # type: ignore[misc]


def _extracted(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    if file is None:
        raise PullFailed(f"{shown(member.name)} in the archive is no file.")
    return file


def _check_count(count: int, name: object) -> None:
    if count >= _MOST_FILES:
        raise PullFailed(f"The archive {name} has more than {_MOST_FILES} files: it is no model.")
