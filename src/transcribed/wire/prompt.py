"""The phrases in a prompt, which clients of OpenAI send as a list of names or as text before the speech.

An engine here favours phrases, and has no other use for a prompt. Ordinary words of a text are not among
them: they need no help, and would be recognised where others are spoken.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain

from transcribed.options import Phrase
from transcribed.wire.vocabulary import MARKS, MOST_CHARACTERS

MOST_PHRASES = 1000
"""The most phrases of a prompt and keywords together; the rest are ignored."""
MOST_READ = 32 * 1024
"""The most characters of a prompt, and of the keywords, that are read; the rest are ignored. To read them
takes 1 microsecond each, in which nobody else is served."""
MOST_WORDS, MOST_PLAIN_WORDS = 4, 2
"""The most words of an item of a list: with a name among them, and without."""

_ITEM_END = re.compile(r"[,;|\n\u2022]|\s[-\u2013\u2014]\s|(?<=[.!?:])\s")
_WITHIN_TEXT = re.compile(r"[.!?]\s+\S")
_SENTENCE_END = re.compile(r"[.!?:\u2026][\"'\u201d\u2019)\]]*$")
_PAUSE = re.compile(r"[,;.!?:\u2026)\]\"\u201d]$")
_AROUND = " -./_'\u2019"
_JOINER = re.compile(r"^(?:and|or)\s+", re.IGNORECASE)
_PRONOUN = re.compile(r"I(?:['\u2019]\w+)?")


def phrases_of(prompt: str, keywords: Iterable[str] = ()) -> tuple[Phrase, ...]:
    """The phrases to favour: each keyword, and those of the prompt.

    In a list, whose items are between commas, semicolons or lines, each item is a phrase unless it has more
    than MOST_WORDS words. In another text the words that look like names are phrases: those with a capital
    letter that does not begin a sentence, with an inner capital letter, or with a digit among letters.
    """
    found: dict[str, Phrase] = {}
    for text in map(_spoken, chain(_within(keywords, MOST_READ), _of_prompt(prompt[:MOST_READ]))):
        if len(found) == MOST_PHRASES:
            break
        if text and len(text) <= MOST_CHARACTERS:
            found.setdefault(text.casefold(), Phrase(text))
    return tuple(found.values())


def _within(texts: Iterable[str], most: int) -> Iterator[str]:
    """The first texts, of at most so many characters together."""
    for text in texts:
        most -= len(text) + 1
        if most < 0:
            return
        yield text


def _of_prompt(prompt: str) -> Iterator[str]:
    items = [item.strip() for item in _ITEM_END.split(prompt) if item.strip()]
    is_list = not _WITHIN_TEXT.search(prompt) and all(map(_is_item, items))
    yield from (_JOINER.sub("", item) for item in items) if is_list else _names(prompt)


def _is_item(text: str) -> bool:
    words = _JOINER.sub("", text).split()
    most = MOST_WORDS if any(map(_is_name, words)) else MOST_PLAIN_WORDS
    return len(words) <= most


def _names(text: str) -> Iterator[str]:
    """The names in a text; consecutive ones are one phrase, of MOST_WORDS words at most."""
    if text.isupper():
        return
    names: list[str] = []
    begins_sentence = True
    for word in text.split():
        is_name = _is_name(word, begins_sentence=begins_sentence)
        names += [word] if is_name else []
        begins_sentence = bool(_SENTENCE_END.search(word))
        if names and (not is_name or len(names) == MOST_WORDS or _PAUSE.search(word)):
            yield " ".join(names)
            names = []
    if names:
        yield " ".join(names)


def _is_name(word: str, *, begins_sentence: bool = False) -> bool:
    word = word.strip("\"'(\u201c\u2018[")
    if _PRONOUN.fullmatch(word.rstrip(".,!?:")):
        return False
    capital_inside = any(map(str.isupper, word[1:]))
    digit_among_letters = any(map(str.isdigit, word)) and any(map(str.isalpha, word))
    return capital_inside or digit_among_letters or (word[:1].isupper() and not begins_sentence)


def _spoken(text: str) -> str:
    """The text without characters that no phrase may have; empty if nothing is left that can be spoken."""
    kept = (each if unicodedata.category(each)[0] in "LMN" or each in MARKS else " " for each in text)
    words = " ".join("".join(kept).split()).strip(_AROUND)
    return words if any(map(str.isalnum, words)) else ""
