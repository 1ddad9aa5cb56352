"""Decoded frames of any sample format to Samples."""

from collections.abc import Iterator

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph

from transcribed.audio.formats import Samples
from transcribed.audio.resampler import Resampler
from transcribed.errors import UnreadableAudio

LOWEST_RATE, HIGHEST_RATE = 4_000, 192_000
"""Hz, of recordings. A file of a few bytes at 1 Hz would be hours long, one at 250 MHz takes gigabytes."""
MOST_CHANNELS = 64
"""Of recordings."""

_TOGETHER_SECONDS = 0.5
_PIECE = 65_536
"""Samples of all channels that are converted at once, of a frame that may be as long as its file."""
_MOST_PLANES = 7
"""PyAV reads beyond a frame that has more of them."""
_LOUDEST = 4.0
"""Of floats, 12 dB beyond full scale: more is damage, and its energy could no longer be reckoned with."""
_SILENCE = 0.001
_DIRECT = {"u8", "s16", "s32", "flt", "dbl"}
"""Sample formats that numpy has too."""


_Values = npt.NDArray[np.generic]


class FrameConverter:
    """Stateful: the output does not depend on how the sound is cut into frames.

    With `channels` there must be so many, and they are kept apart: the output has the shape [channels, n].
    A recording may change its format on the way (chained Ogg streams do): the old filter is flushed and
    a new one begins. Frames are collected, which costs less than each alone, but for live ones, which come
    out at once.
    """

    def __init__(self, channels: int | None = None, *, live: bool = False) -> None:
        self._channels = channels
        self._live = live
        self._resampler: Resampler | None = None
        self._format: tuple[str, str, int] | None = None
        self._held: list[_Values] = []
        self._held_length = 0
        self._least = 0

    def push(self, frame: av.AudioFrame) -> Iterator[Samples]:
        """The Samples that the frame completes, in pieces, to be taken before the next frame is pushed.

        Raises UnreadableAudio for a form that no speech has, and for another number of channels.
        """
        _check(frame, self._channels)
        described = (frame.format.name, frame.layout.name, frame.sample_rate)
        if described != self._format:
            yield from self.flush()
            self._format = described
            self._least = 0 if self._live else round(_TOGETHER_SECONDS * frame.sample_rate)
            names = [channel.name for channel in frame.layout.channels]
            self._resampler = Resampler(
                frame.sample_rate,
                frame.layout.nb_channels,
                split_channels=self._channels is not None,
                names=names,
                ahead=not self._live,
            )
        for piece in _pieces(frame):
            self._held.append(piece)
            self._held_length += piece.shape[1]
            if self._held_length >= self._least:
                yield self._converted()

    def flush(self) -> Iterator[Samples]:
        """What is still held, at the end."""
        if self._resampler is not None:
            if self._held:
                yield self._converted()
            yield self._resampler.flush()
        self._resampler = self._format = None

    def _converted(self) -> Samples:
        assert self._resampler is not None  # noqa: S101 - what is held has come through it
        joined = self._held[0] if len(self._held) == 1 else np.concatenate(self._held, axis=1)
        self._held, self._held_length = [], 0
        return self._resampler.push(_floats(joined))


def check_form(rate: int, channels: int) -> None:
    """Raises UnreadableAudio for a form that no speech has."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise UnreadableAudio(
            f"The audio says that it has {rate} samples a second, which is no speech. Send a recording of "
            f"{LOWEST_RATE} to {HIGHEST_RATE} Hz."
        )
    if not 1 <= channels <= MOST_CHANNELS:
        raise UnreadableAudio(
            f"The audio cannot be converted: it has {channels} channels. Send a recording of at most "
            f"{MOST_CHANNELS}."
        )


def is_sound(frame: av.AudioFrame) -> bool:
    """Whether the frame is anything but silence, or the noise of an open input: -60 dB."""
    check_form(frame.sample_rate, frame.layout.nb_channels)
    return any(bool((np.abs(_floats(piece)) > _SILENCE).any()) for piece in _pieces(frame))


def _check(frame: av.AudioFrame, asked: int | None) -> None:
    found = frame.layout.nb_channels
    check_form(frame.sample_rate, found)
    if asked is not None and found != asked:
        raise UnreadableAudio(
            f"The audio has {found} channels where {asked} are to be recognised each on its own. Send so "
            "many, or let them be heard as one."
        )


def _pieces(frame: av.AudioFrame) -> Iterator[_Values]:
    """The frame's samples [channels, n], as they are written."""
    channels = frame.layout.nb_channels
    planar = frame.format.is_planar
    if frame.format.packed.name not in _DIRECT or (planar and channels > _MOST_PLANES):
        frame, planar = _packed(frame), False
    values = frame.to_ndarray()
    if not planar:
        values = values.reshape(-1, channels).T
    for start in range(0, values.shape[1], max(_PIECE // channels, 1)):
        yield values[:, start : start + max(_PIECE // channels, 1)]


def _floats(values: _Values) -> Samples:
    """Samples in [-1, 1], but for floats, which may say more."""
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) * np.float32(1 / 128)
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32) * np.float32(0.5 ** (8 * values.dtype.itemsize - 1))
    with np.errstate(over="ignore"):
        floats: Samples = values.astype(np.float32)
    if not np.abs(floats).max(initial=0) <= _LOUDEST:
        # A broken float file can hold NaN, which would spoil every later result of the stream.
        np.nan_to_num(floats, copy=False, posinf=1.0, neginf=-1.0)
        np.clip(floats, -_LOUDEST, _LOUDEST, out=floats)
    return floats


def _packed(frame: av.AudioFrame) -> av.AudioFrame:
    graph = Graph()
    graph.threads = 1
    source = graph.add(
        "abuffer",
        sample_rate=str(frame.sample_rate),
        sample_fmt=frame.format.name,
        channel_layout=frame.layout.name,
    )
    fit = graph.add("aformat", sample_fmts="flt", channel_layouts=frame.layout.name)
    graph.link_nodes(source, fit, graph.add("abuffersink")).configure()
    graph.push(frame)
    packed = graph.pull()
    assert isinstance(packed, av.AudioFrame)  # noqa: S101 - the filter is one of audio
    return packed
