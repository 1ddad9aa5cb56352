"""Writes numbers, times, dates and money as English words: "$3.50" as "three dollars and fifty cents".

The text does not tell how a number was spoken. The forms follow the examples in Amazon Transcribe's
documentation ("fifty dollars", "ten thirty a m", "one oh one", "one point five"), and otherwise American
usage: no hyphens, and "and" only before cents and fractions.

The spoken form of a word depends on the word and the one before it. Only money also depends on the next
word ("$3 million"), and is not stable before that is. So the spoken form of stable words never changes.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal

from transcribed.transcript import Segment, Word

_OPENING = "\"'“‘«([{¿¡"
_CLOSING = ".,!?;:…)]}\"'”’»-–—"
_MOST_DIGITS = 15
"""The most digits of a number that is read as a number. A longer one is read digit by digit."""
_MOST_PLAIN_DIGITS = 6
"""The same without commas and final zeros: a longer one is probably a telephone or account number."""

_WHOLE = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_AMOUNT = rf"(?:{_WHOLE}(?:\.\d+)?|\.\d+)"
_MERIDIEM = r"(?i:([ap])(?:\.m\.?|m))"
_SCALE = "thousand|million|billion|trillion"
_SHORT_SCALES = {"k": "thousand", "m": "million", "b": "billion", "bn": "billion", "t": "trillion"}
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "¥": ("yen", "yen", "sen", "sen"),
}
_CURRENCY = f"[{''.join(_CURRENCIES)}]"
_SYMBOLS = {
    "+": "plus",
    "=": "equals",
    "×": "times",
    "÷": "divided by",
    "&": "and",
    "%": "percent",
    "°": "degrees",
    "#": "number",
    "¢": "cents",
} | {symbol: names[1] for symbol, names in _CURRENCIES.items()}
_FRACTIONS = {2: ("half", "halves"), 4: ("quarter", "quarters")}
_COMMON_DENOMINATORS = frozenset([*range(2, 11), 16, 32, 64, 100, 1000])
_DIGIT_GROUPS = frozenset([(3, 4), (3, 3, 4), (1, 3, 3, 4), (3, 2, 4)])
"""Lengths of the groups of digits in telephone and social security numbers."""
_SIGNS = {"-": "minus", "+": "plus"}
_HOURS, _MINUTES = 24, 60
_NOON = 12
_FIRST_YEAR, _LAST_YEAR = 1010, 2199
_MONTH = re.compile("January|February|March|April|May|June|July|August|September|October|November|December")
_ABBREVIATION = re.compile(
    r"(?:nos?|vol|fig|vs|approx|pp?|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.", re.IGNORECASE
)
"""Abbreviations before numbers, whose dot ends no sentence."""

_MONEY_ALONE = re.compile(rf"[-+]?[A-Z]{{0,3}}{_CURRENCY}{_AMOUNT}(?:[-–]{_AMOUNT})?")
_SCALE_ALONE = re.compile(rf"(?:{_SCALE})[{re.escape(_CLOSING)}]*")
_CLOCK_ALONE = re.compile(r"\d{1,2}(?::\d\d)?")
_MERIDIEM_ALONE = re.compile(_MERIDIEM)
_DAY_ALONE = re.compile(r"0?[1-9]|[12]\d|3[01]")
_INITIAL = re.compile(r"(?:^|\W)[^\W\d_]\.$")
_HUNDREDS = re.compile(r"[1-9]00")
_DIGIT_BY_DIGIT = re.compile(r"0\d*|[1-9]0[1-9]|911")
_PIECE = re.compile(
    rf"\d{{1,3}}(?:,\d{{3}})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)*"
    rf"|[{re.escape(''.join(_SYMBOLS))}]|[^\d{re.escape(''.join(_SYMBOLS))}]+"
)
_TO_ASCII = str.maketrans({"⁄": "/", "−": "-", "‐": "-", "‑": "-", "–": "-"})


def spoken_form(segment: Segment) -> Segment:
    """The segment with its numbers as words.

    The words that replace one divide its time in proportion to their lengths, and copy its other fields.
    """
    # Some engines return a text without words.
    written = segment.words or [Word(text) for text in segment.text.split()]
    spoken: list[Word] = []
    before = ""
    for word in _join_scales(written, segment.final):
        spoken += _divide(word, _speak(word.text, before).split())
        before = word.text
    return replace(segment, text=" ".join(word.text for word in spoken), words=tuple(spoken))


def _join_scales(words: Sequence[Word], final: bool) -> Iterator[Word]:
    """The words, with "$3 million" joined to one. Money is stable only if the next word is."""
    rest = iter(enumerate(words, 1))
    for after, word in rest:
        if _MONEY_ALONE.fullmatch(word.text.lstrip(_OPENING)) is None:
            yield word
            continue
        following = words[after] if after < len(words) else None
        may_change = not final if following is None else following.stable is False
        money = replace(word, stable=False) if word.stable and may_change else word
        if following is None or _SCALE_ALONE.fullmatch(following.text) is None:
            yield money
        else:
            next(rest)
            known = [each.confidence for each in (word, following) if each.confidence is not None]
            yield replace(
                money,
                text=f"{word.text} {following.text}",
                end=following.end,
                confidence=min(known, default=None),
            )


def _divide(word: Word, texts: Sequence[str]) -> Iterator[Word]:
    if word.start is None or word.end is None or len(texts) == 1:
        yield from (replace(word, text=text) for text in texts)
        return
    letters = sum(map(len, texts))
    passed = 0
    start = word.start
    for text in texts:
        passed += len(text)
        end = word.end if passed == letters else word.start + (word.end - word.start) * passed / letters
        yield replace(word, text=text, start=start, end=end)
        start = end


def _speak(text: str, before: str) -> str:
    """The spoken form of a word, or of an amount of money with its scale, after the word `before`."""
    core = text.lstrip(_OPENING)
    opening = text[: len(text) - len(core)]
    closing = core[len(core.rstrip(_CLOSING)) :]
    core = _to_ascii(core.removesuffix(closing))
    previous = _to_ascii(before.lstrip(_OPENING))
    meridiem = _MERIDIEM_ALONE.fullmatch(core)
    if meridiem is not None and _CLOCK_ALONE.fullmatch(previous):
        # The last dot of "a.m." is part of it.
        return f"{meridiem[1].lower()} m{closing.removeprefix('.') if '.' in core else closing}"
    if core == "%" and previous[-1:].isdigit():
        return f"{_SYMBOLS[core]}{closing}"
    if re.search(r"\d", core) is None:
        return text
    if _MONTH.fullmatch(previous) and _DAY_ALONE.fullmatch(core):
        phrase = _spelled(int(core), "ordinal")
    elif opening.endswith("(") and closing.startswith(")") and re.fullmatch(r"\d{3}", core):
        opening, phrase, closing = opening[:-1], _digits(core), closing[1:]
    else:
        phrase = _speak_number(core)
        # The opening mark is part of "'90s" and "(555)123-4567".
        if re.fullmatch(r"\d0s|\d{3}\)[\d-]+", core):
            opening = opening[:-1]
    if phrase[0] != core[0] and _ends_sentence(before):
        phrase = phrase[0].upper() + phrase[1:]
    return f"{opening}{phrase}{closing}"


def _to_ascii(text: str) -> str:
    """The text with the digits, fractions and signs of all scripts in ASCII."""
    if text.isascii():
        return text
    text = re.sub(r"(?<=\d)(?=[¼-¾⅐-⅞])", "&", text)
    text = unicodedata.normalize("NFKC", text).translate(_TO_ASCII)
    digits = ((char, unicodedata.digit(char, None)) for char in text)
    return "".join(char if digit is None else str(digit) for char, digit in digits)


def _ends_sentence(before: str) -> bool:
    """Whether a sentence starts after this word. One does after no word ("")."""
    last = before.rstrip("\"'”’»)]}")
    if not last.endswith((".", "!", "?", "…")):
        return not last
    return _INITIAL.search(last) is None and _ABBREVIATION.fullmatch(last) is None


def _speak_number(text: str) -> str:
    for pattern, read in _READINGS:
        if (found := pattern.fullmatch(text)) is not None and (spoken := read(found)) is not None:
            return spoken
    parts = [part for part in re.split(r"[-/_]+", text) if part]
    if parts == [text]:
        return _speak_pieces(text)
    return " ".join(_speak_number(part) if re.search(r"\d", part) else part for part in parts)


def _speak_pieces(text: str) -> str:
    """Spoken numbers, letters and symbols in order, with all other characters kept in place."""
    spoken = [""]
    for piece in _PIECE.findall(text):
        word = _number(piece) if piece[0].isdigit() else _SYMBOLS.get(piece) or piece.strip("':")
        if re.match(r"\w", word) and re.search(r"\w", spoken[-1]):
            spoken.append(word)
        else:
            spoken[-1] += word
    return " ".join(spoken)


def _telephone(found: re.Match[str]) -> str | None:
    groups = re.split(r"[-.)]", found[2])
    if tuple(map(len, groups)) not in _DIGIT_GROUPS or _is_amount(found[2]):
        return None
    sign = [_SIGNS["+"]] if found[1] else []
    spoken = [_cardinal(each) if _HUNDREDS.fullmatch(each) else _digits(each) for each in groups]
    return " ".join(sign + spoken)


def _signed(found: re.Match[str]) -> str:
    return f"{_SIGNS[found[1]]} {_speak_number(found[2])}"


def _money(found: re.Match[str]) -> str:
    country, symbol, amount, to, scale, short = found.groups()
    one, many, cent, cents = _CURRENCIES[symbol]
    scale = scale or _SHORT_SCALES.get((short or "").lower())
    country = f"{country} " if country else ""
    if to is not None or scale is not None:
        words = [_amount(amount), *(["to", _amount(to)] if to else []), *([scale] if scale else [])]
        return f"{' '.join(words)} {country}{many}"
    whole, _, fraction = amount.partition(".")
    if len(fraction) != len("00"):
        return f"{_amount(amount)} {country}{one if amount == '1' else many}"
    coins = f"{_cardinal(fraction)} {cent if fraction == '01' else cents}"
    if not whole.strip("0,") and fraction != "00":
        return coins
    notes = f"{_cardinal(whole or '0')} {country}{one if whole == '1' else many}"
    return notes if fraction == "00" else f"{notes} and {coins}"


def _clock(found: re.Match[str]) -> str | None:
    hour, minute, meridiem = found.groups()
    if int(hour) > _HOURS or int(minute or 0) >= _MINUTES:
        return None
    words = [_cardinal(hour)]
    if minute == "00" and int(hour) > _NOON:
        words.append("hundred")
    elif minute not in {None, "00"}:
        words.append(_digits(minute) if minute[0] == "0" else _cardinal(minute))
    return " ".join([*words, f"{meridiem.lower()} m"] if meridiem else words)


def _fraction(found: re.Match[str]) -> str | None:
    whole, numerator, denominator = found.groups()
    if int(denominator) not in _COMMON_DENOMINATORS or not 0 < int(numerator) < int(denominator):
        return None
    ordinal = _spelled(int(denominator), "ordinal")
    one, many = _FRACTIONS.get(int(denominator), (ordinal, _plural(ordinal)))
    spoken = f"{_cardinal(numerator)} {one if int(numerator) == 1 else many}"
    return f"{_cardinal(whole)} and {spoken}" if whole else spoken


def _ratio(found: re.Match[str]) -> str:
    return f"{_number(found[1])} to {_number(found[2])}"


def _range(found: re.Match[str]) -> str | None:
    low, high, rest = found.groups()
    if float(low.replace(",", "")) >= float(high.replace(",", "")):
        return None
    return f"{_number(low)} to {_speak_pieces(high + rest)}"


def _ordinal(found: re.Match[str]) -> str | None:
    digits = found[1].replace(",", "")
    if len(digits) > _MOST_DIGITS:
        return None
    ordinal = _spelled(int(digits), "ordinal")
    return _plural(ordinal) if found[2] else ordinal


def _plurals(found: re.Match[str]) -> str:
    digits, apostrophe = found.groups()
    number = _number(digits)
    return f"{number}{apostrophe}s" if apostrophe and digits[-1] != "0" else _plural(number)


_READINGS: Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], str | None]]] = [
    (re.compile(r"(\+?)(\d{1,3}(?:[-.)]\d{2,4}){1,3})"), _telephone),
    (re.compile(rf"([-+])((?:\d|\.\d|[A-Z]{{0,3}}{_CURRENCY}).*)", re.DOTALL), _signed),
    (
        re.compile(
            rf"([A-Z]{{0,3}})({_CURRENCY})({_AMOUNT})(?:-({_AMOUNT}))?(?: ({_SCALE})|((?i:bn|[kmbt])))?"
        ),
        _money,
    ),
    (re.compile(rf"(\d{{1,2}})(?::(\d\d))?(?:{_MERIDIEM})"), _clock),
    (re.compile(r"(\d{1,2}):(\d\d)()"), _clock),
    (re.compile(r"(?:(\d+)[&-])?(\d{1,3})/(\d{1,4})"), _fraction),
    (re.compile(r"(\d+):(\d+)"), _ratio),
    (re.compile(rf"({_AMOUNT})-({_AMOUNT})([^-/\d]*)"), _range),
    (re.compile(r"(\d+)[x×](\d+)"), lambda found: f"{_number(found[1])} by {_number(found[2])}"),
    (re.compile(rf"({_WHOLE})(?:st|nd|rd|th)(s?)", re.IGNORECASE), _ordinal),
    (re.compile(r"(\d+)(['’]?)s"), _plurals),
    (re.compile(_AMOUNT), lambda found: _number(found[0])),
]
"""Patterns of words, tried in order, and functions that read a match. None means that it does not apply."""


def _is_amount(text: str) -> bool:
    return re.fullmatch(_AMOUNT, text) is not None


def _number(text: str) -> str:
    """A number by itself, which may have several dots, as versions do."""
    if text.count(".") > 1:
        return " point ".join(map(_number, text.split(".")))
    if "." in text or "," in text or text == "0":
        return _amount(text)
    if _DIGIT_BY_DIGIT.fullmatch(text) or (len(text) > _MOST_PLAIN_DIGITS and not text.endswith("000")):
        return _digits(text)
    if len(text) == len("1984") and _FIRST_YEAR <= int(text) <= _LAST_YEAR:
        return _spelled(int(text), "year")
    return _cardinal(text)


def _amount(text: str) -> str:
    whole, _, fraction = text.partition(".")
    words = [_cardinal(whole)] if whole else []
    if fraction:
        words += ["point", *(_spelled(int(digit), "cardinal") for digit in fraction)]
    return " ".join(words)


def _cardinal(text: str) -> str:
    digits = text.replace(",", "")
    return _digits(digits) if len(digits) > _MOST_DIGITS else _spelled(int(digits), "cardinal")


def _digits(text: str) -> str:
    return " ".join("oh" if digit == "0" else _spelled(int(digit), "cardinal") for digit in text)


def _plural(words: str) -> str:
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith("x") else f"{words}s"


@lru_cache(maxsize=4096)
def _spelled(number: int, kind: Literal["cardinal", "ordinal", "year"]) -> str:
    from num2words import num2words  # noqa: PLC0415 - it loads all languages, and few streams need it

    words: str = num2words(number, to=kind)
    return words.replace("-", " ").replace(",", "").replace(" and ", " ")
