"""Parses English number words: "two hundred and five" is 205, "oh double five" the digits 055.

The functions read words through `at(index)`, which returns a word in lower case, or "" where the phrase
ends. So the caller, who provides `at`, learns which words a decision depends on. Results contain the index
after the last word. They are None if no such number begins at the index `i`.
"""

from collections.abc import Callable
from typing import NamedTuple

At = Callable[[int], str]

_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINAL_ONES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")

ONES = {word: value for value, word in enumerate(_ONES, 1)}
TEENS = {word: value for value, word in enumerate(_TEENS, 10)}
TENS = {each: 10 * tens for tens, each in enumerate(_TENS, 2)} | {"fourty": 40}
_THOUSAND = 1000
SCALES = {
    "thousand": _THOUSAND,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "quadrillion": 10**15,
}
HUNDRED = "hundred"
MULTIPLIERS = frozenset([HUNDRED, *SCALES])
DIGITS = {"zero": "0", "oh": "0", "o": "0"} | {word: str(value) for word, value in ONES.items()}
REPEATED = {"double": 2, "triple": 3, "treble": 3}
_POINTS = frozenset(["point", "dot"])

ORDINAL_ONES = {word: value for value, word in enumerate(_ORDINAL_ONES, 1)}
_ORDINAL_TEENS = {
    {"nine": "nin", "twelve": "twelf"}.get(word, word) + "th": value for word, value in TEENS.items()
}
_ORDINAL_TENS = {f"{word[:-1]}ieth": value for word, value in TENS.items()}
_ORDINAL_SCALES = {f"{word}th": value for word, value in ((HUNDRED, 100), *SCALES.items())}
PLURAL_TENS = {f"{word[:-1]}ies": value for word, value in TENS.items()}

_DENOMINATORS = {
    word: value
    for word, value in (ORDINAL_ONES | _ORDINAL_TEENS).items()
    if word not in {"first", "second"}
} | {"half": 2, "quarter": 4, "hundredth": 100, "thousandth": 1000}
_PLURAL_DENOMINATORS = {
    ("halves" if word == "half" else f"{word}s"): n for word, n in _DENOMINATORS.items()
}

NUMBER_WORDS = frozenset([*DIGITS, *TEENS, *TENS, *MULTIPLIERS, *REPEATED]) - {"o"}
"""Words of which cardinal numbers and strings of digits consist."""
ORDINAL_WORDS = frozenset([*ORDINAL_ONES, *_ORDINAL_TEENS, *_ORDINAL_TENS, *_ORDINAL_SCALES])
PARTS = NUMBER_WORDS | ORDINAL_WORDS | frozenset(_DENOMINATORS) | frozenset(_PLURAL_DENOMINATORS)
PARTS |= frozenset(PLURAL_TENS)
"""The words that may be parts of a hyphenated number."""


class Number(NamedTuple):
    """A number, and the index of the word after it."""

    value: int
    end: int


class Digits(NamedTuple):
    """A string of digits, possibly with points between, and the index of the word after it."""

    text: str
    end: int


def below_hundred(at: At, i: int) -> Number | None:
    """A number from 1 to 99."""
    word = at(i)
    if word in TENS:
        one = ONES.get(at(i + 1), 0)
        return Number(TENS[word] + one, i + 2 if one else i + 1)
    value = TEENS.get(word) or ONES.get(word)
    return None if value is None else Number(value, i + 1)


def cardinal(at: At, i: int, *, joined: bool = True) -> Number | None:
    """A number from 1. It may begin with "a hundred", "hundred" or "a thousand".

    "and" is part of it if `joined`.
    """
    total, smallest, position = 0, 10**18, i
    if at(i) == "a" and at(i + 1) in SCALES:
        smallest = SCALES[at(i + 1)]
        total, position = smallest, i + 2
        if joined and (tail := _after_and(at, position)) is not None:
            return Number(total + tail.value, tail.end)
    while (group := _group(at, position, joined=joined)) is not None:
        value, end = group
        scale = SCALES.get(at(end))
        if scale is None:
            # "two thousand twelve hundred" are two numbers.
            return group._replace(value=total + value) if value < smallest else Number(total, position)
        if scale >= smallest:
            break
        total, smallest, position = total + value * scale, scale, end + 1
        if joined and (tail := _after_and(at, position)) is not None:
            return Number(total + tail.value, tail.end)
    return Number(total, position) if total else None


