"""How much of the machine's processors other programs use, by the counters of Linux."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

_COUNTERS = Path("/proc/stat")
_SHORTEST = 1.0
"""Counters are too coarse for shorter times, in seconds."""
_IDLE = (3, 4)
"""The positions of the times in which a processor waits, alone and for a disk."""
_TIMES = 8
"""Times of guests follow, which are included in others. The last is what other virtual machines took."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the counters said at some time; all in seconds, the last two in those of a processor."""

    at: float
    busy: float
    own: float


def read_usage() -> Usage | None:
    """Read the counters; None where there are none."""
    try:
        counters = _COUNTERS.read_text(encoding="ascii")
    except OSError:
        return None
    return Usage(time.monotonic(), busy_seconds(counters, os.sysconf("SC_CLK_TCK")), time.process_time())


def busy_seconds(counters: str, ticks: int) -> float:
    """Return for how many seconds processors were busy since the start, of counters in ticks per second."""
    times = counters.partition("\n")[0].split()[1 : 1 + _TIMES]
    return sum(int(each) for position, each in enumerate(times) if position not in _IDLE) / ticks


def used_by_others(earlier: Usage, later: Usage) -> float | None:
    """Return how many processors other programs used on average; None if the time between is too short."""
    elapsed = later.at - earlier.at
    if elapsed < _SHORTEST:
        return None
    return max(0.0, later.busy - earlier.busy - (later.own - earlier.own)) / elapsed


def share_beside(others: float, threads: int, processors: int) -> float:
    """Return the share of their time for which threads compute that always could, beside other programs.

    `others` is how many processors those use. All get the same share, if there are more than processors.
    """
    return min(1.0, processors / (threads + others))
