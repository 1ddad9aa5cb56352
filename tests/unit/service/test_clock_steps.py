from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.service.clock_steps import LARGEST_STEP, TRUSTED_AFTER, Step, WallClock

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Clocks:
    """A machine's two clocks."""

    def __init__(self, newest: datetime | None = START) -> None:
        self.wall, self.monotonic = START, timedelta(seconds=12_345)
        self._followed = WallClock(newest)

    def pass_(self, time: timedelta) -> None:
        self.wall += time
        self.monotonic += time

    def look(self) -> Step | None:
        return self._followed.look(self.wall, self.monotonic)


def test_a_clock_that_goes_on_is_believed() -> None:
    clocks = Clocks()
    for passed in (timedelta(), HOUR, DAY, 30 * DAY, 400 * DAY):
        clocks.pass_(passed)
        assert clocks.look() is None


@pytest.mark.parametrize("step", [400 * DAY, -400 * DAY, 1.1 * DAY, -1.1 * DAY])
def test_a_step_is_believed_when_it_has_stood_an_hour(step: timedelta) -> None:
    clocks = Clocks()
    assert clocks.look() is None
    clocks.pass_(HOUR)
    clocks.wall += step
    assert clocks.look() == Step(step, TRUSTED_AFTER, new=True)
    clocks.pass_(TRUSTED_AFTER / 4)
    assert clocks.look() == Step(step, TRUSTED_AFTER * 3 / 4, new=False), "it is said once"
    clocks.pass_(TRUSTED_AFTER * 3 / 4)
    assert clocks.look() is None
    clocks.pass_(DAY)
    assert clocks.look() is None, "from now on it is the clock"


def test_a_step_that_is_taken_back_never_was() -> None:
    clocks = Clocks()
    clocks.look()
    clocks.wall += 3000 * DAY
    assert clocks.look() is not None
    clocks.pass_(HOUR / 2)
    clocks.wall -= 3000 * DAY
    assert clocks.look() is None
    clocks.pass_(HOUR)
    clocks.wall += 3000 * DAY
    assert clocks.look() == Step(3000 * DAY, TRUSTED_AFTER, new=True)


def test_each_step_has_an_hour_of_its_own() -> None:
    clocks = Clocks()
    clocks.look()
    clocks.wall += 10 * DAY
    assert clocks.look() is not None
    clocks.pass_(TRUSTED_AFTER * 0.9)
    clocks.wall += 500 * DAY
    assert clocks.look() == Step(510 * DAY, TRUSTED_AFTER, new=True)
    clocks.pass_(TRUSTED_AFTER * 0.9)
    assert clocks.look() is not None
    clocks.pass_(TRUSTED_AFTER * 0.1)
    assert clocks.look() is None


@pytest.mark.parametrize(
    ("since", "believed"), [(0.0, True), (0.9, True), (-0.9, True), (40, False), (-2, False)]
)
def test_at_the_start_it_is_expected_near_what_was_dated_last(since: float, believed: bool) -> None:
    clocks = Clocks(newest=START - since * DAY)
    assert (clocks.look() is None) == believed
    if not believed:
        clocks.pass_(TRUSTED_AFTER)
        assert clocks.look() is None


def test_where_nothing_was_dated_the_start_is_believed() -> None:
    assert Clocks(newest=None).look() is None


@given(st.lists(st.tuples(st.floats(0, 48), st.floats(-0.9, 0.9)), max_size=20))
def test_small_corrections_are_none(looks: list[tuple[float, float]]) -> None:
    clocks = Clocks()
    assert clocks.look() is None
    for hours, days in looks:
        clocks.pass_(hours * HOUR)
        clocks.wall += days * LARGEST_STEP
        assert clocks.look() is None
