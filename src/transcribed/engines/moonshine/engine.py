"""The embedded engine."""

from itertools import islice
from pathlib import Path

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import MediaReader
from transcribed.engines.moonshine.model import MoonshineModel, shipped_file
from transcribed.engines.moonshine.segment import MoonshineSegments
from transcribed.engines.moonshine.variants import VARIANTS
from transcribed.engines.segments.engine import SegmentEngine, measured
from transcribed.options import Capabilities
from transcribed.recognition.endpointing import EndpointingRules

_TRIAL_SECONDS = 6


def load(cache: Path, endpointing: EndpointingRules, model: str | None = None) -> SegmentEngine:
    """Load all networks of a model: a LocalEngine of US English, cased and punctuated. Blocks."""
    name = model or next(iter(VARIANTS))
    segments = MoonshineSegments(MoonshineModel.load(cache, name))
    capabilities = Capabilities("moonshine", ("en-US",), models=(name,), endpoint_silence=True)
    return measured(capabilities, segments, endpointing, _speech())


def _speech() -> Samples:
    """A reader's voice, which the model's package carries."""
    with shipped_file("beckett.wav").open("rb") as file, MediaReader(file) as media:
        blocks = list(islice(media.blocks(), 3 * _TRIAL_SECONDS))
    return np.concatenate(blocks)[: _TRIAL_SECONDS * SAMPLE_RATE]
