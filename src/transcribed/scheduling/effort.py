"""Decides how much effort the partials of live streams get, with hysteresis. It reads no clock."""

import math

from transcribed.engines.base import Effort, StepKind
from transcribed.scheduling.policy import PROMISED_INTERVAL

_REDUCED_ABOVE = 0.16
"""The mean wait of partials, in seconds, above which their effort is reduced."""
_RESTORED_BELOW = 0.08
"""The mean wait below which they get full effort again. With full effort it should stay below the above."""
_SHORTEST_TIME = 5.0
"""The least number of seconds for which the effort stays reduced."""
_LONGEST_TIME = 160.0
"""The same after full effort has repeatedly been too much."""
_PROVED = 30.0
"""Seconds of full effort after which the machine is known to have room for it."""


class EffortRule:
    """The effort of new segments of all streams, from the mean wait of partials.

    If full effort is too much soon after it was restored, it stays reduced twice as long as before.
    """

    def __init__(self) -> None:
        self.effort = Effort.FULL
        self.overloaded = False
        """Whether waits are longer than promised, so that the effort of open segments must change, too."""
        self._since = -math.inf
        self._time = _SHORTEST_TIME

    def update(self, now: float, wait: float) -> None:
        """Decide anew, from the mean wait of partials in seconds. `now` is the time, in seconds."""
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
