"""Segments as Amazon Transcribe's TranscriptEvent JSON, the one shape that leaves this server.

The members and their types are those of Amazon's service model for StartStreamTranscription (Result,
Alternative, Item). The Items put together, with a space before each pronunciation but the first and none
before punctuation, are the Transcript.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from transcribed.transcript import Entity, Segment, Word

# Each character is a mark in one way at most, so that no run of them is tried in many ways.
_MARK = r"""[.,!?;:…–—)\]}"”»]|-(?=-)|(?<=-)-|(?<=[.,!?;:…])['’]"""
# Initials, and what stands for something that was taken out: "[NAME]".
_WHOLE = r"\W*(?:[^\W\d_]\.){2,}|\[[A-Z_]+\]"
_WORD = re.compile(rf"(?P<spoken>{_WHOLE}|.*?(?:\w|\*{{3}}).*?)(?P<marks>(?:{_MARK})*)", re.DOTALL)
_MARKS = re.compile(r"\.{2,}|-{2,}|.")


def transcript_event(segment: Segment) -> dict[str, Any]:
    """A TranscriptEvent with the segment as its one Result."""
    return {"Transcript": {"Results": [result(segment)]}}


def result(segment: Segment, *others: Segment) -> dict[str, Any]:
    """A segment as a Result; other readings of it are its further Alternatives."""
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
            | _where_there_is(Entities=[_entity(entity) for entity in segment.entities])
            for words in map(_words, (segment, *others))
        ],
        "LanguageCode": segment.language,
    } | _where_there_is(
        ChannelId=None if segment.channel is None else f"ch_{segment.channel}",
        LanguageIdentification=[
            {"LanguageCode": found.language, "Score": round(found.score, 4)} for found in segment.languages
        ],
    )


def _words(segment: Segment) -> Sequence[Word]:
    """Those of the text. Where the text was corrected since, nothing more is known of its words."""
    if segment.text == " ".join(word.text for word in segment.words):
        return segment.words
    return [Word(text) for text in segment.text.split()]


def _items(word: Word) -> Iterator[dict[str, Any]]:
    """A word is one Item, and each mark of punctuation behind it another, without confidence.

    What stands in front of a word is part of it, and so are an apostrophe behind it and the dots of
    initials ("U.S."). A word of nothing but marks ("--") has a space before it: it is a pronunciation.
    """
    parts = _WORD.fullmatch(word.text)
    spoken, marks = parts.group("spoken", "marks") if parts else (word.text, "")
    of_all = _where_there_is(Stable=word.stable, Speaker=word.speaker)
    of_the_word = _where_there_is(Confidence=_rounded(word.confidence), VocabularyFilterMatch=word.filtered)
    spoken_item = {"Type": "pronunciation", "Content": spoken}
    yield spoken_item | of_the_word | of_all | _when(word.start, word.end)
    for mark in _MARKS.findall(marks):
        yield {"Type": "punctuation", "Content": mark} | of_all | _when(word.end, word.end)


def _entity(entity: Entity) -> dict[str, Any]:
    return _where_there_is(
        Category=entity.category,
        Type=entity.kind,
        Content=entity.text,
        Confidence=_rounded(entity.confidence),
    ) | _when(entity.start, entity.end)


def _where_there_is(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None and value != []}


def _rounded(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 4)


def _when(start: float | None, end: float | None) -> dict[str, float]:
    if start is None or end is None:
        return {}
    return {"StartTime": round(start, 3), "EndTime": round(end, 3)}
