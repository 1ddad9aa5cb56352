"""The voices of a transcript (channels and speakers), and a transcript as plain text.

A voice has the name that it has in JSON: the ChannelId of its results (ch_0), the Speaker of its items
(spk_0 for "0", as in Amazon's batch jobs), or both.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from transcribed.transcript import Segment, Word


def voices(segment: Segment) -> list[str | None]:
    """The voice of each word of a segment; None if unknown.

    A word without a speaker has the speaker of the previous word, or else of the next word that has one.
    """
    channel = voice(segment)
    speakers = [word.speaker for word in segment.words]
    known = next((speaker for speaker in speakers if speaker is not None), None)
    found: list[str | None] = []
    for speaker in speakers:
        known = known if speaker is None else speaker
        parts = [part for part in (channel, None if known is None else _label(known)) if part]
        found.append(" ".join(parts) or None)
    return found


def voice(segment: Segment) -> str | None:
    """The voice of a segment without regard to its words: its channel; None if unknown."""
    return None if segment.channel is None else f"ch_{segment.channel}"


def text(segments: Iterable[Segment]) -> str:
    """Final segments as lines of text, one for each segment.

    If voices are known, there is a line for each turn, which begins with the voice. Segments of several
    channels are sorted by start.
    """
    listed = list(segments)
    if any(segment.channel is not None for segment in listed):
        listed.sort(key=lambda segment: segment.start)
    return "".join(
        f"{said}\n" if who is None else f"{who}: {said}\n"
        for segment in listed
        for who, said in _turns(segment)
        if said
    )


def _turns(segment: Segment) -> list[tuple[str | None, str]]:
    if segment.text != _joined(segment.words):
        # The text was corrected, so that the speakers of its words are unknown.
        return [(voice(segment), segment.text)]
    said = voices(segment)
    if len(set(said)) <= 1:
        return [(said[0] if said else voice(segment), segment.text)]
    turns = groupby(zip(said, segment.words, strict=True), lambda pair: pair[0])
    return [(who, _joined([word for _, word in turn])) for who, turn in turns]


def _joined(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


def _label(speaker: str) -> str:
    return f"spk_{speaker}" if speaker.isdecimal() else speaker
