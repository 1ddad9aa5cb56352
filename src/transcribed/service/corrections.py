"""The words of a text that somebody has corrected."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from transcribed.storage.transcripts import StoredSegment
from transcribed.transcript import Segment, Word


def as_corrected(stored: StoredSegment) -> Segment:
    """The segment with its correction, if it has one, as its text, and with the words of that."""
    if stored.correction is None:
        return stored.segment
    words = corrected_words(stored.segment.words, stored.correction)
    return replace(stored.segment, text=stored.correction, words=words)


def corrected_words(words: Sequence[Word], text: str) -> tuple[Word, ...]:
    """The words of a text, with the times of the recognised words that they are, or that they replace.

    A word that differs from a recognised one in its case and punctuation alone keeps its times and
    confidence. Words in place of others share the time of those, by their length; words that are new
    between two share that of the one before. Where the recognised words have no times, there are none.
    Whoever said the first of the words that are replaced says what stands in their place.
    """
    said = text.split()
    pieces: list[tuple[Sequence[Word], list[str]]] = []
    leading: list[str] = []
    recognised = [_key(word.text) for word in words]
    changes = SequenceMatcher(None, recognised, [_key(new) for new in said], autojunk=False).get_opcodes()
    for tag, i, i_end, j, j_end in changes:
        if tag == "equal":
            pieces += [([word], [new]) for word, new in zip(words[i:i_end], said[j:j_end], strict=True)]
        elif tag == "replace":
            pieces.append((words[i:i_end], said[j:j_end]))
        elif tag == "insert":
            (pieces[-1][1] if pieces else leading).extend(said[j:j_end])
    if not pieces:
        return tuple(Word(new) for new in said)
    pieces[0][1][:0] = leading
    return tuple(word for replaced, new in pieces for word in _in_place_of(replaced, new))


def _in_place_of(replaced: Sequence[Word], said: Sequence[str]) -> Iterator[Word]:
    start, end, speaker = replaced[0].start, replaced[-1].end, replaced[0].speaker
    if len(replaced) == len(said) == 1 and _key(replaced[0].text) == _key(said[0]):
        yield replace(replaced[0], text=said[0])
    elif start is None or end is None:
        yield from (Word(new, speaker=speaker) for new in said)
    else:
        pace = (end - start) / sum(map(len, said))
        for new in said:
            yield Word(new, start, min(end, start + pace * len(new)), speaker=speaker)
            start = min(end, start + pace * len(new))


def _key(text: str) -> str:
    """A word without its case and its punctuation; punctuation alone as it is."""
    return "".join(c for c in text if not unicodedata.category(c).startswith("P")).casefold() or text
