"""Files of the installed package that carries a model: its graphs, and recordings of speech."""

from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import BLOCK_SECONDS, MediaReader
from transcribed.errors import ConfigurationError


def shipped_file(name: str, package: str = "moonshine_voice") -> Path:
    """Return the path of an asset of the package. Raises ConfigurationError if it is not installed."""
    # The package is not imported, since it would load a runtime of its own.
    found = find_spec(package)
    for folder in (found and found.submodule_search_locations) or ():
        return Path(folder) / "assets" / name
    raise ConfigurationError(
        "The embedded engine's model is not installed. Run: pip install moonshine-voice==0.0.73"
    )


def shipped_speech(name: str, seconds: int) -> Samples:
    """Return the first seconds of a recording in the package."""
    with shipped_file(name).open("rb") as file, MediaReader(file) as media:
        blocks = list(islice(media.blocks(), round(seconds / BLOCK_SECONDS)))
    return np.concatenate(blocks)[: seconds * SAMPLE_RATE]
