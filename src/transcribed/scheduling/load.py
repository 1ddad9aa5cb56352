"""The load of live streams on the worker threads, by which streams are admitted. It reads no clock."""

from collections import Counter

from transcribed.engines.base import Effort, StepKind
from transcribed.scheduling.effort import EffortRule
from transcribed.scheduling.meter import Average, Meter, Step
from transcribed.scheduling.policy import LONGEST_WAIT, OVERHEAD, PROMISED_INTERVAL, admits, room

_WAITS_FADE = 3.0
"""Seconds after which the wait of a partial has about a third of its weight."""
_ASSUMED_WAITS = 3.0
"""The wait assumed at first, 0, weighs like so many partials, so that one partial changes little."""
_SHARE_FADE = 20.0
"""Like _WAITS_FADE, for the share of the threads' time."""
_ASSUMED_SHARE = 2.0
"""The share that is assumed before there is load weighs like so many seconds of a thread under load."""

_LEAST_SHARE = 0.5
"""The least share that is assumed without load: at loading, other programs may be starting, too."""

_CHANGED_SHARE = 0.1
"""If the share that other programs leave changes by more than this, earlier measurements are dropped."""


class Load:
    """The live streams of all engines, and the share of the threads' time that is available to them.

    The share is measured while all threads are busy. The rest is used by other programs, the server's own
    work and the handing over of steps. Times are seconds of any clock.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._streams: Counter[Meter] = Counter()
        self._waits = Average(0.0, _ASSUMED_WAITS, _WAITS_FADE)
        self._share = Average(1.0 - OVERHEAD, _ASSUMED_SHARE, _SHARE_FADE)
        self._share_at_loading = self._share_now = 1.0
        self.rule = EffortRule()

    @property
    def streams(self) -> int:
        """The number of live streams."""
        return self._streams.total()

    def loaded(self, share: float) -> None:
        """Set the share of the threads' time in which they computed while an engine was loaded."""
        self._share_at_loading = share
        self._assume_share()

    def beside(self, share: float) -> None:
        """Set the share of the threads' time that other programs leave at present."""
        if abs(share - self._share_now) > _CHANGED_SHARE:
            self._share.forget()
        self._share_now = share
        self._assume_share()

    def _assume_share(self) -> None:
        """Assume the lesser share. If it is too low, the load corrects it before it limits anything."""
        share = max(_LEAST_SHARE, min(self._share_at_loading, self._share_now))
        self._share.assumed = share * (1.0 - OVERHEAD)

    def opened(self, meter: Meter) -> None:
        """Count one more live stream whose costs this meter measures."""
        self._streams[meter] += 1

    def closed(self, meter: Meter) -> None:
        """Count one live stream less of this meter."""
        self._streams[meter] -= 1
        if not self._streams[meter]:
            del self._streams[meter]

    def wait(self, now: float) -> float:
        """The mean wait of partials, in seconds, from when their audio was spoken and had arrived."""
        return self._waits.mean(now)

    def available(self, now: float) -> float:
        """The seconds of thread time per second that are available to all live streams together."""
        return self._threads * self._share.mean(now)

    def capacity(self, meter: Meter, now: float, part: float = 1.0) -> int:
        """How many live streams an engine can serve beside those of other engines; at least 1.

        `part` is the part of the available time that all live streams may use.
        """
        demand = meter.demand(now)
        others = self._demand(now) - self._streams[meter] * demand
        return max(1, room(part * self.available(now), others, demand))

    def admits(self, meter: Meter, now: float, part: float = 1.0) -> bool:
        """Whether one more live stream can be served as promised."""
        return admits(part * self.available(now), self._demand(now), meter.demand(now), self.wait(now))

    def _demand(self, now: float) -> float:
        return sum(count * meter.demand(now) for meter, count in self._streams.items())

    def record(self, now: float, step: Step, *, busy: bool) -> None:
        """Record a step of a live stream. `busy` says that all threads were busy when it began."""
        if busy and step.effort is not Effort.ALONE:
            self._share.add(now, step.cpu, step.taken)
        # On an overloaded machine listening waits so long that there may be no partials at all.
        starved = step.kind is StepKind.LISTEN and step.waited > PROMISED_INTERVAL
        if starved or (step.kind is StepKind.PARTIAL and step.waited > 0):
            self._waits.add(now, min(step.waited, LONGEST_WAIT))
            self.rule.update(now, self.wait(now))
