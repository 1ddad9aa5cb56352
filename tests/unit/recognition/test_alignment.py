import itertools
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.recognition.alignment import token_spans

Task = tuple[np.ndarray, np.ndarray]


@st.composite
def tasks(draw: st.DrawFn, most_tokens: int = 8, most_frames: int = 20) -> Task:
    """Scores in quarters, of which sums are exact, and where pauses may be."""
    tokens, frames = draw(st.integers(1, most_tokens)), draw(st.integers(1, most_frames))
    score = st.integers(-8, 8).map(lambda quarters: quarters / 4)
    rows = st.lists(st.lists(score, min_size=frames, max_size=frames), min_size=tokens, max_size=tokens)
    may_pause = st.lists(st.booleans(), min_size=tokens, max_size=tokens)
    return np.array(draw(rows), np.float32), np.array(draw(may_pause))


def _total(scores: np.ndarray, found: np.ndarray) -> float:
    return sum(float(scores[token, low:high].sum()) for token, (low, high) in enumerate(found))


def _best_total(scores: np.ndarray, may_pause: np.ndarray) -> float:
    """Cell by cell: what a path is worth that is inside a token there, or in the silence behind it."""
    tokens, frames = scores.shape
    inside = np.full((tokens, frames), -np.inf)
    behind = np.full((tokens, frames), -np.inf)
    for frame in range(frames):
        for token in range(tokens):
            ways = []
            if frame:
                ways.append(inside[token, frame - 1])
            if token == 0:
                ways.append(0.0)
            elif frame:
                ways.append(inside[token - 1, frame - 1])
                if may_pause[token]:
                    ways.append(behind[token - 1, frame - 1])
            inside[token, frame] = scores[token, frame] + max(ways, default=-np.inf)
            if frame:
                behind[token, frame] = max(inside[token, frame - 1], behind[token, frame - 1])
    return max(inside[-1, -1], behind[-1, -1])


@given(tasks())
def test_spans_are_the_best_of_all_monotone_paths(task: Task) -> None:
    scores, may_pause = task
    if scores.shape[1] >= len(scores):
        assert _total(scores, token_spans(scores, may_pause)) == _best_total(scores, may_pause)


@given(tasks(most_tokens=3, most_frames=6))
def test_the_plain_reference_agrees_with_trying_all_spans(task: Task) -> None:
    scores, may_pause = task
    tokens, frames = scores.shape
    if frames < tokens:
        return
    sums = [
        _total(scores, np.array(ends).reshape(-1, 2))
        for ends in itertools.combinations_with_replacement(range(frames + 1), 2 * tokens)
        if all(low < high for low, high in np.array(ends).reshape(-1, 2))
        and all(
            may_pause[token + 1] or ends[2 * token + 1] == ends[2 * token + 2]
            for token in range(tokens - 1)
        )
    ]
    assert _best_total(scores, may_pause) == max(sums)


@given(tasks())
def test_spans_are_in_order_and_inside_the_audio(task: Task) -> None:
    scores, may_pause = task
    tokens, frames = scores.shape
    found = token_spans(scores, may_pause)
    assert found.shape == (tokens, 2)
    assert np.all(found[:, 0] < found[:, 1])
    assert found[0, 0] >= 0
    assert found[-1, 1] <= frames
    for token, ((start, end), (following, following_end)) in enumerate(pairwise(found), 1):
        if frames >= tokens:
            assert end == following if not may_pause[token] else end <= following
        else:
            assert start <= following
            assert end <= following_end


def test_silence_between_words_belongs_to_neither() -> None:
    scores = np.full((2, 9), -0.5, np.float32)
    scores[0, 1:3] = scores[1, 6:8] = 1
    assert token_spans(scores, np.array([True, True])).tolist() == [[1, 3], [6, 8]]
    joined = token_spans(scores, np.array([True, False]))
    assert joined[0, 1] == joined[1, 0]
    assert (joined[0, 0], joined[1, 1]) == (1, 8)


def test_no_tokens_have_no_spans() -> None:
    assert token_spans(np.zeros((0, 5), np.float32), np.zeros(0, bool)).shape == (0, 2)
    with pytest.raises(ValueError, match="no audio"):
        token_spans(np.zeros((2, 0), np.float32), np.ones(2, bool))
