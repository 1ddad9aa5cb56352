"""Vocabularies of owners, and of files."""

from pathlib import Path

import pytest

from transcribed.errors import BadRequest, ConfigurationError, NotFound, StorageFailure, TooLarge
from transcribed.options import Phrase
from transcribed.service.vocabularies import MAX_BYTES, Vocabularies, joined, phrases_in
from transcribed.storage.vocabularies import VocabularyFolder


@pytest.mark.anyio
async def test_a_vocabulary_is_its_owners_and_kept_as_it_was_written(tmp_path: Path) -> None:
    vocabularies = Vocabularies(VocabularyFolder(tmp_path))
    table = ["Phrase\tDisplayAs", "Los-Angeles\tL.A.", ""]
    phrases = (Phrase("Los Angeles", "L.A."),)
    assert await vocabularies.put("anna", "places", table) == phrases
    assert await vocabularies.get("anna", "places") == phrases
    assert await vocabularies.put("bert", "places", ["Rome"]) == (Phrase("Rome"),)
    assert await vocabularies.phrases("anna", ["places", "places"]) == phrases
    assert await vocabularies.names(None) == [("places", "anna"), ("places", "bert")]
    (file,) = (tmp_path / ".owners" / "anna").iterdir()
    assert file.read_text() == "Phrase\tDisplayAs\nLos-Angeles\tL.A.\n\n"
    file.write_text("😀\n")
    with pytest.raises(StorageFailure, match="changed by hand"):
        await vocabularies.phrases("anna", ["places"])
    await vocabularies.delete("anna", "places")
    with pytest.raises(NotFound, match="PUT /vocabularies/places, one phrase on each line"):
        await vocabularies.get("anna", "places")
    with pytest.raises(BadRequest, match="There is no vocabulary 'places'"):
        await vocabularies.phrases("anna", ["places"])
    with pytest.raises(TooLarge, match=f"more than {MAX_BYTES} bytes"):
        await vocabularies.put("anna", "long", [f"{'a' * 250}{number}" for number in range(1100)])


def test_of_equal_phrases_the_first_counts() -> None:
    assert joined((Phrase("NY", "New York"),), (Phrase("ny"), Phrase("LA"))) == (
        Phrase("NY", "New York"),
        Phrase("LA"),
    )
    with pytest.raises(BadRequest, match="have 12000 phrases together"):
        joined(*([Phrase(f"{part} {number}") for number in range(6000)] for part in "ab"))
    with pytest.raises(BadRequest, match=r"have \d+ characters together"):
        joined(*([Phrase(f"{part} {number}" + " word" * 40) for number in range(1000)] for part in "ab"))


@pytest.mark.parametrize("content", [None, b"", b"\0\1\2", b"a\n" + b"word " * 500, b"x\n" * 3_000_000])
def test_a_file_that_is_none_is_an_error_at_the_start(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "names.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"names\.txt"):
        phrases_in(file)


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes(b"\xef\xbb\xbfSiobhan\r\n")
    assert phrases_in(file) == (Phrase("Siobhan"),)
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        phrases_in(tmp_path)
