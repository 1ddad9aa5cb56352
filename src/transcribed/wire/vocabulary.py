"""Parses vocabularies: a list of phrases, or Amazon Transcribe's table of them.

A list has one phrase on each line. A table has columns separated by tabs, whose names are on its first
line: Phrase, and in any order at least one of DisplayAs, IPA, SoundsLike, and Weight, which is this
project's own. Without a tab, a first line "Phrase" is a phrase: Amazon's tables have several columns. As in
Amazon's tables, IPA and SoundsLike have no effect; in the column Phrase, hyphens stand between words, and
letters with full stops are an acronym.
https://docs.aws.amazon.com/transcribe/latest/dg/custom-vocabulary-create-table.html
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from transcribed.errors import BadRequest, TooLarge, shown
from transcribed.options import Phrase

MOST_PHRASES = 10_000
"""The most phrases of a stream, from all its vocabularies. Names take 20 MB and 0.6 s for each model."""
MOST_TEXT = 300_000
"""The most characters of a stream's phrases together, without display forms: at most 120 MB."""
MOST_CHARACTERS = 256
"""The most characters of a phrase and of its display form; Amazon's limit."""
_LEAST_WEIGHT, _MOST_WEIGHT = 0.1, 3.0

_PHRASE, _DISPLAY, _WEIGHT = "phrase", "displayas", "weight"
_COLUMNS = (_PHRASE, "soundslike", "ipa", _DISPLAY, _WEIGHT)
_ACRONYM = re.compile(r"(?:\w\.){2,}")
MARKS = frozenset("'\u2019-.&/+#_ ")
"""The characters that a phrase may have besides letters, marks of letters and numbers."""


def decoded_lines(content: bytes) -> list[str]:
    """Return the lines of a vocabulary. Raises BadRequest if it is not UTF-8 text."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise BadRequest("The vocabulary is not a text in UTF-8. Save it as UTF-8, one phrase a line.")
    return text.splitlines()


def phrases_of(lines: Sequence[str]) -> tuple[Phrase, ...]:
    """Return the phrases of a vocabulary's lines, without duplicates.

    Raises BadRequest for a line that is not valid or contradicts another, and if there are no phrases.
    Raises TooLarge for more than MOST_PHRASES or MOST_TEXT.
    """
    found: dict[str, tuple[int, Phrase]] = {}
    characters = 0
    for number, phrase in _table(lines) if _is_table(lines) else _list(lines):
        _check(number, phrase)
        key = phrase.text.casefold()
        characters += 0 if key in found else len(phrase.text)
        before, known = found.setdefault(key, (number, phrase))
        if known.display != phrase.display or known.weight != phrase.weight:
            raise BadRequest(
                f"Line {number} of the vocabulary contradicts line {before}: both are about "
                f"{shown(phrase.text)}. Keep one of them."
            )
        if len(found) > MOST_PHRASES:
            raise TooLarge(f"The vocabulary has more than {MOST_PHRASES} phrases. Keep the rarest ones.")
        if characters > MOST_TEXT:
            raise TooLarge(
                f"The phrases of the vocabulary have more than {MOST_TEXT} characters. Keep the words that "
                "matter."
            )
    if not found:
        raise BadRequest("The vocabulary has no phrases. Write one on each line.")
    return tuple(phrase for _, phrase in found.values())


def _is_table(lines: Sequence[str]) -> bool:
    return bool(lines) and "\t" in lines[0] and _PHRASE in _cells(lines[0].lower())


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("\t")]


def _list(lines: Sequence[str]) -> Iterator[tuple[int, Phrase]]:
    for number, line in enumerate(lines, 1):
        if "\t" in line.strip():
            raise BadRequest(
                f"Line {number} of the vocabulary has a tab. The first line of a table names its columns: "
                "Phrase and DisplayAs, with a tab between."
            )
        if line.strip():
            yield number, Phrase(" ".join(line.split()))


def _table(lines: Sequence[str]) -> Iterator[tuple[int, Phrase]]:
    names = _cells(lines[0].lower())
    unknown = [name for name in names if name not in _COLUMNS]
    if unknown or len(set(names)) < len(names):
        raise BadRequest(
            "The columns of a vocabulary are Phrase, SoundsLike, IPA, DisplayAs and Weight, each at most "
            "once, with one tab between."
        )
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = _cells(line)
        if len(cells) > len(names):
            raise BadRequest(
                f"Line {number} of the vocabulary has {len(cells)} columns, and the first line names "
                f"{len(names)}. Separate columns by one tab."
            )
        row = dict(zip(names, cells, strict=False))
        text = _spoken(row[_PHRASE])
        if not text:
            raise BadRequest(f"Line {number} of the vocabulary has nothing in the column Phrase.")
        yield number, Phrase(text, row.get(_DISPLAY) or None, _weight(number, row.get(_WEIGHT) or "1"))


def _spoken(entry: str) -> str:
    """Return the words of an entry of the column Phrase, as they are spoken."""
    words = [word for word in re.split(r"[\s-]+", entry) if word]
    plain = [word.replace(".", "") if _ACRONYM.fullmatch(word) else word for word in words]
    # "A.B.C.-s" is the plural of an acronym.
    if len(words) > 1 and words[-1] == "s" and _ACRONYM.fullmatch(words[-2]):
        plain[-2:] = [plain[-2] + "s"]
    return " ".join(plain)


def _weight(number: int, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not _LEAST_WEIGHT <= weight <= _MOST_WEIGHT:
        raise BadRequest(
            f"Line {number} of the vocabulary has the weight {shown(text)}. It may be {_LEAST_WEIGHT} to "
            f"{_MOST_WEIGHT:g}; without a weight it is 1."
        )
    return weight


def _check(number: int, phrase: Phrase) -> None:
    where = f"Line {number} of the vocabulary"
    for text in filter(None, (phrase.text, phrase.display)):
        if len(text) > MOST_CHARACTERS:
            raise BadRequest(
                f"{where} has {len(text)} characters. A phrase has at most {MOST_CHARACTERS}: name the "
                "words that matter."
            )
        if any(unicodedata.category(each) in {"Cc", "Cs"} for each in text):
            raise BadRequest(f"{where} has a control character. Write words.")
    if not any(map(str.isalnum, phrase.text)):
        raise BadRequest(f"{where}, {shown(phrase.text)}, has no letter and no digit. Write words.")
    for each in phrase.text:
        if unicodedata.category(each)[0] not in "LMN" and each not in MARKS:
            raise BadRequest(
                f"{where} has {shown(each)}, which nobody speaks. Write the words as they are spoken; a "
                "display form (DisplayAs) may have any character."
            )
