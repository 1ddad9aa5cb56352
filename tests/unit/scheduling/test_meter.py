from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.engines.base import Costs, Effort, Hypothesis, RecognitionEvent, StepKind
from transcribed.scheduling.meter import Average, Meter, Step
from transcribed.scheduling.policy import PROMISED_INTERVAL, demand

MEASURED = Costs(steady=0.02, partial=0.03)


class Service:
    """Streams for which a meter records one step after the other, as many seconds of audio per second."""

    def __init__(self, *, reduces: bool = True, streams: int = 20) -> None:
        self.meter = Meter(MEASURED, reduces=reduces)
        self.now = 0.0
        self._streams = streams

    @property
    def costs(self) -> Costs:
        return self.meter.costs(self.now)

    def listen(self, cost: float, seconds: float) -> None:
        """To so much audio, in steps of half a second."""
        for _ in range(round(seconds / 0.5)):
            self._record(StepKind.LISTEN, cost * 0.5, heard=0.5)

    def finals(self, cost: float, seconds: float) -> None:
        """Of so much audio, in segments of five seconds."""
        for _ in range(round(seconds / 5.0)):
            said = Hypothesis(0, 5.0, 10.0, "said", final=True)
            before = Hypothesis(0, 5.0, 10.0, "said", final=False)
            self._record(StepKind.FINAL, cost * 5.0, events=(before, said))

    def ahead(self, cost: float, count: int) -> None:
        for _ in range(count):
            self._record(StepKind.AHEAD, cost)

    def partials(
        self, cost: float, count: int, new: float = PROMISED_INTERVAL, effort: Effort = Effort.REDUCED
    ) -> None:
        for _ in range(count):
            self._record(StepKind.PARTIAL, cost, effort=effort, heard=new, recognised=new)

    def _record(
        self,
        kind: StepKind,
        cpu: float,
        effort: Effort = Effort.FULL,
        heard: float = 0.0,
        recognised: float = 0.0,
        events: Sequence[RecognitionEvent] = (),
    ) -> None:
        self.now += heard / self._streams
        self.meter.record(self.now, Step(kind, effort, cpu, 2 * cpu, heard, recognised, 0.5, events))


@pytest.fixture
def service() -> Service:
    return Service()


def test_an_average_begins_with_what_is_assumed_and_returns_to_it() -> None:
    average = Average(1.0, 10.0, fade=60.0)
    assert average.mean(0.0) == 1.0
    for second in range(100):
        average.add(float(second), 3.0 * 50, 50)
    assert average.mean(99.0) == pytest.approx(3.0, rel=0.01)
    assert average.mean(99.0 + 20 * 60) == pytest.approx(1.0, rel=0.01)


def test_begins_with_what_the_engine_measured(service: Service) -> None:
    assert service.costs.steady == pytest.approx(MEASURED.steady)
    assert service.costs.partial == pytest.approx(MEASURED.partial)


def test_comes_to_what_listening_and_finals_cost_for_each_second_of_audio(service: Service) -> None:
    for _ in range(600):
        service.listen(0.01, 5)
        service.finals(0.05, 5)
    assert service.costs.steady == pytest.approx(0.06, rel=0.05)


def test_work_ahead_counts_with_the_final_that_it_saves(service: Service) -> None:
    service.ahead(1.0, 100)
    assert service.costs.steady == pytest.approx(MEASURED.steady)
    said = Hypothesis(0, 0.0, 5.0, "said", final=True)
    for now in range(100):
        step = Step(StepKind.FINAL, Effort.FULL, 0.1, 0.2, events=(said,), ahead=0.4)
        service.meter.record(float(now), step)
    assert service.meter.costs(100.0).steady == pytest.approx(0.5 / 5.0, abs=0.02)


def test_a_single_step_changes_little_and_what_is_past_counts_no_more(service: Service) -> None:
    service.finals(0.03, 5)
    assert service.costs.steady == pytest.approx(MEASURED.steady, rel=0.2)
    for cost in (0.2, 0.05):
        for _ in range(1_000):
            service.listen(0.01, 5)
            service.finals(cost, 5)
    assert service.costs.steady == pytest.approx(0.06, rel=0.05)


def test_partials_cost_what_they_do_on_a_busy_machine(service: Service) -> None:
    service.partials(0.2, 300, effort=Effort.FULL)
    assert service.costs.partial == pytest.approx(MEASURED.partial)
    service.partials(0.05, 1_000)
    assert service.costs.partial == pytest.approx(0.05, rel=0.05)


def test_an_engine_with_one_model_learns_from_all_its_partials() -> None:
    service = Service(reduces=False)
    service.partials(0.05, 1_000, effort=Effort.FULL)
    assert service.costs.partial == pytest.approx(0.05, rel=0.05)


def test_a_stream_that_has_the_machine_for_itself_says_nothing_of_a_busy_one() -> None:
    service = Service(reduces=False)
    service.partials(0.001, 1_000, effort=Effort.ALONE)
    assert service.costs.partial == pytest.approx(MEASURED.partial)


def test_partials_of_less_new_audio_are_converted(service: Service) -> None:
    """Seven tenths of what a partial costs at the promised interval it costs always."""
    service.partials(0.03 * (0.7 + 0.3 * 0.2), 2_000, new=0.2 * PROMISED_INTERVAL)
    assert service.costs.partial == pytest.approx(0.03, rel=0.01)


def test_streams_need_less_where_speakers_pause(service: Service) -> None:
    for _ in range(600):
        service.partials(0.03, 8)
        service.listen(0.003, 8 * PROMISED_INTERVAL / 4)
    assert service.meter.demand(service.now) == pytest.approx(demand(service.costs, speech=0.8), rel=0.02)


def test_silent_streams_are_taken_to_speak_soon(service: Service) -> None:
    service.listen(0.003, 10_000)
    assert service.meter.demand(service.now) == pytest.approx(demand(service.costs, speech=0.75), rel=0.01)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(StepKind),
            st.sampled_from(Effort),
            st.floats(0, 30),
            st.floats(0, 10),
            st.floats(0, 10),
            st.floats(-10, 60),
            st.floats(0, 15),
        )
    )
)
def test_no_costs_are_negative_whatever_happens(
    steps: list[tuple[StepKind, Effort, float, float, float, float, float]],
) -> None:
    meter = Meter(MEASURED)
    for now, (kind, effort, seconds, heard, recognised, waited, said) in enumerate(steps):
        events = [Hypothesis(0, 5.0, 5.0 + said, "said", final=True)]
        meter.record(float(now), Step(kind, effort, seconds, seconds, heard, recognised, waited, events))
        costs = meter.costs(float(now))
        assert costs.steady >= 0
        assert costs.partial >= 0
        assert meter.demand(float(now)) > 0
