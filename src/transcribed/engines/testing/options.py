"""The settings of the scripted engine."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ScriptedOptions(BaseSettings):
    """The settings of the scripted engine."""

    model_config = SettingsConfigDict(env_prefix="TRANSCRIBED_")

    script: Path | None = Field(None, description="The script of the scripted engine: a JSON file.")
