"""Masks, removes or tags listed words in segments.

A word matches if it equals a listed one, regardless of case and of the punctuation around it. A masked word
keeps its punctuation. A removed word passes the end of a sentence on to the word before it.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from transcribed.options import FilterMethod
from transcribed.transcript import Segment, Word

MASK = "***"

_CORE = re.compile(r"\w(?:.*\w)?", re.DOTALL)
_SENTENCE_END = re.compile(r"[.!?…]+")
_WEAKER_MARKS = ",;:"


class WordFilter:
    """A list of words, and what is done with them."""

    def __init__(self, words: Iterable[str], method: FilterMethod) -> None:
        self._words = frozenset(_split_punctuation(word)[1].casefold() for word in words) - {""}
        self._method = method

    def apply(self, segment: Segment) -> Segment:
        """The segment with the filter applied; `filtered` marks its listed words."""
        words: list[Word] = []
        # Some engines return a text without words.
        for word in segment.words or [Word(text) for text in segment.text.split()]:
            before, core, after = _split_punctuation(word.text)
            listed = core.casefold() in self._words
            if not listed or self._method is FilterMethod.TAG:
                words.append(replace(word, filtered=listed))
            elif self._method is FilterMethod.MASK:
                words.append(replace(word, text=f"{before}{MASK}{after}", filtered=True))
            elif words and (end := _SENTENCE_END.search(after)) is not None:
                words[-1] = replace(words[-1], text=_with_sentence_end(words[-1].text, end.group()))
        return replace(segment, text=" ".join(word.text for word in words), words=tuple(words))


def _split_punctuation(text: str) -> tuple[str, str, str]:
    """The text before the first letter or digit, from there to the last one, and after it."""
    found = _CORE.search(text)
    if found is None:
        return text, "", ""
    return text[: found.start()], found.group(), text[found.end() :]


def _with_sentence_end(text: str, end: str) -> str:
    return text if _SENTENCE_END.search(text[-1]) else text.rstrip(_WEAKER_MARKS) + end
