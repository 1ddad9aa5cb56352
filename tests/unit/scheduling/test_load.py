"""How many streams are let in, against how many can be served, in virtual time."""

import pytest
from simulated_service import COSTS, SimulatedService, is_served

from transcribed.engines.base import Costs, Effort, StepKind
from transcribed.scheduling.load import Load
from transcribed.scheduling.meter import Meter, Step
from transcribed.scheduling.policy import FULL_QUALITY_PART, OVERHEAD, PROMISED_INTERVAL

FITS = 23
"""The streams that the simulated machine of two cores serves with a word latency of a second."""
FITS_BESIDE = 15
"""The same beside a program that takes a third of the machine."""


def _close_to(fits: int) -> object:
    return pytest.approx(fits, rel=0.1, abs=1)


def _let_in(service: SimulatedService, seconds: float = 40.0) -> int:
    """Of many more streams than fit, which stay for a while."""
    streams = service.offer(3 * FITS, seconds)
    service.run(seconds + 10.0)
    return len(streams)


@pytest.mark.parametrize(("fits", "others"), [(FITS, 0), (FITS_BESIDE, 1)])
def test_so_many_fit(fits: int, others: int) -> None:
    assert is_served(round(0.95 * fits), others)
    assert not is_served(round(1.08 * fits), others)


def test_a_fresh_server_lets_in_what_fits_and_again_afterwards() -> None:
    service = SimulatedService()
    assert _let_in(service) == _close_to(FITS)
    assert _let_in(service) == _close_to(FITS)


def test_a_server_that_has_served_for_long_lets_in_what_fits() -> None:
    """Nothing is remembered for longer than this."""
    service = SimulatedService()
    service.offer(2, 600.0)
    service.run(600.0)
    assert _let_in(service) == _close_to(FITS)


def test_a_server_beside_other_programs_lets_in_what_fits_and_more_when_they_end() -> None:
    service = SimulatedService()
    service.others = 1
    assert _let_in(service) == _close_to(FITS_BESIDE)
    service.others = 0
    assert _let_in(service) == _close_to(FITS)


@pytest.mark.parametrize("wrong", [0.75, 1.3])
def test_wrong_costs_of_loading_are_corrected(wrong: float) -> None:
    service = SimulatedService(Costs(wrong * COSTS.steady, wrong * COSTS.partial))
    _let_in(service)
    assert _let_in(service) == _close_to(FITS)


def test_a_slow_time_is_forgotten() -> None:
    service = SimulatedService()
    service.slower, service.others = 1.5, 1
    _let_in(service)
    assert _let_in(service) < 0.6 * FITS
    service.slower, service.others = 1.0, 0
    _let_in(service)
    assert _let_in(service) == _close_to(FITS)


@pytest.mark.parametrize("count", [4, 14, 22])
def test_partials_do_not_flicker_between_models(count: int) -> None:
    service = SimulatedService()
    streams = service.offer(count, 60.0, admit=False)
    service.run(65.0)
    for stream in streams:
        changes = [
            number
            for number, (earlier, later) in enumerate(zip(stream.efforts, stream.efforts[1:], strict=False))
            if earlier is not later and None not in (earlier, later)
        ]
        assert len(changes) <= 1
        partials = [effort for effort in stream.efforts if effort is not None]
        reduced = partials.count(Effort.REDUCED) / len(partials)
        assert reduced == 0 if count == 4 else count == 14 or reduced > 0.7


# --- The load


def _step(cpu: float, taken: float, waited: float = 0.1) -> Step:
    return Step(StepKind.PARTIAL, Effort.FULL, cpu, taken, waited=waited)


def _meter(demand: float) -> Meter:
    return Meter(Costs(steady=demand, partial=0.0))


def test_before_anything_is_measured_the_server_is_assumed_to_need_a_part() -> None:
    assert Load(4).available(0.0) == pytest.approx(4 * (1 - OVERHEAD))


def test_the_share_of_other_programs_is_known_from_loading() -> None:
    load = Load(4)
    load.loaded(share=0.5)
    assert load.available(0.0) == pytest.approx(2 * (1 - OVERHEAD))


