"""Lists of words in a folder."""

from pathlib import Path

import pytest

from transcribed.errors import BadRequest, NotFound, StorageFailure, TooLarge
from transcribed.storage.vocabulary_filters import MAX_BYTES, MAX_LISTS, FilterFolder, words_of


def test_lists_are_kept_replaced_and_deleted(tmp_path: Path) -> None:
    filters = FilterFolder(tmp_path / "made" / "when needed")
    assert filters.names() == []
    filters.put("b", ["one", "zwei", "größe"])
    filters.put("..", ["dots"])
    filters.put("b", ["one"])
    assert FilterFolder(tmp_path / "made" / "when needed").get("b") == ("one",)
    assert filters.names() == ["..", "b"]
    filters.delete("b")
    assert filters.names() == [".."]
    for action in (filters.get, filters.delete):
        with pytest.raises(NotFound, match="PUT /vocabulary-filters/b"):
            action("b")
    assert not list(tmp_path.glob("**/.incoming*"))


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a b", "ä", "x" * 201, "a\n"])
def test_names_are_amazons(tmp_path: Path, name: str) -> None:
    filters = FilterFolder(tmp_path)
    for action in (
        lambda: filters.put(name, ["a"]),
        lambda: filters.get(name),
        lambda: filters.delete(name),
    ):
        with pytest.raises(BadRequest):
            action()
    assert not list(tmp_path.iterdir())


def test_there_are_not_too_many(tmp_path: Path) -> None:
    filters = FilterFolder(tmp_path)
    for number in range(MAX_LISTS):
        filters.put(str(number), ["a"])
    filters.put("0", ["b"])
    with pytest.raises(BadRequest, match="Delete one"):
        filters.put("more", ["a"])


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    filters = FilterFolder(tmp_path / "file")
    with pytest.raises(StorageFailure):
        filters.put("a", ["a"])


def test_words() -> None:
    assert words_of(["  a ", "", "b", "a"]) == ("a", "b")
    assert words_of(["x" * (MAX_BYTES - 1)])
    with pytest.raises(TooLarge):
        words_of(["x" * MAX_BYTES])
    for bad in ([], [" "], ["a b"], ["a\u2003b"], ["--"]):
        with pytest.raises(BadRequest):
            words_of(bad)
