"""Voice activity detection: from speech probabilities to decisions."""

from collections import deque
from copy import copy

import numpy as np
import numpy.typing as npt

WINDOW = 512
"""Samples for each speech probability (32 ms)."""


class SpeechGate:
    """Tells speech from non-speech with hysteresis: opens at a high probability, closes below a lower one.

    With a single threshold, a voice whose probability wavers around it would be cut into pieces. The two
    are Silero's defaults (0.5, and 0.15 less).
    """

    OPENS_AT = 0.5
    CLOSES_BELOW = 0.35

    def __init__(self) -> None:
        self._speech = False

    def push(self, probability: float) -> bool:
        """Whether the next window, of this probability, is speech."""
        threshold = self.CLOSES_BELOW if self._speech else self.OPENS_AT
        self._speech = probability >= threshold
        return self._speech


class SpeechProbabilities:
    """The speech probabilities of a stream's windows, looked up by sample position."""

    def __init__(self) -> None:
        self._windows: deque[float] = deque()
        self._first = 0

    def push(self, probability: float) -> None:
        """Add the next window's probability."""
        self._windows.append(probability)

    def forget_before(self, position: int) -> None:
        """Drop all windows that end at or before this sample."""
        while self._windows and (self._first + 1) * WINDOW <= position:
            self._windows.popleft()
            self._first += 1

    def after(self, position: int) -> "SpeechProbabilities":
        """Return a copy without the windows that end at or before this sample."""
        rest = copy(self)
        rest._windows = self._windows.copy()  # noqa: SLF001
        rest.forget_before(position)
        return rest

    def at(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Probabilities [n] at sample positions [n], each of the nearest window held; 1 if none is held."""
        if not self._windows:
            return np.ones(len(positions), np.float32)
        known = np.array(self._windows, np.float32)
        return known[np.clip(positions // WINDOW - self._first, 0, len(known) - 1)]
