"""Who says what of a transcript, where that is known, and a transcript as plain text.

A voice is named as the JSON names it: by the ChannelId of its results (ch_0), by the Speaker of its items
(spk_0 for "0", as Amazon's batch jobs write it), or by both.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from transcribed.transcript import Segment, Word


def in_order(segments: Iterable[Segment]) -> list[Segment]:
    """Segments as they are to be read: where there are channels by their start, else as they are."""
    listed = list(segments)
    if any(segment.channel is not None for segment in listed):
        listed.sort(key=lambda segment: segment.start)
    return listed


def voices(segment: Segment) -> list[str | None]:
    """Who says each word of a segment; None where nobody knows, and none where there are no words.

    A word without a speaker is that of the word before it, or, where there is none, of the one behind it.
    """
    channel = None if segment.channel is None else f"ch_{segment.channel}"
    speakers = [word.speaker for word in segment.words]
    known = next((speaker for speaker in speakers if speaker is not None), None)
    found: list[str | None] = []
    for speaker in speakers:
        known = known if speaker is None else speaker
        parts = [part for part in (channel, None if known is None else _named(known)) if part]
        found.append(" ".join(parts) or None)
    return found


def voice(segment: Segment) -> str | None:
    """Who says a segment whose words are not looked at."""
    return None if segment.channel is None else f"ch_{segment.channel}"


def text(segments: Iterable[Segment]) -> str:
    """Final segments, a line each; where it is known who speaks, a line for each turn, with the voice."""
    return "".join(
        f"{said}\n" if who is None else f"{who}: {said}\n"
        for segment in in_order(segments)
        for who, said in _turns(segment)
        if said
    )


def _turns(segment: Segment) -> list[tuple[str | None, str]]:
    if segment.text != _joined(segment.words):
        # Somebody corrected it: it is not known who said which word.
        return [(voice(segment), segment.text)]
    said = voices(segment)
    if len(set(said)) <= 1:
        return [(said[0] if said else voice(segment), segment.text)]
    turns = groupby(zip(said, segment.words, strict=True), lambda pair: pair[0])
    return [(who, _joined([word for _, word in turn])) for who, turn in turns]


def _joined(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


def _named(speaker: str) -> str:
    return f"spk_{speaker}" if speaker.isdecimal() else speaker
