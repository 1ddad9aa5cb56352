import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.recognition.vad import WINDOW, SpeechGate, SpeechProbabilities


def _through(probabilities: list[float]) -> list[bool]:
    gate = SpeechGate()
    return [gate.push(probability) for probability in probabilities]


def test_opens_high_and_closes_low() -> None:
    heard = _through([0.0, 0.49, 0.5, 0.36, 0.35, 0.34, 0.49, 0.5])
    assert heard == [False, False, True, True, True, False, False, True]


@pytest.mark.parametrize("start", [0.2, 0.9])
def test_a_voice_that_wavers_between_the_thresholds_changes_nothing(start: float) -> None:
    assert len(set(_through([start] + [0.36, 0.49] * 20))) == 1


@given(st.lists(st.floats(0, 1)))
def test_clear_probabilities_decide_alone(probabilities: list[float]) -> None:
    for probability, speech in zip(probabilities, _through(probabilities), strict=True):
        if probability >= SpeechGate.OPENS_AT:
            assert speech
        elif probability < SpeechGate.CLOSES_BELOW:
            assert not speech


@given(st.lists(st.floats(0, 1, width=32)), st.lists(st.integers(0, 9_000)), st.integers(0, 9_000))
def test_a_curve_knows_what_it_was_told_and_not_forgotten(
    windows: list[float], positions: list[int], forgotten: int
) -> None:
    curve = SpeechProbabilities()
    for probability in windows:
        curve.push(probability)
    curve.forget_before(forgotten)
    found = curve.at(np.array(positions, np.int64)).tolist()
    first = forgotten // WINDOW
    for position, probability in zip(positions, found, strict=True):
        number = min(max(position // WINDOW, first), len(windows) - 1)
        assert probability == (windows[number] if first < len(windows) else 1.0)


@given(st.lists(st.floats(0, 1, width=32), max_size=20), st.integers(0, 9_000))
def test_a_copy_of_the_rest_of_a_curve_and_the_curve_itself_go_their_own_ways(
    windows: list[float], position: int
) -> None:
    curve, expected = SpeechProbabilities(), SpeechProbabilities()
    for probability in windows:
        curve.push(probability)
        expected.push(probability)
    rest = curve.after(position)
    expected.forget_before(position)
    everywhere = np.arange(0, 25 * WINDOW, WINDOW)
    kept = curve.at(everywhere)
    for each in (rest, expected):
        each.push(0.5)
    np.testing.assert_array_equal(rest.at(everywhere), expected.at(everywhere))
    np.testing.assert_array_equal(curve.at(everywhere), kept)
