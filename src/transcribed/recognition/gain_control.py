"""Amplifies quiet audio before voice activity detection.

Silero detects a voice 40 dB below full scale only in parts, while it takes noise for noise at any level.
"""

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.recognition.vad import WINDOW

_TARGET_PEAK = 0.1
_LOWEST_PEAK = 0.002
_HALF_LIFE_SECONDS = 5.0
_DECAY = 0.5 ** (WINDOW / SAMPLE_RATE / _HALF_LIFE_SECONDS)


class AutomaticGainControl:
    """Raises the recent peak to a tenth of full scale, by at most 34 dB. Never attenuates.

    The peak rises immediately, so that nothing is clipped, and decays slowly, so that pauses are not
    amplified.
    """

    def __init__(self) -> None:
        self._peak = 0.0

    def push(self, samples: Samples) -> Samples:
        """Samples [n], a whole number of windows, to amplified ones [n]."""
        windows = samples.reshape(-1, WINDOW)
        gains = np.empty((len(windows), 1), np.float32)
        for i, peak in enumerate(np.abs(windows).max(axis=1)):
            self._peak = max(float(peak), self._peak * _DECAY, _LOWEST_PEAK)
            gains[i] = max(1.0, _TARGET_PEAK / self._peak)
        return (windows * gains).reshape(-1)
