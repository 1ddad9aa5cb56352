"""Segments as Amazon Transcribe's TranscriptEvent JSON, the one shape that leaves this server.

The members and their types are those of Amazon's service model for StartStreamTranscription (Result,
Alternative, Item). The Items put together, with a space before each pronunciation but the first and none
before punctuation, are the Transcript.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from transcribed.transcript import Segment, Word

# Each character is a mark in one way at most, so that no run of them is tried in many ways.
_MARK = r"""[.,!?;:…–—)\]}"”»]|-(?=-)|(?<=-)-|(?<=[.,!?;:…])['’]"""
_INITIALS = r"\W*(?:[^\W\d_]\.){2,}"
_WORD = re.compile(rf"(?P<spoken>{_INITIALS}|.*?(?:\w|\*{{3}}).*?)(?P<marks>(?:{_MARK})*)", re.DOTALL)
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
            for words in map(_words, (segment, *others))
        ],
        "LanguageCode": segment.language,
    } | ({} if segment.channel is None else {"ChannelId": f"ch_{segment.channel}"})


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
    stable = {} if word.stable is None else {"Stable": word.stable}
    confidence = {} if word.confidence is None else {"Confidence": round(word.confidence, 4)}
    filtered = {} if word.filtered is None else {"VocabularyFilterMatch": word.filtered}
    spoken_item = {"Type": "pronunciation", "Content": spoken} | confidence | stable | filtered
    yield spoken_item | _when(word.start, word.end)
    for mark in _MARKS.findall(marks):
        yield {"Type": "punctuation", "Content": mark} | stable | _when(word.end, word.end)


def _when(start: float | None, end: float | None) -> dict[str, float]:
    if start is None or end is None:
        return {}
    return {"StartTime": round(start, 3), "EndTime": round(end, 3)}
