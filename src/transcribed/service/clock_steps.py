"""Whether the wall clock may be believed, before something is deleted because it is old."""

from dataclasses import dataclass
from datetime import datetime, timedelta

LARGEST_STEP = timedelta(days=1)
"""By which the wall clock may differ from what is expected of it."""
STANDING = timedelta(hours=1)
"""For which a larger step must have stood to be believed."""


@dataclass(frozen=True, slots=True)
class Step:
    """The wall clock is so much later, or if negative earlier, than was to be expected.

    `wait`: after this it is believed, if it does not change again.
    """

    by: timedelta
    wait: timedelta
    new: bool


class WallClock:
    """Follows the wall clock by one that only goes on.

    `newest` is the moment of the last thing that was dated before the start, if there is any: until the
    clock has been believed once, it is expected there. So a server that was stopped for longer than a day
    waits an hour, too.
    """

    def __init__(self, newest: datetime | None) -> None:
        self._expected = newest
        """What the wall clock showed when `_at` was looked at, as far as it is believed."""
        self._at: timedelta | None = None
        self._step: tuple[timedelta, timedelta] | None = None
        """By how much it stepped, and since when."""

    def look(self, now: datetime, monotonic: timedelta) -> Step | None:
        """What is to be said of the wall clock, which shows `now`; None where it may be believed.

        `monotonic` is the time of the other clock, counted from any moment.
        """
        if self._expected is None:
            self._believe(now, monotonic)
            return None
        passed = timedelta() if self._at is None else monotonic - self._at
        by = now - (self._expected + passed)
        if abs(by) <= LARGEST_STEP:
            self._believe(now, monotonic)
            return None
        if self._at is None:
            self._at = monotonic
        known = self._step is not None and abs(by - self._step[0]) <= LARGEST_STEP
        if not known or self._step is None:
            self._step = by, monotonic
        stood = monotonic - self._step[1]
        if stood >= STANDING:
            self._believe(now, monotonic)
            return None
        return Step(by, STANDING - stood, not known)

    def _believe(self, now: datetime, monotonic: timedelta) -> None:
        self._expected, self._at, self._step = now, monotonic, None
