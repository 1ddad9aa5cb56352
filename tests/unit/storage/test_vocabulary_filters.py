"""Lists of words in a folder."""

from pathlib import Path

import pytest

from transcribed.errors import BadRequest, NotFound, StorageFailure, TooLarge
from transcribed.principal import NOBODY
from transcribed.storage.vocabulary_filters import MAX_BYTES, MAX_LISTS, FilterFolder, words_of


def test_lists_are_kept_replaced_and_deleted(tmp_path: Path) -> None:
    filters = FilterFolder(tmp_path / "made" / "when needed").of(NOBODY)
    assert filters.names() == []
    filters.put("b", ["one", "zwei", "größe"])
    filters.put("..", ["dots"])
    filters.put("b", ["one"])
    assert FilterFolder(tmp_path / "made" / "when needed").of(NOBODY).get("b") == ("one",)
    assert filters.names() == ["..", "b"]
    filters.delete("b")
    assert filters.names() == [".."]
    for action in (filters.get, filters.delete):
        with pytest.raises(NotFound, match="PUT /vocabulary-filters/b"):
            action("b")
    assert not list(tmp_path.glob("**/.incoming*"))


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a b", "ä", "x" * 201, "a\n"])
def test_names_are_amazons(tmp_path: Path, name: str) -> None:
    filters = FilterFolder(tmp_path).of(NOBODY)
    for action in (
        lambda: filters.put(name, ["a"]),
        lambda: filters.get(name),
        lambda: filters.delete(name),
    ):
        with pytest.raises(BadRequest):
            action()
    assert not list(tmp_path.iterdir())


def test_there_are_not_too_many(tmp_path: Path) -> None:
    filters = FilterFolder(tmp_path).of(NOBODY)
    for number in range(MAX_LISTS):
        filters.put(str(number), ["a"])
    filters.put("0", ["b"])
    with pytest.raises(BadRequest, match="Delete one"):
        filters.put("more", ["a"])
    FilterFolder(tmp_path).of("anna").put("more", ["a"])


def test_one_name_of_many_owners_is_as_many_lists(tmp_path: Path) -> None:
    root = tmp_path / "filters"
    filters = FilterFolder(root)
    owners = [NOBODY, "anna", "Anna", "ann", "..", "../anna", "anna/x", ".owners", "con", "日本", "a" * 128]
    for owner in owners:
        assert filters.of(owner).names() == []
        filters.of(owner).put("same", [f"word{owner}".replace("/", "")])
    filters.of("Anna").delete("same")
    filters.of("ann").put("same", ["another"])
    assert (root / "same.txt").read_text() == "word\n", "what belongs to nobody is where it was"
    assert filters.owners() == sorted(owners)
    for owner in owners:
        if owner == "Anna":
            assert filters.of(owner).names() == []
            with pytest.raises(NotFound):
                filters.of(owner).get("same")
        else:
            expected = "another" if owner == "ann" else f"word{owner}".replace("/", "")
            assert filters.of(owner).get("same") == (expected,)
            assert filters.of(owner).names() == ["same"]
    assert list(tmp_path.iterdir()) == [root]
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    assert len(folders) > len(owners)
    # Their names are the owners'.
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    with pytest.raises(BadRequest, match="cannot own"):
        filters.of("x" * 159)


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    filters = FilterFolder(tmp_path / "file").of(NOBODY)
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
