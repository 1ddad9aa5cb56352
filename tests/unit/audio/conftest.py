"""Recordings of a tone, in any format that FFmpeg can write."""

import io
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

TONE = 440.0


def _tone(seconds: float, rate: int, channels: int) -> npt.NDArray[np.float32]:
    wave = 0.5 * np.sin(2 * np.pi * TONE * np.arange(round(seconds * rate)) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def _write(container: str, codec: str, rate: int, channels: int, seconds: float, **options: str) -> bytes:
    layout = "mono" if channels == 1 else "stereo"
    target = io.BytesIO()
    with av.open(target, "w", format=container, container_options=options) as output:
        stream: Any = output.add_stream(codec, rate=rate, options={"strict": "experimental"})
        stream.codec_context.layout = layout
        stream.codec_context.open()
        context = stream.codec_context
        frame = av.AudioFrame.from_ndarray(_tone(seconds, rate, channels), format="fltp", layout=layout)
        frame.sample_rate = rate
        fit = av.AudioResampler(context.format.name, layout, rate, frame_size=context.frame_size or 1024)
        for part in [*fit.resample(frame), *fit.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return target.getvalue()


@pytest.fixture(scope="session")
def tone() -> Callable[..., bytes]:
    """(container, codec, rate, channels, seconds) → a file that sounds at 440 Hz, at half of full scale."""
    return _write
