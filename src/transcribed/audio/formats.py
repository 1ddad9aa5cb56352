"""What audio is inside this server, and what describes audio outside it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
"""Samples a second, everywhere behind the decoder."""

Samples = npt.NDArray[np.float32]
"""Decoded PCM, mono, 16 kHz, in [-1, 1]; shape [n]."""


def silence(seconds: float) -> Samples:
    """Samples of value zero."""
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A recording as it is stored: FFmpeg's short names, Hz, and seconds (None where unknown)."""

    container: str
    codec: str
    sample_rate: int
    channels: int
    duration: float | None
