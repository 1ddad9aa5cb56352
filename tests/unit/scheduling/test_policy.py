from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.engines.base import Costs, StepKind
from transcribed.options import Pace
from transcribed.scheduling.policy import (
    MAX_EARLINESS,
    PROMISED_INTERVAL,
    Candidate,
    SenderClock,
    admits,
    choose,
    demand,
    others_to_batch,
    room,
)

NOW = 10.0
URGENT = 0.25
ON_TIME = NOW - 0.1
MOMENT = 1e-6

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


# --- The order of ranks


RANKS: list[tuple[str, Pace, StepKind, float]] = [
    ("urgent", Pace.LIVE, StepKind.FINAL, NOW + MAX_EARLINESS),
    ("partial", Pace.LIVE, StepKind.PARTIAL, NOW - 100),
    ("listening", Pace.LIVE, StepKind.LISTEN, NOW - URGENT + MOMENT),
    ("ahead", Pace.LIVE, StepKind.AHEAD, NOW - 100),
    ("burst", Pace.LIVE, StepKind.FINAL, NOW + MAX_EARLINESS + MOMENT),
    ("recording", Pace.FAST, StepKind.FINAL, NOW - 100),
]


@pytest.mark.parametrize(("first", "then"), [*pairwise(RANKS)], ids=lambda rank: rank[0])
def test_each_rank_goes_before_the_next_however_long_that_has_waited(
    first: tuple[str, Pace, StepKind, float], then: tuple[str, Pace, StepKind, float]
) -> None:
    assert _choose(then, first) == first[0]


def test_listening_becomes_urgent() -> None:
    late, early = NOW - URGENT, NOW - URGENT + MOMENT
    partial = ("partial", Pace.LIVE, StepKind.PARTIAL, NOW - 100)
    assert _choose(partial, ("listen", Pace.LIVE, StepKind.LISTEN, late)) == "listen"
    assert _choose(partial, ("listen", Pace.LIVE, StepKind.LISTEN, early)) == "partial"


def test_urgent_listening_and_finals_are_one_rank() -> None:
    listen = ("listen", Pace.LIVE, StepKind.LISTEN, ON_TIME - 1)
    for due, chosen in [(ON_TIME - 2, "final"), (ON_TIME, "listen")]:
        assert _choose(listen, ("final", Pace.LIVE, StepKind.FINAL, due)) == chosen


@pytest.mark.parametrize("kind", list(StepKind))
def test_what_came_too_early_waits_for_all_that_is_live_and_goes_before_recordings(kind: StepKind) -> None:
    burst = ("burst", Pace.LIVE, kind, NOW + MAX_EARLINESS + MOMENT)
    for other in StepKind:
        assert _choose(burst, ("other", Pace.LIVE, other, ON_TIME)) == "other"
        assert _choose(("fast", Pace.FAST, other, 0), burst) == "burst"


def test_only_live() -> None:
    fast = Candidate("fast", Pace.FAST, StepKind.FINAL, 0)
    live = Candidate("live", Pace.LIVE, StepKind.AHEAD, NOW + 9)
    assert choose([fast], NOW, only_live=True) is None
    assert choose([fast, live], NOW, only_live=True) == "live"
    assert choose([fast], NOW) == "fast"


@given(_CANDIDATES, st.floats(0, 1_000))
def test_somebody_is_chosen_where_anybody_waits(candidates: list[Candidate], now: float) -> None:
    streams = [c.stream for c in candidates]
    live = [c.stream for c in candidates if c.pace is Pace.LIVE]
    assert choose(candidates, now) in streams
    assert choose(candidates, now, only_live=True) in (live or [None])


@given(_CANDIDATES, st.floats(0, 1_000))
def test_to_wait_on_never_sends_a_stream_back(candidates: list[Candidate], now: float) -> None:
    """Whoever is chosen would have been chosen with older audio, too."""
    chosen = choose(candidates, now)
    older = [replace(c, due=c.due - 5) if c.stream == chosen else c for c in candidates]
    assert choose(older, now) == chosen


# --- Who is let in


def test_a_stream_needs_its_steps_and_a_partial_in_each_promised_interval() -> None:
    # The promise is about the end of a partial: 0.1 s of the 0.7 are its own.
    assert demand(Costs(steady=0.02, partial=0.1)) == pytest.approx(0.02 + 0.1 / 0.6)
    assert demand(Costs(steady=0.02, partial=0.1), speech=0.5) == pytest.approx(0.02 + 0.5 * 0.1 / 0.6)


