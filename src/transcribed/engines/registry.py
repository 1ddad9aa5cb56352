"""The engines by name, and their settings.

Local engines compute in this process; remote engines send audio to a service. The modules of an engine are
imported when it is loaded, so that unused engines cost neither start-up time nor their dependencies.
"""

from collections.abc import Callable, Mapping

from transcribed.engines import pulled
from transcribed.engines.amazon.options import AmazonOptions
from transcribed.engines.base import Engine, LocalEngine
from transcribed.engines.moonshine.options import MoonshineOptions
from transcribed.engines.moonshine.variants import AUTO, NAMED
from transcribed.engines.segments.options import SegmentOptions
from transcribed.engines.testing.options import ScriptedOptions
from transcribed.errors import ConfigurationError
from transcribed.models.options import ModelOptions


class EngineOptions(AmazonOptions, MoonshineOptions, SegmentOptions, ScriptedOptions, ModelOptions):
    """The settings of all engines; each engine declares its own."""


def _moonshine(options: EngineOptions, model: str | None) -> LocalEngine:
    own = MODELS["moonshine"]
    if model is not None and model not in own:
        return pulled.load(options.models, model, options.endpointing, own)
    from transcribed.engines.moonshine import engine  # noqa: PLC0415 - see above

    return engine.load(options.cache, options.endpointing, model or AUTO)


def _scripted(options: EngineOptions, _: str | None) -> LocalEngine:
    from transcribed.engines.testing import scripted  # noqa: PLC0415 - see above

    if options.script is None:
        raise ConfigurationError("The scripted engine needs a script: --script FILE.")
    return scripted.load(options.script)


def _amazon(options: EngineOptions, _: str | None) -> Engine:
    from transcribed.engines.amazon import engine  # noqa: PLC0415 - see above

    return engine.load(options.for_amazon())


LOCAL: Mapping[str, Callable[[EngineOptions, str | None], LocalEngine]] = {
    "moonshine": _moonshine,
    "scripted": _scripted,
}
"""Functions that load a local engine with the named model, or with its default model for None.

They block, and raise ConfigurationError if the engine cannot be loaded.
"""
REMOTE: Mapping[str, Callable[[EngineOptions, str | None], Engine]] = {"amazon": _amazon}
"""The same for remote engines."""
MODELS: Mapping[str, tuple[str, ...]] = {"moonshine": (AUTO, *NAMED)}
"""The models of each engine that may have several. The first one is the default."""
PULLED_MODELS = frozenset({"moonshine"})
"""The engines that can also load models from the folder of pulled models."""
