"""Converts float samples of any sample rate and number of channels to Samples."""

import errno
from collections.abc import Iterator, Sequence

import av
import numpy as np
from av.filter import Graph

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.mixing import Mixer, OffsetRemover


class Resampler:
    """Removes DC offset, mixes channels and resamples. The result does not depend on how the input is cut.

    Channels are mixed to one (see Mixer, also for `names` and `look_ahead`) and the output is [n], or with
    `split_channels` [channels, n].
    """

    def __init__(
        self,
        rate: int,
        channels: int,
        *,
        split_channels: bool = False,
        names: Sequence[str] = (),
        look_ahead: bool = False,
    ) -> None:
        self._rate = rate
        self._split_channels = split_channels
        self._output_channels = channels if split_channels else 1
        self._steps: list[Mixer | OffsetRemover] = [
            OffsetRemover(self._output_channels, rate, look_ahead=look_ahead)
        ]
        if channels > self._output_channels:
            self._steps.insert(0, Mixer(channels, rate, names, look_ahead=look_ahead))
        self._layout = "mono" if self._output_channels == 1 else f"{self._output_channels} channels"
        self._graph: Graph | None = None
        if rate != SAMPLE_RATE:
            self._graph = conversion_graph(rate, "flt", self._layout, SAMPLE_RATE)

    def push(self, samples: Samples) -> Samples:
        """The Samples that the input [channels, n] completes."""
        for step in self._steps:
            samples = step.push(samples)
        return self._resample(samples)

    def flush(self) -> Samples:
        """The rest of the Samples, at the end of the audio."""
        samples = self._steps[0].flush()
        for step in self._steps[1:]:
            samples = np.concatenate([step.push(samples), step.flush()], axis=1)
        ready = self._resample(samples)
        if self._graph is None:
            return ready
        rest = np.clip(self._run(self._graph, None), -1, 1)
        return np.concatenate([ready, rest if self._split_channels else rest[0]], axis=-1)

    def _resample(self, samples: Samples) -> Samples:
        if self._graph is None or samples.shape[1] == 0:
            ready = samples
        else:
            # Interleaved, since PyAV crashes on planar frames of eight channels and more.
            interleaved = np.ascontiguousarray(samples.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=self._layout)
            frame.sample_rate = self._rate
            ready = self._run(self._graph, frame)
        # The resampling filter may overshoot its input.
        ready = np.clip(ready, -1, 1)
        return ready if self._split_channels else ready[0]

    def _run(self, graph: Graph, frame: av.AudioFrame | None) -> Samples:
        graph.push(frame)
        parts = [out.to_ndarray().reshape(-1, self._output_channels).T for out in _output_frames(graph)]
        return np.concatenate([np.zeros((self._output_channels, 0), np.float32), *parts], axis=1)


def conversion_graph(rate: int, sample_format: str, layout: str, output_rate: int) -> Graph:
    """A graph that converts FFmpeg's frames to interleaved float samples at another rate (both in Hz)."""
    graph = Graph()
    # PyAV's own AudioResampler would start a thread for each core.
    graph.threads = 1
    source = graph.add("abuffer", sample_rate=str(rate), sample_fmt=sample_format, channel_layout=layout)
    target = graph.add("aformat", sample_rates=str(output_rate), sample_fmts="flt", channel_layouts=layout)
    graph.link_nodes(source, target, graph.add("abuffersink")).configure()
    return graph


def _output_frames(graph: Graph) -> Iterator[av.AudioFrame]:
    while True:
        try:
            frame = graph.pull()
        except EOFError:
            return
        except av.error.FFmpegError as error:
            if error.errno != errno.EAGAIN:
                raise
            return
        assert isinstance(frame, av.AudioFrame)  # noqa: S101 - the filter handles audio
        yield frame
