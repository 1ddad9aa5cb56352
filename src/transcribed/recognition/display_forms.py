"""Replaces recognised words by the display forms of phrases."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from transcribed.options import Phrase
from transcribed.transcript import Word

_CORE = re.compile(r"(\W*)(.*?)((?:['\u2019][sS]?)?\W*)", re.DOTALL)
"""The marks before a word, the word, and what follows it: the ending of a genitive, and marks."""
_PARTS = re.compile(r"[\s-]+")


@dataclass(frozen=True, slots=True)
class Replacement:
    """The recognised words [low, high), and the texts that are shown in their place, at least one."""

    low: int
    high: int
    texts: tuple[str, ...]


class DisplayForms:
    """The display forms of phrases."""

    def __init__(self, shown: dict[tuple[str, ...], str]) -> None:
        self._shown = shown
        self._longest = max(map(len, shown), default=0)

    @classmethod
    def of(cls, phrases: Iterable[Phrase]) -> "DisplayForms":
        """Return the display forms of phrases. A phrase without one that has capitals is shown as it is."""
        shown: dict[tuple[str, ...], str] = {}
        for phrase in phrases:
            display = phrase.display or (phrase.text if phrase.text != phrase.text.lower() else "")
            if display:
                shown[_parts(phrase.text)] = display
        return cls(shown)

    def replacements(self, texts: Sequence[str], start: int = 0) -> list[Replacement]:
        """Return what to replace in the texts of words from index `start` on.

        Of phrases that begin at the same word, the longest is used. Words are compared without regard to
        case, hyphens and the marks around them.
        """
        found: list[Replacement] = []
        if not self._longest:
            return found
        split = [_CORE.fullmatch(text) for text in texts]
        low = start
        while low < len(texts):
            match = next(
                (
                    (high, display)
                    for high in range(min(len(texts), low + self._longest), low, -1)
                    if (display := self._display(split, low, high)) is not None
                ),
                None,
            )
            if match is None:
                low += 1
                continue
            high, display = match
            before, after = _marks(split[low])[0], _marks(split[high - 1])[1]
            written = display.split()
            written[-1] += _joined(written[-1], after)
            written[0] = before + written[0]
            if written != list(texts[low:high]):
                found.append(Replacement(low, high, tuple(written)))
            low = high
        return found

    def _display(self, split: Sequence[re.Match[str] | None], low: int, high: int) -> str | None:
        cores = [each[2] for each in split[low:high] if each is not None]
        # A phrase does not extend across a punctuation mark.
        if any(_marks(each)[1] for each in split[low : high - 1]):
            return None
        return self._shown.get(tuple(part for core in cores for part in _parts(core)))


def replaced(words: Sequence[Word], replacements: Sequence[Replacement]) -> list[Word]:
    """Return words with replacements made.

    The new words have the times and confidences of those that they replace. If their numbers differ, the
    new words divide the time by their lengths, and each has the lowest confidence.
    """
    shown: list[Word] = []
    position = 0
    for each in replacements:
        if each.high > len(words):
            break
        shown += words[position : each.low]
        shown += _spread(words[each.low : each.high], each.texts)
        position = each.high
    return [*shown, *words[position:]]


def recognised_words(replacements: Sequence[Replacement], shown: int) -> int:
    """Return the number of recognised words that the first `shown` words stand for.

    If the last of these is within a replacement, all words of the replacement count.
    """
    for each in replacements:
        if shown <= each.low:
            break
        shown = max(shown - len(each.texts), 0) + each.high - each.low if shown > 0 else 0
        shown = max(shown, each.high)
    return shown


def _spread(words: Sequence[Word], texts: Sequence[str]) -> list[Word]:
    if len(words) == len(texts):
        return [replace(word, text=text) for word, text in zip(words, texts, strict=True)]
    first, last = words[0], words[-1]
    confidences = [word.confidence for word in words if word.confidence is not None]
    word = replace(first, end=last.end, confidence=min(confidences, default=None))
    if first.start is None or last.end is None:
        return [replace(word, text=text) for text in texts]
    letters = sum(map(len, texts))
    spread, start, done = [], first.start, 0
    for text in texts:
        done += len(text)
        end = first.start + (last.end - first.start) * done / letters
        spread.append(replace(word, text=text, start=start, end=end))
        start = end
    return spread


def _parts(text: str) -> tuple[str, ...]:
    return tuple(filter(None, _PARTS.split(text.casefold())))


def _marks(split: re.Match[str] | None) -> tuple[str, str]:
    return ("", "") if split is None else (split[1], split[3])


def _joined(text: str, after: str) -> str:
    """The marks after a word, without a full stop if the word already ends with one."""
    return after[1:] if text.endswith(".") and after.startswith(".") else after
