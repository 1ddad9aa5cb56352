"""What is sent, and when: pure, without a clock.

Positions are counted in samples. Amazon's audio is ours, with silence here and there.
"""

from bisect import bisect_right
from collections import deque

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples

LONGEST = SAMPLE_RATE // 5
"""Samples in a message; Amazon advises 50 to 200 ms."""
USUAL = SAMPLE_RATE // 10
SHORTEST = SAMPLE_RATE // 20

FLUSHING = SAMPLE_RATE
"""Samples of silence behind which a segment is over to Amazon, which knows no other way to end one."""

_SAMPLE_BYTES = 2
_FULL_SCALE = 32_768
_SLACK_SECONDS = 0.5


class Outbox:
    """Samples in, pieces of audio out: signed 16 bit, little endian.

    None is below SHORTEST but the last, and the last before a flush.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._flushes: deque[int] = deque()
        self._pushed = self._taken = self._flushed = 0

    @property
    def samples(self) -> int:
        """How many wait."""
        return len(self._held) // _SAMPLE_BYTES

    def push(self, samples: Samples) -> None:
        """Take audio."""
        scaled = np.rint(samples * np.float32(_FULL_SCALE))
        self._held += np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes()
        self._pushed += len(samples)

    def flush(self) -> None:
        """No piece goes across this place, which `take_flush` tells, if audio came since the last."""
        if self._pushed > self._flushed:
            self._flushed = self._pushed
            self._flushes.append(self._pushed)

    def take_flush(self) -> bool:
        """Whether all audio in front of a flush is taken, and none behind it; said once."""
        due = bool(self._flushes) and self._flushes[0] == self._taken
        if due:
            self._flushes.popleft()
        return due

    def take(self, *, all_of_it: bool = False) -> bytes:
        """The next piece; nothing while there is too little. `all_of_it`: however little there is."""
        held = self._flushes[0] - self._taken if self._flushes else self.samples
        if held < SHORTEST and not (all_of_it or self._flushes):
            return b""
        size = held if held <= LONGEST else USUAL
        self._taken += size
        piece = bytes(self._held[: size * _SAMPLE_BYTES])
        del self._held[: size * _SAMPLE_BYTES]
        return piece


class Pacer:
    """When the next piece may go at `speed` times the pace of speech.

    Who is late by less than half a second catches up: sleeping is never exact.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._next: float | None = None

    def wait(self, now: float) -> float:
        """Seconds until then."""
        return 0.0 if self._next is None else max(0.0, self._next - now)

    def sent(self, samples: int, now: float) -> None:
        """A piece has gone."""
        due = now if self._next is None else max(self._next, now - _SLACK_SECONDS)
        self._next = due + samples / SAMPLE_RATE / self._speed


class TimeMapping:
    """Amazon's times as ours, which know nothing of the silence that was put in between.

    What Amazon hears in such a silence is heard at the moment in which it stands. Silences are kept: in the
    four hours of a stream there are few.
    """

    def __init__(self) -> None:
        self._sent = 0
        self._silent = 0
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._before: list[int] = []

    @property
    def sent(self) -> int:
        """Samples sent, silence and all."""
        return self._sent

    @property
    def silent(self) -> int:
        """Those of them that are silence put in."""
        return self._silent

    def audio(self, samples: int) -> None:
        """So much audio was sent."""
        self._sent += samples

    def silence(self, samples: int) -> None:
        """So much silence was put in."""
        if self._ends and self._ends[-1] == self._sent:
            self._ends[-1] += samples
        else:
            self._starts.append(self._sent)
            self._ends.append(self._sent + samples)
            self._before.append(self._silent)
        self._sent += samples
        self._silent += samples

    def ours(self, seconds: float) -> float:
        """Where in our audio a moment of Amazon's is; never behind what was sent."""
        at = min(seconds, self._sent / SAMPLE_RATE)
        number = bisect_right(self._starts, at * SAMPLE_RATE) - 1
        if number < 0:
            return at
        inside = min(at, self._ends[number] / SAMPLE_RATE) - self._starts[number] / SAMPLE_RATE
        return max(0.0, at - self._before[number] / SAMPLE_RATE - inside)
