import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.engines.base import Costs, Hypothesis, StepKind
from transcribed.scheduling.meter import Meter
from transcribed.scheduling.policy import PROMISED_INTERVAL

MEASURED = Costs(steady=0.02, partial=0.03)
ON_TIME = 0.2
RARE = PROMISED_INTERVAL


def _final(seconds: float) -> list[Hypothesis]:
    return [
        Hypothesis(0, 5.0, 5.0 + seconds, "said", final=False),
        Hypothesis(0, 5.0, 5.0 + seconds, "said", final=True),
    ]


def _listen(meter: Meter, cost: float, seconds: float) -> None:
    """To so much audio, in steps of half a second."""
    for _ in range(round(seconds / 0.5)):
        meter.record(StepKind.LISTEN, cost * 0.5, 0.5, ON_TIME, ())


def _finalise(meter: Meter, cost: float, seconds: float, kind: StepKind = StepKind.FINAL) -> None:
    """So much audio, in segments of five seconds."""
    for _ in range(round(seconds / 5.0)):
        meter.record(kind, cost * 5.0, 0.0, ON_TIME, _final(5.0))


def _partials(meter: Meter, count: int, seconds: float = 0.03, waited: float = RARE) -> None:
    for _ in range(count):
        meter.record(StepKind.PARTIAL, seconds, 0.1, waited, ())


def test_begins_with_what_the_engine_measured() -> None:
    meter = Meter(MEASURED)
    assert meter.costs == MEASURED
    assert meter.interval == 0.0


def test_comes_to_what_listening_and_finals_cost_for_each_second_of_audio() -> None:
    meter = Meter(MEASURED)
    _listen(meter, 0.01, 3_000)
    _finalise(meter, 0.05, 3_000)
    assert meter.costs.steady == pytest.approx(0.06, rel=0.01)


def test_work_ahead_is_paid_by_the_final_that_it_saves() -> None:
    meter = Meter(MEASURED)
    _listen(meter, 0.01, 3_000)
    for _ in range(600):
        meter.record(StepKind.AHEAD, 0.25, 0.0, ON_TIME, [])
        meter.record(StepKind.FINAL, 0.0, 0.0, ON_TIME, _final(5.0))
    assert meter.costs.steady == pytest.approx(0.06, rel=0.02)


def test_a_single_step_changes_little_and_what_is_long_past_counts_no_more() -> None:
    meter = Meter(MEASURED)
    meter.record(StepKind.FINAL, 0.5, 0.0, ON_TIME, _final(5.0))
    assert meter.costs.steady == pytest.approx(MEASURED.steady, rel=0.1)
    _finalise(meter, 0.2, 3_000)
    _finalise(meter, 0.05, 3_000)
    assert meter.costs.steady == pytest.approx(0.05, rel=0.01)


def test_partials_cost_what_they_do_under_load() -> None:
    """Those of a stream that has the machine for itself cover less audio, and are cheaper."""
    meter = Meter(MEASURED)
    _partials(meter, 300, seconds=0.001, waited=ON_TIME)
    assert meter.costs.partial == MEASURED.partial
    _partials(meter, 300, seconds=0.05)
    assert meter.costs.partial == pytest.approx(0.05, rel=0.01)


def test_the_interval_follows_what_partials_have_waited() -> None:
    meter = Meter(MEASURED)
    _partials(meter, 1, waited=60.0)
    assert meter.interval <= 0.1, "one alone says nothing"
    _partials(meter, 150, waited=0.9)
    assert meter.interval == pytest.approx(0.9, rel=0.05)
    _partials(meter, 150, waited=0.2)
    assert meter.interval == pytest.approx(0.2, rel=0.05)


def test_audio_that_comes_ahead_of_its_time_says_nothing_about_partials() -> None:
    meter = Meter(MEASURED)
    _partials(meter, 30, waited=0.9)
    interval = meter.interval
    _partials(meter, 300, seconds=9.0, waited=-3.0)
    assert (meter.interval, meter.costs) == (interval, Costs(MEASURED.steady, pytest.approx(0.03)))


def test_the_interval_of_partials_is_forgotten_where_nobody_speaks() -> None:
    """Otherwise a silent stream would keep all others out, after a time of overload."""
    meter = Meter(MEASURED)
    _partials(meter, 150, waited=1.5)
    _listen(meter, 0.01, 4)
    assert meter.interval > 1, "speakers pause"
    _listen(meter, 0.01, 8)
    assert meter.interval == 0.0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(StepKind),
            st.floats(0, 30),
            st.floats(0, 10),
            st.floats(-10, 60),
            st.floats(0, 15),
        )
    )
)
def test_no_costs_are_negative_whatever_happens(
    steps: list[tuple[StepKind, float, float, float, float]],
) -> None:
    meter = Meter(MEASURED)
    for kind, seconds, heard, waited, said in steps:
        meter.record(kind, seconds, heard, waited, _final(said))
        assert meter.costs.steady >= 0
        assert meter.costs.partial >= 0
        assert meter.interval >= 0
