"""All settings. A value comes from the command line, the environment (TRANSCRIBED_…) or its default."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.engines.registry import LOCAL, MODELS, PULLED_MODELS, REMOTE, EngineOptions
from transcribed.http.origins import Hosts, Origins
from transcribed.http.proxies import Proxies
from transcribed.logs import LogFormat
from transcribed.models.addresses import valid_mirror
from transcribed.models.catalogue import is_name
from transcribed.models.options import ModelOptions
from transcribed.storage.user_folders import in_data_folder

if TYPE_CHECKING:
    EngineName: TypeAlias = str
    FallbackName: TypeAlias = str
else:
    EngineName = Literal[(*LOCAL, *REMOTE)]
    FallbackName = Literal[("none", *LOCAL)]
LogLevel = Literal["debug", "info", "warning", "error"]

DEFAULT_MODEL = "auto"
"""The value of `model` for the default model of any engine."""
_EARLIER_NAMES = {"default": DEFAULT_MODEL, "tiny-en": "tiny", "base-en": "base"}
"""Other accepted names of models: those of earlier versions, and those in results."""

NO_TRANSCRIPTS = "none"
"""The value of `transcripts` that keeps none."""


class ModelsSettings(ModelOptions):
    """The settings of `transcribed models`."""

    models_mirror: str = Field(
        "",
        description="The address of a mirror that models are fetched from.",
        json_schema_extra={"metavar": "URL"},
    )

    @field_validator("models_mirror")
    @classmethod
    def _is_a_mirror(cls, address: str) -> str:
        return valid_mirror(address)


class JobsSettings(BaseSettings):
    """The settings of `transcribed jobs`, which is a client of a running server."""

    model_config = SettingsConfigDict(env_prefix="TRANSCRIBED_")

    server: str = Field(
        "http://localhost:3000",
        description="The address of the server.",
        json_schema_extra={"metavar": "URL"},
    )
    secret_file: Path | None = Field(
        None,
        description="A file with the secret of an access key, or a token. The variable TRANSCRIBED_SECRET "
        "can hold it too.",
    )
    secret: SecretStr = Field(
        SecretStr(""), description="The secret of an access key, or a token; only in the environment."
    )

    @field_validator("server")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        if not address.startswith(("http://", "https://")):
            raise ValueError("write http://HOST:PORT or https://HOST:PORT")
        return address.rstrip("/")


class _EngineSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="TRANSCRIBED_")

    engine: EngineName = Field("moonshine", description="The engine that recognises speech.")
    model: str = Field(
        DEFAULT_MODEL,
        description="A model of the engine, or a pulled one; auto is the best one that there is room for.",
        json_schema_extra={"metavar": "NAME"},
    )
    fallback: FallbackName = Field(
        "none", description="The engine that takes over when a remote one, such as amazon, fails."
    )
    step_down: bool = Field(
        True,
        description="Serve new live streams with a smaller model, rather than refuse them, when there is "
        "no room for the larger one.",
    )
    vocabulary: Path | None = Field(
        None, description="A file of phrases that all streams favour, one on each line."
    )
    threads: int = Field(
        0, ge=0, le=256, description="Threads that recognise speech; 0 means one for each core."
    )

    @field_validator("model", mode="before")
    @classmethod
    def _by_its_name(cls, model: object) -> object:
        return _EARLIER_NAMES.get(model, model) if isinstance(model, str) else model

    @field_validator("model")
    @classmethod
    def _is_one_of_the_engines(cls, model: str, info: ValidationInfo) -> str:
        engine = info.data.get("engine", "")
        own = MODELS.get(engine, (DEFAULT_MODEL,))
        # The folder of pulled models is searched only when a model is loaded.
        if model not in own and not (engine in PULLED_MODELS and is_name(model)):
            pulled = ", and pulled ones: see `transcribed models list`" * (engine in PULLED_MODELS)
            raise ValueError(f"the models of the engine {engine} are: {', '.join(own)}{pulled}")
        return model


class RecognitionSettings(EngineOptions, _EngineSettings):
    """The settings of every command that recognises speech."""

    def model_of(self, engine: str) -> str | None:
        """The model that an engine shall load; None means its default."""
        return self.model if engine == self.engine and self.model != DEFAULT_MODEL else None


class ServerSettings(RecognitionSettings):
    """The settings of the server."""

    also: str = Field(
        "", description="More engines that streams can select with ?engine=, separated by commas."
    )
    host: str = Field("127.0.0.1", description="The address to listen on; 0.0.0.0 means all.")
    port: int = Field(3000, ge=1, le=65535, description="The port to listen on.")
    tls: bool = Field(False, description="Also serve with TLS, on another port.")
    tls_port: int = Field(8443, ge=1, le=65535, description="The port for TLS.")
    tls_names: str = Field(
        "", description="More host names and addresses for the certificate, separated by commas."
    )
    tls_certificate: Path | None = Field(
        None, description="A certificate of your own with its chain (PEM), instead of a local authority's."
    )
    tls_key: Path | None = Field(None, description="The private key of your own certificate (PEM).")
    certificates: Path = Field(
        default_factory=lambda: in_data_folder("certificates"),
        description="The folder of the local certificate authority, created when it is first needed.",
    )
    access_keys: Path | None = Field(
        None, description="A file of access keys, one on each line: ID SECRET [ROLE [OWNER]]."
    )
    keys_key: Path = Field(
        default_factory=lambda: in_data_folder("keys-key"),
        description="The file with the key that encrypts the secrets of access keys in the database.",
    )
    no_auth: bool = Field(False, description="Let everybody do everything, without access keys.")
    allow_host: str = Field(
        "", description="More host names of this server, separated by commas; * is any name."
    )
    allow_origin: str = Field(
        "", description="Origins whose web pages may use this server, separated by commas; * is any origin."
    )
    proxies: str = Field(
        "",
        description="Addresses and networks of proxies whose X-Forwarded-… headers are used.",
    )
    audio: str = Field("audio", description="Where recordings are stored: a folder, or s3://BUCKET/PREFIX.")
    transcripts: str = Field(
        "transcripts.db",
        description="Where transcripts are stored: a file, postgresql://…, or none.",
    )
    keep_days: int = Field(
        0, ge=0, le=36500, description="Days after which transcripts are deleted; 0 keeps them forever."
    )
    jobs: int = Field(1, ge=0, le=64, description="The most jobs that run here at once; 0 means none.")
    most_jobs: int = Field(
        10_000, ge=1, description="The most jobs that wait or run, in the whole database."
    )
    job_lease: float = Field(
        60.0,
        ge=1,
        le=3600,
        description="Seconds after which a job of a server that was killed is taken up again.",
    )
    vocabulary_filters: Path = Field(
        Path("vocabulary-filters"), description="The folder of vocabulary filters (lists of words)."
    )
    vocabularies: Path = Field(
        Path("vocabularies"), description="The folder of vocabularies (lists of phrases to favour)."
    )
    max_sessions: int = Field(
        0,
        ge=0,
        description="The most live streams at once; 0 means as many as this machine can serve.",
    )
    max_viewers: int = Field(
        600, ge=0, description="The most viewers of shared live sessions at once; 0 means none."
    )
    session_viewers: int = Field(300, ge=0, description="The most viewers of one shared session.")
    client_share: float = Field(
        0.9,
        ge=0.01,
        le=1,
        description="The part of the live streams and connections that one address may use; 1 means all.",
        json_schema_extra={"metavar": "PART"},
    )
    key_streams: int = Field(
        0, ge=0, description="Streams at once for a key without a limit of its own; 0 means no limit."
    )
    key_seconds_a_day: float = Field(
        0.0,
        ge=0,
        description="Seconds of audio a day for a key without a limit of its own; 0 means no limit.",
    )
    failed_sign_ins: int = Field(
        10, ge=0, description="Requests with wrong credentials a minute from one address; 0 means no limit."
    )
    max_upload_bytes: int = Field(1024**3, ge=1, description="The largest recording, in bytes.")
    audio_timeout: float = Field(
        15.0, ge=1, le=3600, description="Seconds without audio after which a live stream ends."
    )
    ping_interval: float = Field(
        20.0,
        ge=0,
        le=3600,
        description="Seconds without a message of the server before a WebSocket gets a ping; 0 sends none.",
        json_schema_extra={"metavar": "SECONDS"},
    )
    longest_stream: float = Field(
        14400.0, ge=1, description="The longest stream of an Amazon client, in seconds."
    )
    strict_end: bool = Field(
        False, description="Refuse, like Amazon, a request that ends without an empty frame."
    )
    stop_grace: float = Field(
        5.0,
        ge=0,
        le=600,
        description="Seconds that running streams have for their last results when the server stops.",
    )
    log_level: LogLevel = Field("info", description="The lowest level that is logged.")
    log_format: LogFormat = Field(
        "text", description="The format of the log: plain text, or a JSON object on each line."
    )
    otel: bool = Field(
        False, description="Send traces and metrics with OpenTelemetry, configured by OTEL_… variables."
    )

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
        """The engines in addition to the default one."""
        return listed(self.also)

    def for_amazon(self) -> AmazonSettings:
        """The settings of the engine `amazon`, with this server's own addresses."""
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
    """The items of a list that is separated by commas."""
    return [name for name in map(str.strip, names.split(",")) if name]
