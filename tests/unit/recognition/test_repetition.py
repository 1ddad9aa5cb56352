import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.recognition.repetition import length_without_loop, repeated_phrase_length

FRAMES = 400

# --- What raises the suspicion


@pytest.mark.parametrize(
    ("tokens", "phrase"),
    [
        ([], None),
        ([7] * 11, None),
        ([7] * 12, 1),
        ([1, 2, *[7] * 12], 1),
        ([7, 8] * 5, None),
        ([7, 8] * 6, 2),
        ([7, 8, 9, 7, 8, 9, 7, 8, 9], None),  # "no, no, no"
        ([5, *[1, 2, 3, 4] * 3], 4),
        ([5, *[1, 2, 3, 4] * 2], None),
        ([5, *[1, 2, 3, 4] * 3, 1], 4),  # [2, 3, 4, 1] is a phrase too
        ([5, *[1, 2, 3, 4] * 3, 9], None),
        (list(range(24)) * 3, 24),
        (list(range(48)) * 3, 48),
        (list(range(49)) * 3, None),
        ([*range(20), *range(12)], 20),  # A long one need not come again as a whole.
        ([*range(20), *range(11)], None),
        ([*range(7), *range(7), *range(5)], None),
        ([0, *list(range(10)) * 2, 99, *range(10)], None),
    ],
)
def test_a_phrase_that_is_said_over_and_over_is_noticed(tokens: list[int], phrase: int | None) -> None:
    assert repeated_phrase_length(tokens) == phrase


@given(
    before=st.lists(st.integers(0, 9), max_size=20),
    phrase=st.lists(st.integers(0, 9), min_size=1, max_size=24),
    times=st.integers(3, 12),
)
def test_finds_any_phrase_behind_anything(before: list[int], phrase: list[int], times: int) -> None:
    tokens = before + phrase * times
    length = repeated_phrase_length(tokens)
    if len(phrase) * times >= 12:
        assert length is not None
    if length is not None:
        tail = tokens[-(max(3 * length, 12) if length < 8 else length + 12) :]
        assert tail[length:] == tail[:-length]


@given(st.lists(st.integers(), unique=True))
def test_speech_without_repetition_is_not_suspected(tokens: list[int]) -> None:
    assert repeated_phrase_length(tokens) is None


# --- What the attention says of it


def _attending(middles: list[float], width: float = 4.0) -> np.ndarray:
    """Each token attends to the audio around one frame; rows sum to 1."""
    frames = np.arange(FRAMES)
    weights = np.exp(-0.5 * ((frames - np.array(middles)[:, None]) / width) ** 2)
    found: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def _nowhere(tokens: int) -> np.ndarray:
    """As in a loop over noise: each token attends to everything a little."""
    noise = np.random.default_rng(tokens).uniform(0.8, 1.2, (tokens, FRAMES))
    found: np.ndarray = (noise / noise.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


@given(phrase=st.integers(1, 20), times=st.integers(3, 8), pace=st.floats(4, 12), before=st.integers(0, 10))
def test_a_phrase_that_is_spoken_again_and_again_is_kept(
    phrase: int, times: int, pace: float, before: int
) -> None:
    tokens = [*range(100, 100 + before), *list(range(phrase)) * max(times, -(-12 // phrase))]
    pace = min(pace, FRAMES / len(tokens))
    attention = _attending([pace * place for place in range(len(tokens))], width=1.5 * pace)
    assert length_without_loop(tokens, phrase, attention) is None


@given(phrase=st.integers(1, 20), times=st.integers(4, 8), before=st.integers(0, 10))
def test_a_loop_is_kept_once(phrase: int, times: int, before: int) -> None:
    times = max(times, -(-16 // phrase))
    tokens = [*range(100, 100 + before), *list(range(phrase)) * times]
    said = [5.0 * place for place in range(before + phrase)]
    stuck = [*said, *said[before:] * (times - 1)]
    for attention in (_attending(stuck), _nowhere(len(tokens))):
        assert length_without_loop(tokens, phrase, attention) == before + phrase


@pytest.mark.parametrize("spoken", [1, 2, 3, 4, 5])
def test_of_a_loop_behind_a_repetition_what_was_spoken_is_kept(spoken: int) -> None:
    phrase, looped = 6, 4
    tokens = [90, 91, *list(range(phrase)) * (spoken + looped)]
    middles = [10.0 * place for place in range(2 + phrase * spoken)]
    middles += middles[-phrase:] * looped
    kept = length_without_loop(tokens, phrase, _attending(middles))
    assert kept == 2 + phrase * spoken
    cut = length_without_loop(tokens[:-2], phrase, _attending(middles)[:-2])
    assert cut == kept, "the last time need not be whole"


def test_of_a_loop_the_way_back_to_its_start_is_dropped() -> None:
    clause = list(range(18))
    tokens = [90, 91, *clause, 92, 93, *clause[:14]]
    said = [10.0 * place for place in range(2 + len(clause))]
    middles = [*said, 30.0, 25.0, *said[2:16]]
    assert length_without_loop(tokens, 20, _attending(middles)) == len(said)
    spoken = [10.0 * place for place in range(len(tokens))]
    assert length_without_loop(tokens, 20, _attending(spoken)) is None


def test_what_is_settled_has_no_attention_and_is_not_judged() -> None:
    tokens = list(range(4)) * 8
    stuck = _attending([5.0, 10.0, 15.0, 20.0] * 8)
    assert length_without_loop(tokens, 4, stuck) == 4
    assert length_without_loop(tokens, 4, stuck[8:]) == 12
    assert length_without_loop(tokens, 4, stuck[-10:]) is None


def test_attention_that_hardly_moves_is_a_loop_though_it_is_not_quite_the_same() -> None:
    tokens = list(range(5)) * 5
    drifting = [100 + 20.0 * (place % 5) + 1.5 * (place // 5) for place in range(25)]
    assert length_without_loop(tokens, 5, _attending(drifting, width=2.0)) == 5
    spoken = [100 + 5.0 * place for place in range(25)]
    assert length_without_loop(tokens, 5, _attending(spoken, width=30.0)) is None, (
        "wide, and yet it moves on"
    )
