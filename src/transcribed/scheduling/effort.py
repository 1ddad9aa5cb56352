"""Decides how much effort the partials of live streams get, with hysteresis. It reads no clock."""

import math

from transcribed.engines.base import Effort, StepKind
from transcribed.scheduling.policy import PROMISED_INTERVAL

_REDUCED_ABOVE = 0.45
"""Mean wait of partials, in seconds, above which they are made with less effort."""
_RESTORED_BELOW = 0.2
"""Mean wait below which they get full effort again, with which it should not rise above the other."""
_SHORTEST_TIME = 5.0
"""Seconds for which the effort stays reduced at least."""
_LONGEST_TIME = 160.0
"""The same after full effort has repeatedly proved too much."""
_PROVED = 30.0
"""Seconds after which full effort has proved possible."""


class EffortRule:
    """The effort of new segments on the whole machine, from the mean wait of its partials.

    Where full effort proves too much soon after it was restored, it is tried again after twice the time.
    """

    def __init__(self) -> None:
        self.effort = Effort.FULL
        self.overloaded = False
        """Whether waits are longer than promised, so that open segments must change, too."""
        self._since = -math.inf
        self._time = _SHORTEST_TIME

    def update(self, now: float, wait: float) -> None:
        """Decide anew, from the mean wait of partials."""
        self.overloaded = wait > PROMISED_INTERVAL
        spent = now - self._since
        if self.effort is Effort.FULL and wait > _REDUCED_ABOVE:
            self._time = min(2 * self._time, _LONGEST_TIME) if spent < _PROVED else _SHORTEST_TIME
            self.effort, self._since = Effort.REDUCED, now
        elif self.effort is Effort.REDUCED and wait < _RESTORED_BELOW and spent >= self._time:
            self.effort, self._since = Effort.FULL, now


class StreamEffort:
    """The effort of one live stream's partials: the same throughout a segment, except under overload."""

    def __init__(self) -> None:
        self._effort: Effort | None = None

    def of(self, kind: StepKind, rule: EffortRule) -> Effort:
        """Return the effort of the stream's next step."""
        if kind is StepKind.FINAL:
            self._effort = None
        if kind is not StepKind.PARTIAL:
            return Effort.FULL
        if self._effort is None or rule.overloaded:
            self._effort = rule.effort
        return self._effort
