"""Parsing of Amazon Transcribe's TranscriptEvent JSON, the inverse of results.py.

Missing, null and unknown members are accepted, because Amazon adds members from time to time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_pascal

from transcribed.errors import MalformedMessage
from transcribed.transcript import Entity, LanguageScore, Word

_PUNCTUATION = "punctuation"


@dataclass(frozen=True, slots=True)
class Reading:
    """A parsed Result, with the first of its Alternatives; times are in seconds."""

    start: float = 0.0
    end: float = 0.0
    final: bool = False
    words: tuple[Word, ...] = ()
    language: str | None = None
    entities: tuple[Entity, ...] = ()
    languages: tuple[LanguageScore, ...] = ()


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_pascal, extra="ignore", frozen=True)


class _Item(_Part):
    type: str | None = None
    content: str | None = None
    start_time: float | None = None
    end_time: float | None = None
    confidence: float | None = None
    stable: bool | None = None
    vocabulary_filter_match: bool | None = None
    speaker: str | None = None


class _Entity(_Part):
    start_time: float | None = None
    end_time: float | None = None
    category: str | None = None
    type: str | None = None
    content: str | None = None
    confidence: float | None = None


class _Alternative(_Part):
    transcript: str | None = None
    items: list[_Item] | None = None
    entities: list[_Entity] | None = None


class _LanguageScore(_Part):
    language_code: str | None = None
    score: float | None = None


class _Result(_Part):
    start_time: float | None = None
    end_time: float | None = None
    is_partial: bool | None = None
    alternatives: list[_Alternative] | None = None
    language_code: str | None = None
    language_identification: list[_LanguageScore] | None = None


class _Transcript(_Part):
    results: list[_Result] | None = None


class _Event(_Part):
    transcript: _Transcript | None = None


def read_event(payload: bytes) -> Sequence[Reading]:
    """The Results of a TranscriptEvent, given as JSON. Raises MalformedMessage."""
    try:
        event = _Event.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise MalformedMessage(f"A TranscriptEvent cannot be read: {place}: {first['msg']}.") from None
    results = event.transcript.results if event.transcript else None
    return [_reading(result) for result in results or ()]


def _reading(result: _Result) -> Reading:
    best = result.alternatives[0] if result.alternatives else _Alternative()
    start = result.start_time or 0.0
    return Reading(
        start=start,
        end=max(start, result.end_time or 0.0),
        final=result.is_partial is False,
        words=tuple(_words(best.items or ())) or tuple(map(Word, (best.transcript or "").split())),
        language=result.language_code,
        entities=tuple(_entity(entity, start) for entity in best.entities or ()),
        languages=tuple(
            LanguageScore(found.language_code, found.score or 0.0)
            for found in result.language_identification or ()
            if found.language_code
        ),
    )


def _entity(entity: _Entity, start: float) -> Entity:
    begins = start if entity.start_time is None else entity.start_time
    return Entity(
        text=entity.content or "",
        start=begins,
        end=begins if entity.end_time is None else entity.end_time,
        category=entity.category,
        kind=entity.type,
        confidence=entity.confidence,
    )


def _words(items: Iterable[_Item]) -> Iterator[Word]:
    """The words: each pronunciation with the punctuation that follows it."""
    parts: list[_Item] = []
    for item in items:
        if not (item.content or "").strip():
            continue
        if parts and item.type != _PUNCTUATION:
            yield _word(parts)
            parts = []
        parts.append(item)
    if parts:
        yield _word(parts)


def _word(parts: Sequence[_Item]) -> Word:
    """A word of several Items: its properties are those of the first; it is stable when all are."""
    spoken = parts[0]
    timed = spoken.start_time is not None and spoken.end_time is not None
    marks = [part.stable for part in parts if part.stable is not None]
    return Word(
        text="".join((part.content or "").strip() for part in parts),
        start=spoken.start_time if timed else None,
        end=spoken.end_time if timed else None,
        confidence=spoken.confidence,
        stable=all(marks) if marks else None,
        filtered=spoken.vocabulary_filter_match,
        speaker=spoken.speaker,
    )
