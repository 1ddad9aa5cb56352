"""From speech probabilities to speech."""

from collections import deque

import numpy as np
import numpy.typing as npt

WINDOW = 512
"""Samples that one speech probability covers (32 ms)."""


class SpeechGate:
    """Hysteresis: opens at a high probability, closes below a lower one.

    The two thresholds are Silero's own defaults (0.5, and 0.15 less), which keep a voice that wavers
    around one of them from being cut to pieces.
    """

    OPENS_AT = 0.5
    CLOSES_BELOW = 0.35

    def __init__(self) -> None:
        self._speech = False

    def push(self, probability: float) -> bool:
        """Whether the window with this probability is speech."""
        threshold = self.CLOSES_BELOW if self._speech else self.OPENS_AT
        self._speech = probability >= threshold
        return self._speech


class SpeechCurve:
    """The probability of speech along a stream, window by window, addressed by sample."""

    def __init__(self) -> None:
        self._windows: deque[float] = deque()
        self._first = 0

    def push(self, probability: float) -> None:
        """The next window's."""
        self._windows.append(probability)

    def forget_before(self, position: int) -> None:
        """Drop all windows that end before this sample."""
        while self._windows and (self._first + 1) * WINDOW <= position:
            self._windows.popleft()
            self._first += 1

    def at(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """At these samples, the nearest known; 1 where nothing is known at all."""
        if not self._windows:
            return np.ones(len(positions), np.float32)
        known = np.array(self._windows, np.float32)
        return known[np.clip(positions // WINDOW - self._first, 0, len(known) - 1)]
