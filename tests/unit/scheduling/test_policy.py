from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.engines.base import Pace, StepKind
from transcribed.scheduling.policy import Candidate, choose

NOW = 10.0

_CANDIDATES = st.lists(
    st.builds(
        Candidate,
        stream=st.uuids(),
        pace=st.sampled_from(Pace),
        kind=st.sampled_from(StepKind),
        due=st.floats(0, 1_000),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda candidate: candidate.stream,
)


def _choose(*candidates: tuple[str, Pace, StepKind, float]) -> str | None:
    return choose((Candidate(*candidate) for candidate in candidates), NOW)


def test_nobody_waits() -> None:
    assert choose([], NOW) is None


def test_live_goes_before_fast_whatever_it_would_do() -> None:
    for live in StepKind:
        for fast in StepKind:
            assert _choose(("fast", Pace.FAST, fast, 0), ("live", Pace.LIVE, live, 9)) == "live"


@pytest.mark.parametrize("kind", [StepKind.FINAL, StepKind.LISTEN])
def test_live_partials_which_can_be_left_out_go_last(kind: StepKind) -> None:
    assert _choose(("partial", Pace.LIVE, StepKind.PARTIAL, 0), ("due", Pace.LIVE, kind, 9)) == "due"


@pytest.mark.parametrize("kind", list(StepKind))
def test_the_partials_of_recordings_which_cannot_be_left_out_wait_no_longer_than_others(
    kind: StepKind,
) -> None:
    assert _choose(("new", Pace.FAST, kind, 9), ("partial", Pace.FAST, StepKind.PARTIAL, 0)) == "partial"


def test_among_equals_the_one_that_waits_longest_goes() -> None:
    assert (
        _choose(
            ("b", Pace.LIVE, StepKind.LISTEN, 2),
            ("a", Pace.LIVE, StepKind.FINAL, 1),
            ("c", Pace.LIVE, StepKind.LISTEN, 3),
        )
        == "a"
    )


@given(_CANDIDATES, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(candidates: list[Candidate], random: Random) -> None:
    candidates = [replace(c, due=float(i)) for i, c in enumerate(candidates)]
    chosen = choose(candidates, NOW)
    random.shuffle(candidates)
    assert choose(candidates, NOW) == chosen


@given(_CANDIDATES)
def test_among_those_with_the_same_to_do_nobody_is_passed_over_for_ever(
    candidates: list[Candidate],
) -> None:
    candidates = [replace(c, pace=Pace.FAST, kind=StepKind.LISTEN) for c in candidates]
    served = set()
    for now in range(len(candidates)):
        chosen = choose(candidates, NOW)
        served.add(chosen)
        candidates = [replace(c, due=1_001.0 + now) if c.stream == chosen else c for c in candidates]
    assert served == {c.stream for c in candidates}
