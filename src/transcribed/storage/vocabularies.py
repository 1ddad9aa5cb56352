"""Storage of vocabularies: named lists or tables of phrases, each in a file as its user wrote it."""

from pathlib import Path

from transcribed.storage.word_lists import Kind, WordListFolder

MAX_BYTES = 256 * 1024
"""The most bytes of a vocabulary; five times Amazon's limit."""
VOCABULARIES = Kind("vocabulary", "vocabularies", "/vocabularies", "one phrase")


class VocabularyFolder(WordListFolder):
    """The vocabularies of all owners."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, VOCABULARIES)
