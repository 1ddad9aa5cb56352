"""The embedded engine."""

from pathlib import Path

from transcribed.engines.moonshine.model import MoonshineModel
from transcribed.engines.moonshine.segment import MoonshineSegments
from transcribed.engines.moonshine.shipped import shipped_speech
from transcribed.engines.moonshine.variants import VARIANTS
from transcribed.engines.segments.engine import SegmentEngine, measured_engine
from transcribed.options import Capabilities
from transcribed.recognition.endpointing import EndpointingRules


def load(cache: Path, endpointing: EndpointingRules, model: str | None = None) -> SegmentEngine:
    """Load a model, or the default for None. Blocks.

    The LocalEngine recognises US English, with case and punctuation. `cache` is a folder for graphs that
    are built at the first start. Raises ConfigurationError if the model is not installed.
    """
    name = model or next(iter(VARIANTS))
    segments = MoonshineSegments(MoonshineModel.load(cache, name))
    capabilities = Capabilities("moonshine", ("en-US",), models=(name,), endpoint_silence=True)
    return measured_engine(capabilities, segments, endpointing, shipped_speech("beckett.wav", seconds=6))
