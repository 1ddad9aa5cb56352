"""Amazon's settings for the tests of its engine."""

from pathlib import Path

import pytest
from amazon_environment import without_amazon


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment in which nobody has an account."""
    without_amazon(monkeypatch, tmp_path)
    return monkeypatch
