"""Vocabulary filters: named lists of words to mask, remove or tag in transcripts."""

from collections.abc import Sequence

from transcribed.errors import BadRequest, NotFound
from transcribed.options import VocabularyFilter
from transcribed.recognition.word_filter import WordFilter
from transcribed.service import trail
from transcribed.service.threads import in_thread
from transcribed.service.trail import Action
from transcribed.storage.vocabulary_filters import MAX_BYTES, FilterFolder, words_of

__all__ = ["MAX_BYTES", "VocabularyFilters"]


class VocabularyFilters:
    """The stored lists. Methods raise StorageFailure."""

    def __init__(self, stored: FilterFolder) -> None:
        self._stored = stored

    async def names(self) -> list[str]:
        """The names of all lists, sorted."""
        return await in_thread(self._stored.names)

    async def get(self, name: str) -> tuple[str, ...]:
        """The words of a list. Raises NotFound."""
        words = await in_thread(self._stored.get, name)
        trail.tell(Action.FILTER_READ, name)
        return words

    async def put(self, name: str, lines: Sequence[str]) -> tuple[str, ...]:
        """Store a list of words, one per line. Returns the words without duplicates.

        Raises BadRequest, TooLarge and StorageFull.
        """
        words = words_of(lines)
        await in_thread(self._stored.put, name, words)
        trail.tell(Action.FILTER_STORED, name)
        return words

    async def delete(self, name: str) -> None:
        """Delete a list. Raises NotFound."""
        await in_thread(self._stored.delete, name)
        trail.tell(Action.FILTER_DELETED, name)

    async def applied(self, wanted: VocabularyFilter) -> WordFilter:
        """A filter with the words of the wanted lists. Raises BadRequest for an unknown list."""
        words: list[str] = []
        for name in wanted.names:
            try:
                words += await in_thread(self._stored.get, name)
            except NotFound as error:
                raise BadRequest(error.message) from error
        return WordFilter(words, wanted.method)
