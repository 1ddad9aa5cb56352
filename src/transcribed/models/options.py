"""The setting that all commands with models have."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from transcribed.storage.user_folders import in_data_folder


class ModelOptions(BaseSettings):
    """Where pulled models are."""

    model_config = SettingsConfigDict(env_prefix="TRANSCRIBED_")

    models: Path = Field(
        default_factory=lambda: in_data_folder("models"),
        description="The folder of models that `transcribed models pull` fetches.",
    )
