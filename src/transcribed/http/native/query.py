"""The query of `/stream`: what a client asks of all that it sends on a connection."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transcribed.audio.formats import (
    HIGHEST_RATE,
    LOWEST_RATE,
    MOST_CHANNELS,
    SAMPLE_RATE,
    Encoding,
)
from transcribed.engines.base import Engine, Pace, StreamOptions
from transcribed.errors import BadRequest, shown
from transcribed.recognition.endpointing import LONGEST_SILENCE, SHORTEST_SILENCE
from transcribed.recognition.stabilizer import Stability
from transcribed.service.files import FilePace
from transcribed.wire import native as wire
from transcribed.wire.amazon_parameters import in_any_case, one_of


class StreamQuery(BaseModel):
    """The query of `/stream`."""

    model_config = ConfigDict(extra="forbid")

    format: wire.Format = "text"
    pace: FilePace = FilePace.FAST
    stability: Literal["off", "low", "medium", "high"] = "off"
    encoding: Encoding = Encoding.PCM
    sample_rate: int = Field(SAMPLE_RATE, ge=LOWEST_RATE, le=HIGHEST_RATE)
    channels: int = Field(1, ge=1, le=MOST_CHANNELS)
    language: str | None = None
    transcript_format: Literal["written", "spoken"] = "written"
    events: Literal["speech"] | None = None
    endpoint_silence: float | None = Field(None, ge=SHORTEST_SILENCE, le=LONGEST_SILENCE)
    engine: str | None = None
    track: int | None = Field(None, ge=1)

    def options(self, engine: Engine) -> StreamOptions:
        """What is asked of this engine. Raises BadRequest for what it cannot do."""
        languages = engine.capabilities.languages
        language = None if self.language is None else in_any_case(self.language, languages)
        if self.language is not None and language is None:
            raise BadRequest(
                f"The language {shown(self.language)} is not recognised here. Ask for {one_of(languages)}, "
                "or for none."
            )
        meant = language or languages[0]
        if self.transcript_format == "spoken" and not meant.lower().startswith("en"):
            raise BadRequest(f"transcript_format=spoken is for English alone, and not for {meant}.")
        if self.events is not None and self.format != "json":
            raise BadRequest("events=speech is told in JSON: ask for format=json too.")
        if self.endpoint_silence is not None and not engine.capabilities.endpoint_silence:
            raise BadRequest(
                f"{engine.capabilities.name} chooses itself which silence ends a segment. Leave "
                "endpoint_silence out."
            )
        return StreamOptions(
            Pace.LIVE,
            Stability[self.stability.upper()],
            speech_events=self.events is not None,
            endpoint_silence=self.endpoint_silence,
            language=language,
        )

    @classmethod
    def parsed(cls, parameters: Mapping[str, str]) -> Self:
        """The parameters of a query. Raises BadRequest with what is wrong with each."""
        try:
            return cls.model_validate(dict(parameters))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise BadRequest(f"The query of /stream is not valid: {problems}.") from error
