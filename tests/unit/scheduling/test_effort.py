from itertools import pairwise

import pytest

from transcribed.engines.base import Effort, StepKind
from transcribed.scheduling.effort import EffortRule, StreamEffort

FULL, REDUCED = Effort.FULL, Effort.REDUCED


def _rule(*waits: float, every: float = 0.1) -> EffortRule:
    rule = EffortRule()
    for number, wait in enumerate(waits):
        rule.update(every * number, wait)
    return rule


def test_an_idle_machine_has_full_effort() -> None:
    assert _rule().effort is FULL
    assert _rule(0.05, 0.15).effort is FULL


def test_effort_is_reduced_before_the_promise_is_broken() -> None:
    rule = _rule(0.1, 0.5)
    assert rule.effort is REDUCED
    assert not rule.overloaded


@pytest.mark.parametrize("wait", [0.1, 0.15, 0.5, 2.0])
def test_it_stays_reduced_while_full_effort_may_be_too_much(wait: float) -> None:
    assert _rule(0.5, *[wait] * 2_000).effort is REDUCED


def test_it_is_restored_after_a_while_of_short_waits() -> None:
    assert _rule(0.5, *[0.06] * 40).effort is REDUCED
    assert _rule(0.5, *[0.06] * 60).effort is FULL


def test_full_effort_that_proves_too_much_is_tried_less_and_less_often() -> None:
    """A machine with short waits at reduced effort only."""
    rule, changes, now = EffortRule(), [], 0.0
    while now < 600:
        effort = rule.effort
        rule.update(now, 0.06 if effort is REDUCED else 0.6)
        if rule.effort is not effort and rule.effort is FULL:
            changes.append(now)
        now += 0.1
    waits = [later - earlier for earlier, later in pairwise(changes)]
    assert waits == sorted(waits)
    assert waits[-1] > 100
    rule.update(now + 1_000, 0.06)
    rule.update(now + 2_000, 0.6)
    rule.update(now + 2_006, 0.06)
    assert rule.effort is FULL, "a long time of full effort has proved that it is possible"


def test_a_segment_keeps_its_effort() -> None:
    rule, stream = EffortRule(), StreamEffort()
    assert stream.of(StepKind.PARTIAL, rule) is FULL
    rule.update(0.0, 0.5)
    assert stream.of(StepKind.LISTEN, rule) is FULL
    assert stream.of(StepKind.PARTIAL, rule) is FULL
    assert stream.of(StepKind.FINAL, rule) is FULL
    assert stream.of(StepKind.PARTIAL, rule) is REDUCED
    rule.update(10.0, 0.06)
    assert stream.of(StepKind.PARTIAL, rule) is REDUCED
    assert stream.of(StepKind.FINAL, rule) is FULL
    assert stream.of(StepKind.PARTIAL, rule) is FULL


def test_under_overload_an_open_segment_changes_at_once() -> None:
    rule, stream = EffortRule(), StreamEffort()
    assert stream.of(StepKind.PARTIAL, rule) is FULL
    rule.update(0.0, 0.8)
    assert stream.of(StepKind.PARTIAL, rule) is REDUCED


@pytest.mark.parametrize("kind", [StepKind.FINAL, StepKind.AHEAD])
def test_finals_never_have_less_than_full_effort(kind: StepKind) -> None:
    assert StreamEffort().of(kind, _rule(2.0, 2.0)) is FULL
