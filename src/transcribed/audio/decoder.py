"""Live audio without a container to Samples, chunk by chunk."""

from collections.abc import Callable
from functools import cache

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
    """Stateful: the Samples do not depend on how the bytes are cut into chunks.

    With `split_channels` the Samples have the shape [channels, n], else the channels are mixed (see Mixer).
    A WAV header in front is skipped if it says what the format does; else `push` raises UnreadableAudio.
    So is what stands behind a WAV's audio, and the header of a WAV that follows it.
    Cheap enough for the event loop: a chunk of 16 kHz mono takes some ten microseconds.
    """

    def __init__(self, form: InputFormat, *, split_channels: bool = False) -> None:
        self._format = form
        self._wav = WavStream(self._begin)
        self._rest = b""
        self._values = _CONVERSIONS[form.encoding]
        self._resampler = Resampler(form.sample_rate, form.channels, split_channels=split_channels)

    def push(self, data: bytes) -> Samples:
        """The Samples that the chunk completes."""
        return self._decoded(self._wav.push(data))

    def finish(self) -> Samples:
        """What is still held, at the end. A sample that is not whole is dropped."""
        parts = [self._decoded(self._wav.finish()), self._resampler.flush()]
        return np.concatenate(parts, axis=-1)

    def _begin(self, header: WavHeader) -> None:
        _check(header, self._format)
        self._rest = b""

    def _decoded(self, data: bytes) -> Samples:
        if self._rest:
            data = self._rest + data
        whole = len(data) - len(data) % self._format.frame_bytes
        self._rest = data[whole:]
        return self._resampler.push(self._values(data[:whole]).reshape(-1, self._format.channels).T)


def _check(header: WavHeader, form: InputFormat) -> None:
    said = (header.encoding, header.sample_rate, header.channels)
    if said != (form.encoding, form.sample_rate, form.channels):
        asked = {
            "encoding": (header.encoding, form.encoding),
            "sample_rate": (header.sample_rate, form.sample_rate),
            "channels": (header.channels, form.channels),
        }
        changes = [
            f"{name}={getattr(there, 'value', there)}"
            for name, (there, here) in asked.items()
            if there != here
        ]
        instead = "" if header.encoding is None else f"{' and '.join(changes)}, or with "
        raise UnreadableAudio(
            f"The WAV header says {header}, but the stream was opened for {form}. Open it with "
            f"{instead}encoding=auto, which goes by the header."
        )


def _pcm(data: bytes) -> Samples:
    return np.frombuffer(data, "<i2").astype(np.float32) * _FULL_SCALE


def _f32(data: bytes) -> Samples:
    # What is no number would spoil every later result of the stream.
    samples: Samples = np.nan_to_num(np.frombuffer(data, "<f4"), posinf=1.0, neginf=-1.0)
    return np.clip(samples, -1, 1, out=samples)


def _mulaw(data: bytes) -> Samples:
    return _table("pcm_mulaw")[np.frombuffer(data, np.uint8)]


def _alaw(data: bytes) -> Samples:
    return _table("pcm_alaw")[np.frombuffer(data, np.uint8)]


@cache
def _table(codec: str) -> npt.NDArray[np.float32]:
    """The value of each byte, as FFmpeg has it."""
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, AudioCodecContext)  # noqa: S101 - they are codecs of audio
    context.sample_rate, context.layout = 8_000, "mono"
    (frame,) = context.decode(av.Packet(bytes(range(256))))
    table: npt.NDArray[np.float32] = frame.to_ndarray()[0].astype(np.float32) * _FULL_SCALE
    return table


_CONVERSIONS: dict[Encoding, Callable[[bytes], Samples]] = {
    Encoding.PCM: _pcm,
    Encoding.F32: _f32,
    Encoding.MULAW: _mulaw,
    Encoding.ALAW: _alaw,
}
