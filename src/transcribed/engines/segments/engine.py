"""A LocalEngine for any SegmentModel."""

import time
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Costs, Effort, StepKind
from transcribed.engines.segments.recogniser import SegmentModel
from transcribed.engines.segments.stream import PartialRules, SegmentStream
from transcribed.engines.silero import SileroModel
from transcribed.options import Capabilities, StreamOptions
from transcribed.recognition.endpointing import EndpointingRules

_UNMEASURED = Costs(steady=0.02, partial=0.03)


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
        return SegmentStream(self.model, self.silero, options, self.endpointing, self.partials)


def measured_engine(
    capabilities: Capabilities, model: SegmentModel, endpointing: EndpointingRules, speech: Samples
) -> SegmentEngine:
    """Return an engine whose costs are measured on some speech, which also warms up the model."""
    silero = SileroModel()
    once_a_second = PartialRules(live_interval=1.0)
    trial = SegmentStream(model, silero, StreamOptions(), endpointing, once_a_second)
    return SegmentEngine(capabilities, model, silero, endpointing, costs=_costs_of(trial, speech))


def _costs_of(stream: SegmentStream, speech: Samples) -> Costs:
    spent: defaultdict[StepKind, list[float]] = defaultdict(list)
    for second in np.split(speech, range(SAMPLE_RATE, len(speech), SAMPLE_RATE)):
        stream.accept(second)
        _run(stream, spent)
    stream.finish()
    _run(stream, spent)
    seconds = len(speech) / SAMPLE_RATE
    steady = sum(spent[StepKind.LISTEN]) + sum(spent[StepKind.FINAL])
    return Costs(steady=steady / seconds, partial=float(np.mean(spent[StepKind.PARTIAL])))


def _run(stream: SegmentStream, spent: defaultdict[StepKind, list[float]]) -> None:
    while (following := stream.next_step()) is not None and following.kind is not StepKind.AHEAD:
        started = time.thread_time()
        stream.step(Effort.REDUCED)
        spent[following.kind].append(time.thread_time() - started)
