import time

import pytest

from transcribed.scheduling.processors import (
    Usage,
    busy_seconds,
    read_usage,
    share_beside,
    used_by_others,
)

COUNTERS = """cpu  1000 200 300 50000 7000 10 20 30 400 500
cpu0 500 100 150 25000 3500 5 10 15 200 250
intr 123456
"""


def test_a_processor_is_busy_where_it_neither_is_idle_nor_waits_for_a_disk() -> None:
    assert busy_seconds(COUNTERS, 100) == pytest.approx(15.6)


@pytest.mark.parametrize(
    ("busy", "own", "others"),
    [(12.0, 2.0, 1.0), (12.0, 12.0, 0.0), (0.0, 0.1, 0.0), (25.0, 5.0, 2.0)],
)
def test_others_use_what_is_not_our_own(busy: float, own: float, others: float) -> None:
    earlier, later = Usage(100.0, 50.0, 3.0), Usage(110.0, 50.0 + busy, 3.0 + own)
    assert used_by_others(earlier, later) == pytest.approx(others)


def test_in_a_moment_nothing_can_be_measured() -> None:
    assert used_by_others(Usage(100.0, 50.0, 3.0), Usage(100.1, 50.1, 3.0)) is None


@pytest.mark.parametrize(
    ("others", "threads", "processors", "share"),
    [(0.0, 2, 2, 1.0), (1.0, 2, 2, 2 / 3), (2.0, 2, 2, 0.5), (3.0, 4, 8, 1.0), (8.0, 4, 8, 2 / 3)],
)
def test_all_that_compute_share_the_processors_evenly(
    others: float, threads: int, processors: int, share: float
) -> None:
    assert share_beside(others, threads, processors) == pytest.approx(share)


def test_this_machine_is_busy_while_this_process_is() -> None:
    earlier = read_usage()
    if earlier is None:
        pytest.skip("there are no counters here")
    while time.process_time() - earlier.own < 0.1:
        pass
    later = read_usage()
    assert later is not None
    assert later.own - earlier.own >= 0.1
    assert later.busy - earlier.busy >= 0.05
