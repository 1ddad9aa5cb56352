"""Amazon's settings, of which there are none but a test's own."""

import os
from pathlib import Path

import pytest


def without_amazon(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """No variables, no machine's role; files are `config` and `credentials` in the folder."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
