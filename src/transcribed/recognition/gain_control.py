"""Quiet audio made louder, for the judge of speech alone.

Silero hears a voice 40 dB below full scale only in parts. Noise stays noise to it at any level.
"""

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.recognition.vad import WINDOW

_TARGET = 0.1
_QUIETEST = 0.002
_HALF_LIFE_SECONDS = 5.0
_DECAY = 0.5 ** (WINDOW / SAMPLE_RATE / _HALF_LIFE_SECONDS)


class AutomaticGainControl:
    """Raises the recent peak to a tenth of full scale, by at most 34 dB; what is louder is left alone.

    The peak follows louder audio at once, so that nothing is clipped, and quieter audio slowly, so that
    pauses are not blown up.
    """

    def __init__(self) -> None:
        self._peak = 0.0

    def push(self, samples: Samples) -> Samples:
        """A whole number of windows, and the same number, levelled."""
        windows = samples.reshape(-1, WINDOW)
        gains = np.empty((len(windows), 1), np.float32)
        for i, peak in enumerate(np.abs(windows).max(axis=1)):
            self._peak = max(float(peak), self._peak * _DECAY, _QUIETEST)
            gains[i] = max(1.0, _TARGET / self._peak)
        return (windows * gains).reshape(-1)
