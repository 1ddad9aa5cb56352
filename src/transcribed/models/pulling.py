"""Pulls a model into the folder of models, from its origin or from files that a user has."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from pydantic import ValidationError

from transcribed.errors import DamagedModel, PullFailed, StorageFailure, StorageFull
from transcribed.models import hub
from transcribed.models.catalogue import CatalogueModel, ModelFile
from transcribed.models.digests import CRC32C, digests_of
from transcribed.models.folder import MANIFEST, Manifest, ModelFolder
from transcribed.models.offered import UNREADABLE, Folder, OfferedFile, offered
from transcribed.storage.files import is_full

if TYPE_CHECKING:
    from transcribed.models.fetching import Fetcher

_BLOCK = 1 << 20
_LARGEST_MANIFEST = 1 << 20
_SPARE = 1 << 20
"""Bytes on the disk beside the model's own, for the manifest and folders."""


class Progress(Protocol):
    """Is told the progress of a pull."""

    def total(self, size: int, source: str) -> None:
        """The size of the model in bytes, and its source. Called once, if anything is to be pulled."""

    def done(self, size: int) -> None:
        """The bytes of the model that have been stored, including those of an earlier, interrupted pull."""


def pull(model: CatalogueModel, folder: ModelFolder, fetcher: "Fetcher", progress: Progress) -> Path:
    """Fetch the missing files of a model, and return its folder. Blocks.

    Raises PullFailed, StorageFull or StorageFailure, and DamagedModel if the folder of its name is not a
    pulled model. The files that have been fetched until then are kept for the next pull.
    """

    def copies() -> tuple[str, str, tuple[ModelFile, ...], _Copy]:
        address, files = model.address, model.files
        if model.repository:
            found = hub.revision(model.repository, fetcher.json(hub.listing(model.repository)))
            address, files = found.address, found.files

        def fetch(file: ModelFile, path: Path, told: Callable[[int], None]) -> None:
            fetcher.file(f"{address}/{file.name}", path, file.size, told)

        return address, fetcher.address(address), files, fetch

    return _pulled(model, folder, progress, copies)


def pull_from(model: CatalogueModel, folder: ModelFolder, path: Path, progress: Progress) -> Path:
    """Take a model from a folder or an archive, and return its folder. Blocks. Raises as `pull`.

    The files are verified like fetched files. If the hub lists the model's files, a manifest beside them
    must contain their digests, as in the folder of a pulled model.
    """
    with offered(path) as found:
        if model.files:
            files = model.files
            given = found.folder([file.name for file in files], f"the model {model.name}")
        else:
            given = found.folder(
                [MANIFEST, "model.bin"],
                f"the model {model.name} with the digests of its files, as it is in the folder that "
                f"`transcribed models path {model.name}` prints on a machine where it was pulled",
            )
            files = _of_manifest(given[MANIFEST], model.name, path)
            given = found.folder([MANIFEST, *(file.name for file in files)], f"the model {model.name}")

        def copy(file: ModelFile, target: Path, told: Callable[[int], None]) -> None:
            _copy_offered(given, file, target, told)

        source = str(path.absolute())
        return _pulled(model, folder, progress, lambda: (source, source, files, copy))


_Copy = Callable[[ModelFile, Path, Callable[[int], None]], None]


def _of_manifest(file: OfferedFile, name: str, path: Path) -> tuple[ModelFile, ...]:
    with file.open() as opened:
        content = opened.read(_LARGEST_MANIFEST)
    try:
        found = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise PullFailed(f"{MANIFEST} in {path} is not the manifest of a pulled model.") from error
    if found.name != name:
        raise PullFailed(f"{path} is the model {found.name}, not {name}.")
    if not found.files:
        raise PullFailed(f"{MANIFEST} in {path} names no files.")
    return found.files


