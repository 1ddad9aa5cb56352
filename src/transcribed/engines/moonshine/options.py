"""The settings of the Moonshine engine."""

import tempfile
from pathlib import Path

import platformdirs
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _default_cache() -> Path:
    try:
        return platformdirs.user_cache_path("transcribed")
    except RuntimeError:  # The user has no home folder, as in many containers.
        return Path(tempfile.gettempdir()) / "transcribed"


class MoonshineOptions(BaseSettings):
    """The settings of the Moonshine engine."""

    model_config = SettingsConfigDict(env_prefix="TRANSCRIBED_")

    cache: Path = Field(
        default_factory=_default_cache,
        description="A folder for files that are computed once, at the first start.",
    )