def test_the_share_of_programs_that_begin_later_is_known_before_there_is_load() -> None:
    load = Load(4)
    load.beside(share=0.8)
    assert load.available(0.0) == pytest.approx(0.8 * 4 * (1 - OVERHEAD))
    load.beside(share=0.01)
    assert load.available(0.0) == pytest.approx(0.5 * 4 * (1 - OVERHEAD)), "it may only be a moment"
    for _ in range(100):
        load.record(0.0, _step(0.02, 0.05), busy=True)
    load.beside(share=1.0)
    assert load.available(0.0) == pytest.approx(4 * (1 - OVERHEAD))


def test_the_share_of_other_programs_is_measured_while_all_threads_are_busy() -> None:
    load = Load(4)
    before = load.available(0.0)
    for _ in range(1_000):
        load.record(0.0, _step(0.02, 0.05), busy=False)
    assert load.available(0.0) == before
    for _ in range(1_000):
        load.record(0.0, _step(0.02, 0.05), busy=True)
    assert load.available(0.0) == pytest.approx(4 * 0.4, rel=0.05)
    assert load.available(1_000.0) == pytest.approx(before)


def test_the_wait_of_one_partial_says_little_and_silence_ends_it() -> None:
    load = Load(2)
    load.record(0.0, _step(0.01, 0.01, waited=60.0), busy=True)
    assert load.wait(0.0) < PROMISED_INTERVAL
    for _ in range(100):
        load.record(0.0, _step(0.01, 0.01, waited=1.5), busy=True)
    assert load.wait(0.0) == pytest.approx(1.5, rel=0.05)
    assert load.wait(20.0) < 0.3


def test_no_stream_is_let_in_where_listening_leaves_no_time_for_partials() -> None:
    load, meter = Load(2), _meter(0.1)
    load.opened(meter)
    for waited in (0.4, 2.0):
        assert load.admits(meter, 0.0)
        for _ in range(100):
            load.record(
                0.0, Step(StepKind.LISTEN, Effort.FULL, 0.001, 0.001, heard=0.5, waited=waited), busy=True
            )
    assert not load.admits(meter, 0.0)
    assert load.rule.effort is Effort.REDUCED


def test_a_step_ahead_counts_in_the_time_of_its_own_thread_alone() -> None:
    load = Load(2)
    for _ in range(500):
        load.record(0.0, Step(StepKind.AHEAD, Effort.FULL, 0.2, 0.4), busy=True)
        load.record(0.0, Step(StepKind.FINAL, Effort.FULL, 0.05, 0.1, ahead=0.2), busy=True)
    assert load.available(0.0) == pytest.approx(2 * 0.5, abs=0.05)


def test_audio_that_comes_ahead_of_its_time_says_nothing_of_waits() -> None:
    load = Load(2)
    for _ in range(100):
        load.record(0.0, _step(0.01, 0.01, waited=-3.0), busy=True)
    assert load.wait(0.0) == 0.0


def test_streams_of_all_engines_share_the_machine() -> None:
    load, cheap, costly = Load(2), _meter(0.1), _meter(0.5)
    assert (load.capacity(cheap, 0.0), load.capacity(costly, 0.0)) == (17, 3)
    for _ in range(2):
        load.opened(costly)
    assert (load.capacity(cheap, 0.0), load.capacity(costly, 0.0)) == (7, 3)
    for _ in range(7):
        assert load.admits(cheap, 0.0)
        load.opened(cheap)
    assert not load.admits(cheap, 0.0)
    assert load.streams == 9
    load.closed(costly)
    assert load.admits(costly, 0.0)


def test_a_part_of_the_machine_is_left_for_streams_that_step_down() -> None:
    load, full, reduced = Load(2), _meter(0.1), _meter(0.06)
    while load.admits(full, 0.0, FULL_QUALITY_PART):
        load.opened(full)
    assert load.streams == load.capacity(full, 0.0, FULL_QUALITY_PART) == 16
    while load.admits(reduced, 0.0, 2 - FULL_QUALITY_PART):
        load.opened(reduced)
    assert load.streams == 16 + 3
