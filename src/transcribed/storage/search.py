"""Tokenising of texts and searches, full-text queries, and excerpts with highlighted hits. Pure.

Both databases get texts and searches tokenised by this module, so that they find the same. Removing a text
from an index requires the words that were indexed: a change of `words_of` needs a migration that rebuilds
the index.

A word is a run of letters, digits and combining marks, without accents and in lower case. In scripts that
are written without spaces, each character is a word, and a searched run of characters is a phrase.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from functools import lru_cache
from itertools import pairwise

from transcribed.errors import BadRequest

MOST_WORDS = 64
"""The most words in one search."""
LONGEST_WORD = 100
"""Characters; longer words are truncated."""
LONGEST_EXCERPT = 160
"""Characters."""

Phrase = tuple[str, ...]
"""Consecutive words."""
Pieces = tuple[tuple[str, bool], ...]
"""Consecutive pieces of a text, each with whether it is a hit."""
Span = tuple[int, int]
"""The range [begin, end) of characters in a text."""

# PostgreSQL's limit for positions in a tsvector.
_HIGHEST_POSITION = 16383
_QUOTES = re.compile('["“”„‟«»]')
_ASCII_WORD = re.compile(r"[A-Za-z0-9]+")
# Thai and Lao, Burmese, Khmer, kana, Chinese characters.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff]"
)
_ACCENTS = re.compile("[\u0300-\u036f]")
_VOICED = "\uff9e\uff9f"
"""The voicing marks of halfwidth kana, which Unicode classifies as letters."""


class _Kind(Enum):
    LETTER = auto()
    ALONE = auto()
    """A word of one character."""
    MARK = auto()
    """Belongs to the character before it."""
    BETWEEN = auto()
    """Separates words."""


@lru_cache(4096)
def _kind(character: str) -> _Kind:
    category = unicodedata.category(character)
    if category[0] == "M" or category == "Cf" or character in _VOICED:
        return _Kind.MARK
    if category[0] not in "LN":
        return _Kind.BETWEEN
    return _Kind.ALONE if _UNSPACED.match(character) else _Kind.LETTER


def _spans(text: str) -> Iterator[Span]:
    """The positions of words."""
    if text.isascii():
        yield from (match.span() for match in _ASCII_WORD.finditer(text))
        return
    begun: int | None = None
    alone = False
    for place, character in enumerate(text):
        kind = _kind(character)
        if kind is _Kind.MARK or (kind is _Kind.LETTER and begun is not None and not alone):
            continue
        if begun is not None:
            yield begun, place
        begun = None if kind is _Kind.BETWEEN else place
        alone = kind is _Kind.ALONE
    if begun is not None:
        yield begun, len(text)


def _folded(word: str) -> str:
    """The word without case, accents and compatibility forms (NFKC)."""
    if word.isascii():
        return word.lower()[:LONGEST_WORD]
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", word))
    plain = unicodedata.normalize("NFKC", plain.casefold())
    kept = (c for c in plain if _kind(c) is not _Kind.BETWEEN and unicodedata.category(c) != "Cf")
    return "".join(kept)[:LONGEST_WORD]


def words_of(text: str) -> list[str]:
    """The words of a text, as they are indexed and searched."""
    if text.isascii():
        return [word[:LONGEST_WORD] for word in _ASCII_WORD.findall(text.lower())]
    folded = (_folded(text[begin:end]) for begin, end in _spans(text))
    return [word for word in folded if word]


def phrases_of(search: str) -> tuple[Phrase, ...]:
    """The phrases of a search: single words, and "words in quotes". There are no operators.

    A word that contains punctuation is the phrase of its parts. Raises BadRequest for a search without a
    word, or with more than MOST_WORDS.
    """
    found = []
    for number, part in enumerate(_QUOTES.split(search)):
        in_quotes = number % 2 == 1
        found += [tuple(words_of(piece)) for piece in ([part] if in_quotes else part.split())]
    phrases = tuple(dict.fromkeys(phrase for phrase in found if phrase))
    if not phrases:
        raise BadRequest("The search has no word in it: give at least one letter or digit.")
    if sum(map(len, phrases)) > MOST_WORDS:
        raise BadRequest(f"The search is too long: give at most {MOST_WORDS} words.")
    return phrases


def fts5_query(phrases: Sequence[Phrase]) -> str:
    """A query for MATCH in SQLite's FTS5."""
    return " AND ".join(f'"{" ".join(phrase)}"' for phrase in phrases)


def tsquery(phrases: Sequence[Phrase]) -> str:
    """A query for PostgreSQL, to be cast to tsquery."""
    return " & ".join("'" + "' <-> '".join(phrase) + "'" for phrase in phrases)


def tsvector(text: str) -> str:
    """A text for PostgreSQL, to be cast to tsvector."""
    return " ".join(
        f"'{word}':{min(place, _HIGHEST_POSITION)}" for place, word in enumerate(words_of(text), 1)
    )


def excerpt(text: str, phrases: Sequence[Phrase] = (), longest: int = LONGEST_EXCERPT) -> Pieces:
    """At most `longest` characters of a text around its first hit, or else from its beginning.

    Hits are marked. An ellipsis (…) stands where the text was cut.
    """
    spans = [span for span in _spans(text) if _folded(text[slice(*span)])]
    hits = _hits([_folded(text[slice(*span)]) for span in spans], spans, phrases)
    begin, end = _window(text, spans, hits[0][0] if hits else 0, longest)
    return tuple(_pieces(text, begin, end, hits))


def _hits(words: Sequence[str], spans: Sequence[Span], phrases: Sequence[Phrase]) -> list[Span]:
    """The positions of phrases; overlapping ones are merged."""
    found = sorted(
        (spans[place][0], spans[place + len(phrase) - 1][1])
        for phrase in phrases
        for place in range(len(words) - len(phrase) + 1)
        if tuple(words[place : place + len(phrase)]) == phrase
    )
    merged: list[Span] = []
    for begin, end in found:
        if merged and begin < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _window(text: str, spans: Sequence[Span], hit: int, longest: int) -> Span:
    """The range of the excerpt: whole words, a quarter of its length before the hit."""
    if len(text) <= longest:
        return 0, len(text)
    earliest = max(0, min(hit - longest // 4, len(text) - longest))
    begin = (
        0 if earliest == 0 else min((start for start, _ in spans if start >= earliest), default=earliest)
    )
    latest = begin + longest
    if latest >= len(text):
        return begin, len(text)
    return begin, max((end for _, end in spans if begin < end <= latest), default=latest)


def _pieces(text: str, begin: int, end: int, hits: Sequence[Span]) -> Iterator[tuple[str, bool]]:
    if begin > 0:
        yield "…", False
    shown = [(max(start, begin), min(stop, end)) for start, stop in hits if start < end and stop > begin]
    places = [begin, *(place for span in shown for place in span), end]
    for number, (start, stop) in enumerate(pairwise(places)):
        if start < stop:
            yield text[start:stop], number % 2 == 1
    if end < len(text):
        yield "…", False
