"""Writes spoken numbers as people write them: "twelve dollars and fifty cents" as "$12.50".

The text is read from left to right, phrase by phrase. The written form of a phrase depends on the words
before it, on its own words, and on at most a few words after it. A written word is settled when all words
that it depends on are. So the written form of settled words never changes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from transcribed.recognition.number_phrases import (
    MONTHS,
    STARTS,
    WORDS_AND_MONTHS,
    Piece,
    Reader,
    Token,
    phrase,
)
from transcribed.recognition.number_words import ONES, ORDINAL_WORDS, PARTS
from transcribed.transcript import Segment, Word

_OPENING = "\"'“‘«([{¿¡"
_CLOSING = ".,!?;:…)]}\"'”’»–—"
_SENTENCE_END = ".!?…"
_SYMBOLS = frozenset("$€£₹")
_LETTERS_O = frozenset(["o'", "o’"])
_AMERICAN = ("en-us", "en-ca")
_MERIDIEMS = frozenset(["am", "pm"])


class _Parts(NamedTuple):
    """The parts of a word: `tail` is what follows the numbers of a hyphenated word ("-year-old")."""

    opening: str
    tokens: tuple[str, ...]
    tail: str
    closing: str
    capital: bool


def written_form(segment: Segment) -> Segment:
    """The segment with its numbers in digits.

    A word that replaces several has their time and the lowest of their confidences.
    """
    # Some engines return a text without words.
    spoken = segment.words or tuple(Word(text) for text in segment.text.split())
    parts = [_split(word.text) for word in spoken]
    if not any(_may_begin(each.tokens[0]) for each in parts):
        return segment
    words = tuple(_written(spoken, parts, segment))
    return replace(segment, text=" ".join(word.text for word in words), words=words)


def _may_begin(token: str) -> bool:
    return token in STARTS or token[:1].isdigit() or token[:1] in _SYMBOLS


@lru_cache(maxsize=16384)
def _split(text: str) -> _Parts:
    if text.lower() in _LETTERS_O:
        return _Parts("", ("o",), "", "", capital=False)
    core = text.lstrip(_OPENING)
    opening = text[: len(text) - len(core)]
    stripped = core.rstrip(_CLOSING)
    closing = core[len(stripped) :]
    lower = stripped.lower().replace("’", "'")
    whole = _Parts(opening, (lower,), "", closing, stripped[:1].isupper())
    if "-" not in lower:
        return whole
    split = lower.split("-")
    numbers = 0
    while numbers < len(split) and split[numbers] in PARTS:
        numbers += 1
    # "one-way" and "first-class" are not numbers.
    if numbers == 0 or (numbers == 1 and split[0] in ONES) or split[0] in ORDINAL_WORDS:
        return whole
    tail = stripped[len("-".join(split[:numbers])) :]
    return _Parts(opening, tuple(split[:numbers]), tail, closing, whole.capital)


def _tokens(spoken: Sequence[Word], parts: Sequence[_Parts]) -> list[Token]:
    tokens: list[Token] = []
    speaker = None
    for index, (word, each) in enumerate(zip(spoken, parts, strict=True)):
        joined = index > 0 and not each.opening and word.speaker == speaker
        speaker = word.speaker
        last = len(each.tokens) - 1
        for n, text in enumerate(each.tokens):
            closing = each.tail + each.closing if n == last else ""
            tokens.append(Token(text, index, each.capital, joined or n > 0, closing, n == last))
    return tokens


def _written(spoken: Sequence[Word], parts: Sequence[_Parts], segment: Segment) -> Iterator[Word]:
    tokens = _tokens(spoken, parts)
    reader = Reader(tokens, american=segment.language.lower().startswith(_AMERICAN))
    first_unsettled = next(
        (n for n, token in enumerate(tokens) if not spoken[token.word].stable), len(tokens)
    )
    start, kind, settled = 0, "", True
    while start < len(tokens):
        reader.go_to(start, kind)
        is_name = _is_name(tokens[start], parts) and kind not in {"month", "day"}
        pieces = None if is_name or not _may_begin(tokens[start].text) else phrase(reader)
        if pieces is None:
            pieces = [_unchanged(tokens, start)]
        settled = settled and (segment.final or reader.reach < first_unsettled)
        for piece in pieces:
            first, last = tokens[start].word, tokens[piece.end - 1].word
            text = piece.text
            if text is None:
                text = spoken[first].text
            else:
                text = f"{parts[first].opening}{text}{parts[last].tail}{parts[last].closing}"
            yield _joined(spoken[first : last + 1], text, settled=settled)
            start = piece.end
        kind = pieces[-1].kind


def _is_name(token: Token, parts: Sequence[_Parts]) -> bool:
    """Whether a number has a capital within a sentence, as in "the Big Ten"."""
    if not token.capital or token.word == 0 or token.text in _MERIDIEMS:
        return False
    return not any(mark in _SENTENCE_END for mark in parts[token.word - 1].closing)


def _unchanged(tokens: Sequence[Token], start: int) -> Piece:
    end = start + 1
    while not tokens[end - 1].last:
        end += 1
    token = tokens[start]
    is_month = token.text in MONTHS and (token.capital or token.text not in WORDS_AND_MONTHS)
    return Piece(None, end, "month" if is_month else token.text if token.text in MONTHS else "")


def _joined(words: Sequence[Word], text: str, *, settled: bool) -> Word:
    if len(words) == 1 and text == words[0].text and (settled or not words[0].stable):
        return words[0]
    confidences = [word.confidence for word in words if word.confidence is not None]
    marks = [word.filtered for word in words if word.filtered is not None]
    unknown = any(word.stable is None for word in words)
    return replace(
        words[0],
        text=text,
        end=words[-1].end,
        confidence=min(confidences, default=None),
        stable=None if unknown else settled and all(word.stable for word in words),
        filtered=any(marks) if marks else None,
    )
