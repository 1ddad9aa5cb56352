"""Decides which stream steps next and whether one more is admitted, as pure functions."""

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
"""Live streams are promised a partial at least this often during speech, in seconds.

With this interval, the latency of 95 of 100 words is about a second.
"""
LONGEST_WAIT = 3 * PROMISED_INTERVAL
"""Cap of a partial's wait. Longer waits are caused by the stream's own client, which may read nothing."""
OVERHEAD = 0.15
"""The part of the threads' time that the server needs for other work, assumed until it is measured."""
FULL_QUALITY_PART = 0.95
"""The part of the threads' time that may be used when a stream with finals of full quality is opened, if it
can step down instead. When one that steps down is opened, it is as much above 1 as this is below."""
_TOLERANCE = 1.1
"""Streams are admitted while the mean wait of partials is at most this many promised intervals."""
MAX_EARLINESS = 1.0
"""Audio that is at most this many seconds ahead of real time, as in network bursts, is not delayed."""
_CATCHING_UP = 0.5
"""Seconds per second by which a delayed sender may catch up with real time, and still be on time."""
_ARRIVALS = 128
"""Number of chunks whose arrival times are kept."""
_URGENT_AFTER = 0.25
"""Seconds after which searching audio for speech is urgent, since it may contain an endpoint."""


@dataclass(frozen=True, slots=True)
class Candidate(Generic[S]):
    """A stream that has a step to do.

    `due` is a time in seconds, of any clock. For a live stream it is when the waiting audio was spoken, or
    would have been if the client sends faster than real time. For others it is when they started to wait.
    """

    stream: S
    pace: Pace
    kind: StepKind
    due: float


class SenderClock:
    """Estimates when the audio of a live stream was spoken, from the times at which it arrived.

    Each chunk is assumed to have been spoken just before it arrived, so that a sender that has paused does
    not count as late: the stream's start is the latest that any chunk implies. A sender that was delayed
    and has caught up would then count as early forever, so the start moves back over time.

    Positions are in seconds from the stream's start, times in seconds of one clock.
    """

    def __init__(self) -> None:
        self._start = -math.inf
        self._now = 0.0
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=_ARRIVALS)

    def received(self, now: float, seconds: float) -> None:
        """Record that `seconds` of audio have arrived in total."""
        self._start = max(self._start - _CATCHING_UP * (now - self._now), now - seconds)
        self._now = now
        self._arrivals.append((seconds, now))

    def arrived_at(self, position: float) -> float:
        """When the audio after this position arrived; for long past audio, the earliest time kept."""
        index = bisect_right(self._arrivals, position, key=lambda arrival: arrival[0])
        return self._arrivals[index][1] if index < len(self._arrivals) else self._now

    def spoken_at(self, position: float) -> float:
        """When the audio at this position was spoken."""
        return self._start + position


def choose(candidates: Iterable[Candidate[S]], now: float, *, only_live: bool = False) -> S | None:
    """Choose the stream that steps next: of those with the lowest rank, the one that was due first.

    Ranks: 1. finals of live streams, and their urgent search for speech; 2. their partials; 3. their other
    search for speech; 4. their segments that may close soon; 5. live streams that are ahead of real time,
    so that a client that sends in bursts delays no other; 6. streams at fast pace, unless `only_live`.
    """
    ranked = (c for c in candidates if not only_live or c.pace is Pace.LIVE)
    chosen = min(ranked, key=lambda each: (_rank(each, now), each.due), default=None)
    return None if chosen is None else chosen.stream


def others_to_batch(
    candidates: Iterable[Candidate[S]], chosen: Candidate[S], now: float, most: int
) -> list[Candidate[S]]:
    """Up to `most` candidates to batch with the chosen one: of its kind and rank, first due first."""
    rank = _rank(chosen, now)
    alike = (
        each
        for each in candidates
        if each is not chosen and each.kind is chosen.kind and _rank(each, now) == rank
    )
    return sorted(alike, key=lambda candidate: candidate.due)[:most]


def _rank(candidate: Candidate[S], now: float) -> int:
    late = now - candidate.due
    if candidate.pace is not Pace.LIVE:
        return 6
    if late < -MAX_EARLINESS:
        return 5
    match candidate.kind:
        case StepKind.LISTEN if late < _URGENT_AFTER:
            return 3
        case StepKind.FINAL | StepKind.LISTEN:
            return 1
        case StepKind.PARTIAL:
            return 2
        case StepKind.AHEAD:
            return 4


def demand(costs: Costs, speech: float = 1.0) -> float:
    """The seconds of a thread that a live stream needs per second, with partials as often as promised.

    `speech` is the part of the time in which somebody speaks. A partial covers the audio up to its start,
    so the next one must start by the promised interval less its own time.
    """
    interval = max(PROMISED_INTERVAL / 2, PROMISED_INTERVAL - costs.partial)
    return costs.steady + speech * costs.partial / interval


def room(available: float, load: float, demand: float) -> int:
    """How many more live streams fit beside a load. All arguments are seconds of thread time per second."""
    return max(0, int((available - load) / demand + 1e-9))


def admits(available: float, load: float, demand: float, wait: float) -> bool:
    """Whether to admit one more live stream of this demand beside the load of the others.

    `wait` is the mean wait of partials at present, in seconds. It shows what the costs do not yet show, as
    when other programs have just begun. The first stream is always admitted.
    """
    if load == 0:
        return True
    return room(available, load, demand) > 0 and wait <= _TOLERANCE * PROMISED_INTERVAL