def _group(at: At, i: int, *, joined: bool) -> Number | None:
    """A number that may stand before a scale such as "thousand": up to 999, or "fifteen hundred"."""
    if at(i) == HUNDRED or (at(i) == "a" and at(i + 1) == HUNDRED):
        hundreds = Number(1, i + (at(i) == "a"))
    elif (found := below_hundred(at, i)) is None:
        return None
    else:
        hundreds = found
    if at(hundreds.end) != HUNDRED or hundreds.value % 10 == 0:
        return hundreds
    value, end = hundreds.value * 100, hundreds.end + 1
    rest = below_hundred(at, end)
    if rest is not None and at(rest.end) != HUNDRED:
        return Number(value + rest.value, rest.end)
    if joined and (tail := _after_and(at, end)) is not None:
        return Number(value + tail.value, tail.end)
    return Number(value, end)


def _after_and(at: At, i: int) -> Number | None:
    """The rest after "and", unless it is another number: "two hundred and five hundred"."""
    if at(i) != "and" or (rest := below_hundred(at, i + 1)) is None:
        return None
    following = at(rest.end)
    is_pronoun = rest.value == 1 and following in {"of", "is", "was", "more", "other"}
    is_clock = following in ONES or following in TEENS or following in TENS
    return None if is_pronoun or is_clock or following == HUNDRED else rest


def ordinal(at: At, i: int) -> Number | None:
    """An ordinal number from 1."""
    if (simple := _ordinal_below_hundred(at, i)) is not None:
        return simple
    before = cardinal(at, i)
    if before is None:
        return None
    value, end = before
    word = at(end)
    if (scale := _ORDINAL_SCALES.get(word)) is not None:
        # "two thousand three hundredth" is 2000 and 3 times 100.
        group = value % _THOUSAND if scale < _THOUSAND else value % (scale * _THOUSAND)
        largest = min(scale, _THOUSAND)
        return Number(value + group * (scale - 1), end + 1) if 0 < group < largest else None
    if at(end - 1) in TENS and word in ORDINAL_ONES:
        return Number(value + ORDINAL_ONES[word], end + 1)
    if value % 100 == 0:
        rest = _ordinal_below_hundred(at, end + (word == "and"))
        if rest is not None:
            return Number(value + rest.value, rest.end)
    return None


def _ordinal_below_hundred(at: At, i: int) -> Number | None:
    word = at(i)
    if word in TENS and (one := ORDINAL_ONES.get(at(i + 1))) is not None:
        return Number(TENS[word] + one, i + 2)
    value = ORDINAL_ONES.get(word) or _ORDINAL_TEENS.get(word) or _ORDINAL_TENS.get(word)
    return None if value is None else Number(value, i + 1)


def digits(at: At, i: int, *, decimals: bool = False) -> Digits | None:
    """Digits spoken one by one, with "oh", "double" and "triple".

    A digit before "hundred" does not count, nor does one before "million" unless these are `decimals`.
    """
    found = ""
    multipliers = {HUNDRED} if decimals else MULTIPLIERS
    while True:
        times = REPEATED.get(at(i), 1)
        end = i + (2 if times > 1 else 1)
        digit = DIGITS.get(at(end - 1))
        # The letter O begins no number.
        is_letter = at(i) == "o" and not found and not decimals
        if digit is None or is_letter or at(end) in multipliers:
            return Digits(found, i) if found else None
        found += digit * times
        i = end


def decimal(at: At, whole: Digits) -> Digits | None:
    """The number `whole` with "point" (or "dot") and its decimals; with several points a version."""
    text, end = whole
    while at(end) in _POINTS:
        after = digits(at, end + 1, decimals=True)
        if after is None:
            number = below_hundred(at, end + 1)
            if number is not None and at(number.end) == HUNDRED:
                number = _group(at, end + 1, joined=False)
            if number is None:
                break
            after = Digits(str(number.value), number.end)
        text, end = f"{text}.{after.text}", after.end
    return None if end == whole.end else Digits(text, end)


def fraction(at: At, i: int) -> tuple[int, int, int] | None:
    """A fraction below 1 in lowest terms: its numerator, its denominator, and the index after it."""
    numerator = below_hundred(at, i)
    if numerator is None:
        return None
    value, end = numerator
    names = _DENOMINATORS if value == 1 else _PLURAL_DENOMINATORS
    denominator = names.get(at(end))
    if denominator is None or value >= denominator or not _is_reduced(value, denominator):
        return None
    return value, denominator, end + 1


def _is_reduced(numerator: int, denominator: int) -> bool:
    while denominator:
        numerator, denominator = denominator, numerator % denominator
    return numerator == 1
