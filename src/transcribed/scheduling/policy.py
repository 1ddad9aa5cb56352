"""Who steps next, and who is let in, as pure functions."""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from transcribed.engines.base import Costs, StepKind
from transcribed.options import Pace

S = TypeVar("S")

PROMISED_INTERVAL = 0.7
"""Seconds from one partial to the next that live streams are promised while somebody speaks."""
USABLE = 0.7
"""The part of the threads' time that is promised to live streams. Connections need some of the rest."""
EARLY = 1.0
"""Seconds by which audio may be ahead of real time, as bursts of a network are, and still be on time."""
_CATCHING_UP = 0.5
"""Seconds that a sender may gain on real time in each second and still be on time."""
_ARRIVALS = 128
"""Chunks of audio whose arrival is remembered."""
_LISTEN_WITHIN = 0.25
"""Seconds after which audio that nobody has listened to is urgent: an endpoint may be in it."""


@dataclass(frozen=True, slots=True)
class Candidate(Generic[S]):
    """A stream with something to do.

    `due` is a time on any clock. For a live stream it is when the audio that waits was spoken; where a
    client sends faster than real time, when it would have been. For others it is since when they wait.
    """

    stream: S
    pace: Pace
    kind: StepKind
    due: float


class SenderClock:
    """When the audio of a live stream was spoken, told from when it came, and when that was.

    No audio comes before it was spoken: its start lies no earlier than any of it says. A sender that has
    paused therefore is no sender that is late. One that was held up and has caught up would seem to be
    early for ever, if what its latest audio said were not forgotten bit by bit.
    """

    def __init__(self) -> None:
        self._start = -math.inf
        self._now = 0.0
        self._came: deque[tuple[float, float]] = deque(maxlen=_ARRIVALS)

    def received(self, now: float, seconds: float) -> None:
        """So many seconds of audio have come by now, in all."""
        self._start = max(self._start - _CATCHING_UP * (now - self._now), now - seconds)
        self._now = now
        self._came.append((seconds, now))

    def came(self, position: float) -> float:
        """When the audio behind this position came; of what is long past, the earliest remembered."""
        behind = bisect_right(self._came, position, key=lambda arrival: arrival[0])
        return self._came[behind][1] if behind < len(self._came) else self._now

    def spoken(self, position: float) -> float:
        """When the audio at this position, in seconds, was spoken."""
        return self._start + position


def choose(candidates: Iterable[Candidate[S]], now: float, *, only_live: bool = False) -> S | None:
    """The stream that steps next: the first by rank, among equals the one whose audio waits longest.

    1. Live streams: finals, and listening that has become urgent; 2. their partials; 3. other listening;
       4. work ahead of its time.
    5. Live streams whose audio came too early: what a client sends in a burst delays nobody else.
    6. Streams that take their audio as fast as it is recognised, unless `only_live`.
    """
    ranked = (c for c in candidates if not only_live or c.pace is Pace.LIVE)
    chosen = min(ranked, key=lambda candidate: _rank(candidate, now), default=None)
    return None if chosen is None else chosen.stream


def companions(
    candidates: Iterable[Candidate[S]], chosen: Candidate[S], now: float, most: int
) -> list[Candidate[S]]:
    """At most so many that may step with the chosen one: of its kind and rank, longest waiting first."""
    rank, _ = _rank(chosen, now)
    alike = (
        each
        for each in candidates
        if each is not chosen and each.kind is chosen.kind and _rank(each, now)[0] == rank
    )
    return sorted(alike, key=lambda candidate: candidate.due)[:most]


def _rank(candidate: Candidate[S], now: float) -> tuple[int, float]:
    late = now - candidate.due
    if candidate.pace is not Pace.LIVE:
        return 6, candidate.due
    if late < -EARLY:
        return 5, candidate.due
    match candidate.kind:
        case StepKind.LISTEN if late < _LISTEN_WITHIN:
            return 3, candidate.due
        case StepKind.FINAL | StepKind.LISTEN:
            return 1, candidate.due
        case StepKind.PARTIAL:
            return 2, candidate.due
        case StepKind.AHEAD:
            return 4, candidate.due


def capacity(costs: Costs, threads: int) -> int:
    """How many live streams these threads can serve as promised; one at least."""
    a_second_of_each = costs.steady + costs.partial / PROMISED_INTERVAL
    return max(1, int(USABLE * threads / a_second_of_each))


def admits(live: int, served_well: int, interval: float) -> bool:
    """Whether one more live stream is let in beside `live` ones, where the machine can serve `served_well`.

    `interval` is the time between partials that those there really see. It says more than the number
    that was worked out, where something else uses the machine. One stream more adds its share to it.
    """
    if live == 0:
        return True
    return live < served_well and interval + PROMISED_INTERVAL / served_well <= PROMISED_INTERVAL
