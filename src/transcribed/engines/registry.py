"""Engines by name. Nothing of an engine is imported before it is asked for.

Some compute in this process, and others are remote: only their streams are here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.engines.base import Engine, LocalEngine
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
    amazon: AmazonSettings = field(default_factory=AmazonSettings)


def _moonshine(settings: EngineSettings) -> LocalEngine:
    from transcribed.engines.moonshine import engine  # noqa: PLC0415 - see above

    return engine.load(settings.cache, settings.endpointing)


def _scripted(settings: EngineSettings) -> LocalEngine:
    from transcribed.engines.testing import scripted  # noqa: PLC0415 - see above

    if settings.script is None:
        raise ConfigurationError("The scripted engine needs a script: --script FILE.")
    return scripted.load(settings.script)


def _amazon(settings: EngineSettings) -> Engine:
    from transcribed.engines.amazon import engine  # noqa: PLC0415 - see above

    return engine.load(settings.amazon)


LOCAL: Mapping[str, Callable[[EngineSettings], LocalEngine]] = {
    "moonshine": _moonshine,
    "scripted": _scripted,
}
"""What loads an engine. Blocking; each raises ConfigurationError for what cannot be loaded."""
REMOTE: Mapping[str, Callable[[EngineSettings], Engine]] = {"amazon": _amazon}
"""As LOCAL."""
