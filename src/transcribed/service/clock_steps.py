"""Detection of steps of the wall clock, so that a wrong clock does not delete data for its age."""

from dataclasses import dataclass
from datetime import datetime, timedelta

LARGEST_STEP = timedelta(days=1)
"""The largest difference from the expected time at which the wall clock is trusted at once."""
TRUSTED_AFTER = timedelta(hours=1)
"""The time after which the wall clock is trusted after a larger step."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the wall clock: it is ahead of the expected time by `by`, or, if negative, behind it.

    The clock is trusted after `wait`, unless it steps again. `new` is True when a step is first reported.
    """

    by: timedelta
    wait: timedelta
    new: bool


class WallClock:
    """Compares the wall clock with a monotonic clock.

    `newest` is the date of the newest stored object, if any: the clock's first reading is compared with it.
    So a server that was stopped for longer than a day also waits an hour.
    """

    def __init__(self, newest: datetime | None) -> None:
        self._expected = newest
        """The wall clock's trusted reading at `_at`, a time of the monotonic clock."""
        self._at: timedelta | None = None
        self._step: tuple[timedelta, timedelta] | None = None
        """The size of an untrusted step, and the monotonic time at which it was detected."""

    def look(self, now: datetime, monotonic: timedelta) -> Step | None:
        """Check the wall clock's reading `now`. Returns None if it is trusted, or else the step.

        `monotonic` is the monotonic clock's reading, counted from an arbitrary origin.
        """
        if self._expected is None:
            self._trust(now, monotonic)
            return None
        passed = timedelta() if self._at is None else monotonic - self._at
        by = now - (self._expected + passed)
        if abs(by) <= LARGEST_STEP:
            self._trust(now, monotonic)
            return None
        if self._at is None:
            self._at = monotonic
        known = self._step is not None and abs(by - self._step[0]) <= LARGEST_STEP
        if not known or self._step is None:
            self._step = by, monotonic
        unchanged = monotonic - self._step[1]
        if unchanged >= TRUSTED_AFTER:
            self._trust(now, monotonic)
            return None
        return Step(by, TRUSTED_AFTER - unchanged, not known)

    def _trust(self, now: datetime, monotonic: timedelta) -> None:
        self._expected, self._at, self._step = now, monotonic, None
