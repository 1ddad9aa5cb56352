import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.options import Stability
from transcribed.recognition.stabilizer import SETTLING_TIMES, SettlingTime, Stabilizer
from transcribed.transcript import Word

_ACTIVE = [Stability.LOW, Stability.MEDIUM, Stability.HIGH]
_WORD = st.builds(Word, st.sampled_from("ab"), confidence=st.sampled_from([None, 1.0, 0.9, 0.5, 0.1, 0.0]))
Heard = tuple[list[Word], int]
"""A hypothesis, and how many samples it was made of."""


def _settled(stability: Stability, heard: Sequence[Heard]) -> list[int]:
    stabilizer = Stabilizer(stability)
    return [stabilizer.push(words, end) for words, end in heard]


@st.composite
def _hearing(draw: st.DrawFn) -> list[Heard]:
    """Hypotheses of a segment, each of which begins with what HIGH, and so every level, has settled."""
    stabilizer = Stabilizer(Stability.HIGH)
    heard: list[Heard] = []
    words: list[Word] = []
    for waited in draw(st.lists(st.integers(1, 3 * SAMPLE_RATE), max_size=15)):
        kept = draw(st.integers(stabilizer.settled, max(stabilizer.settled, len(words))))
        words = words[:kept] + draw(st.lists(_WORD, max_size=3))
        heard.append((words, waited + (heard[-1][1] if heard else 0)))
        stabilizer.push(*heard[-1])
    return heard


def _stood(place: int, heard: Sequence[Heard]) -> int:
    """For how many samples the word at this place of the last hypothesis has stood there."""
    last, end = heard[-1]
    since = end
    for words, earlier in reversed(heard):
        if [word.text for word in words[: place + 1]] != [word.text for word in last[: place + 1]]:
            break
        since = earlier
    return end - since


@given(_hearing(), st.sampled_from(_ACTIVE))
def test_a_word_settles_when_it_has_stood_for_long_enough_and_all_before_it_have_settled(
    heard: list[Heard], stability: Stability
) -> None:
    expected = 0
    for count, settled in enumerate(_settled(stability, heard), 1):
        words, _ = heard[count - 1]
        while expected < len(words) - 1:
            confidence = words[expected].confidence
            needed = SETTLING_TIMES[stability].needed(1.0 if confidence is None else confidence)
            if _stood(expected, heard[:count]) / SAMPLE_RATE < needed:
                break
            expected += 1
        assert settled == expected


@given(_hearing())
def test_what_is_settled_stays_so_and_high_is_never_behind_low(heard: list[Heard]) -> None:
    low, medium, high = (_settled(stability, heard) for stability in _ACTIVE)
    for settled in (low, medium, high):
        assert settled == sorted(settled)
    assert all(one <= two <= three for one, two, three in zip(low, medium, high, strict=True))


@given(_hearing(), st.data())
def test_a_hypothesis_that_repeats_the_one_before_settles_nothing_sooner(
    heard: list[Heard], data: st.DataObject
) -> None:
    repeated = [data.draw(st.integers(1, 3)) for _ in heard]
    often = [said for said, times in zip(heard, repeated, strict=True) for _ in range(times)]
    for stability in _ACTIVE:
        last = 0
        settled = _settled(stability, often)
        for times, once in zip(repeated, _settled(stability, heard), strict=True):
            last += times
            assert settled[last - 1] == once


@pytest.mark.parametrize("stability", _ACTIVE)
@pytest.mark.parametrize("interval", [0.1, 0.5, 1.0])
def test_agreement_is_counted_in_seconds_of_audio(stability: Stability, interval: float) -> None:
    ends = [round(SAMPLE_RATE * interval * count) for count in range(1, 100)]
    said = [Word(text, confidence=0.5) for text in ("this", "is", "a", "test")]
    settled = _settled(stability, [(said, end) for end in ends])
    stood = (ends[settled.index(3)] - ends[0]) / SAMPLE_RATE
    needed = SETTLING_TIMES[stability].base + SETTLING_TIMES[stability].per_halving
    assert set(settled) == {0, 3}
    assert needed <= stood < needed + interval + 1e-9


def test_one_hypothesis_alone_settles_nothing() -> None:
    assert _settled(Stability.HIGH, [([Word("a", confidence=1.0)] * 5, 10 * SAMPLE_RATE)]) == [0]


def test_settles_what_agrees_and_no_more() -> None:
    said = ["this is a test", "this is the test", "this is the best of", "", "this is the best of all"]
    heard = [([Word(text) for text in words.split()], SAMPLE_RATE * at) for at, words in enumerate(said)]
    assert _settled(Stability.HIGH, heard) == [0, 2, 3, 3, 3]


def test_off_settles_nothing() -> None:
    assert (
        _settled(Stability.OFF, [([Word("a"), Word("b")], at * SAMPLE_RATE) for at in range(6)]) == [0] * 6
    )


def test_doubt_is_counted_by_how_often_the_probability_halves() -> None:
    settling = SettlingTime(base=0.5, per_halving=2.0)
    assert [settling.needed(1 / 2**halved) for halved in range(4)] == [0.5, 2.5, 4.5, 6.5]
    assert settling.needed(0.0) == math.inf
