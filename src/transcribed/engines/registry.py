"""Engines by name. Nothing of an engine is imported before it is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from transcribed.engines.base import LocalEngine
from transcribed.errors import ConfigurationError
from transcribed.recognition.endpointing import EndpointingRules


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the engines can be told."""

    cache: Path
    """A folder for what is computed once."""
    endpointing: EndpointingRules = field(default_factory=EndpointingRules)
    script: Path | None = None
    """What the scripted engine says."""


def _moonshine(settings: EngineSettings) -> LocalEngine:
    from transcribed.engines.moonshine import engine  # noqa: PLC0415 - see above

    return engine.load(settings.cache, settings.endpointing)


def _scripted(settings: EngineSettings) -> LocalEngine:
    from transcribed.engines import scripted  # noqa: PLC0415 - see above

    if settings.script is None:
        raise ConfigurationError("The scripted engine needs a script: --script FILE.")
    return scripted.load(settings.script)


ENGINES: Mapping[str, Callable[[EngineSettings], LocalEngine]] = {
    "moonshine": _moonshine,
    "scripted": _scripted,
}


def load_engine(name: str, settings: EngineSettings) -> LocalEngine:
    """Load an engine. Blocking; raises ConfigurationError for what cannot be loaded."""
    return ENGINES[name](settings)
