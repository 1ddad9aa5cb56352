"""Vocabularies: named lists of phrases that recognition favours."""

from collections.abc import Sequence
from pathlib import Path

from transcribed.errors import BadRequest, ConfigurationError, StorageFailure, TooLarge, TranscribedError
from transcribed.options import Phrase
from transcribed.service.trail import Action
from transcribed.service.word_lists import Actions, WordLists
from transcribed.storage.vocabularies import MAX_BYTES, VOCABULARIES, VocabularyFolder
from transcribed.wire.vocabulary import MOST_PHRASES, MOST_TEXT, decoded_lines, phrases_of

__all__ = ["MAX_BYTES", "Vocabularies", "decoded_lines", "joined", "phrases_in"]

_MOST_FILE_BYTES = 4 * 1024**2
"""The most bytes of the file of a vocabulary for all streams."""


class Vocabularies(WordLists):
    """The stored vocabularies. Methods raise StorageFailure."""

    def __init__(self, stored: VocabularyFolder) -> None:
        actions = Actions(Action.VOCABULARY_STORED, Action.VOCABULARY_READ, Action.VOCABULARY_DELETED)
        super().__init__(stored, actions)

    async def get(self, owner: str, name: str) -> tuple[Phrase, ...]:
        """The phrases of a vocabulary. Raises NotFound."""
        return _stored_phrases(name, await self.lines(owner, name))

    async def put(self, owner: str, name: str, lines: Sequence[str]) -> tuple[Phrase, ...]:
        """Store the lines of a vocabulary. Returns its phrases.

        Raises BadRequest for a line that is not valid or too many vocabularies, TooLarge and StorageFull.
        """
        phrases = phrases_of(lines)
        if sum(len(line.encode()) + 1 for line in lines) > MAX_BYTES:
            raise TooLarge(f"The vocabulary has more than {MAX_BYTES} bytes. Send fewer phrases.")
        await self.store(owner, name, lines)
        return phrases

    async def phrases(self, owner: str, names: Sequence[str]) -> tuple[Phrase, ...]:
        """The phrases of some of an owner's vocabularies. Raises BadRequest for an unknown one."""
        lists = await self.used(owner, names)
        return joined(*(_stored_phrases(name, each) for name, each in zip(names, lists, strict=True)))


def joined(*vocabularies: Sequence[Phrase]) -> tuple[Phrase, ...]:
    """The phrases of several vocabularies. Of phrases that differ only in case, the first is used.

    Raises BadRequest for more than MOST_PHRASES or MOST_TEXT.
    """
    found: dict[str, Phrase] = {}
    for phrases in vocabularies:
        for phrase in phrases:
            found.setdefault(phrase.text.casefold(), phrase)
    if len(found) > MOST_PHRASES:
        raise BadRequest(
            f"The vocabularies have {len(found)} phrases together. A stream may have {MOST_PHRASES}."
        )
    characters = sum(len(phrase.text) for phrase in found.values())
    if characters > MOST_TEXT:
        raise BadRequest(
            f"The phrases of the vocabularies have {characters} characters together. A stream may have "
            f"{MOST_TEXT}."
        )
    return tuple(found.values())


def phrases_in(file: Path) -> tuple[Phrase, ...]:
    """The phrases of a file. Blocks. Raises ConfigurationError, which names the file and the fault."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_FILE_BYTES + 1)
        if len(content) > _MOST_FILE_BYTES:
            raise TooLarge(
                f"The vocabulary has more than {_MOST_FILE_BYTES} bytes. Keep the rarest phrases."
            )
        return phrases_of(decoded_lines(content))
    except OSError as error:
        raise ConfigurationError(
            f"The vocabulary {file} cannot be read: {error.strerror}. Name a file of phrases."
        ) from error
    except TranscribedError as error:
        raise ConfigurationError(f"{file}: {error.message}") from error


def _stored_phrases(name: str, lines: Sequence[str]) -> tuple[Phrase, ...]:
    try:
        return phrases_of(lines)
    except TranscribedError as error:
        raise StorageFailure(
            f"The file of the {VOCABULARIES.name} {name} was changed by hand: {error.message}"
        ) from error
