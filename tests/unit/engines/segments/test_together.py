from collections.abc import Sequence

import pytest

from transcribed.engines.segments.together import Memo, ask, run_together


class Doubling:
    """A network that notes which questions it was asked together."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.memos: list[Memo] = []

    def answer(self, questions: Sequence[int], memo: Memo) -> Sequence[int]:
        self.asked.append(list(questions))
        self.memos.append(memo)
        if 13 in questions:
            raise RuntimeError("no thirteen")
        return [2 * question for question in questions]


def test_questions_of_steps_are_answered_together_until_each_ends() -> None:
    network = Doubling()

    def step(first: int, count: int) -> list[int]:
        return [ask(network, first + i) for i in range(count)]

    found = run_together([lambda: step(0, 2), lambda: step(10, 0), lambda: step(20, 3)])
    assert found == [[0, 2], [], [40, 42, 44]]
    assert network.asked == [[0, 20], [1, 21], [22]]
    assert all(memo is network.memos[0] for memo in network.memos)


def test_questions_to_several_networks() -> None:
    one, other = Doubling(), Doubling()
    found = run_together([lambda: ask(one, ask(other, 1)), lambda: ask(one, 5), lambda: ask(one, 2)])
    assert found == [4, 10, 4]
    assert (one.asked, other.asked) == ([[5, 2, 2]], [[1]])


def test_outside_of_common_steps_a_question_is_answered_at_once() -> None:
    network = Doubling()
    assert ask(network, 4) == 8
    assert network.asked == [[4]]


def test_a_step_that_fails_leaves_the_others() -> None:
    network = Doubling()

    def fails() -> int:
        ask(network, 1)
        raise ValueError("mine")

    failure, found = run_together([fails, lambda: ask(network, ask(network, 2))])
    assert isinstance(failure, ValueError)
    assert found == 8


def test_a_network_that_fails_fails_all_steps() -> None:
    network = Doubling()
    with pytest.raises(RuntimeError, match="no thirteen"):
        run_together([lambda: ask(network, 13), lambda: ask(network, 1)])
