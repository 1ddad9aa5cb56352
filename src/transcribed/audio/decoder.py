"""Live audio without a container to Samples, chunk by chunk."""

from collections.abc import Callable
from functools import cache

import av
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext

from transcribed.audio.formats import SAMPLE_RATE, Encoding, InputFormat, Samples
from transcribed.audio.resampler import Resampler
from transcribed.audio.wav import WavHeader, WavSniffer
from transcribed.errors import UnreadableAudio

_NONE = np.zeros(0, np.float32)
_FULL_SCALE = np.float32(1 / 32_768)


class RawDecoder:
    """Stateful: the Samples do not depend on how the bytes are cut into chunks.

    With `apart` the Samples have the shape [channels, n], else they are the mean of the channels.
    A WAV header in front is skipped if it says what the format does; else `push` raises UnreadableAudio.
    Cheap enough for the event loop: a chunk of 16 kHz mono takes a few microseconds.
    """

    def __init__(self, form: InputFormat, *, apart: bool = False) -> None:
        self._format = form
        self._none = np.zeros((form.channels, 0), np.float32) if apart else _NONE
        self._sniffer: WavSniffer | None = WavSniffer()
        self._rest = b""
        self._frame_bytes = form.frame_bytes
        self._channels = form.channels
        self._values = _CONVERSIONS[form.encoding]
        self._mixed = form.channels > 1 and not apart
        self._apart = apart
        self._resampler: Resampler | None = None
        if form.sample_rate != SAMPLE_RATE:
            self._resampler = Resampler(form.channels if apart else None)

    def push(self, data: bytes) -> Samples:
        """The Samples that the chunk completes."""
        if self._sniffer is not None:
            if not self._sniffer.push(data):
                return self._none
            data = self._behind_header(self._sniffer)
            self._sniffer = None
        return self._decoded(data)

    def finish(self) -> Samples:
        """What is still held, at the end. A sample that is not whole is dropped."""
        parts = []
        if self._sniffer is not None and not self._sniffer.held.startswith(b"RIFF"):
            parts.append(self._decoded(self._sniffer.held))
        if self._resampler is not None:
            parts += self._resampler.flush()
        return _clipped(np.concatenate([self._none, *parts], axis=-1))

    def _behind_header(self, sniffer: WavSniffer) -> bytes:
        if sniffer.header is None:
            return sniffer.held
        _check(sniffer.header, self._format)
        return sniffer.held[sniffer.header.size :]

    def _decoded(self, data: bytes) -> Samples:
        if self._rest:
            data = self._rest + data
        whole = len(data) - len(data) % self._frame_bytes
        self._rest = data[whole:]
        if whole == 0:
            return self._none
        samples = self._values(data[:whole])
        if self._mixed:
            samples = samples.reshape(-1, self._channels).mean(axis=1)
        elif self._apart:
            samples = samples.reshape(-1, self._channels).T
        return samples if self._resampler is None else self._resampled(self._resampler, samples)

    def _resampled(self, resampler: Resampler, samples: Samples) -> Samples:
        layout = "mono" if samples.ndim == 1 else f"{len(samples)}c"
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = self._format.sample_rate
        ready = resampler.push(frame)
        # The filter may swing beyond what it was given.
        return _clipped(np.concatenate(ready, axis=-1)) if ready else self._none


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
    return _clipped(np.nan_to_num(np.frombuffer(data, "<f4"), posinf=1.0, neginf=-1.0))


def _clipped(samples: Samples) -> Samples:
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
