"""What whoever starts the engine can tell it, as settings."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ScriptedOptions(BaseSettings):
    """Its script."""

    model_config = SettingsConfigDict(env_prefix="TRANSCRIBED_")

    script: Path | None = Field(None, description="What the scripted engine says: a JSON file.")
