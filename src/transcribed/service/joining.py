"""Joining a session's segments to those of an earlier one that broke off, so that each word is there once.

Both have heard some of the same speech, but segments begin and end elsewhere, so that words are compared by
their times.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from transcribed.transcript import Done, Notice, Segment, Word, shifted

DOUBTFUL_SECONDS = 0.5
"""The last words before a break, which may have been cut in two."""

E = TypeVar("E", Segment, Notice, Done)


def later(event: E, seconds: float) -> E:
    """The event with its times `seconds` later."""
    if seconds == 0:
        return event
    if isinstance(event, Segment):
        return replace(
            event,
            start=event.start + seconds,
            end=event.end + seconds,
            words=tuple(shifted(word, seconds) for word in event.words),
            entities=tuple(shifted(entity, seconds) for entity in event.entities),
        )
    if isinstance(event, Done):
        return replace(event, audio_seconds=event.audio_seconds + seconds)
    return event


def rest(segment: Segment, said: float) -> Segment:
    """The segment without the words whose middle lies before `said`, which are known."""
    if segment.start >= said:
        return segment
    left = _only(segment, lambda start, end: (start + end) / 2 >= said)
    if left is segment:
        return segment
    start = _start(left.words[0], left) if left.words else said
    return replace(left, start=start, end=max(left.end, start))


def without_doubtful(segment: Segment, again_from: float = -1.0) -> Segment:
    """The segment, which broke off, without the last words before its end that are heard again.

    `again_from` is the time from which everything is heard again. The end is that of the last word.
    """
    sure = segment.end - DOUBTFUL_SECONDS
    left = _only(segment, lambda start, end: start < again_from or (start + end) / 2 < sure)
    return replace(left, end=_end(left.words[-1], left) if left.words else left.start)


def as_final(segment: Segment) -> Segment:
    """The segment as the last result of what was said in it."""
    words = tuple(word if word.stable is None else replace(word, stable=True) for word in segment.words)
    return replace(segment, final=True, words=words)


def as_partial(segment: Segment) -> Segment:
    """The segment as a result that may lose its doubtful words."""
    sure = len(without_doubtful(segment).words)
    words = tuple(
        replace(word, stable=word.stable and at < sure) if word.stable else word
        for at, word in enumerate(segment.words)
    )
    return replace(segment, final=False, words=words)


def _only(segment: Segment, wanted: Callable[[float, float], bool]) -> Segment:
    """The segment with only the words that are wanted; the same object if that is all of them.

    Words without times are wanted if the segment is.
    """
    if not segment.words:
        return segment if wanted(segment.start, segment.end) else replace(segment, text="", entities=())
    words = tuple(word for word in segment.words if wanted(_start(word, segment), _end(word, segment)))
    if len(words) == len(segment.words):
        return segment
    entities = tuple(entity for entity in segment.entities if wanted(entity.start, entity.end))
    return replace(segment, text=" ".join(word.text for word in words), words=words, entities=entities)


def _start(word: Word, segment: Segment) -> float:
    return segment.start if word.start is None else word.start


def _end(word: Word, segment: Segment) -> float:
    return segment.end if word.end is None else word.end
