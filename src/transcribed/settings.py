"""Every setting, from the command line, the environment (TRANSCRIBED_…) or its default, in this order."""

import tempfile
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from transcribed.engines.registry import EngineSettings
from transcribed.recognition.endpointing import EndpointingRules

EngineName = Literal["moonshine", "scripted"]
LogLevel = Literal["debug", "info", "warning", "error"]


def _default_cache() -> Path:
    try:
        return platformdirs.user_cache_path("transcribed")
    except RuntimeError:  # A user without a home folder, as in many containers.
        return Path(tempfile.gettempdir()) / "transcribed"


class RecognitionSettings(BaseSettings):
    """What every command that recognises speech can be told."""

    model_config = SettingsConfigDict(env_prefix="TRANSCRIBED_")

    engine: EngineName = Field("moonshine", description="What recognises speech.")
    script: Path | None = Field(None, description="What the scripted engine says: a JSON file.")
    threads: int = Field(
        0, ge=0, le=256, description="Threads that recognise speech; 0 means one for each core."
    )
    endpoint_silence: float = Field(0.6, ge=0.2, le=5, description="Seconds of silence that end a segment.")
    longest_segment: float = Field(
        15.0, ge=5, le=30, description="Seconds after which a segment is cut even without silence."
    )
    cache: Path = Field(
        default_factory=_default_cache,
        description="A folder for what is computed once, at the first start.",
    )

    def for_engines(self) -> EngineSettings:
        """The part that engines are told."""
        return EngineSettings(
            cache=self.cache,
            endpointing=EndpointingRules(silence=self.endpoint_silence, longest=self.longest_segment),
            script=self.script,
        )


class ServerSettings(RecognitionSettings):
    """What the server can be told."""

    host: str = Field("127.0.0.1", description="The address to listen on; 0.0.0.0 means all.")
    port: int = Field(3000, ge=1, le=65535, description="The port to listen on.")
    audio: str = Field("audio", description="Where recordings are kept: a folder, or s3://BUCKET/PREFIX.")
    transcripts: str = Field(
        "transcripts.db",
        description="Where transcripts are kept: a file, postgresql://…, or none.",
    )
    keep_days: int = Field(
        0, ge=0, le=36500, description="Days after which transcripts are deleted; 0 keeps them for ever."
    )
    max_sessions: int = Field(
        0,
        ge=0,
        description="The most live streams at once; 0 means as many as this machine can serve well.",
    )
    max_upload_bytes: int = Field(1024**3, ge=1, description="The largest recording, in bytes.")
    audio_timeout: float = Field(
        15.0, ge=1, le=3600, description="Seconds without audio after which a live stream ends."
    )
    stop_grace: float = Field(
        5.0, ge=0, le=600, description="Seconds that running streams have for their last words at the stop."
    )
    log_level: LogLevel = Field("info", description="What is logged, from this level on.")
