"""Engines by name, and their settings. Nothing else of an engine is imported before it is asked for.

Some compute in this process, and others are remote: only their streams are here.
"""

from collections.abc import Callable, Mapping

from transcribed.engines.amazon.options import AmazonOptions
from transcribed.engines.base import Engine, LocalEngine
from transcribed.engines.moonshine.options import MoonshineOptions
from transcribed.engines.moonshine.variants import VARIANTS
from transcribed.engines.segments.options import SegmentOptions
from transcribed.engines.testing.options import ScriptedOptions
from transcribed.errors import ConfigurationError


class EngineOptions(AmazonOptions, MoonshineOptions, SegmentOptions, ScriptedOptions):
    """What the engines can be told: each declares what is its own."""


def _moonshine(options: EngineOptions, model: str | None) -> LocalEngine:
    from transcribed.engines.moonshine import engine  # noqa: PLC0415 - see above

    return engine.load(options.cache, options.endpointing, model)


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
"""What loads an engine, with the model of a name or, for None, its first.

Blocking; each raises ConfigurationError for what cannot be loaded.
"""
REMOTE: Mapping[str, Callable[[EngineOptions, str | None], Engine]] = {"amazon": _amazon}
"""What makes an engine that sends its audio to a service elsewhere, with the model of a name or None.

Blocking; each raises ConfigurationError for what cannot be made.
"""
MODELS: Mapping[str, tuple[str, ...]] = {"moonshine": tuple(VARIANTS)}
"""The models of each engine that has several, or may have; the first is its default."""
