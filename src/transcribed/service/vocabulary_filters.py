"""Vocabulary filters: named lists of words to mask, remove or tag in transcripts."""

from collections.abc import Sequence

from transcribed.options import VocabularyFilter
from transcribed.recognition.word_filter import WordFilter
from transcribed.service.trail import Action
from transcribed.service.word_lists import Actions, WordLists
from transcribed.storage.vocabulary_filters import MAX_BYTES, FilterFolder, words_of

__all__ = ["MAX_BYTES", "VocabularyFilters"]


class VocabularyFilters(WordLists):
    """The stored lists. Methods raise StorageFailure."""

    def __init__(self, stored: FilterFolder) -> None:
        actions = Actions(Action.FILTER_STORED, Action.FILTER_READ, Action.FILTER_DELETED)
        super().__init__(stored, actions)

    async def get(self, owner: str, name: str) -> tuple[str, ...]:
        """The words of a list. Raises NotFound."""
        return _words(await self.lines(owner, name))

    async def put(self, owner: str, name: str, lines: Sequence[str]) -> tuple[str, ...]:
        """Store a list of words, one per line. Returns the words without duplicates.

        Raises BadRequest, TooLarge and StorageFull.
        """
        words = words_of(lines)
        await self.store(owner, name, words)
        return words

    async def applied(self, owner: str, wanted: VocabularyFilter) -> WordFilter:
        """A filter with the words of an owner's wanted lists. Raises BadRequest for an unknown list."""
        lists = await self.used(owner, wanted.names)
        return WordFilter([word for lines in lists for word in _words(lines)], wanted.method)


def _words(lines: Sequence[str]) -> tuple[str, ...]:
    # A file that was written by hand may have several words on a line.
    return tuple(" ".join(lines).split())
