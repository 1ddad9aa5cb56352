"""Runs steps of several streams so that one run of a network serves all of them.

A step is ordinary code, which asks a network whenever it needs a result. `run_together` runs each step as a
coroutine (a greenlet) up to its next question, answers the questions of all steps together, and lets the
steps continue. Outside of `run_together` a question is answered immediately.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from greenlet import getcurrent, greenlet

Q_contra = TypeVar("Q_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)
Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")

Memo = dict[str, Any]
"""Anything that a network stores between its answers in one call of `run_together`."""


class Network(Protocol[Q_contra, A_co]):
    """A network that answers several questions together at a lower cost than one by one."""

    def answer(self, questions: Sequence[Q_contra], memo: Memo) -> Sequence[A_co]:
        """Return the answers in the order of the questions."""
        ...


class _Step(greenlet):
    """A step that runs in `run_together`."""


def ask(network: Network[Q, A], question: Q) -> A:
    """Return the answer of a network; the questions of steps that run together are answered together."""
    current = getcurrent()
    if isinstance(current, _Step) and current.parent is not None:
        return cast("A", current.parent.switch((network, question)))
    return network.answer([question], {})[0]


def run_together(steps: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Run steps together, and return what each returned or raised, in their order.

    Raises an exception of a network, since it concerns all steps.
    """
    outcomes: dict[int, T | Exception] = {}

    def run(index: int) -> None:
        try:
            outcomes[index] = steps[index]()
        except Exception as error:  # noqa: BLE001 - one step's failure is its own
            outcomes[index] = error

    waiting: dict[_Step, tuple[Network[Any, Any], Any]] = {}

    def resume(step: _Step, *answer: Any) -> None:
        asked = step.switch(*answer)
        if not step.dead:
            waiting[step] = asked

    for index in range(len(steps)):
        resume(_Step(partial(run, index)))
    memos: dict[int, Memo] = {}
    while waiting:
        network, _ = next(iter(waiting.values()))
        asking = {step: question for step, (asked, question) in waiting.items() if asked is network}
        answers = network.answer(list(asking.values()), memos.setdefault(id(network), {}))
        for step, answer in zip(asking, answers, strict=True):
            del waiting[step]
            resume(step, answer)
    return [outcomes[index] for index in range(len(steps))]
