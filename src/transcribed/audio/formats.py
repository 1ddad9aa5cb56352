"""What audio is inside this server, and what describes audio outside it."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from transcribed.transcript import Track

SAMPLE_RATE = 16_000
"""Samples a second, everywhere behind the decoder."""

Samples = npt.NDArray[np.float32]
"""Decoded PCM, mono, 16 kHz, in [-1, 1]; shape [n], or [channels, n] where channels are kept apart."""


def silence(seconds: float) -> Samples:
    """Samples of value zero."""
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


class Encoding(Enum):
    """How live audio is written."""

    PCM = "pcm"
    """Signed 16-bit integers, little endian."""
    F32 = "f32"
    """32-bit floating point in [-1, 1], little endian."""
    MULAW = "mulaw"
    """G.711 mu-law, 8 bits."""
    ALAW = "alaw"
    """G.711 A-law, 8 bits."""
    AUTO = "auto"
    """A container that says itself what is in it."""


LOWEST_RATE, HIGHEST_RATE = 8_000, 48_000
"""Hz, of live audio."""
MOST_CHANNELS = 8
"""Of live audio."""

_SAMPLE_BYTES = {Encoding.PCM: 2, Encoding.F32: 4, Encoding.MULAW: 1, Encoding.ALAW: 1}


@dataclass(frozen=True, slots=True)
class InputFormat:
    """Live audio as it arrives. With AUTO the rate and the channels are the container's, not these."""

    encoding: Encoding = Encoding.PCM
    sample_rate: int = SAMPLE_RATE
    channels: int = 1

    @property
    def frame_bytes(self) -> int:
        """Bytes of one moment on all channels; not for AUTO."""
        return _SAMPLE_BYTES[self.encoding] * self.channels

    def __str__(self) -> str:
        plural = "" if self.channels == 1 else "s"
        return f"{self.encoding.value}, {self.sample_rate} Hz, {self.channels} channel{plural}"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A recording as it is stored: FFmpeg's short names, Hz, and seconds (None where unknown).

    Codec, rate and channels are those of the track that is read, whose number is `track`.
    """

    container: str
    codec: str
    sample_rate: int
    channels: int
    duration: float | None
    track: int = 1
    tracks: tuple[Track, ...] = ()
    """All audio tracks of the file, in its order."""
