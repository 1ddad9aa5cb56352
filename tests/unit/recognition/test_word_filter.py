"""Words of a list, in segments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.options import FilterMethod
from transcribed.recognition.word_filter import WordFilter
from transcribed.transcript import Segment, Word


def segment(text: str) -> Segment:
    words = tuple(Word(word, 0.0, 1.0, 0.9, stable=True) for word in text.split())
    return Segment("s", 0, 0.0, 1.0, " ".join(text.split()), final=True, language="en-US", words=words)


def shown(text: str, listed: list[str], method: str) -> str:
    filtered = WordFilter(listed, FilterMethod(method)).apply(segment(text))
    assert filtered.text == " ".join(word.text for word in filtered.words)
    return filtered.text


@pytest.mark.parametrize(
    ("text", "mask", "remove"),
    [
        ("This is a test.", "This is a ***.", "This is a."),
        ("Test it.", "*** it.", "it."),
        ("TEST, tested: contest!", "***, tested: contest!", "tested: contest!"),
        ('He said "test" twice.', 'He said "***" twice.', "He said twice."),
        ("Well, test, no.", "Well, ***, no.", "Well, no."),
        ("Oh, test!", "Oh, ***!", "Oh!"),
        ("Go. Test.", "Go. ***.", "Go."),
        ("test", "***", ""),
        ("test-bed and test's", "test-bed and test's", "test-bed and test's"),
        ("-- ...", "-- ...", "-- ..."),
        ("", "", ""),
    ],
)
def test_whole_words_are_masked_or_removed(text: str, mask: str, remove: str) -> None:
    assert shown(text, ["Test"], "mask") == mask
    assert shown(text, ["Test"], "remove") == remove


def test_tagging_changes_no_text() -> None:
    filtered = WordFilter(["größe", "A"], FilterMethod.TAG).apply(segment("Die GRÖSSE a b."))
    assert filtered.text == "Die GRÖSSE a b."
    assert [word.filtered for word in filtered.words] == [False, True, True, False]


def test_what_is_known_of_a_masked_word_stays() -> None:
    (word,) = WordFilter(["a"], FilterMethod.MASK).apply(segment("a")).words
    assert word == Word("***", 0.0, 1.0, 0.9, stable=True, filtered=True)


def test_a_text_without_words_is_filtered_too() -> None:
    bare = Segment("s", 0, 0.0, 1.0, "a test", final=True, language="en-US")
    assert WordFilter(["test"], FilterMethod.MASK).apply(bare).text == "a ***"


@given(
    st.lists(st.sampled_from(["darn", "Heck", "so", "well,", '"darn"', "heck!", "--", "darned."])),
    st.sampled_from(FilterMethod),
)
def test_nothing_of_the_list_is_left(words: list[str], method: FilterMethod) -> None:
    filtered = WordFilter(["DARN", "heck"], method).apply(segment(" ".join(words)))
    assert filtered.text == " ".join(word.text for word in filtered.words)
    left = [word.text.strip('",!.').lower() for word in filtered.words]
    if method is FilterMethod.TAG:
        assert filtered.text == " ".join(words)
    else:
        assert not {"darn", "heck"} & set(left)
        assert all(word.filtered is (word.text.strip('",!.') == "***") for word in filtered.words)


def test_long_runs_take_no_long_time() -> None:
    assert shown("." * 100_000 + "a", ["a"], "mask").endswith("***")
    assert shown("a" + "!" * 100_000, ["b"], "mask").startswith("a")
