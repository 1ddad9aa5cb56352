"""Words to look out for, in segments: masked, removed or tagged.

A word is on the list if it is one of its words from end to end, whatever the case and the punctuation
around it. What is masked leaves its punctuation behind; what is removed leaves the end of a sentence to the
word before it. The words still are the text.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from transcribed.options import FilterMethod
from transcribed.transcript import Segment, Word

MASK = "***"

_CORE = re.compile(r"\w(?:.*\w)?", re.DOTALL)
_ENDS = re.compile(r"[.!?…]+")
_WEAKER = ",;:"


class WordFilter:
    """A list of words, and what becomes of them."""

    def __init__(self, words: Iterable[str], method: FilterMethod) -> None:
        self._words = frozenset(_parts(word)[1].casefold() for word in words) - {""}
        self._method = method

    def apply(self, segment: Segment) -> Segment:
        """The segment as it may be shown; its words say whether they are on the list."""
        words: list[Word] = []
        # An engine may give a text without words.
        for word in segment.words or [Word(text) for text in segment.text.split()]:
            before, core, behind = _parts(word.text)
            listed = core.casefold() in self._words
            if not listed or self._method is FilterMethod.TAG:
                words.append(replace(word, filtered=listed))
            elif self._method is FilterMethod.MASK:
                words.append(replace(word, text=f"{before}{MASK}{behind}", filtered=True))
            elif words and (end := _ENDS.search(behind)) is not None:
                words[-1] = replace(words[-1], text=_ended(words[-1].text, end.group()))
        return replace(segment, text=" ".join(word.text for word in words), words=tuple(words))


def _parts(text: str) -> tuple[str, str, str]:
    """What stands before the first letter or digit, what follows to the last, and what is behind it."""
    found = _CORE.search(text)
    if found is None:
        return text, "", ""
    return text[: found.start()], found.group(), text[found.end() :]


def _ended(text: str, end: str) -> str:
    return text if _ENDS.search(text[-1]) else text.rstrip(_WEAKER) + end
