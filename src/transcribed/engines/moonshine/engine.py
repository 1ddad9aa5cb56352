"""The embedded engine."""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import MediaReader
from transcribed.engines.base import Capabilities, Costs, StepKind, StreamOptions
from transcribed.engines.moonshine.model import MoonshineModel, shipped_file
from transcribed.engines.moonshine.stream import MoonshineStream, PartialRules
from transcribed.engines.silero import SileroModel
from transcribed.recognition.endpointing import EndpointingRules

_TRIAL_SECONDS = 6
_UNMEASURED = Costs(steady=0.02, partial=0.03)


@dataclass(frozen=True, slots=True)
class MoonshineEngine:
    """A LocalEngine: English, cased and punctuated."""

    model: MoonshineModel
    silero: SileroModel
    endpointing: EndpointingRules
    partials: PartialRules = field(default_factory=PartialRules)
    costs: Costs = _UNMEASURED

    @property
    def capabilities(self) -> Capabilities:
        """US English and nothing else."""
        return Capabilities(name="moonshine", languages=("en-US",))

    def open(self, options: StreamOptions) -> MoonshineStream:
        """A new stream."""
        return MoonshineStream(self.model, self.silero, options, self.endpointing, self.partials)


def load(cache: Path, endpointing: EndpointingRules) -> MoonshineEngine:
    """Load all networks and measure them on a little speech, so that no stream meets a slow first call."""
    model, silero = MoonshineModel.load(cache), SileroModel()
    once_a_second = PartialRules(live_interval=1.0)
    trial = MoonshineStream(model, silero, StreamOptions(), endpointing, once_a_second)
    return MoonshineEngine(model, silero, endpointing, costs=_costs_of(trial, _speech()))


def _costs_of(stream: MoonshineStream, speech: Samples) -> Costs:
    spent: defaultdict[StepKind, list[float]] = defaultdict(list)
    for second in np.split(speech, range(SAMPLE_RATE, len(speech), SAMPLE_RATE)):
        stream.accept(second)
        _run(stream, spent)
    stream.finish()
    _run(stream, spent)
    seconds = len(speech) / SAMPLE_RATE
    steady = sum(spent[StepKind.LISTEN]) + sum(spent[StepKind.FINAL])
    return Costs(steady=steady / seconds, partial=float(np.mean(spent[StepKind.PARTIAL])))


def _run(stream: MoonshineStream, spent: defaultdict[StepKind, list[float]]) -> None:
    while (following := stream.next_step()) is not None and following.kind is not StepKind.AHEAD:
        started = time.thread_time()
        stream.step(alone=False)
        spent[following.kind].append(time.thread_time() - started)


def _speech() -> Samples:
    """A reader's voice, which the model's package carries."""
    with shipped_file("beckett.wav").open("rb") as file, MediaReader(file) as media:
        blocks = list(islice(media.blocks(), 3 * _TRIAL_SECONDS))
    return np.concatenate(blocks)[: _TRIAL_SECONDS * SAMPLE_RATE]
