"""Storage of vocabulary filters: named lists of words, each in a file with one word per line."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePath

from transcribed.errors import BadRequest, NotFound, StorageFailure, StorageFull, TooLarge, shown
from transcribed.storage.files import is_full, write_whole
from transcribed.storage.owners import owners_in, place_of
from transcribed.storage.private import make_private_folder

MAX_BYTES = 50 * 1024
"""The most bytes in all words of a list; Amazon's limit."""
MAX_LISTS = 100
"""The most lists; Amazon's limit."""

_NAME = re.compile(r"[0-9a-zA-Z._-]{1,200}")
_SUFFIX = ".txt"


def valid_filter_name(name: str) -> str:
    """The name itself. Raises BadRequest for one that Amazon would not accept."""
    if not _NAME.fullmatch(name):
        raise BadRequest(
            "The name of a vocabulary filter is 1 to 200 letters, digits, dots, hyphens and underscores."
        )
    return name


def words_of(lines: Sequence[str]) -> tuple[str, ...]:
    """The words of lines, in their order, without duplicates. Raises BadRequest and TooLarge."""
    words = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    for word in words:
        if len(word.split()) > 1:
            raise BadRequest(
                f"{shown(word)} is more than one word. A filter looks at each word by itself: give one "
                "on each line."
            )
        if not any(character.isalnum() for character in word):
            raise BadRequest(f"{shown(word)} holds no letter and no digit. Give words.")
    if not words:
        raise BadRequest("There are no words. Send one on each line, or a JSON list of them.")
    if sum(len(word.encode()) + 1 for word in words) > MAX_BYTES:
        raise TooLarge(f"The words are more than {MAX_BYTES} bytes. Send fewer.")
    return words


class FilterFolder:
    """The lists of words of all owners, in a folder in which each owner has one. Methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, owner: str) -> "OwnersFilters":
        """The lists of one owner, who need not have any yet.

        Raises BadRequest for an owner whose name has no room in the file system.
        """
        return OwnersFilters(self._folder, place_of(owner))

    def owners(self) -> list[str]:
        """All who may have lists, sorted; NOBODY is always among them. Raises StorageFailure."""
        try:
            return owners_in(self._folder)
        except OSError as error:
            raise _failure(error) from error


class OwnersFilters:
    """The lists of words of one owner, in a folder that is created with the first list. Methods block."""

    def __init__(self, root: Path, place: str) -> None:
        self._root = root
        self._place = PurePath(place)
        self._folder = root / place

    def put(self, name: str, words: Sequence[str]) -> None:
        """Store a list, atomically replacing any list of this name.

        Raises BadRequest for too many lists, StorageFull and StorageFailure.
        """
        path = self._path(name)
        if not path.exists() and len(self.names()) >= MAX_LISTS:
            raise BadRequest(f"There are {MAX_LISTS} vocabulary filters. Delete one first.")
        try:
            make_private_folder(self._root, *self._place.parts)
            write_whole(path, "".join(f"{word}\n" for word in words).encode(), mode=0o600)
        except OSError as error:
            raise _failure(error) from error

    def get(self, name: str) -> tuple[str, ...]:
        """The words of a list. Raises NotFound and StorageFailure."""
        try:
            return tuple(self._path(name).read_text(encoding="utf-8").split())
        except FileNotFoundError:
            raise _unknown(name) from None
        except (OSError, UnicodeDecodeError) as error:
            raise _failure(error) from error

    def delete(self, name: str) -> None:
        """Delete a list. Raises NotFound and StorageFailure."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise _unknown(name) from None
        except OSError as error:
            raise _failure(error) from error

    def names(self) -> list[str]:
        """The names of all lists, sorted. Raises StorageFailure."""
        try:
            found = [path.name.removesuffix(_SUFFIX) for path in self._folder.glob(f"*{_SUFFIX}")]
        except OSError as error:
            raise _failure(error) from error
        return sorted(name for name in found if _NAME.fullmatch(name))

    def _path(self, name: str) -> Path:
        return self._folder / f"{valid_filter_name(name)}{_SUFFIX}"


def _unknown(name: str) -> NotFound:
    return NotFound(
        f"There is no vocabulary filter {name!r}. Put it there first: PUT /vocabulary-filters/{name}, one "
        "word on each line."
    )


def _failure(error: Exception) -> StorageFailure:
    if isinstance(error, OSError) and is_full(error):
        client_message = "There is no room left for vocabulary filters."
        return StorageFull(client_message, client_message)
    return StorageFailure(f"The vocabulary filters could not be read or written: {error}.")
