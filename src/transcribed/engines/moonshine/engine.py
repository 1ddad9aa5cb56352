"""The embedded engine."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from transcribed.engines.moonshine.model import MoonshineModel
from transcribed.engines.moonshine.pair import PairedSegments, PairEngine
from transcribed.engines.moonshine.segment import MoonshineSegments
from transcribed.engines.moonshine.shipped import is_installed, shipped_speech
from transcribed.engines.moonshine.variants import AUTO, LARGE, NAMED, SMALL, Variant
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.engines.segments.recogniser import SegmentModel
from transcribed.engines.silero import SileroModel
from transcribed.options import Capabilities
from transcribed.recognition.endpointing import EndpointingRules

_log = logging.getLogger(__name__)


def load(cache: Path, endpointing: EndpointingRules, model: str = AUTO) -> SegmentEngine | PairEngine:
    """Load one of the models NAMED, or with AUTO the large and the small one together. Blocks.

    The engine recognises US English, with case and punctuation. `cache` is a folder for graphs that are
    built at the first start. Where the large model is not installed, AUTO is the small model alone. Raises
    ConfigurationError if a model is not installed.
    """
    # This speech begins without a pause, so its partials cost as much as those of a minute of read speech.
    speech = shipped_speech("two_cities.wav", seconds=3)
    silero = SileroModel()

    def loaded(variant: Variant) -> MoonshineSegments:
        return MoonshineSegments.of(MoonshineModel.load(cache, variant))

    def engine(segments: SegmentModel, *variants: Variant) -> SegmentEngine:
        names = tuple(variant.name for variant in variants)
        capabilities = Capabilities(
            "moonshine",
            ("en-US",),
            models=names,
            endpoint_silence=True,
            speech_threshold=True,
            phrases=True,
        )
        return SegmentEngine(capabilities, segments, silero, endpointing, speech=speech)

    if model != AUTO:
        return engine(loaded(NAMED[model]), NAMED[model])
    if not is_installed(LARGE.package):
        _log.info("The model %s is not available for this platform: %s is used.", LARGE.name, SMALL.name)
        return engine(loaded(SMALL), SMALL)
    # Reading the files and preparing the networks release the interpreter lock.
    with ThreadPoolExecutor(2) as threads:
        large, small = threads.map(loaded, (LARGE, SMALL))
    return PairEngine(engine(PairedSegments(large, small), LARGE, SMALL), engine(small, SMALL))
