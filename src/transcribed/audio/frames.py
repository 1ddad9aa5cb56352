"""Converts FFmpeg's decoded frames, of any sample format, to Samples."""

from collections.abc import Iterator

import av
import numpy as np
import numpy.typing as npt

from transcribed.audio.formats import Samples
from transcribed.audio.resampler import Resampler, conversion_graph
from transcribed.errors import UnreadableAudio

_LOWEST_RATE, _HIGHEST_RATE = 4_000, 192_000
"""Accepted from recordings, in Hz. A tiny file at 1 Hz lasts hours; resampling 250 MHz takes gigabytes."""
_MOST_CHANNELS = 64
"""Channels accepted for recordings."""

_BATCH_SECONDS = 0.5
"""Audio of a recording that is converted at once, which is cheaper than frame by frame."""
_PIECE = 65_536
"""Samples of all channels taken from a frame at once. A frame can be as long as its file."""
_MOST_PLANES = 7
"""With more planes, PyAV reads beyond the frame's memory."""
_LOUDEST = 4.0
"""The highest float sample kept, 12 dB above full scale. Higher ones are damage; energies may overflow."""
_SILENCE = 0.001
"""The highest sample value in silence or the noise of an open input: -60 dB."""
_NUMPY_FORMATS = {"u8", "s16", "s32", "flt", "dbl"}
"""Sample formats that numpy represents too."""

_Values = npt.NDArray[np.generic]


class FrameConverter:
    """Converts frames. The result does not depend on where the audio is cut into frames.

    With `channels`, the frames must have that many, and the output has the shape [channels, n]; else
    channels are mixed to [n]. The frames' format may change, as in chained Ogg streams. Frames are
    converted in batches, except live ones, which are converted immediately.
    """

    def __init__(self, channels: int | None = None, *, live: bool = False) -> None:
        self._channels = channels
        self._live = live
        self._resampler: Resampler | None = None
        self._format: tuple[str, str, int] | None = None
        self._held: list[_Values] = []
        self._held_length = 0
        self._batch_length = 0

    def push(self, frame: av.AudioFrame) -> Iterator[Samples]:
        """The Samples that the frame completes, in pieces. Consume them before the next `push`.

        Raises UnreadableAudio for a sample rate or number of channels that is not accepted.
        """
        _check(frame, self._channels)
        frame_format = (frame.format.name, frame.layout.name, frame.sample_rate)
        if frame_format != self._format:
            yield from self.flush()
            self._format = frame_format
            self._batch_length = 0 if self._live else round(_BATCH_SECONDS * frame.sample_rate)
            names = [channel.name for channel in frame.layout.channels]
            self._resampler = Resampler(
                frame.sample_rate,
                frame.layout.nb_channels,
                split_channels=self._channels is not None,
                names=names,
                look_ahead=not self._live,
            )
        for piece in _pieces(frame):
            self._held.append(piece)
            self._held_length += piece.shape[1]
            if self._held_length >= self._batch_length:
                yield self._convert_held()

    def flush(self) -> Iterator[Samples]:
        """The rest of the Samples, at the end of the audio."""
        if self._resampler is not None:
            if self._held:
                yield self._convert_held()
            yield self._resampler.flush()
        self._resampler = self._format = None

    def _convert_held(self) -> Samples:
        assert self._resampler is not None  # noqa: S101 - `push` sets it
        joined = self._held[0] if len(self._held) == 1 else np.concatenate(self._held, axis=1)
        self._held, self._held_length = [], 0
        return self._resampler.push(_floats(joined))


def check_limits(rate: int, channels: int) -> None:
    """Raise UnreadableAudio for a sample rate or number of channels outside the limits of recordings."""
    if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise UnreadableAudio(
            f"The audio has {rate} samples a second, which is not supported. Send a recording of "
            f"{_LOWEST_RATE} to {_HIGHEST_RATE} Hz."
        )
    if not 1 <= channels <= _MOST_CHANNELS:
        raise UnreadableAudio(
            f"The audio has {channels} channels, which is not supported. Send a recording of at most "
            f"{_MOST_CHANNELS}."
        )


def has_sound(frame: av.AudioFrame) -> bool:
    """Whether the frame is louder than silence."""
    check_limits(frame.sample_rate, frame.layout.nb_channels)
    return any(bool((np.abs(_floats(piece)) > _SILENCE).any()) for piece in _pieces(frame))


def _check(frame: av.AudioFrame, expected: int | None) -> None:
    found = frame.layout.nb_channels
    check_limits(frame.sample_rate, found)
    if expected is not None and found != expected:
        raise UnreadableAudio(
            f"The audio has {found} channels, but {expected} are to be recognised separately. Send "
            f"{expected}, or have them mixed to one."
        )


def _pieces(frame: av.AudioFrame) -> Iterator[_Values]:
    """The frame's samples [channels, n], in their own sample format."""
    channels = frame.layout.nb_channels
    planar = frame.format.is_planar
    if frame.format.packed.name not in _NUMPY_FORMATS or (planar and channels > _MOST_PLANES):
        frame, planar = _interleaved(frame), False
    values = frame.to_ndarray()
    if not planar:
        values = values.reshape(-1, channels).T
    for start in range(0, values.shape[1], max(_PIECE // channels, 1)):
        yield values[:, start : start + max(_PIECE // channels, 1)]


def _floats(values: _Values) -> Samples:
    """Samples [channels, n] as float32 in [-1, 1], or up to _LOUDEST for those that were floats before."""
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) * np.float32(1 / 128)
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32) * np.float32(0.5 ** (8 * values.dtype.itemsize - 1))
    with np.errstate(over="ignore"):
        floats: Samples = values.astype(np.float32)
    if not np.abs(floats).max(initial=0) <= _LOUDEST:
        # A damaged file may contain NaN, which would make all later results NaN.
        np.nan_to_num(floats, copy=False, posinf=1.0, neginf=-1.0)
        np.clip(floats, -_LOUDEST, _LOUDEST, out=floats)
    return floats


def _interleaved(frame: av.AudioFrame) -> av.AudioFrame:
    """The frame with interleaved float samples."""
    graph = conversion_graph(frame.sample_rate, frame.format.name, frame.layout.name, frame.sample_rate)
    graph.push(frame)
    interleaved = graph.pull()
    assert isinstance(interleaved, av.AudioFrame)  # noqa: S101 - the filter handles audio
    return interleaved
