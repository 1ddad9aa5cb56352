"""Converts raw live audio, which has no container, to Samples."""

from collections.abc import Callable
from functools import cache, partial

import av
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext

from transcribed.audio.formats import Encoding, InputFormat, Samples
from transcribed.audio.resampler import Resampler
from transcribed.audio.wav import WavHeader, WavStream
from transcribed.errors import UnreadableAudio

_FULL_SCALE = np.float32(1 / 32_768)


class RawDecoder:
    """Converts chunks of bytes. The result does not depend on where the stream is cut into chunks.

    With `split_channels` the Samples have the shape [channels, n], else the channels are mixed to [n] (see
    Mixer). WAV headers are skipped, at the start and where another WAV follows, and so are chunks after a
    WAV's audio. A chunk of 16 kHz mono takes about ten microseconds, little enough for the event loop.
    """

    def __init__(self, input_format: InputFormat, *, split_channels: bool = False) -> None:
        self._format = input_format
        self._wav = WavStream(self._on_header)
        self._incomplete = b""
        self._to_samples = _CONVERSIONS[input_format.encoding]
        self._resampler = Resampler(
            input_format.sample_rate, input_format.channels, split_channels=split_channels
        )

    def push(self, data: bytes) -> Samples:
        """The Samples that a chunk completes. Raises UnreadableAudio for a WAV header of another format."""
        return self._convert(self._wav.push(data))

    def finish(self) -> Samples:
        """The rest of the Samples, at the end of the stream. An incomplete sample is dropped."""
        parts = [self._convert(self._wav.finish()), self._resampler.flush()]
        return np.concatenate(parts, axis=-1)

    def _on_header(self, header: WavHeader) -> None:
        _check_header(header, self._format)
        self._incomplete = b""

    def _convert(self, data: bytes) -> Samples:
        if self._incomplete:
            data = self._incomplete + data
        whole = len(data) - len(data) % self._format.frame_bytes
        self._incomplete = data[whole:]
        return self._resampler.push(self._to_samples(data[:whole]).reshape(-1, self._format.channels).T)


def _check_header(header: WavHeader, input_format: InputFormat) -> None:
    declared = {
        "encoding": (header.encoding, input_format.encoding),
        "sample_rate": (header.sample_rate, input_format.sample_rate),
        "channels": (header.channels, input_format.channels),
    }
    changes = [
        f"{name}={getattr(of_header, 'value', of_header)}"
        for name, (of_header, of_format) in declared.items()
        if of_header != of_format
    ]
    if changes:
        instead = "" if header.encoding is None else f"{' and '.join(changes)}, or with "
        raise UnreadableAudio(
            f"The WAV header says {header}, but the stream was opened for {input_format}. Open it with "
            f"{instead}encoding=auto, which goes by the header."
        )


def _pcm(data: bytes) -> Samples:
    return np.frombuffer(data, "<i2").astype(np.float32) * _FULL_SCALE


def _f32(data: bytes) -> Samples:
    # A NaN would make all later results of the stream NaN.
    samples: Samples = np.nan_to_num(np.frombuffer(data, "<f4"), posinf=1.0, neginf=-1.0)
    return np.clip(samples, -1, 1, out=samples)


def _g711(codec: str, data: bytes) -> Samples:
    return _table(codec)[np.frombuffer(data, np.uint8)]


@cache
def _table(codec: str) -> npt.NDArray[np.float32]:
    """The sample value of each byte [256], decoded by FFmpeg."""
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, AudioCodecContext)  # noqa: S101 - these are audio codecs
    context.sample_rate, context.layout = 8_000, "mono"
    (frame,) = context.decode(av.Packet(bytes(range(256))))
    table: npt.NDArray[np.float32] = frame.to_ndarray()[0].astype(np.float32) * _FULL_SCALE
    return table


_CONVERSIONS: dict[Encoding, Callable[[bytes], Samples]] = {
    Encoding.PCM: _pcm,
    Encoding.F32: _f32,
    Encoding.MULAW: partial(_g711, "pcm_mulaw"),
    Encoding.ALAW: partial(_g711, "pcm_alaw"),
}
