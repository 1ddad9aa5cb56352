"""What is shown in place of recognised words."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.options import Phrase
from transcribed.recognition.display_forms import DisplayForms, recognised_words, replaced
from transcribed.transcript import Word

FORMS = DisplayForms.of(
    [
        Phrase("los angeles", "L.A."),
        Phrase("iPhone"),
        Phrase("von Neumann"),
        Phrase("one two three", "1 2 3 4"),
        Phrase("Jean-Luc", "J"),
        Phrase("plain"),
    ]
)
TEXTS = st.lists(
    st.sampled_from(["Los", "los", "Angeles.", "iphone", "one", "two", "three,", "Jean-Luc", "Von", "x"]),
    max_size=12,
)


def words(texts: Sequence[str]) -> list[Word]:
    return [Word(text, float(at), at + 0.5, 1 / (at + 1)) for at, text in enumerate(texts)]


def shown(texts: str) -> str:
    split = texts.split()
    return " ".join(word.text for word in replaced(words(split), FORMS.replacements(split)))


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("In Los Angeles.", "In L.A."),
        ("(Los Angeles), yes", "(L.A.), yes"),
        ("Los Angeles's mayor", "L.A.'s mayor"),
        ("Los, Angeles", "Los, Angeles"),
        ("an Iphone, IPHONE'S", "an iPhone, iPhone'S"),
        ("Jean Luc and Jean-Luc!", "J and J!"),
        ("PLAIN Plain", "PLAIN Plain"),
        ("one two three.", "1 2 3 4."),
        ("Von neumann", "von Neumann"),
    ],
)
def test_what_is_shown(said: str, text: str) -> None:
    assert shown(said) == text


@given(TEXTS, st.integers(0, 12))
def test_words_keep_their_times_and_counts_can_be_taken_back(texts: list[str], settled: int) -> None:
    recognised = words(texts)
    found = FORMS.replacements(texts)
    result = replaced(recognised, found)
    assert [(each.start, each.end) for each in result] == sorted((each.start, each.end) for each in result)
    assert recognised_words(found, 0) == 0
    assert recognised_words(found, len(result)) == len(texts)
    count = recognised_words(found, min(settled, len(result)))
    assert all(not each.low < count < each.high for each in found), "no phrase is settled in part"
    fixed = [each for each in found if each.low < count]
    again = replaced(recognised, [*fixed, *FORMS.replacements(texts, count)])
    assert again[: min(settled, len(result))] == result[: min(settled, len(result))]


@given(TEXTS, st.integers(0, 12))
def test_settled_words_are_not_part_of_a_later_replacement(texts: list[str], start: int) -> None:
    assert all(each.low >= start for each in FORMS.replacements(texts, start))
