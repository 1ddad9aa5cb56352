"""The LocalEngine for Moonshine's streaming models."""

import logging
import os
import subprocess
import sys
from pathlib import Path

from transcribed.engines.moonshine_streaming import trial
from transcribed.engines.moonshine_streaming.files import architecture_of, readable_folder
from transcribed.engines.moonshine_streaming.library import (
    TOKENS_PER_SECOND,
    Architecture,
    Transcriber,
    package_speech,
)
from transcribed.engines.moonshine_streaming.segment import LibrarySegments
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.engines.silero import SileroModel
from transcribed.errors import ConfigurationError
from transcribed.options import Capabilities
from transcribed.recognition.endpointing import EndpointingRules

_MOST_TRANSCRIBERS = 4
"""The most copies of a model, each of which takes memory of its own."""
_TRIAL_SECONDS = 120
_MANY_TOKENS = {"ar", "ja", "ko", "uk", "vi", "zh"}
"""Languages whose words have more tokens."""
_TOKENS_PER_SECOND = 13
"""Twice the vendor's limit for other languages."""
_UNSPACED = {"ja", "zh"}
"""Languages written without spaces: the library returns a segment as one word."""

_log = logging.getLogger(__name__)


def load(folder: Path, name: str, endpointing: EndpointingRules, language: str) -> SegmentEngine:
    """Load a model of the vendor's from its folder. Blocks.

    `name` is the model's name in the vendor's catalogue, such as `small-streaming-en`, and `language` the
    language that it recognises, such as `en-US`. The model is loaded once for each core, at most four
    times. Raises ConfigurationError if files are missing or damaged, or the vendor's library is not
    installed.
    """
    architecture = architecture_of(folder, name)
    with readable_folder(folder, name) as readable:
        _try(readable, folder, name, architecture)
        count = min(os.cpu_count() or 1, _MOST_TRANSCRIBERS)
        spoken = language.partition("-")[0]
        tokens = _TOKENS_PER_SECOND if spoken in _MANY_TOKENS else TOKENS_PER_SECOND
        transcribers = [Transcriber(readable, architecture, tokens) for _ in range(count)]
    segments = LibrarySegments(name, transcribers, spaced=spoken not in _UNSPACED)
    capabilities = Capabilities(
        "moonshine", (language,), models=(name,), endpoint_silence=True, speech_threshold=True
    )
    speech = package_speech(seconds=6)
    return SegmentEngine(capabilities, segments, SileroModel(), endpointing, speech=speech)


def _try(readable: Path, folder: Path, name: str, architecture: Architecture) -> None:
    """Load the model in another process first, since a damaged model may crash its process."""
    command = [sys.executable, "-m", trial.__name__, str(readable), str(int(architecture))]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=_TRIAL_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        outcome, said = "it hangs", b""
    else:
        if tried.returncode == 0:
            return
        ended = tried.returncode < 0
        outcome, said = "the library crashes" if ended else "the library refuses it", tried.stderr
    if said:
        _log.error("The vendor's library about %s: %s", name, said.decode(errors="replace").strip())
    raise ConfigurationError(
        f"The model {name} in {folder} is damaged: {outcome}. "
        f"Remove it and run: transcribed models pull {name}"
    )
