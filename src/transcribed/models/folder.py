"""The folder of pulled models.

Each model is a folder of its name, with a manifest `model.json`. It appears there by a rename, when it is
complete and verified. Until then it is in a hidden folder beside it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from transcribed.errors import DamagedModel, NotFound, PullFailed, StorageFailure, shown
from transcribed.models.catalogue import ModelFile, Name, is_name
from transcribed.models.digests import CRC32C, digests_of
from transcribed.storage.files import write_whole

MANIFEST = "model.json"
"""The name of the file that describes a pulled model."""
_LARGEST_MANIFEST = 1 << 20


class Manifest(BaseModel):
    """What a pulled model is, and the files it consists of. Every file has a CRC32C."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    family: str
    language: str
    licence: str
    source: str
    files: tuple[ModelFile, ...]


class ModelFolder:
    """The pulled models below a path, which need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()

    def names(self) -> list[str]:
        """The names of the models whose files all exist and have their sizes; their content is not read."""
        try:
            found = sorted(entry.name for entry in os.scandir(self.path) if is_name(entry.name))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return [name for name in found if self._is_complete(name)]

    def find(self, name: str) -> Path | None:
        """The folder of a model whose files are verified by CRC32C, or None if it was not pulled.

        Raises DamagedModel if the folder is not a pulled model, or a file is missing or altered, and
        StorageFailure if it cannot be read.
        """
        manifest = self.manifest(name)
        if manifest is None:
            return None
        for file in manifest.files:
            if (why := self.fault(self.path / name, file, only=CRC32C)) is not None:
                raise DamagedModel(
                    f"The model {name} in {self.path / name} is damaged: {why}. "
                    f"Pull it again, which fetches only the damaged files: transcribed models pull {name}"
                )
        return self.path / name

    def manifest(self, name: str) -> Manifest | None:
        """The manifest of a model, or None if it was not pulled. Raises as `find`; reads no other file."""
        if not is_name(name):
            return None
        home = self.path / name
        try:
            with (home / MANIFEST).open("rb") as file:
                found = Manifest.model_validate_json(file.read(_LARGEST_MANIFEST))
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.lexists(home):
                return None
            raise DamagedModel(
                f"{home} is no model that was pulled: it has no {MANIFEST}. Move it away, then pull the "
                f"model, or take it from there: transcribed models pull {name} [--from FOLDER]"
            ) from None
        except OSError as error:
            raise _unreadable(home, error) from error
        except ValidationError:
            raise _altered(name, home) from None
        if found.name != name or not found.files:
            raise _altered(name, home)
        return found

    @staticmethod
    def fault(home: Path, file: ModelFile, only: str | None = None) -> str | None:
        """What is wrong with a file in a model's folder; None if its size and digests are right.

        `only` limits the comparison to one kind of digest, if the manifest has that kind. Raises
        StorageFailure if the file cannot be read.
        """
        path = home / file.name
        try:
            size = path.stat().st_size
            if size != file.size:
                return f"{file.name} has {size} bytes, not {file.size}"
            wanted = {k: v for k, v in file.digests.items() if only in {None, k}} or file.digests
            for kind, digest in digests_of(path, wanted).items():
                if digest != wanted[kind]:
                    return f"{file.name} is altered (its {kind} is {digest}, not {wanted[kind]})"
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return f"{file.name} is missing"
        except OSError as error:
            raise _unreadable(path, error) from error
        return None

    def unfinished(self, name: str) -> Path:
        """The folder that contains a model until it is complete."""
        return self.path / f".{name}.part"

    def finish(self, manifest: Manifest) -> Path:
        """Turn the unfinished folder, whose files are verified, into a model. Raises OSError."""
        unfinished, home = self.unfinished(manifest.name), self.path / manifest.name
        write_whole(unfinished / MANIFEST, manifest.model_dump_json(indent=1).encode(), mode=0o644)
        unfinished.replace(home)
        _sync(self.path)
        return home

    def reopen(self, name: str) -> None:
        """Turn a damaged model into an unfinished folder, to fetch the damaged files. Raises OSError."""
        unfinished = self.unfinished(name)
        shutil.rmtree(unfinished, ignore_errors=True)
        # In this order, so that at no time there is a folder without a manifest under the model's name.
        (self.path / name).replace(unfinished)
        (unfinished / MANIFEST).unlink()

    def remove(self, name: str) -> Path:
        """Remove a model, complete or not, and return its path.

        Raises NotFound if there is none, PullFailed if another process is changing it, DamagedModel if the
        folder is not a pulled model, and StorageFailure if it cannot be removed.
        """
        home, unfinished = self.path / name, self.unfinished(name)
        if not is_name(name) or not (os.path.lexists(home) or unfinished.exists()):
            raise NotFound(
                f"The model {shown(name)} is not in {self.path}. `transcribed models list` shows what is."
            )
        with self.locked(name):
            try:
                if os.path.lexists(home):
                    self._refuse_foreign(name)
                    shutil.rmtree(unfinished, ignore_errors=True)
                    home.replace(unfinished)
                if unfinished.is_symlink():
                    unfinished.unlink()
                elif unfinished.exists():
                    shutil.rmtree(unfinished)
            except OSError as error:
                raise StorageFailure(f"{home} cannot be removed: {error.strerror}.") from error
        return home

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Exclude other processes from changing a model.

        Raises PullFailed if another process is changing it, and StorageFailure if nothing can be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / f".{name}.lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise PullFailed(
                f"Another process is pulling or removing the model {name} in {self.path}. Wait until it is "
                "done, then try again."
            ) from None
        except (OSError, NotImplementedError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise StorageFailure(
                f"{self.path} cannot be written: {why}. Name another folder with --models."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _refuse_foreign(self, name: str) -> None:
        """Raise DamagedModel if the folder of that name has no manifest, so that it is not ours."""
        if not (self.path / name / MANIFEST).is_file():
            self.manifest(name)

    def _is_complete(self, name: str) -> bool:
        try:
            manifest = self.manifest(name)
            return manifest is not None and all(
                (self.path / name / file.name).stat().st_size == file.size for file in manifest.files
            )
        except (DamagedModel, StorageFailure, OSError):
            return False


def _altered(name: str, home: Path) -> DamagedModel:
    return DamagedModel(
        f"The model {name} in {home} is damaged: its {MANIFEST} is altered. Remove it, then pull it again: "
        f"transcribed models remove {name}; transcribed models pull {name}"
    )


def _unreadable(path: Path, error: OSError) -> StorageFailure:
    return StorageFailure(f"{path} cannot be read: {error.strerror}.")


def _sync(folder: Path) -> None:
    """Make the renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
