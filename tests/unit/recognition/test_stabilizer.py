import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.recognition.stabilizer import Stability, Stabilizer

_ACTIVE = [stability for stability in Stability if stability is not Stability.OFF]


@given(st.sampled_from(_ACTIVE), st.data())
def test_what_is_settled_stands_in_all_of_the_last_hypotheses(
    stability: Stability, data: st.DataObject
) -> None:
    stabilizer = Stabilizer(stability)
    said: list[list[str]] = []
    settled = 0
    for _ in range(data.draw(st.integers(1, 15))):
        kept = said[-1][:settled] if said else []
        said.append(kept + data.draw(st.lists(st.sampled_from("ab"), max_size=5)))
        before, settled = settled, stabilizer.push(said[-1])
        assert settled == stabilizer.settled
        assert settled >= before
        if settled > before:
            agreeing = said[-stability.value :]
            assert len(agreeing) == stability.value
            assert all(words[:settled] == said[-1][:settled] for words in agreeing)
            assert settled < len(said[-1]), "the last word may still grow"


@pytest.mark.parametrize("stability", _ACTIVE)
def test_settles_as_soon_as_enough_hypotheses_agree(stability: Stability) -> None:
    stabilizer = Stabilizer(stability)
    pushed = [stabilizer.push(["this", "is", "a", "test"]) for _ in range(stability.value)]
    assert pushed == [0] * (stability.value - 1) + [3]


def test_settles_what_agrees_and_no_more() -> None:
    stabilizer = Stabilizer(Stability.HIGH)
    assert stabilizer.push(["this", "is", "a", "test"]) == 0
    assert stabilizer.push(["this", "is", "the", "test"]) == 2
    assert stabilizer.push(["this", "is", "the", "best", "of"]) == 3
    assert stabilizer.push([]) == 3


def test_off_settles_nothing() -> None:
    stabilizer = Stabilizer(Stability.OFF)
    assert [stabilizer.push(["a", "b"]) for _ in range(6)] == [0] * 6


def test_the_names_are_in_the_order_of_their_speed() -> None:
    assert [s.value for s in (Stability.HIGH, Stability.MEDIUM, Stability.LOW)] == [2, 3, 4]
