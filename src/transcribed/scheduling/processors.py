"""Measures how much of the machine's processors other programs use, by the counters of Linux."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

_COUNTERS = Path("/proc/stat")
_SHORTEST = 1.0
"""The shortest time, in seconds, for which the counters are fine enough."""
_IDLE = (3, 4)
"""The positions of the idle times: without work, and waiting for a disk."""
_TIMES = 8
"""The number of times that are read; the last is that of other virtual machines. The times of guests, which
follow, are included in the others."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The counters at the time `at`, in seconds: processor time of all programs, and of this process."""

    at: float
    busy: float
    own: float


def read_usage() -> Usage | None:
    """Read the counters; None on systems without them."""
    try:
        counters = _COUNTERS.read_text(encoding="ascii")
    except OSError:
        return None
    return Usage(time.monotonic(), busy_seconds(counters, os.sysconf("SC_CLK_TCK")), time.process_time())


def busy_seconds(counters: str, ticks: int) -> float:
    """Return the seconds of processor time since the start of the machine, by counters in ticks."""
    times = counters.partition("\n")[0].split()[1 : 1 + _TIMES]
    return sum(int(each) for position, each in enumerate(times) if position not in _IDLE) / ticks


def used_by_others(earlier: Usage, later: Usage) -> float | None:
    """Return how many processors other programs used on average; None if the time between is too short."""
    elapsed = later.at - earlier.at
    if elapsed < _SHORTEST:
        return None
    return max(0.0, later.busy - earlier.busy - (later.own - earlier.own)) / elapsed


def share_beside(others: float, threads: int, processors: int) -> float:
    """Return the share of their time for which busy threads can compute beside other programs.

    `others` is the number of processors that other programs use. If there are fewer processors than busy
    threads and programs, all get the same share.
    """
    return min(1.0, processors / (threads + others))
