"""Reads recordings in the format that the clients send: 16 kHz, mono, signed 16-bit."""

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

RATE = 16000
Pcm = npt.NDArray[np.int16]


def samples_of(path: Path) -> Pcm:
    """Return the samples of a recording."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(str(path)) as container:
        blocks = [
            piece.to_ndarray()[0]
            for frame in (*container.decode(audio=0), None)
            for piece in resampler.resample(frame)
        ]
    return np.concatenate(blocks).astype(np.int16)
