"""What a stream sends to Amazon and when: pure, without a clock.

Positions are counted in samples. The audio sent is the stream's audio with silence inserted: Amazon ends a
stream that gets no audio, and ends a segment only at silence.
"""

from bisect import bisect_right
from collections import deque

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples

LONGEST_MESSAGE = SAMPLE_RATE // 5
USUAL_MESSAGE = SAMPLE_RATE // 10
SHORTEST_MESSAGE = SAMPLE_RATE // 20
"""Samples in a message. Amazon recommends 50 to 200 ms of audio
(https://docs.aws.amazon.com/transcribe/latest/dg/streaming.html)."""

FLUSH_SILENCE = SAMPLE_RATE
"""Samples of silence that make Amazon end a segment; its protocol has no message for that."""

_SAMPLE_BYTES = 2
_FULL_SCALE = 32_768
_SLACK_SECONDS = 0.5


class Outbox:
    """Buffers samples and cuts them into pieces of signed 16-bit little-endian PCM.

    Only the last piece, and the last one before a flush, may be shorter than SHORTEST_MESSAGE.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._flushes: deque[int] = deque()
        self._pushed = self._taken = self._flushed = 0

    @property
    def samples(self) -> int:
        """The number of buffered samples."""
        return len(self._held) // _SAMPLE_BYTES

    def push(self, samples: Samples) -> None:
        """Buffer audio."""
        scaled = np.rint(samples * np.float32(_FULL_SCALE))
        self._held += np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes()
        self._pushed += len(samples)

    def flush(self) -> None:
        """Mark a flush at the end of the audio so far: no piece extends across it.

        A second flush without audio in between has no effect.
        """
        if self._pushed > self._flushed:
            self._flushed = self._pushed
            self._flushes.append(self._pushed)

    def take_flush(self) -> bool:
        """Return whether the next position is that of a flush; True once for each flush."""
        due = bool(self._flushes) and self._flushes[0] == self._taken
        if due:
            self._flushes.popleft()
        return due

    def take(self, *, everything: bool = False) -> bytes:
        """Take the next piece; empty if there is too little audio, unless `everything` is requested."""
        held = self._flushes[0] - self._taken if self._flushes else self.samples
        if held < SHORTEST_MESSAGE and not (everything or self._flushes):
            return b""
        size = held if held <= LONGEST_MESSAGE else USUAL_MESSAGE
        self._taken += size
        piece = bytes(self._held[: size * _SAMPLE_BYTES])
        del self._held[: size * _SAMPLE_BYTES]
        return piece


class Pacer:
    """Schedules messages at `speed` times real time.

    A delay of less than half a second is caught up with, since sleeping is never exact.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._next: float | None = None

    def wait(self, now: float) -> float:
        """Return the seconds until the next message may be sent."""
        return 0.0 if self._next is None else max(0.0, self._next - now)

    def sent(self, samples: int, now: float) -> None:
        """Record a sent message."""
        due = now if self._next is None else max(self._next, now - _SLACK_SECONDS)
        self._next = due + samples / SAMPLE_RATE / self._speed


class TimeMapping:
    """Converts Amazon's times to times of the stream, which do not include inserted silence.

    A time within inserted silence becomes the position at which that silence was inserted. All silences are
    kept: there are few in the four hours that a stream can last.
    """

    def __init__(self) -> None:
        self._sent = 0
        self._silent = 0
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._before: list[int] = []

    @property
    def sent(self) -> int:
        """Samples sent, including silence."""
        return self._sent

    @property
    def silent(self) -> int:
        """Samples of inserted silence."""
        return self._silent

    def audio(self, samples: int) -> None:
        """Record sent audio."""
        self._sent += samples

    def silence(self, samples: int) -> None:
        """Record inserted silence."""
        if self._ends and self._ends[-1] == self._sent:
            self._ends[-1] += samples
        else:
            self._starts.append(self._sent)
            self._ends.append(self._sent + samples)
            self._before.append(self._silent)
        self._sent += samples
        self._silent += samples

    def stream_time(self, seconds: float) -> float:
        """Convert a time of Amazon's, limited to the audio sent, to the stream's time."""
        at = min(seconds, self._sent / SAMPLE_RATE)
        number = bisect_right(self._starts, at * SAMPLE_RATE) - 1
        if number < 0:
            return at
        inside = min(at, self._ends[number] / SAMPLE_RATE) - self._starts[number] / SAMPLE_RATE
        return max(0.0, at - self._before[number] / SAMPLE_RATE - inside)
