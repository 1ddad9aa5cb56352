"""A window onto a stream of Samples, addressed by position in the stream."""

import numpy as np

from transcribed.audio.formats import Samples


class SampleBuffer:
    """Grows at its end and forgets at its start; positions count samples from the stream's start.

    Appending costs amortised constant time. What is forgotten gives its room back when the buffer grows.
    """

    def __init__(self) -> None:
        self._array = np.empty(16_384, np.float32)
        self._first = 0
        self._length = 0
        self.start = 0

    @property
    def end(self) -> int:
        """The position behind the last sample."""
        return self.start + self._length

    def append(self, samples: Samples) -> None:
        """Add samples at the end."""
        length = self._length + len(samples)
        if self._first + length > len(self._array):
            held = self.between(self.start, self.end)
            self._array = np.empty(max(2 * length, 16_384), np.float32)
            self._array[: len(held)] = held
            self._first = 0
        self._array[self._first + self._length : self._first + length] = samples
        self._length = length

    def forget_before(self, position: int) -> None:
        """Drop all samples before the position, which may lie outside the buffer."""
        dropped = min(max(position - self.start, 0), self._length)
        self._first += dropped
        self._length -= dropped
        self.start += dropped

    def between(self, start: int, end: int) -> Samples:
        """A view of the samples held of [start, end), valid until the next append."""
        low = min(max(start - self.start, 0), self._length)
        high = min(max(end - self.start, low), self._length)
        return self._array[self._first + low : self._first + high]
