"""Storage of vocabulary filters: named lists of words, each in a file with one word per line."""

from collections.abc import Sequence
from pathlib import Path

from transcribed.errors import BadRequest, TooLarge, shown
from transcribed.storage.word_lists import MAX_LISTS, Kind, WordListFolder

__all__ = ["FILTERS", "MAX_BYTES", "MAX_LISTS", "FilterFolder", "words_of"]

MAX_BYTES = 50 * 1024
"""The most bytes in all words of a list; Amazon's limit."""
FILTERS = Kind("vocabulary filter", "vocabulary filters", "/vocabulary-filters", "one word")


class FilterFolder(WordListFolder):
    """The vocabulary filters of all owners."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, FILTERS)


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
