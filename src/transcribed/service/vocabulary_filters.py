"""Lists of words that transcripts are kept clear of."""

from collections.abc import Sequence

from transcribed.errors import BadRequest, NotFound
from transcribed.options import VocabularyFilter
from transcribed.recognition.word_filter import WordFilter
from transcribed.service.threads import in_thread
from transcribed.storage.vocabulary_filters import MAX_BYTES, FilterFolder, words_of

__all__ = ["MAX_BYTES", "VocabularyFilters"]


class VocabularyFilters:
    """The lists that are stored. Each call may raise StorageFailure."""

    def __init__(self, stored: FilterFolder) -> None:
        self._stored = stored

    async def names(self) -> list[str]:
        """All lists, by name."""
        return await in_thread(self._stored.names)

    async def get(self, name: str) -> tuple[str, ...]:
        """The words of a list. Raises NotFound."""
        return await in_thread(self._stored.get, name)

    async def put(self, name: str, lines: Sequence[str]) -> tuple[str, ...]:
        """Keep the words of some lines as a list; returns them, each once.

        Raises BadRequest, TooLarge and StorageFull.
        """
        words = words_of(lines)
        await in_thread(self._stored.put, name, words)
        return words

    async def delete(self, name: str) -> None:
        """Remove a list. Raises NotFound."""
        await in_thread(self._stored.delete, name)

    async def applied(self, wanted: VocabularyFilter) -> WordFilter:
        """What changes segments by some lists. Raises BadRequest for one that is not there."""
        words: list[str] = []
        for name in wanted.names:
            try:
                words += await self.get(name)
            except NotFound as error:
                raise BadRequest(error.message) from error
        return WordFilter(words, wanted.method)
