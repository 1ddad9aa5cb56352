"""A LocalEngine for any SegmentModel."""

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Costs, Effort, StepKind
from transcribed.engines.segments.recogniser import FavouringModel, SegmentModel
from transcribed.engines.segments.stream import PartialRules, SegmentStream
from transcribed.engines.silero import SileroModel
from transcribed.options import Capabilities, StreamOptions
from transcribed.recognition.endpointing import EndpointingRules

_UNMEASURED = Costs(steady=0.02, partial=0.03)
_BUSY_INTERVAL = 0.7
"""Seconds between partials while costs are measured, as on a busy machine."""
_MOST_TRIALS = 16
"""The most streams with which costs are measured, also on a machine with more cores."""


@dataclass(frozen=True, slots=True)
class SegmentEngine:
    """A LocalEngine: voice activity detection finds the segments, the model recognises them."""

    capabilities: Capabilities
    model: SegmentModel
    silero: SileroModel
    endpointing: EndpointingRules
    partials: PartialRules = field(default_factory=PartialRules)
    costs: Costs = _UNMEASURED

    def open(self, options: StreamOptions) -> SegmentStream:
        """Open a new stream."""
        model = self.model
        if options.phrases and isinstance(model, FavouringModel):
            model = model.favouring(options.phrases)
        return SegmentStream(model, self.silero, options, self.endpointing, self.partials)


def measured_engine(
    capabilities: Capabilities,
    model: SegmentModel,
    endpointing: EndpointingRules,
    speech: Samples,
) -> SegmentEngine:
    """Return an engine whose costs are measured on some speech, which also warms up the model.

    The costs are those of a busy machine: as many streams as there are cores, at most 16, compute at the
    same time. Blocks for some seconds.
    """
    silero = SileroModel()
    partials = PartialRules(live_interval=_BUSY_INTERVAL)
    count = min(os.cpu_count() or 1, _MOST_TRIALS)
    # The first steps of a process are slower, and must not count.
    _tried(SegmentStream(model, silero, StreamOptions(), endpointing, partials), speech[: 2 * SAMPLE_RATE])
    with ThreadPoolExecutor(count) as threads:
        streams = [
            SegmentStream(model, silero, StreamOptions(), endpointing, partials) for _ in range(count)
        ]
        trials = list(threads.map(lambda stream: _tried(stream, speech), streams))
    return SegmentEngine(capabilities, model, silero, endpointing, costs=_mean(trials))


def _mean(trials: Sequence[Costs]) -> Costs:
    return Costs(
        fmean(trial.steady for trial in trials),
        fmean(trial.partial for trial in trials),
        fmean(trial.share for trial in trials),
    )


def _tried(stream: SegmentStream, speech: Samples) -> Costs:
    began, spent = time.perf_counter(), defaultdict[StepKind, list[float]](list)
    interval = round(_BUSY_INTERVAL * SAMPLE_RATE)
    for new in np.split(speech, range(interval, len(speech), interval)):
        stream.accept(new)
        _run(stream, spent)
    stream.finish()
    _run(stream, spent)
    taken, computed = time.perf_counter() - began, sum(map(sum, spent.values()))
    steady = sum(spent[StepKind.LISTEN]) + sum(spent[StepKind.FINAL])
    return Costs(
        steady=steady * SAMPLE_RATE / len(speech),
        partial=fmean(spent[StepKind.PARTIAL]),
        share=min(1.0, computed / taken),
    )


def _run(stream: SegmentStream, spent: defaultdict[StepKind, list[float]]) -> None:
    while (following := stream.next_step()) is not None and following.kind is not StepKind.AHEAD:
        started = time.thread_time()
        stream.step(Effort.REDUCED)
        spent[following.kind].append(time.thread_time() - started)