def test_the_room_is_what_the_threads_have_time_for() -> None:
    assert room(available=1.7, load=0.0, demand=0.1) == 17
    assert room(available=1.7, load=1.45, demand=0.1) == 2
    assert room(available=1.7, load=1.7, demand=0.1) == 0
    assert room(available=1.7, load=5.0, demand=0.1) == 0


def test_there_is_room_for_one_stream_on_any_machine() -> None:
    assert admits(available=0.5, load=0.0, demand=demand(Costs(steady=5.0, partial=5.0)), wait=99.0)


@given(st.floats(1e-4, 0.5), st.floats(1e-4, 0.5), st.floats(0.5, 64.0))
def test_as_many_are_let_in_as_there_is_time_for_and_not_one_more(
    steady: float, partial: float, available: float
) -> None:
    one, streams = demand(Costs(steady, partial)), 1
    while streams < 100 and admits(available, streams * one, one, wait=0.0):
        streams += 1
    assert streams == 1 or streams * one <= available + 1e-6
    assert streams == 100 or (streams + 1) * one > available - 1e-6


def test_nobody_is_let_in_while_partials_come_more_seldom_than_promised() -> None:
    assert admits(available=1.7, load=0.5, demand=0.1, wait=PROMISED_INTERVAL)
    assert not admits(available=1.7, load=0.5, demand=0.1, wait=1.2 * PROMISED_INTERVAL)


# --- When audio was spoken, and when it came


def test_audio_was_spoken_just_before_it_came() -> None:
    clock = SenderClock()
    for chunk in range(1, 50):
        clock.received(100 + chunk * 0.1, chunk * 0.1)
    assert clock.spoken_at(0.0) == pytest.approx(100)
    assert clock.spoken_at(3.0) == pytest.approx(103)
    assert clock.arrived_at(3.0) == pytest.approx(103.1)
    assert clock.arrived_at(3.05) == pytest.approx(103.1)


def test_what_comes_at_once_is_spoken_one_after_the_other() -> None:
    clock = SenderClock()
    for piece in range(1, 11):
        clock.received(100, piece * 0.5)
    assert clock.spoken_at(0.0) == 99.5
    assert clock.spoken_at(5.0) == 104.5
    assert clock.arrived_at(0.0) == clock.arrived_at(4.9) == 100


def test_what_has_not_come_yet_comes_no_earlier_than_what_has() -> None:
    clock = SenderClock()
    assert clock.arrived_at(0.0) == 0.0
    clock.received(100, 0.5)
    assert clock.arrived_at(0.5) == clock.arrived_at(9.0) == 100


def test_a_pause_is_no_lateness_and_a_delay_is_forgotten() -> None:
    paused, held_up = SenderClock(), SenderClock()
    for clock in (paused, held_up):
        clock.received(100.5, 0.5)
        clock.received(111.0, 1.0)
    assert paused.spoken_at(0.5) == held_up.spoken_at(0.5) == 110.5
    held_up.received(111.0, 11.0)  # All that was said meanwhile.
    for second in range(1, 25):
        paused.received(111.0 + second, 1.0 + second)
        held_up.received(111.0 + second, 11.0 + second)
    assert paused.spoken_at(10.0) == 120.0
    assert held_up.spoken_at(10.0) == 110.0


def test_an_endless_stream_takes_no_more_memory() -> None:
    clock = SenderClock()
    for chunk in range(1, 10_000):
        clock.received(chunk * 0.02, chunk * 0.02)
    assert len(clock._arrivals) < 1_000
    assert clock.arrived_at(0.0) < clock.arrived_at(199.0)


def test_those_of_the_same_kind_and_rank_may_step_with_the_chosen_one() -> None:
    def waiting(stream: str, kind: StepKind, due: float, pace: Pace = Pace.LIVE) -> Candidate[str]:
        return Candidate(stream, pace, kind, due)

    chosen = waiting("chosen", StepKind.PARTIAL, 1.0)
    others = [
        waiting("late", StepKind.PARTIAL, 3.0),
        waiting("final", StepKind.FINAL, 1.5),
        waiting("early", StepKind.PARTIAL, 99.0),
        waiting("fast", StepKind.PARTIAL, 1.5, Pace.FAST),
        waiting("sooner", StepKind.PARTIAL, 2.0),
        waiting("latest", StepKind.PARTIAL, 4.0),
    ]
    found = others_to_batch([chosen, *others], chosen, 5.0, 2)
    assert [candidate.stream for candidate in found] == ["sooner", "late"]
    assert others_to_batch([chosen, *others], chosen, 5.0, 0) == []
