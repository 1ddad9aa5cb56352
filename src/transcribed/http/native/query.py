"""The query parameters of `/stream`, which apply to all requests of a connection."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transcribed.audio.formats import (
    HIGHEST_RATE,
    LOWEST_RATE,
    MOST_CHANNELS,
    SAMPLE_RATE,
    Encoding,
    InputFormat,
)
from transcribed.errors import BadRequest
from transcribed.http.problems import problems
from transcribed.options import (
    LONGEST_SILENCE,
    SHORTEST_SILENCE,
    Capabilities,
    Stability,
    StreamOptions,
    TranscriptForm,
    has_number_forms,
)
from transcribed.service.files import FilePace
from transcribed.service.transcription import TranscriptionRequest
from transcribed.wire import native as wire

# A token is that of a shared session, in base64url.
_SHARE = r"^(false|true|[A-Za-z0-9_-]{22})$"
_LATEST_START = 7 * 24 * 3600


class StreamQuery(BaseModel):
    """The query parameters of `/stream`."""

    model_config = ConfigDict(extra="forbid")

    format: wire.Format = "text"
    pace: FilePace = FilePace.FAST
    stability: Stability = Stability.OFF
    encoding: Encoding = Encoding.PCM
    sample_rate: int = Field(SAMPLE_RATE, ge=LOWEST_RATE, le=HIGHEST_RATE)
    channels: int = Field(1, ge=1, le=MOST_CHANNELS)
    language: str | None = None
    transcript_format: TranscriptForm | None = None
    events: Literal["speech"] | None = None
    endpoint_silence: float | None = Field(None, ge=SHORTEST_SILENCE, le=LONGEST_SILENCE)
    engine: str | None = None
    track: int | None = Field(None, ge=1)
    vocabulary: str | None = None
    share: str = Field("false", pattern=_SHARE)
    share_from: float | None = Field(None, ge=0, le=_LATEST_START)

    def request(self, owner: str) -> TranscriptionRequest:
        """The request for each transcription of the connection, for an owner."""
        return TranscriptionRequest(
            engine=self.engine,
            options=StreamOptions(
                stability=self.stability,
                speech_events=self.events is not None,
                endpoint_silence=self.endpoint_silence,
                language=self.language,
                transcript_form=self.transcript_format,
                vocabularies=self._vocabularies,
            ),
            format=InputFormat(self.encoding, self.sample_rate, self.channels),
            track=self.track,
            owner=owner,
        )

    @property
    def shared(self) -> bool:
        """Whether others can watch what the connection transcribes."""
        return self.share != "false"

    @property
    def continuation(self) -> str | None:
        """The token of the shared session that the connection continues."""
        return None if self.share in ("false", "true") else self.share

    @property
    def _vocabularies(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.vocabulary or "").split(",")))

    def check(self, can: Capabilities) -> None:
        """Raise BadRequest, with this protocol's parameter names, for unsupported combinations."""
        language = self.language or can.languages[0]
        spoken_here = self.transcript_format is TranscriptForm.SPOKEN and not can.transcript_form
        if spoken_here and not has_number_forms(language):
            raise BadRequest(f"transcript_format=spoken is for English alone, and not for {language}.")
        if self._vocabularies and not can.named_vocabularies:
            raise BadRequest(f"{can.name} has no vocabularies. Leave vocabulary out.")
        if self.events is not None and self.format != "json":
            raise BadRequest("events=speech requires format=json.")
        if self.shared and self.format != "json":
            raise BadRequest("share requires format=json, in which the link for viewers is sent.")
        if self.share_from is not None and self.continuation is None:
            raise BadRequest(
                "share_from requires share=TOKEN, with the Continuation of the session that goes on."
            )
        if self.endpoint_silence is not None and not can.endpoint_silence:
            raise BadRequest(
                f"{can.name} determines the silence that ends a segment. Leave endpoint_silence out."
            )

    @classmethod
    def parsed(cls, parameters: Mapping[str, str]) -> Self:
        """Parse the parameters of a query. Raises BadRequest, which names each invalid one."""
        try:
            return cls.model_validate(dict(parameters))
        except ValidationError as error:
            told = problems(error.errors(), cls)
            raise BadRequest(f"The query of /stream is not valid: {told}.") from error
