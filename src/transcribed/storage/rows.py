"""Conversion of table rows to domain objects and back, and validation of what is stored."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from transcribed.errors import BadRequest, NotFound, shown
from transcribed.storage.tables import EARLIEST, LATEST, MOST_SEGMENTS, split
from transcribed.storage.transcripts import StoredSegment, TranscriptInfo, TranscriptSource
from transcribed.transcript import Entity, LanguageScore, Segment, Word

Fields = dict[str, Any]
"""The values of a row, or the parameters of a statement, by name."""

LONGEST_TEXT = 20_000
"""The most characters in a segment's text."""

_WORD_FIELDS = [field.name for field in fields(Word)]
_SURROGATES = re.compile("[\ud800-\udfff]")


def transcript_row(owner: str, info: TranscriptInfo) -> Fields:
    """An owner's transcript as a row of `transcripts`, without its key. Raises BadRequest."""
    check_texts(owner, info.id, info.engine, info.language, info.recording)
    if not EARLIEST <= aware(info.started) < LATEST:
        raise BadRequest(f"A transcript cannot start at {info.started}. Set the clock.")
    return {
        "owner": owner,
        "id": info.id,
        "source": info.source.value,
        "engine": info.engine,
        "language": info.language,
        "started": info.started,
        "recording": info.recording,
        "ended": None if info.ended is None else aware(info.ended),
        "audio_seconds": info.audio_seconds,
    }


def transcript_info(row: Row[Any]) -> TranscriptInfo:
    """A row of `transcripts` as a TranscriptInfo."""
    return TranscriptInfo(
        id=row.id,
        source=TranscriptSource(row.source),
        engine=row.engine,
        language=row.language,
        started=row.started,
        recording=row.recording,
        ended=row.ended,
        audio_seconds=row.audio_seconds,
    )


def segment_row(segment: Segment) -> Fields:
    """A final segment as a row of `segments`, without its id. Raises BadRequest."""
    check_texts(segment.language, segment.text, segment.model)
    if not 0 <= segment.number < MOST_SEGMENTS:
        raise BadRequest(f"A transcript has at most {MOST_SEGMENTS} segments. Begin another.")
    return {
        "start": segment.start,
        "stop": segment.end,
        "language": segment.language,
        "text": segment.text,
        "words": _words_json(segment.words),
        "channel": segment.channel,
        "findings": _findings_json(segment),
        "model": segment.model,
    }


def stored_segment(transcript: str, row: Row[Any]) -> StoredSegment:
    """A row of `segments` as a StoredSegment of the transcript with this id."""
    segment = Segment(
        session=transcript,
        number=split(row.id)[1],
        start=row.start,
        end=row.stop,
        text=row.text,
        final=True,
        language=row.language,
        words=_words_from(row.words),
        channel=row.channel,
        model=row.model,
        **_findings_from(row.findings),
    )
    return StoredSegment(segment, row.correction)


def _words_json(words: Sequence[Word]) -> str:
    """Words as a JSON object of columns: for each field that any word has, the list of its values."""
    columns = {name: [getattr(word, name) for word in words] for name in _WORD_FIELDS}
    present = {name: column for name, column in columns.items() if any(v is not None for v in column)}
    return json.dumps(present, separators=(",", ":"))


def _words_from(text: str) -> tuple[Word, ...]:
    columns = json.loads(text)
    return tuple(
        Word(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)
    )


def _findings_json(segment: Segment) -> str | None:
    """Entities and language scores as JSON; None if there are none."""
    found: dict[str, tuple[Entity, ...] | tuple[LanguageScore, ...]] = {
        "entities": segment.entities,
        "languages": segment.languages,
    }
    present = {name: [asdict(each) for each in values] for name, values in found.items() if values}
    return json.dumps(present, separators=(",", ":")) if present else None


def _findings_from(text: str | None) -> dict[str, Any]:
    kinds = {"entities": Entity, "languages": LanguageScore}
    found = json.loads(text) if text else {}
    return {name: tuple(kinds[name](**each) for each in values) for name, values in found.items()}


def check_texts(*texts: str | None) -> None:
    """Raise BadRequest for a text that is too long, or that not every database can store."""
    for text in texts:
        if text is None:
            continue
        if len(text) > LONGEST_TEXT:
            raise BadRequest(f"The text is too long: {len(text)} characters of at most {LONGEST_TEXT}.")
        if not is_storable(text):
            raise BadRequest(
                "The text has a character that cannot be kept: NUL, or half of a surrogate pair."
            )


def is_storable(text: str) -> bool:
    """Whether every database can store these characters: PostgreSQL has no NUL, and UTF-8 no surrogates."""
    return "\0" not in text and not _SURROGATES.search(text)


def identity(owner: str, transcript: str) -> Fields:
    """The parameters that name a transcript in a statement.

    Raises NotFound for values that the database cannot take, which no transcript can have.
    """
    if not is_storable(owner) or not is_storable(transcript):
        raise no_transcript(transcript)
    return {"whose": owner, "transcript": transcript}


def no_transcript(transcript: str) -> NotFound:
    """The error for an id that no transcript has."""
    return NotFound(f"There is no transcript {shown(transcript)}. GET /transcripts lists what there is.")


def aware(moment: datetime) -> datetime:
    """The moment itself. Raises BadRequest if it has no time zone."""
    if moment.tzinfo is None:
        raise BadRequest(f"The moment {moment} has no time zone: write 2026-01-31T12:00:00Z.")
    return moment
