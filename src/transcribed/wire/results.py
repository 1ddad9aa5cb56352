"""Segments as Amazon Transcribe's TranscriptEvent JSON, which the native protocol extends.

The members and their types are those of Amazon's service model for StartStreamTranscription (Result,
Alternative, Item). The Transcript is the concatenation of the Items, with a space before each pronunciation
except the first, and none before punctuation.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from transcribed.transcript import Entity, Segment, Word

# The alternatives exclude one another, so that matching takes linear time.
_MARK = r"""[.,!?;:…–—)\]}"”»]|-(?=-)|(?<=-)-|(?<=[.,!?;:…])['’]"""
# Initials ("U.S."), and the placeholders of redacted text ("[NAME]").
_WHOLE = r"\W*(?:[^\W\d_]\.){2,}|\[[A-Z_]+\]"
_WORD = re.compile(rf"(?P<spoken>{_WHOLE}|.*?(?:\w|\*{{3}}).*?)(?P<marks>(?:{_MARK})*)", re.DOTALL)
_MARKS = re.compile(r"\.{2,}|-{2,}|.")


def transcript_event(segment: Segment) -> dict[str, Any]:
    """A TranscriptEvent with the segment as its one Result."""
    return {"Transcript": {"Results": [result(segment)]}}


def result(segment: Segment, *others: Segment) -> dict[str, Any]:
    """A segment as a Result; `others` are other readings of it, which become further Alternatives."""
    return {
        "ResultId": segment.id,
        "StartTime": round(segment.start, 3),
        "EndTime": round(segment.end, 3),
        "IsPartial": not segment.final,
        "Alternatives": [
            {
                "Transcript": " ".join(word.text for word in words),
                "Items": [item for word in words for item in _items(word)],
            }
            | _present(Entities=[_entity(entity) for entity in segment.entities])
            for words in map(_words, (segment, *others))
        ],
        "LanguageCode": segment.language,
    } | _present(
        ChannelId=None if segment.channel is None else f"ch_{segment.channel}",
        LanguageIdentification=[
            {"LanguageCode": found.language, "Score": round(found.score, 4)} for found in segment.languages
        ],
    )


def _words(segment: Segment) -> Sequence[Word]:
    """The words of the text; without times and confidence if they do not match a corrected text."""
    if segment.text == " ".join(word.text for word in segment.words):
        return segment.words
    return [Word(text) for text in segment.text.split()]


def _items(word: Word) -> Iterator[dict[str, Any]]:
    """A word as one Item of type pronunciation, and an Item for each punctuation mark that follows it.

    Punctuation before a word belongs to it, and so do a final apostrophe and the dots of initials ("U.S.").
    A word of punctuation only ("--") is a pronunciation, because a space precedes it.
    """
    parts = _WORD.fullmatch(word.text)
    spoken, marks = parts.group("spoken", "marks") if parts else (word.text, "")
    common = _present(Stable=word.stable, Speaker=word.speaker)
    of_word = _present(Confidence=_rounded(word.confidence), VocabularyFilterMatch=word.filtered)
    spoken_item = {"Type": "pronunciation", "Content": spoken}
    yield spoken_item | of_word | common | _when(word.start, word.end)
    for mark in _MARKS.findall(marks):
        yield {"Type": "punctuation", "Content": mark} | common | _when(word.end, word.end)


def _entity(entity: Entity) -> dict[str, Any]:
    return _present(
        Category=entity.category,
        Type=entity.kind,
        Content=entity.text,
        Confidence=_rounded(entity.confidence),
    ) | _when(entity.start, entity.end)


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None and value != []}


def _rounded(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 4)


def _when(start: float | None, end: float | None) -> dict[str, float]:
    if start is None or end is None:
        return {}
    return {"StartTime": round(start, 3), "EndTime": round(end, 3)}
