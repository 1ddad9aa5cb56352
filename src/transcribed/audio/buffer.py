"""A window onto a stream of Samples, addressed by position in the stream."""

from typing import Any

import numpy as np
import numpy.typing as npt


class SampleBuffer:
    """Grows at its end and forgets at its start; positions count samples from the stream's start.

    Appending costs amortised constant time. What is forgotten gives its room back when the buffer grows.
    Samples are held as `kind`, by default as all others are.
    """

    def __init__(self, kind: npt.DTypeLike = np.float32) -> None:
        self._array: npt.NDArray[Any] = np.empty(16_384, kind)
        self._first = 0
        self._length = 0
        self.start = 0

    @property
    def end(self) -> int:
        """The position behind the last sample."""
        return self.start + self._length

    def append(self, samples: npt.NDArray[Any]) -> None:
        """Add samples at the end."""
        length = self._length + len(samples)
        if self._first + length > len(self._array):
            held = self.between(self.start, self.end)
            self._array = np.empty(max(2 * length, 16_384), self._array.dtype)
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

    def between(self, start: int, end: int) -> npt.NDArray[Any]:
        """A view of the samples held of [start, end), valid until the next append."""
        low = min(max(start - self.start, 0), self._length)
        high = min(max(end - self.start, low), self._length)
        return self._array[self._first + low : self._first + high]
