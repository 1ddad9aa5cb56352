"""Segments as Amazon Transcribe's TranscriptEvent JSON, the one shape that leaves this server.

The members and their types are those of Amazon's service model for StartStreamTranscription (Result,
Alternative, Item).
"""

import re
from collections.abc import Iterator
from typing import Any

from transcribed.transcript import Segment, Word

_WORD = re.compile(r"(?P<spoken>.*?)(?P<punctuation>[.,!?;:…]*)", re.DOTALL)


def transcript_event(segment: Segment) -> dict[str, Any]:
    """A TranscriptEvent with the segment as its one Result."""
    result = {
        "ResultId": segment.id,
        "StartTime": round(segment.start, 3),
        "EndTime": round(segment.end, 3),
        "IsPartial": not segment.final,
        "Alternatives": [
            {
                "Transcript": segment.text,
                "Items": [item for word in segment.words for item in _items(word)],
            }
        ],
        "LanguageCode": segment.language,
    }
    return {"Transcript": {"Results": [result]}}


def _items(word: Word) -> Iterator[dict[str, Any]]:
    """A word is one Item, and each mark of punctuation behind it another, without confidence."""
    parts = _WORD.fullmatch(word.text)
    assert parts is not None  # noqa: S101 - the pattern matches any text
    if parts["spoken"]:
        item: dict[str, Any] = {"Type": "pronunciation", "Content": parts["spoken"]}
        if word.confidence is not None:
            item["Confidence"] = round(word.confidence, 4)
        if word.stable is not None:
            item["Stable"] = word.stable
        yield item | _when(word.start, word.end)
    for mark in parts["punctuation"]:
        yield {"Type": "punctuation", "Content": mark} | _when(word.end, word.end)


def _when(start: float | None, end: float | None) -> dict[str, float]:
    if start is None or end is None:
        return {}
    return {"StartTime": round(start, 3), "EndTime": round(end, 3)}
