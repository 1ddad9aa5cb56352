"""Samples of any rate and any number of channels to Samples."""

import errno
from collections.abc import Iterator, Sequence

import av
import numpy as np
from av.filter import Graph

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.mixing import Mixer, OffsetRemover


class Resampler:
    """Stateful: the output does not depend on how the input is cut up. What comes out lies in [-1, 1].

    Several channels are mixed to one (see Mixer, which `names` are for); with `split_channels` they are
    not, and the output has the shape [channels, n]. `ahead` is for what is not live: it holds some of the
    input back.
    """

    def __init__(
        self,
        rate: int,
        channels: int,
        *,
        split_channels: bool = False,
        names: Sequence[str] = (),
        ahead: bool = False,
    ) -> None:
        self._rate = rate
        self._split_channels = split_channels
        self._width = channels if split_channels else 1
        self._steps: list[Mixer | OffsetRemover] = [OffsetRemover(self._width, rate, ahead=ahead)]
        if channels > self._width:
            self._steps.insert(0, Mixer(channels, rate, names, ahead=ahead))
        self._filter = _filter(rate, self._width) if rate != SAMPLE_RATE else None

    def push(self, samples: Samples) -> Samples:
        """The Samples that input [channels, n] completes."""
        for step in self._steps:
            samples = step.push(samples)
        return self._resampled(samples)

    def flush(self) -> Samples:
        """What is still held, at the end."""
        samples = self._steps[0].flush()
        for step in self._steps[1:]:
            samples = np.concatenate([step.push(samples), step.flush()], axis=1)
        ready = self._resampled(samples)
        if self._filter is None:
            return ready
        rest = np.clip(self._filtered(self._filter, None), -1, 1)
        return np.concatenate([ready, rest if self._split_channels else rest[0]], axis=-1)

    def _resampled(self, samples: Samples) -> Samples:
        if self._filter is None or samples.shape[1] == 0:
            ready = samples
        else:
            packed = np.ascontiguousarray(samples.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=_layout(self._width))
            frame.sample_rate = self._rate
            ready = self._filtered(self._filter, frame)
        # The filter may swing beyond what it was given.
        ready = np.clip(ready, -1, 1)
        return ready if self._split_channels else ready[0]

    def _filtered(self, graph: Graph, frame: av.AudioFrame | None) -> Samples:
        graph.push(frame)
        parts = [out.to_ndarray().reshape(-1, self._width).T for out in _pulled(graph)]
        return np.concatenate([np.zeros((self._width, 0), np.float32), *parts], axis=1)


def _layout(channels: int) -> str:
    return "mono" if channels == 1 else f"{channels} channels"


def _filter(rate: int, channels: int) -> Graph:
    graph = Graph()
    # PyAV's own AudioResampler would start a thread for each core, each time.
    graph.threads = 1
    # Packed, since PyAV crashes on planar frames of eight channels and more.
    source = graph.add("abuffer", sample_rate=str(rate), sample_fmt="flt", channel_layout=_layout(channels))
    fit = graph.add(
        "aformat", sample_rates=str(SAMPLE_RATE), sample_fmts="flt", channel_layouts=_layout(channels)
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
