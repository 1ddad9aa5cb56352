"""The score of bench/live: a wrong one is worse than none."""

import random
import sys
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "live"))
from material import Word
from scoring import Aligner, Shown, score
from words import keys

sys.path.pop(0)


def reference(text: str) -> list[Word]:
    """A word each second: the first from 0 to 0.5 s, the second from 1 to 1.5 s."""
    return [Word(word, float(at), at + 0.5) for at, word in enumerate(text.split())]


def shown(*states: tuple[float, list[str], str]) -> list[Shown]:
    return [Shown(at, tuple(finals), partial) for at, finals, partial in states]


def latencies(text: str, *states: tuple[float, list[str], str]) -> list[float]:
    return [round(value, 3) for value in score(reference(text), shown(*states)).latencies]


def test_a_word_counts_from_its_first_showing() -> None:
    found = latencies("a b", (0.7, [], "A"), (1.4, [], "a"), (1.9, [], "a b"), (2.5, ["A b."], ""))
    assert found == [0.2, 0.4]


def test_a_word_that_was_guessed_before_its_end_is_early() -> None:
    assert latencies("a b", (1.1, [], "a b"), (3.0, ["a b"], "")) == [0.6, -0.4]


def test_a_word_that_came_and_went_counts_from_its_first_showing() -> None:
    assert latencies("a b", (1.6, [], "a b"), (2.0, [], "a x"), (3.0, ["a b"], "")) == [1.1, 0.1]


def test_a_word_does_not_count_where_it_is_not_right_in_the_end() -> None:
    result = score(reference("a b c"), shown((1.6, [], "a b"), (4.0, ["a x c"], "")))
    assert (result.words, result.right, len(result.latencies)) == (3, 2, 2)
    assert result.latencies == pytest.approx([1.1, 1.5])


def test_the_same_word_earlier_does_not_count_for_the_later() -> None:
    found = latencies(
        "the cat the dog", (0.8, [], "the"), (2.6, [], "the cat"), (4.0, ["the cat the dog"], "")
    )
    assert found == [0.3, 1.1, 1.5, 0.5]


def test_a_word_that_was_not_spoken_yet_does_not_count() -> None:
    found = latencies("a b c", (0.6, [], "a b c"), (1.6, [], "a b"), (3.0, ["a b c"], ""))
    assert found == [0.1, 0.1, 0.5]


def test_a_word_after_a_wrong_one_is_at_its_place() -> None:
    found = latencies("a b c d", (3.6, [], "a x c d"), (5.0, ["a b c d"], ""))
    assert found == [3.1, 3.5, 1.1, 0.1]


def test_a_word_after_a_missing_and_after_an_added_one_is_at_its_place() -> None:
    assert latencies("a b c d", (3.6, [], "a c d"), (5.0, ["a b c d"], "")) == [3.1, 3.5, 1.1, 0.1]
    assert latencies("a b c", (2.6, [], "a x y b c"), (5.0, ["a b c"], "")) == [2.1, 1.1, 0.1]


def test_finals_and_the_partial_are_one_text() -> None:
    found = latencies("a b c d", (1.7, ["A b."], ""), (3.7, ["A b."], "c d"), (4.5, ["A b.", "C d."], ""))
    assert found == [1.2, 0.2, 1.2, 0.2]


def test_case_punctuation_compounds_and_titles_do_not_matter() -> None:
    assert keys("Mr. O\u2019Brien said: “Twenty-one — no!”") == [
        "mister",
        "o'brien",
        "said",
        "twenty",
        "one",
        "no",
    ]


def test_updates_are_the_messages_that_change_the_words() -> None:
    states = shown(
        (0.6, [], "a"), (0.9, [], "A."), (1.6, [], "a b"), (2.0, ["A b."], ""), (2.1, ["A b."], "c")
    )
    assert score(reference("a b c"), states).updates == 3


def test_a_final_counts_from_the_end_of_its_last_right_word() -> None:
    states = [Shown(2.5, ("a b",), "", 1.7), Shown(3.4, ("a b",), "c"), Shown(5.0, ("a b", "c x"), "", 4.0)]
    result = score(reference("a b c d"), states)
    assert result.finals == pytest.approx([1.0, 2.5])
    assert result.finals_by_server == pytest.approx([0.8, 1.0])
    assert result.text == "a b c x"


def test_what_is_only_partial_in_the_end_is_not_right() -> None:
    result = score(reference("a b"), shown((0.6, ["a"], ""), (1.6, ["a"], "b")))
    assert (result.right, result.text) == (1, "a")


def test_nothing_shown_is_nothing_right() -> None:
    result = score(reference("a b"), [])
    assert (result.words, result.right, result.latencies, result.text) == (2, 0, [], "")


def test_the_incremental_alignment_is_the_edit_distance() -> None:
    """Against a plain one, over texts that grow and change by chance."""

    chance = random.Random(7)
    letters = "abcd"
    for _ in range(60):
        words = chance.choices(letters, k=12)
        aligner, text = Aligner(words), []
        for _ in range(12):
            text = text[: max(0, len(text) - chance.randrange(3))] + chance.choices(
                letters, k=chance.randrange(4)
            )
            spoken = chance.randrange(len(words) + 1)
            found = aligner.matches(text, spoken)
            assert all(text[where] == words[place] for place, where in found.items())
            assert list(found.values()) == sorted(found.values(), reverse=True)
            assert list(found) == sorted(found, reverse=True)
            edits, kept = best(words[:spoken], text)
            assert len(found) == kept
            assert edits_of(found, text) == edits


def best(words: list[str], text: list[str]) -> tuple[int, int]:
    """Fewest edits that make the text of any beginning of the words, and the most words kept at that."""
    table = {(0, j): (j, 0) for j in range(len(words) + 1)}
    for i in range(1, len(text) + 1):
        table[i, 0] = (i, 0)
        for j in range(1, len(words) + 1):
            same = text[i - 1] == words[j - 1]
            ways = [
                (table[i - 1, j], 1, 0),
                (table[i, j - 1], 1, 0),
                (table[i - 1, j - 1], not same, -same),
            ]
            table[i, j] = min((cost + edit, kept + match) for (cost, kept), edit, match in ways)
    edits, kept = min(table[len(text), j] for j in range(len(words) + 1))
    return edits, -kept


def edits_of(found: dict[int, int], text: list[str]) -> int:
    """Edits of an alignment: what lies between two matches is replaced, the rest added or left out."""
    anchors = [(-1, -1), *sorted(found.items())]
    between = [
        max(place - place_before - 1, where - where_before - 1)
        for (place_before, where_before), (place, where) in pairwise(anchors)
    ]
    return sum(between) + len(text) - 1 - anchors[-1][1]
