"""A LocalEngine for any SegmentModel."""

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Self

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Costs, Effort, StepKind
from transcribed.engines.segments.recogniser import FavouringModel, SegmentModel
from transcribed.engines.segments.stream import PartialRules, SegmentStream
from transcribed.engines.silero import SileroModel
from transcribed.options import Capabilities, StreamOptions
from transcribed.recognition.endpointing import EndpointingRules

_LONG_FINALS = 1.35
"""The cost of a final for each second of a segment of usual length, about 7 s, relative to the cost of the
shorter one that is measured: each token and frame attends to all of the segment."""
_UNMEASURED = Costs(steady=0.02, partial=0.03)
_BUSY_INTERVAL = 0.7
"""Seconds between partials while costs are measured, as on a busy machine."""
_WARMING_SECONDS = 2
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
    speech: Samples | None = field(default=None, repr=False, compare=False)
    """Some seconds of speech to measure the costs with; None if they are not measured."""
    costs: Costs = _UNMEASURED

    def measured(self) -> Self:
        """Return the engine with the costs that some speech has here, which also warms up the model.

        They are those of a busy machine: as many streams as there are cores, at most 16, compute at the
        same time. Blocks for less than a second.
        """
        if (speech := self.speech) is None:
            return self

        def stream() -> SegmentStream:
            rules = PartialRules(live_interval=_BUSY_INTERVAL)
            return SegmentStream(self.model, self.silero, StreamOptions(), self.endpointing, rules)

        # The first steps of a process are slower, and must not count.
        _tried(stream(), speech[: _WARMING_SECONDS * SAMPLE_RATE])
        count = min(os.cpu_count() or 1, _MOST_TRIALS)
        with ThreadPoolExecutor(count) as threads:
            trials = list(threads.map(lambda each: _tried(each, speech), [stream() for _ in range(count)]))
        return replace(self, costs=_mean(trials))

    def open(self, options: StreamOptions) -> SegmentStream:
        """Open a new stream."""
        model = self.model
        if options.phrases and isinstance(model, FavouringModel):
            model = model.favouring(options.phrases)
        return SegmentStream(model, self.silero, options, self.endpointing, self.partials)


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
    steady = sum(spent[StepKind.LISTEN]) + _LONG_FINALS * sum(spent[StepKind.FINAL])
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
