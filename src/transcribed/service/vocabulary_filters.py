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

    async def names(self, owner: str | None) -> list[tuple[str, str]]:
        """The names of an owner's lists, or with None of all owners', sorted, each with its owner."""

        def found() -> list[tuple[str, str]]:
            owners = self._stored.owners() if owner is None else [owner]
            return sorted((name, each) for each in owners for name in self._stored.of(each).names())

        return await in_thread(found)

    async def get(self, owner: str, name: str) -> tuple[str, ...]:
        """The words of a list. Raises NotFound."""
        words = await in_thread(self._stored.of(owner).get, name)
        trail.record(Action.FILTER_READ, name, owner=owner)
        return words

    async def put(self, owner: str, name: str, lines: Sequence[str]) -> tuple[str, ...]:
        """Store a list of words, one per line. Returns the words without duplicates.

        Raises BadRequest, TooLarge and StorageFull.
        """
        words = words_of(lines)
        await in_thread(self._stored.of(owner).put, name, words)
        trail.record(Action.FILTER_STORED, name, owner=owner)
        return words

    async def delete(self, owner: str, name: str) -> None:
        """Delete a list. Raises NotFound."""
        await in_thread(self._stored.of(owner).delete, name)
        trail.record(Action.FILTER_DELETED, name, owner=owner)

    async def applied(self, owner: str, wanted: VocabularyFilter) -> WordFilter:
        """A filter with the words of an owner's wanted lists. Raises BadRequest for an unknown list."""
        words: list[str] = []
        for name in wanted.names:
            try:
                words += await in_thread(self._stored.of(owner).get, name)
            except NotFound as error:
                raise BadRequest(error.message) from error
        return WordFilter(words, wanted.method)
