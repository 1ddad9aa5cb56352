import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.recognition.vad import SpeechGate


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
