"""A buffer of recent samples, addressed by their position in the stream."""

from typing import Any

import numpy as np
import numpy.typing as npt

_LEAST_CAPACITY = 16_384


class SampleBuffer:
    """Appends samples at the end and drops them at the start. Positions count from the stream's start.

    Appending takes amortised constant time. Memory of dropped samples is reused when the buffer grows.
    """

    def __init__(self, dtype: npt.DTypeLike = np.float32) -> None:
        self._array: npt.NDArray[Any] = np.empty(_LEAST_CAPACITY, dtype)
        self._first = 0
        self._length = 0
        self.start = 0
        """The position of the first sample."""

    @property
    def end(self) -> int:
        """The position after the last sample."""
        return self.start + self._length

    def append(self, samples: npt.NDArray[Any]) -> None:
        """Add samples at the end."""
        length = self._length + len(samples)
        if self._first + length > len(self._array):
            held = self.between(self.start, self.end)
            self._array = np.empty(max(2 * length, _LEAST_CAPACITY), self._array.dtype)
            self._array[: len(held)] = held
            self._first = 0
        self._array[self._first + self._length : self._first + length] = samples
        self._length = length

    def forget_before(self, position: int) -> None:
        """Drop all samples before a position, which may be outside the buffer."""
        dropped = min(max(position - self.start, 0), self._length)
        self._first += dropped
        self._length -= dropped
        self.start += dropped

    def after(self, position: int) -> "SampleBuffer":
        """A new buffer with a copy of the samples from a position on, which may be outside the buffer."""
        rest = SampleBuffer(self._array.dtype)
        rest.start = min(max(position, self.start), self.end)
        rest.append(self.between(rest.start, self.end))
        return rest

    def between(self, start: int, end: int) -> npt.NDArray[Any]:
        """A view of the samples in [start, end) that are held, valid until the next `append`."""
        low = min(max(start - self.start, 0), self._length)
        high = min(max(end - self.start, low), self._length)
        return self._array[self._first + low : self._first + high]
