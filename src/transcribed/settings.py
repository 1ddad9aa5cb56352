"""Every setting, from the command line, the environment (TRANSCRIBED_…) or its default, in this order."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import platformdirs
from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.engines.registry import LOCAL, MODELS, REMOTE, EngineOptions
from transcribed.http.origins import Hosts, Origins
from transcribed.http.proxies import Proxies
from transcribed.logs import LogFormat

if TYPE_CHECKING:
    EngineName: TypeAlias = str
    FallbackName: TypeAlias = str
    ModelName: TypeAlias = str
else:
    EngineName = Literal[(*LOCAL, *REMOTE)]
    FallbackName = Literal[("none", *LOCAL)]
    ModelName = Literal[("default", *dict.fromkeys(name for models in MODELS.values() for name in models))]
LogLevel = Literal["debug", "info", "warning", "error"]

NO_TRANSCRIPTS = "none"
"""In place of where they are kept."""


def _in_data_folder(name: str) -> Path:
    try:
        return platformdirs.user_data_path("transcribed") / name
    except RuntimeError:  # No home folder. In a folder for all, somebody else could be there first.
        return Path(name)


class _EngineSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="TRANSCRIBED_")

    engine: EngineName = Field("moonshine", description="What recognises speech.")
    model: ModelName = Field("default", description="Which of the engine's models.")
    fallback: FallbackName = Field(
        "none", description="The engine that takes over where a remote one, such as amazon, fails."
    )
    threads: int = Field(
        0, ge=0, le=256, description="Threads that recognise speech; 0 means one for each core."
    )

    @field_validator("model")
    @classmethod
    def _is_one_of_the_engines(cls, model: str, info: ValidationInfo) -> str:
        engine = info.data.get("engine", "")
        models = MODELS.get(engine, ())
        if model != "default" and model not in models:
            raise ValueError(
                f"the models of the engine {engine} are {', '.join(models) or 'its own affair'}"
            )
        return model


class RecognitionSettings(EngineOptions, _EngineSettings):
    """What every command that recognises speech can be told."""

    def model_of(self, engine: str) -> str | None:
        """The model that an engine is to load; None is its own choice."""
        return self.model if engine == self.engine and self.model != "default" else None


class ServerSettings(RecognitionSettings):
    """What the server can be told."""

    also: str = Field(
        "", description="More engines that a stream may ask for by ?engine=, separated by commas."
    )
    host: str = Field("127.0.0.1", description="The address to listen on; 0.0.0.0 means all.")
    port: int = Field(3000, ge=1, le=65535, description="The port to listen on.")
    tls: bool = Field(False, description="Serve with TLS too, on a port of its own.")
    tls_port: int = Field(8443, ge=1, le=65535, description="The port with TLS.")
    tls_names: str = Field(
        "", description="More host names and addresses for the certificate, separated by commas."
    )
    tls_certificate: Path | None = Field(
        None, description="A certificate of your own with its chain, PEM, in place of a local authority's."
    )
    tls_key: Path | None = Field(None, description="The key of your own certificate, PEM.")
    certificates: Path = Field(
        default_factory=lambda: _in_data_folder("certificates"),
        description="A folder for the local certificate authority, made when it is first needed.",
    )
    access_keys: Path | None = Field(
        None, description="A file of access keys, a line each: ID SECRET [ROLE [OWNER]]."
    )
    keys_key: Path = Field(
        default_factory=lambda: _in_data_folder("keys-key"),
        description="The file of the key that seals the secrets of access keys in the database.",
    )
    no_auth: bool = Field(False, description="Let everybody do everything, without access keys.")
    allow_host: str = Field(
        "", description="More host names under which clients ask for this server, separated by commas."
    )
    allow_origin: str = Field(
        "", description="Origins whose web pages may use this server, separated by commas; * is all."
    )
    proxies: str = Field(
        "", description="Addresses and networks of proxies that are believed, separated by commas."
    )
    audio: str = Field("audio", description="Where recordings are kept: a folder, or s3://BUCKET/PREFIX.")
    transcripts: str = Field(
        "transcripts.db",
        description="Where transcripts are kept: a file, postgresql://…, or none.",
    )
    keep_days: int = Field(
        0, ge=0, le=36500, description="Days after which transcripts are deleted; 0 keeps them for ever."
    )
    vocabulary_filters: Path = Field(
        Path("vocabulary-filters"), description="A folder for the lists of words that are to be filtered."
    )
    max_sessions: int = Field(
        0,
        ge=0,
        description="The most live streams at once; 0 means as many as this machine can serve well.",
    )
    client_share: float = Field(
        0.9,
        ge=0.01,
        le=1,
        description="The part of live streams and connections that one address may have; 1 is all.",
        json_schema_extra={"metavar": "PART"},
    )
    key_streams: int = Field(
        0, ge=0, description="Streams that one key may have at once, if it says no other; 0 is no limit."
    )
    key_seconds_a_day: float = Field(
        0.0, ge=0, description="Seconds of audio a day for one key, if it says no other; 0 is no limit."
    )
    failed_sign_ins: int = Field(
        10, ge=0, description="Sign-ins of one address that may fail within a minute; 0 is no limit."
    )
    max_upload_bytes: int = Field(1024**3, ge=1, description="The largest recording, in bytes.")
    audio_timeout: float = Field(
        15.0, ge=1, le=3600, description="Seconds without audio after which a live stream ends."
    )
    ping_interval: float = Field(
        20.0,
        ge=0,
        le=3600,
        description="Seconds after which a WebSocket's client that is told nothing is pinged; 0 is never.",
        json_schema_extra={"metavar": "SECONDS"},
    )
    longest_stream: float = Field(
        14400.0, ge=1, description="Seconds that a stream of an Amazon client may last."
    )
    strict_end: bool = Field(
        False, description="Refuse, as Amazon does, the end of a request without an empty frame before it."
    )
    stop_grace: float = Field(
        5.0, ge=0, le=600, description="Seconds that running streams have for their last words at the stop."
    )
    log_level: LogLevel = Field("info", description="What is logged, from this level on.")
    log_format: LogFormat = Field(
        "text", description="How it is written: lines for people, or a JSON object a line."
    )
    otel: bool = Field(False, description="Send traces and metrics by OpenTelemetry, as OTEL_… say.")

    @field_validator("also")
    @classmethod
    def _known(cls, names: str) -> str:
        unknown = set(listed(names)) - set(get_args(EngineName))
        if unknown:
            raise ValueError(f"the engines are {', '.join(get_args(EngineName))}")
        return names

    @field_validator("allow_host")
    @classmethod
    def _are_hosts(cls, names: str) -> str:
        Hosts.of(listed(names))
        return names

    @field_validator("allow_origin")
    @classmethod
    def _are_origins(cls, origins: str) -> str:
        Origins.of(listed(origins))
        return origins

    @field_validator("proxies")
    @classmethod
    def _are_networks(cls, networks: str) -> str:
        Proxies.of(listed(networks))
        return networks

    @property
    def more_engines(self) -> list[str]:
        """Those beside the one that is meant where none is named."""
        return listed(self.also)

    def for_amazon(self) -> AmazonSettings:
        """The part that the engine is told: also where this server itself is."""
        hosts = {"localhost", "127.0.0.1", "[::1]", self.host, self._reached}
        ports = {self.port, self.tls_port} if self.tls else {self.port}
        own = frozenset(f"{host}:{port}".lower() for host in hosts for port in ports)
        return replace(super().for_amazon(), own_addresses=own)

    @property
    def address(self) -> str:
        """The server's address, as seen from this machine."""
        return f"http://{self._reached}:{self.port}"

    @property
    def tls_address(self) -> str:
        """The server's address with TLS."""
        return f"https://{self._reached}:{self.tls_port}"

    @property
    def _reached(self) -> str:
        if self.host in {"127.0.0.1", "0.0.0.0", "::1", "::"}:  # noqa: S104
            return "localhost"
        return f"[{self.host}]" if ":" in self.host else self.host


def listed(names: str) -> list[str]:
    """What stands between commas."""
    return [name for name in map(str.strip, names.split(",")) if name]
