"""Named word lists of owners, such as vocabulary filters and vocabularies."""

from collections.abc import Sequence
from dataclasses import dataclass

from transcribed.errors import BadRequest, NotFound
from transcribed.service import trail
from transcribed.service.threads import in_thread
from transcribed.service.trail import Action
from transcribed.storage.word_lists import WordListFolder


@dataclass(frozen=True, slots=True)
class Actions:
    """The actions on a kind of word lists, as the audit trail names them."""

    stored: Action
    read: Action
    deleted: Action


class WordLists:
    """The stored lists of a kind. Methods raise StorageFailure."""

    def __init__(self, stored: WordListFolder, actions: Actions) -> None:
        self._stored = stored
        self._actions = actions

    async def names(self, owner: str | None) -> list[tuple[str, str]]:
        """The names of an owner's lists, or with None of all lists, sorted, each with its owner."""

        def found() -> list[tuple[str, str]]:
            owners = self._stored.owners() if owner is None else [owner]
            return sorted((name, each) for each in owners for name in self._stored.of(each).names())

        return await in_thread(found)

    async def lines(self, owner: str, name: str) -> tuple[str, ...]:
        """The lines of a list. Raises NotFound."""
        lines = await in_thread(self._stored.of(owner).get, name)
        trail.record(self._actions.read, name, owner=owner)
        return lines

    async def store(self, owner: str, name: str, lines: Sequence[str]) -> None:
        """Store the lines of a list. Raises BadRequest and StorageFull."""
        await in_thread(self._stored.of(owner).put, name, lines)
        trail.record(self._actions.stored, name, owner=owner)

    async def delete(self, owner: str, name: str) -> None:
        """Delete a list. Raises NotFound."""
        await in_thread(self._stored.of(owner).delete, name)
        trail.record(self._actions.deleted, name, owner=owner)

    async def used(self, owner: str, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The lines of an owner's lists, for a stream. Raises BadRequest for an unknown list."""
        found = []
        for name in names:
            try:
                found.append(await in_thread(self._stored.of(owner).get, name))
            except NotFound as error:
                raise BadRequest(error.message) from error
        return found
