import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.recognition.repetition import without_repetition


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        ([], None),
        ([7] * 11, None),
        ([7] * 12, 1),
        ([1, 2, *[7] * 12], 3),
        ([7, 8] * 5, None),
        ([7, 8] * 6, 2),
        ([7, 8, 9, 7, 8, 9, 7, 8, 9], None),  # "no, no, no"
        ([5, *[1, 2, 3, 4] * 3], 5),
        ([5, *[1, 2, 3, 4] * 2], None),
        ([5, *[1, 2, 3, 4] * 3, 1], 6),  # [2, 3, 4, 1] is a phrase too
        ([5, *[1, 2, 3, 4] * 3, 9], None),
        (list(range(24)) * 3, 24),
        (list(range(25)) * 3, None),
        ([0, *list(range(10)) * 2, 99, *range(10)], None),
    ],
)
def test_a_phrase_said_too_often_is_kept_once(tokens: list[int], kept: int | None) -> None:
    assert without_repetition(tokens) == kept


@given(
    before=st.lists(st.integers(0, 9), max_size=20),
    phrase=st.lists(st.integers(0, 9), min_size=1, max_size=24),
    times=st.integers(3, 12),
)
def test_finds_any_phrase_behind_anything(before: list[int], phrase: list[int], times: int) -> None:
    tokens = before + phrase * times
    kept = without_repetition(tokens)
    if len(phrase) * times >= 12:
        assert kept is not None
    if kept is not None:
        rest = tokens[kept:]
        period = len(rest) // (len(rest) // len(_shortest_period(rest)))
        assert tokens[kept - period : kept] == rest[:period], "what was dropped had been said before"
        assert len(rest) + period >= 12


def _shortest_period(tokens: list[int]) -> list[int]:
    for length in range(1, len(tokens) + 1):
        if len(tokens) % length == 0 and tokens[:length] * (len(tokens) // length) == tokens:
            return tokens[:length]
    raise AssertionError


@given(st.lists(st.integers(), unique=True))
def test_speech_without_repetition_is_kept_whole(tokens: list[int]) -> None:
    assert without_repetition(tokens) is None
