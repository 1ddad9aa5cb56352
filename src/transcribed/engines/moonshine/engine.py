"""The embedded engine."""

import logging
from pathlib import Path

from transcribed.engines.base import LocalEngine
from transcribed.engines.moonshine.model import MoonshineModel
from transcribed.engines.moonshine.pair import PairedSegments, PairEngine
from transcribed.engines.moonshine.segment import MoonshineSegments
from transcribed.engines.moonshine.shipped import is_installed, shipped_speech
from transcribed.engines.moonshine.variants import AUTO, LARGE, NAMED, SMALL, Variant
from transcribed.engines.segments.engine import SegmentEngine, measured_engine
from transcribed.engines.segments.recogniser import SegmentModel
from transcribed.options import Capabilities
from transcribed.recognition.endpointing import EndpointingRules

_log = logging.getLogger(__name__)


def load(cache: Path, endpointing: EndpointingRules, model: str = AUTO) -> LocalEngine:
    """Load one of the models NAMED, or with AUTO the large and the small one together. Blocks.

    The engine recognises US English, with case and punctuation. `cache` is a folder for graphs that are
    built at the first start. Where the large model is not installed, AUTO is the small model alone. Raises
    ConfigurationError if a model is not installed.
    """
    # This speech begins without a pause, so its partials cost as much as those of a minute of read speech.
    speech = shipped_speech("two_cities.wav", seconds=3)

    def measured(segments: SegmentModel, *variants: Variant) -> SegmentEngine:
        names = tuple(variant.name for variant in variants)
        capabilities = Capabilities(
            "moonshine", ("en-US",), models=names, endpoint_silence=True, phrases=True
        )
        return measured_engine(capabilities, segments, endpointing, speech)

    if model != AUTO:
        return measured(MoonshineSegments(MoonshineModel.load(cache, NAMED[model])), NAMED[model])
    small = MoonshineSegments(MoonshineModel.load(cache, SMALL))
    reduced = measured(small, SMALL)
    if not is_installed(LARGE.package):
        _log.info("The model %s is not available for this platform: %s is used.", LARGE.name, SMALL.name)
        return reduced
    large = MoonshineSegments(MoonshineModel.load(cache, LARGE))
    return PairEngine(measured(PairedSegments(large, small), LARGE, SMALL), reduced)
