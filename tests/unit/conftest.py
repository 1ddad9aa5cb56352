"""What the tests of single rooms share."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("transcribed", deadline=None, derandomize=True)
settings.load_profile("transcribed")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def data() -> Path:
    """The recordings described in tests/data/README.md."""
    return Path(__file__).parents[1] / "data"
