"""Any sample rate, sample format and channel count to Samples."""

import errno
from collections.abc import Iterator

import av
import numpy as np
from av.filter import Graph

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.errors import UnreadableAudio


class Resampler:
    """Stateful: the output does not depend on how the input is cut into frames.

    With `channels` there must be so many, and they are kept apart: the output has the shape [channels, n].
    A recording may change its format on the way (chained Ogg streams do): the old filter is flushed and
    a new one begins.
    """

    def __init__(self, channels: int | None = None) -> None:
        self._channels = channels
        self._filter: Graph | None = None
        self._input: tuple[str, str, int] | None = None

    def push(self, frame: av.AudioFrame) -> list[Samples]:
        """The Samples that the frame completes. Raises UnreadableAudio for another number of channels."""
        if self._channels not in {None, frame.layout.nb_channels}:
            raise UnreadableAudio(
                f"The audio has {frame.layout.nb_channels} channels where {self._channels} are to be "
                "recognised each on its own. Send so many, or let them be heard as one."
            )
        described = (frame.format.name, frame.layout.name, frame.sample_rate)
        ready: list[Samples] = []
        if described != self._input:
            ready = self.flush()
            self._input = described
            self._filter = _filter(frame)
        return ready + self._run(frame)

    def flush(self) -> list[Samples]:
        """What the filter still holds, at the end."""
        return self._run(None)

    def _run(self, frame: av.AudioFrame | None) -> list[Samples]:
        if self._filter is None:
            return []
        self._filter.push(frame)
        return [self._samples(out) for out in _pulled(self._filter)]

    def _samples(self, frame: av.AudioFrame) -> Samples:
        # Packed, since PyAV 18 crashes on planar frames of eight channels and more.
        packed = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
        samples: Samples = packed.astype(np.float32, copy=False)
        # The mean of the channels: FFmpeg's own downmix of float audio lets what they share exceed 1.
        samples = samples.mean(axis=1) if self._channels is None else samples.T
        # A broken float file can hold NaN, which would spoil every later result of the stream.
        return np.nan_to_num(samples, copy=False, posinf=1.0, neginf=-1.0)


def _filter(frame: av.AudioFrame) -> Graph:
    graph = Graph()
    # PyAV's own AudioResampler would start a thread for each core, each time.
    graph.threads = 1
    source = graph.add(
        "abuffer",
        sample_rate=str(frame.sample_rate),
        sample_fmt=frame.format.name,
        channel_layout=frame.layout.name,
    )
    fit = graph.add(
        "aformat", sample_rates=str(SAMPLE_RATE), sample_fmts="flt", channel_layouts=frame.layout.name
    )
    graph.link_nodes(source, fit, graph.add("abuffersink")).configure()
    return graph


def _pulled(graph: Graph) -> Iterator[av.AudioFrame]:
    while True:
        try:
            frame = graph.pull()
        except EOFError:
            return
        except av.error.FFmpegError as error:
            if error.errno != errno.EAGAIN:
                raise
            return
        assert isinstance(frame, av.AudioFrame)  # noqa: S101 - the filter is one of audio
        yield frame
