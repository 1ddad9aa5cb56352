"""Loads pulled models as engines."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from transcribed.engines.base import LocalEngine
from transcribed.errors import ConfigurationError, shown
from transcribed.models.catalogue import MOONSHINE_STREAMING, catalogue, did_you_mean
from transcribed.models.folder import ModelFolder
from transcribed.recognition.endpointing import EndpointingRules

_LOCALES = {
    "ar": "ar-SA",
    "de": "de-DE",
    "en": "en-US",
    "es": "es-ES",
    "ja": "ja-JP",
    "tl": "tl-PH",
    "vi": "vi-VN",
    "zh": "zh-CN",
}
_LIBRARY = "*moonshine.[sd][oyl]*"


def lacking(family: str) -> str | None:
    """Why models of a family of the catalogue cannot run on this machine; None if they can."""
    if family != MOONSHINE_STREAMING:
        return "this version has no engine for it"
    found = find_spec("moonshine_voice")
    folders = (found and found.submodule_search_locations) or ()
    if not any(any(Path(folder).glob(_LIBRARY)) for folder in folders):
        return "the library of the package moonshine-voice is not installed"
    return None


def load(models: Path, name: str, endpointing: EndpointingRules, own: Sequence[str]) -> LocalEngine:
    """Load a model from the folder of pulled models, and verify its files. Blocks.

    `own` are the names of the engine's own models, for the message if there is no such model. Raises
    ConfigurationError if the model was not pulled, is damaged or cannot run here, and StorageFailure if it
    cannot be read.
    """
    folder = ModelFolder(models)
    home, manifest = folder.find(name), folder.manifest(name)
    if home is None or manifest is None:
        raise ConfigurationError(_not_there(folder, name, own))
    if (lacks := lacking(manifest.family)) is not None:
        raise ConfigurationError(f"The model {name} cannot run here: {lacks}.")
    from transcribed.engines.moonshine_streaming import engine  # noqa: PLC0415 - only if it is used

    return engine.load(home, name, endpointing, _LOCALES.get(manifest.language, manifest.language))


def _not_there(folder: ModelFolder, name: str, own: Sequence[str]) -> str:
    models = catalogue().models
    if name in models:
        lacks = lacking(models[name].family)
        how = f"Run: transcribed models pull {name}" if lacks is None else f"It cannot run here: {lacks}."
        return f"The model {name} is not in {folder.path}. {how}"
    here = [*own, *folder.names()]
    return (
        f"There is no model {shown(name)}.{did_you_mean(name, [*here, *models])} The models here are "
        f"{', '.join(here)}; `transcribed models list` shows what can be pulled."
    )