def _copy_offered(given: Folder, file: ModelFile, target: Path, told: Callable[[int], None]) -> None:
    size = given[file.name].size
    if size != file.size:
        raise PullFailed(
            f"{file.name} has {size} bytes instead of {file.size}: another version, or cut off."
        )
    done = 0
    with given[file.name].open() as source, target.open("wb", buffering=0) as copy:
        # An archive may contain more than it declares.
        while block := _read(source, min(_BLOCK, file.size + 1 - done), file.name):
            copy.write(block)
            done += len(block)
            told(done)


def _read(source: IO[bytes], size: int, name: str) -> bytes:
    try:
        return source.read(size)
    except (OSError, *UNREADABLE) as error:
        raise PullFailed(f"{name} cannot be read; the archive or the disk is damaged: {error}.") from error


def _pulled(
    model: CatalogueModel,
    folder: ModelFolder,
    progress: Progress,
    copies: Callable[[], tuple[str, str, tuple[ModelFile, ...], _Copy]],
) -> Path:
    # Also without the lock, since the folder of a complete model may be read-only.
    if (home := _found(model.name, folder)) is not None:
        return home
    with folder.locked(model.name), _disk(folder.path):
        if (home := _found(model.name, folder)) is not None:
            return home
        source, shown_source, files, copy = copies()
        if (folder.path / model.name).exists():
            folder.reopen(model.name)
        unfinished = folder.unfinished(model.name)
        unfinished.mkdir(exist_ok=True)
        _keep_only(unfinished, files)
        have = sum(_size(unfinished / file.name) for file in files)
        total = sum(file.size for file in files)
        _check_space(folder.path, total - have)
        progress.total(total, shown_source)
        before = 0
        verified = []
        for file in files:
            verified.append(_verified(unfinished, file, copy, _shifted(progress.done, before)))
            before += file.size
        return folder.finish(
            Manifest(
                name=model.name,
                family=model.family,
                language=model.language,
                licence=model.licence,
                source=source,
                files=tuple(verified),
            )
        )


def _found(name: str, folder: ModelFolder) -> Path | None:
    """The folder of a model, or None if it was not pulled or is damaged.

    Raises DamagedModel for a folder without manifest, which is not ours and must not be changed.
    """
    try:
        return folder.find(name)
    except DamagedModel:
        if not (folder.path / name / MANIFEST).is_file():
            raise
        return None


def _shifted(told: Callable[[int], None], before: int) -> Callable[[int], None]:
    return lambda done: told(before + done)


def _verified(unfinished: Path, file: ModelFile, copy: _Copy, told: Callable[[int], None]) -> ModelFile:
    """Copy a file, and return it with its CRC32C. If its digest is wrong, it is copied once more."""
    path = unfinished / file.name
    for last in (False, True):
        copy(file, path, told)
        why = ModelFolder.fault(unfinished, file)
        if why is None:
            break
        path.unlink(missing_ok=True)
        if last:
            raise PullFailed(
                f"{why}. It was altered or damaged on its way, or is another version; it is not used. Try "
                "again; if it stays so, tell whoever runs the mirror, or report it to transcribed."
            )
    with path.open("rb") as written:
        os.fsync(written.fileno())
    return file.model_copy(update={"digests": file.digests | digests_of(path, [CRC32C])})


def _keep_only(unfinished: Path, files: tuple[ModelFile, ...]) -> None:
    """Remove other files, which an earlier pull of another revision may have left."""
    names = {file.name for file in files}
    for entry in list(os.scandir(unfinished)):
        if entry.name in names and entry.is_file(follow_symlinks=False):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise StorageFull(
            f"The model needs {megabytes(needed)} more, and {folder} has {megabytes(free)} free. Delete "
            "something, or name another folder with --models."
        )


def megabytes(size: int) -> str:
    """A number of bytes in megabytes, as text."""
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.2g} MB"  # noqa: PLR2004


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Convert OSError to StorageFull or StorageFailure."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFull(
                f"There is no more room in {folder}: {error.strerror}. What has come is kept. Delete "
                "something, or name another folder with --models; then pull again to go on."
            ) from error
        raise StorageFailure(f"{folder} cannot be written: {error.strerror}.") from error
