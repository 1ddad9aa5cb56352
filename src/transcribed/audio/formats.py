"""The format of audio inside this server, and descriptions of the formats that it accepts."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from transcribed.transcript import Track

SAMPLE_RATE = 16_000
"""Sample rate of all decoded audio, in Hz."""

Samples = npt.NDArray[np.float32]
"""Decoded PCM at 16 kHz, in [-1, 1]: mono [n], or [channels, n] where channels are kept separate."""


def silence(seconds: float) -> Samples:
    """Samples [n] of value zero."""
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


class Encoding(Enum):
    """The encoding of live audio."""

    PCM = "pcm"
    """Signed 16-bit integers, little endian."""
    F32 = "f32"
    """32-bit floating point in [-1, 1], little endian."""
    MULAW = "mulaw"
    """G.711 mu-law, 8 bits."""
    ALAW = "alaw"
    """G.711 A-law, 8 bits."""
    AUTO = "auto"
    """A container, which describes its own content."""


LOWEST_RATE, HIGHEST_RATE = 8_000, 48_000
"""Sample rates accepted for live audio, in Hz."""
MOST_CHANNELS = 8
"""Channels accepted for live audio."""

_SAMPLE_BYTES = {Encoding.PCM: 2, Encoding.F32: 4, Encoding.MULAW: 1, Encoding.ALAW: 1}


@dataclass(frozen=True, slots=True)
class InputFormat:
    """The format of live audio. With AUTO, the container determines sample rate (Hz) and channels."""

    encoding: Encoding = Encoding.PCM
    sample_rate: int = SAMPLE_RATE
    channels: int = 1

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of each channel. Not defined for AUTO."""
        return _SAMPLE_BYTES[self.encoding] * self.channels

    def __str__(self) -> str:
        plural = "" if self.channels == 1 else "s"
        return f"{self.encoding.value}, {self.sample_rate} Hz, {self.channels} channel{plural}"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """The format of a stored recording. Codec, rate and channels are those of the track that is read."""

    container: str
    """FFmpeg's short name of the container."""
    codec: str
    """FFmpeg's name of the codec."""
    sample_rate: int
    """In Hz."""
    channels: int
    duration: float | None
    """In seconds; None if unknown."""
    track: int = 1
    """The number of the track that is read, from 1."""
    tracks: tuple[Track, ...] = ()
    """All audio tracks of the file, in its order."""
