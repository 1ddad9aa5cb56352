"""The embedded engine, loaded once."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from transcribed.audio.formats import Samples
from transcribed.audio.media import MediaReader
from transcribed.engines.moonshine import engine
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.recognition.endpointing import EndpointingRules


@pytest.fixture(scope="session")
def moonshine(environment: dict[str, str]) -> SegmentEngine:
    return engine.load(Path(environment["TRANSCRIBED_CACHE"]), EndpointingRules(), "tiny")


@pytest.fixture(scope="session")
def samples(data: Path) -> Callable[[str], Samples]:
    """The audio of a recording in tests/data."""

    def read(name: str) -> Samples:
        with MediaReader(io.BytesIO((data / name).read_bytes())) as media:
            return np.concatenate(list(media.blocks()))

    return read
