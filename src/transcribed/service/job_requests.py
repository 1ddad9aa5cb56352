"""What a job is asked to do, independent of protocols. It is stored with the job."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transcribed.errors import BadRequest
from transcribed.options import FilterMethod, StreamOptions, TranscriptForm, VocabularyFilter
from transcribed.service.transcription import TranscriptionRequest


class JobRequest(BaseModel):
    """The options of a job's transcription, as those of a TranscriptionRequest and its StreamOptions.

    Every field has a default, so that jobs that an earlier version stored can be read. An unknown field is
    an error, so that a server never ignores what a later version was asked for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str | None = None
    model: str | None = None
    language: str | None = None
    track: int | None = Field(None, ge=1)
    transcript_form: TranscriptForm | None = None
    vocabularies: tuple[str, ...] = ()
    vocabulary_filters: tuple[str, ...] = ()
    filter_method: FilterMethod = FilterMethod.MASK

    def transcription(self, owner: str) -> TranscriptionRequest:
        """The request for an owner's transcription."""
        names = self.vocabulary_filters
        return TranscriptionRequest(
            engine=self.engine,
            model=self.model,
            options=StreamOptions(
                partials=False,
                language=self.language,
                transcript_form=self.transcript_form,
                vocabularies=self.vocabularies,
                vocabulary_filter=VocabularyFilter(names, self.filter_method) if names else None,
            ),
            track=self.track,
            owner=owner,
        )

    def stored(self) -> str:
        """The request as text, without fields that have their default."""
        return self.model_dump_json(exclude_defaults=True)

    @classmethod
    def read(cls, stored: str) -> Self:
        """A request from its text. Raises BadRequest for one of a later version."""
        try:
            return cls.model_validate_json(stored)
        except ValidationError as error:
            raise BadRequest(
                "The job was submitted to a newer version of this server, and asks for what this one does "
                "not know. Update this server, then submit it again."
            ) from error
