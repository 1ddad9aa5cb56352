from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.engines.moonshine_streaming.words import (
    after_settled,
    beginning_said_twice,
    said_twice,
    same,
    timed,
)
from transcribed.recognition.vad import WINDOW, SpeechProbabilities

_WORDS = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=30)


def _speech(*probabilities: float) -> SpeechProbabilities:
    speech = SpeechProbabilities()
    for probability in probabilities:
        speech.push(probability)
    return speech


@given(
    texts=_WORDS,
    start=st.integers(0, 5_000),
    length=st.integers(1, 60_000),
    probabilities=st.lists(st.floats(0, 1), max_size=120),
)
def test_words_follow_each_other_within_their_segment(
    texts: list[str], start: int, length: int, probabilities: list[float]
) -> None:
    words = timed(texts, start, start + length, _speech(*probabilities))
    assert [word.text for word in words] == texts
    times = [time for word in words for time in (word.start, word.end)]
    assert all(a <= b + 1e-9 for a, b in pairwise(times))
    assert all(word.start < word.end for word in words)
    assert start / 16_000 <= times[0]
    assert times[-1] <= (start + length) / 16_000 + 1e-9


def test_words_lie_where_speech_is() -> None:
    # A second of speech, a second without, a second of speech.
    second = round(16_000 / WINDOW)
    speech = _speech(*[1.0] * second, *[0.0] * second, *[1.0] * second)
    first, last = timed(["before", "behind"], 0, 3 * second * WINDOW, speech)
    assert first.end == pytest.approx(1.0, abs=0.05)
    assert last.start == pytest.approx(2.0, abs=0.05)


def test_a_longer_word_takes_longer() -> None:
    short, long = timed(["a", "encyclopaedia"], 0, 16_000, _speech(*[1.0] * 32))
    assert short.end - short.start < (long.end - long.start) / 3


@pytest.mark.parametrize(
    ("settled", "texts", "count"),
    [
        ("", "it was", 0),
        ("it was", "it was the best", 2),
        ("It was", "it was, the best", 2),
        ("it was", "twas the best", 1),
        ("twas the", "it was the best", 3),
        ("no no", "no no no yes", 2),
        ("it was", "", 0),
        ("a b c", "a b x d", 3),
    ],
)
def test_a_new_result_goes_on_behind_the_settled_words(settled: str, texts: str, count: int) -> None:
    assert after_settled(settled.split(), texts.split()) == count


def test_words_are_the_same_but_for_case_and_punctuation() -> None:
    assert same("Best.", "best")
    assert not same("best", "west")
    assert not same("—", "…")


@pytest.mark.parametrize(
    ("before", "texts", "shown"),
    [
        ("", "It", ""),
        ("It", "It was", "It"),
        ("It was.", "It was", "It was"),
        ("It was the", "It was", "It was"),
        ("It was the", "It has the best", "It has the"),
    ],
)
def test_a_last_word_is_shown_when_it_comes_a_second_time(before: str, texts: str, shown: str) -> None:
    assert " ".join(said_twice(before.split(), texts.split())) == shown


def test_without_spaces_what_two_results_begin_with_is_shown() -> None:
    assert beginning_said_twice(["今日は良い"], ["今日は良かった"]) == ["今日は良"]
    assert beginning_said_twice([], ["今日は"]) == []
