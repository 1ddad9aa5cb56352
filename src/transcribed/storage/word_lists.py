"""Storage of named word lists, such as vocabulary filters and vocabularies: files of lines."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from transcribed.errors import BadRequest, NotFound, StorageFailure, StorageFull
from transcribed.storage.files import is_full, write_whole
from transcribed.storage.owners import owners_in, place_of
from transcribed.storage.private import make_private_folder

MAX_LISTS = 100
"""The most lists of a kind that an owner may have; Amazon's limit."""

_NAME = re.compile(r"[0-9a-zA-Z._-]{1,200}")
_SUFFIX = ".txt"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of word lists: its names for messages, the path of its routes, and what a line contains."""

    name: str
    plural: str
    path: str
    line: str

    def unknown(self, name: str) -> NotFound:
        """The error that there is no list of this name."""
        return NotFound(
            f"There is no {self.name} {name!r}. Put it there first: PUT {self.path}/{name}, {self.line} on "
            "each line."
        )

    def failure(self, error: Exception) -> StorageFailure:
        """The error of a folder that cannot be read or written."""
        if isinstance(error, OSError) and is_full(error):
            client_message = f"There is no room left for {self.plural}."
            return StorageFull(client_message, client_message)
        return StorageFailure(f"The {self.plural} could not be read or written: {error}.")


class WordListFolder:
    """The lists of a kind of all owners, in a folder in which each owner has one. Methods block."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self._folder = folder
        self._kind = kind

    def of(self, owner: str) -> "OwnersWordLists":
        """The lists of one owner, who need not have any yet.

        Raises BadRequest for an owner whose name has no room in the file system.
        """
        return OwnersWordLists(self._folder, place_of(owner), self._kind)

    def owners(self) -> list[str]:
        """All owners who may have lists, sorted; NOBODY is always among them. Raises StorageFailure."""
        try:
            return owners_in(self._folder)
        except OSError as error:
            raise self._kind.failure(error) from error


class OwnersWordLists:
    """The lists of one owner, in a folder that is created with the first list. Methods block."""

    def __init__(self, root: Path, place: str, kind: Kind) -> None:
        self._root = root
        self._kind = kind
        self._place = PurePath(place)
        self._folder = root / place

    def put(self, name: str, lines: Sequence[str]) -> None:
        """Store a list, atomically replacing any list of this name.

        Raises BadRequest for too many lists, StorageFull and StorageFailure.
        """
        path = self._path(name)
        if not path.exists() and len(self.names()) >= MAX_LISTS:
            raise BadRequest(f"There are {MAX_LISTS} {self._kind.plural}. Delete one first.")
        try:
            make_private_folder(self._root, *self._place.parts)
            write_whole(path, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
        except OSError as error:
            raise self._kind.failure(error) from error

    def get(self, name: str) -> tuple[str, ...]:
        """The lines of a list. Raises NotFound and StorageFailure."""
        try:
            return tuple(self._path(name).read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            raise self._kind.unknown(name) from None
        except (OSError, UnicodeDecodeError) as error:
            raise self._kind.failure(error) from error

    def delete(self, name: str) -> None:
        """Delete a list. Raises NotFound and StorageFailure."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise self._kind.unknown(name) from None
        except OSError as error:
            raise self._kind.failure(error) from error

    def names(self) -> list[str]:
        """The names of all lists, sorted. Raises StorageFailure."""
        try:
            found = [path.name.removesuffix(_SUFFIX) for path in self._folder.glob(f"*{_SUFFIX}")]
        except OSError as error:
            raise self._kind.failure(error) from error
        return sorted(name for name in found if _NAME.fullmatch(name))

    def _path(self, name: str) -> Path:
        """The file of a list. Raises BadRequest for a name that Amazon would not accept."""
        if not _NAME.fullmatch(name):
            raise BadRequest(
                f"The name of a {self._kind.name} is 1 to 200 letters, digits, dots, hyphens and "
                "underscores."
            )
        return self._folder / f"{name}{_SUFFIX}"
