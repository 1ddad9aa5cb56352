"""Alignment of a corrected text with the recognised words."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from transcribed.storage.transcripts import StoredSegment
from transcribed.transcript import Segment, Word

MOST_COMPARED = 40_000
"""The largest product of the numbers of differing words in both texts for which the texts are aligned. It
takes some ten milliseconds at worst, and allows 200 words, more than a minute of speech."""


def as_corrected(stored: StoredSegment) -> Segment:
    """The segment with its corrected text and the words of that text, if it was corrected."""
    if stored.correction is None:
        return stored.segment
    words = corrected_words(stored.segment.words, stored.correction)
    return replace(stored.segment, text=stored.correction, words=words)


def corrected_words(words: Sequence[Word], text: str) -> tuple[Word, ...]:
    """The words of a corrected text, with the times of the recognised words that they match or replace.

    A word that differs from a recognised one only in case and punctuation keeps its times and confidence.
    Words that replace others share their time in proportion to their lengths, and have the speaker of the
    first one; inserted words share the time of the word before them. If the recognised words have no times,
    the new words have none. If too many words differ (MOST_COMPARED), all words from the first to the last
    difference count as replaced.
    """
    said = text.split()
    pieces: list[tuple[Sequence[Word], list[str]]] = []
    leading: list[str] = []
    recognised = [_key(word.text) for word in words]
    for tag, i, i_end, j, j_end in _changes(recognised, [_key(new) for new in said]):
        if tag == "equal":
            pieces += [([word], [new]) for word, new in zip(words[i:i_end], said[j:j_end], strict=True)]
        elif tag == "replace":
            pieces.append((words[i:i_end], said[j:j_end]))
        elif tag == "insert":
            (pieces[-1][1] if pieces else leading).extend(said[j:j_end])
    if not pieces:
        return tuple(Word(new) for new in said)
    pieces[0][1][:0] = leading
    return tuple(word for replaced, new in pieces for word in _replacements(replaced, new))


def _changes(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, int, int, int, int]]:
    """The changes from the old to the new words, as opcodes of difflib.

    The common beginning and end are found without difflib, whose time can be cubic in the number of words.
    """
    most = min(len(old), len(new))
    begin = next((i for i in range(most) if old[i] != new[i]), most)
    most -= begin
    end = next((i for i in range(most) if old[-1 - i] != new[-1 - i]), most)
    old_end, new_end = len(old) - end, len(new) - end
    yield "equal", 0, begin, 0, begin
    if (old_end - begin) * (new_end - begin) > MOST_COMPARED:
        yield "replace", begin, old_end, begin, new_end
    else:
        matcher = SequenceMatcher(None, old[begin:old_end], new[begin:new_end], autojunk=False)
        for tag, i, i_end, j, j_end in matcher.get_opcodes():
            yield tag, begin + i, begin + i_end, begin + j, begin + j_end
    yield "equal", old_end, len(old), new_end, len(new)


def _replacements(replaced: Sequence[Word], said: Sequence[str]) -> Iterator[Word]:
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
    """A word without case and punctuation; a word of punctuation only is unchanged."""
    return "".join(c for c in text if not unicodedata.category(c).startswith("P")).casefold() or text
