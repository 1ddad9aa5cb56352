"""Rules for phrases with numbers: how "twelve dollars and fifty cents" or "half past three" is written.

The forms follow the rules and examples in Amazon Transcribe's documentation ("Transcribing numbers"):
numbers from 10 in digits, smaller ones as words unless they are part of an amount, a time, a date, a
measure or a string of digits. Where a number can be read in two ways, the words around it decide; in doubt
words stay.

Each rule is a function `(reader, index)`. It returns the pieces of the phrase that begins at this token, or
None if it does not apply. It reads tokens through the Reader, which records how far the rule looks.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from transcribed.recognition.number_words import (
    DIGITS,
    HUNDRED,
    MULTIPLIERS,
    NUMBER_WORDS,
    ONES,
    ORDINAL_WORDS,
    PLURAL_TENS,
    REPEATED,
    SCALES,
    TEENS,
    Digits,
    Number,
    below_hundred,
    cardinal,
    decimal,
    digits,
    fraction,
    ordinal,
)

_FEWEST_IN_DIGITS = 10
"""The smallest number that is written in digits wherever it stands."""
_NOON = 12
_MINUTES, _MOST_DAYS = 60, 31
_MINUTES_TO_HOURS = frozenset([5, 10, 20, 25])
"""Minutes, besides a quarter and half an hour, that are named before "past" and "to"."""
_FIRST_CENTURY, _LAST_CENTURY = 11, 21
_THREE_DIGITS = 100
_FIRST_OF_LAST_CENTURY = 2100
_LONG_NUMBER, _AFTER_HUNDREDS, _MOST_EXACT = 1000, 2000, 10**15


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MONTHS = _words("january february march april may june july august september october november december")
WORDS_AND_MONTHS = _words("march may august")
"""Months that are also other words, unless they have a capital."""
_MERIDIEMS = {"am": "AM", "pm": "PM"}
_DOTTED_MERIDIEMS = _words("a.m p.m")
_WORDS_AND_ORDINALS = frozenset([1, 2])
"""Days whose names may be other words after "may": "I may second that"."""
_BEFORE_TIMES = _words("at by until till til from since around")
_TO_HOURS = _words("to till til before")
_BEFORE_YEARS = _words(
    "in since year of by until till from late early mid around circa summer spring autumn fall winter "
    "copyright"
)
_CODES = _words(
    "flight room route highway interstate channel gate suite apartment extension code pin platform page "
    "chapter section version figure bus number zip building terminal ward locker boeing exit psalm article"
)
_WEAK_CODES = _words("number code pin zip bus exit building")
"""Those of _CODES after which a number below 10 stays a word: "number one"."""
_TELEPHONE = _words("phone telephone cell mobile fax call dial text hotline reach")
_NEAR = 8
"""One of the words above within so many tokens before digits tells that they are a telephone number."""
_STREETS = _words(
    "street st avenue ave road rd drive lane boulevard blvd court place way terrace square highway parkway "
    "circle crescent close broadway"
)
_LONGEST_STREET = 3
_MOST_PIECES = 4
_LENGTHS_OF_TELEPHONES = frozenset([7, 10, 11])
_CURRENCIES = {
    "dollar": "$",
    "dollars": "$",
    "euro": "€",
    "euros": "€",
    "rupee": "₹",
    "rupees": "₹",
    "yen": "¥",
}
_POUNDS = _words("pound pounds quid")
_COINS = {
    "$": _words("cent cents"),
    "€": _words("cent cents"),
    "£": _words("penny pence p"),
    "₹": _words("paisa paise"),
}
_ALL_COINS = _words("cent cents pence")
_POSSESSIVES = _words("my your his her their our")
_PREFIXES = ("", "kilo", "centi", "milli", "mega", "giga", "tera", "micro", "nano")
_METRIC = _words("meter metre gram liter litre watt volt hertz byte")
_UNITS = frozenset(
    f"{prefix}{unit}{s}" for prefix in _PREFIXES for unit in _METRIC for s in ("", "s")
) | _words(
    "degree degrees mile miles acre acres hectares gallon gallons ounce ounces amp amps mph knots pixels "
    "teaspoon teaspoons tablespoon tablespoons calories"
)
_COUNTED = _UNITS | _words(
    "second seconds minute minutes hour hours day days week weeks month months year years percent dollars "
    "euros pounds cents bucks feet inches yards people men women kids guys times points things items "
    "questions"
)
"""Words after which two numbers in a row are neither a year nor a time: "fifteen twenty minutes"."""
_BEFORE_HUNDREDS = _words("few several couple many of")
_VAGUE = _words("something somethings odd ish")
_SPANS = _words("to or")
_OF_SECONDS = _words(
    "clip delay timer timeout spot ad countdown rule window pause break interval intervals video videos "
    "warning silence commercial slot"
)
"""Words after which "thirty second" is a length of time."""
_FISCAL = _words("last past next first these those previous final the")
_QUARTER = 4
_FRACTION_FOLLOWERS = _words("of inch mile cup teaspoon tablespoon acre ounce") | {""}
_NAMED_FRACTIONS = {"half": (1, 2), "quarter": (1, 4), "third": (1, 3)}
_VULGAR = {
    (1, 2): "½",
    (1, 4): "¼",
    (3, 4): "¾",
    (1, 3): "⅓",
    (2, 3): "⅔",
    (1, 8): "⅛",
    (3, 8): "⅜",
    (5, 8): "⅝",
    (7, 8): "⅞",
}
_DECIMALS = {(1, 2): ".5", (1, 4): ".25", (3, 4): ".75"}
STARTS = (
    NUMBER_WORDS | ORDINAL_WORDS | _MERIDIEMS.keys() | _words("a p half quarter minus negative plus point")
)
"""The words that a phrase may start with, besides digits."""
_LITERAL = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_NOTES = re.compile(r"([$€£₹])(?:\d{1,3}(?:,\d{3})+|\d+)")
_MINUTE = re.compile(r"[0-5]\d")
_CLOCK = re.compile(r"\d{1,2}(?::\d\d)?")
_TELEPHONE_NUMBER = re.compile(r"(1)?([2-9]\d\d)?([2-9]\d\d)(\d{4})")
_SUFFIXES = {1: "st", 2: "nd", 3: "rd"}


class Token(NamedTuple):
    """A spoken word in lower case, or a part of a hyphenated number. `word` is the index of its Word."""

    text: str
    word: int
    capital: bool
    joined: bool
    """Whether no opening mark and no change of speaker separates it from the token before it."""
    closing: str
    """What follows it in its word and ends a phrase: punctuation, or the rest of a hyphenated word."""
    last: bool
    """Whether it is the last of its Word."""


class Piece(NamedTuple):
    """The text of one written word without its punctuation, and the index after the last token replaced.

    `text` is None if the word stays as it is. `kind` says what the word is if the next phrase depends on
    that: "number", "time", "day", "month", or the name of a month that may be another word.
    """

    text: str | None
    end: int
    kind: str = ""


class Reader:
    """Reads the tokens of a phrase from `start` on. `kind` is that of the piece before it.

    `reach` is the index of the last token on which a decision depended. It is the number of tokens if a
    decision depended on the end of the text.
    """

    def __init__(self, tokens: Sequence[Token], *, american: bool) -> None:
        self.tokens = tokens
        self.american = american
        """Whether telephone numbers are North American, and "pounds" more often a weight than money."""
        self.start = 0
        self.reach = 0
        self.kind = ""
        self._joined = 0

    def go_to(self, start: int, kind: str) -> None:
        """Begin a phrase."""
        self.start = self.reach = self._joined = start
        self.kind = kind

    def at(self, i: int) -> str:
        """The token, or "" where the phrase ends, by punctuation or by the end of the text."""
        while self._joined < i:
            token = self.tokens[self._joined]
            if token.closing and not (token.closing == "," and token.text in DIGITS):
                return ""
            following = self._joined + 1
            self.reach = max(self.reach, following)
            if following >= len(self.tokens) or not self.tokens[following].joined:
                return ""
            if token.closing and not self._are_digits(token.text, self.tokens[following].text):
                return ""
            self._joined = following
        return self.tokens[i].text

    @staticmethod
    def _are_digits(one: str, other: str) -> bool:
        """Whether two words with a comma between them are still one string of digits: "one, oh, oh"."""
        return other in DIGITS and "0" in {DIGITS[one], DIGITS[other]} and "o" not in {one, other}

    def before(self, count: int = 1) -> str:
        """The token `count` places before the phrase, or "" if punctuation separates them."""
        for n in range(self.start, self.start - count, -1):
            if n == 0 or not self.tokens[n].joined or self.tokens[n - 1].closing:
                return ""
        return self.tokens[self.start - count].text

    def capital(self, i: int) -> bool:
        """Whether a token that `at` returned has a capital."""
        return self.tokens[i].capital


def phrase(r: Reader) -> list[Piece] | None:
    """The written form of the phrase that starts here, by the first rule that applies; None without one."""
    for rule in _RULES:
        pieces = rule(r, r.start)
        # A phrase does not end within a word.
        if pieces is not None and all(r.tokens[piece.end - 1].last for piece in pieces):
            return pieces
    return None


class _Quantity(NamedTuple):
    """A written number, its end and its value. `plain`: a whole number that was said in words."""

    text: str
    end: int
    value: float
    scale: str | None = None
    plain: bool = False


class _Currency(NamedTuple):
    """A currency's symbol, and the index after its name."""

    text: str
    end: int


def _meridiem(r: Reader, i: int) -> Piece | None:
    """The words "a m", "pm" or "p.m."."""
    word = r.at(i)
    if word in _DOTTED_MERIDIEMS:
        return Piece(None, i + 1)
    if word in {"a", "p"} and r.at(i + 1) == "m":
        return Piece(_MERIDIEMS[f"{word}m"], i + 2)
    if word in _MERIDIEMS and (word == "pm" or r.at(i + 1) != "i"):
        return Piece(_MERIDIEMS[word], i + 1)
    return None


def _after_time(r: Reader, i: int) -> list[Piece] | None:
    if r.kind != "time" or (found := _meridiem(r, i)) is None:
        return None
    return [found]


def _idiom(r: Reader, i: int) -> list[Piece] | None:
    for said, text in _IDIOMS:
        if not all(r.at(i + n) == word for n, word in enumerate(said)):
            continue
        end = i + len(said)
        is_time = r.before() in _BEFORE_TIMES or _meridiem(r, end) is not None
        if r.at(end) in NUMBER_WORDS or is_time or (text == "20/20" and not _is_sight(r, end)):
            continue
        return [Piece(text, end)]
    return None


def _is_sight(r: Reader, end: int) -> bool:
    """Whether the phrase is about "twenty twenty vision", and not about the year."""
    return r.at(end) in {"vision", "hindsight"} or (r.before() == "is" and r.before(2) == "hindsight")


def _past_the_hour(r: Reader, i: int) -> list[Piece] | None:
    has_article = r.at(i) == "a"
    word = r.at(i + has_article)
    end = i + has_article + 1
    if word == "quarter":
        minute = _MINUTES // 4
    elif word == "half":
        minute = _MINUTES // 2
    elif (found := below_hundred(r.at, i)) is not None and found.value in _MINUTES_TO_HOURS:
        minute, end = found
    else:
        return None
    is_to = _is_to_hour(r, end, word, has_article=has_article or r.before() == "a")
    if not is_to and r.at(end) != "past" and (r.at(end), word) != ("after", "quarter"):
        return None
    hour = below_hundred(r.at, end + 1)
    if hour is None or hour.value > _NOON or _continues(r, hour.end) or r.at(hour.end) in _COUNTED:
        return None
    value = hour.value
    if is_to:
        value, minute = (value - 2) % _NOON + 1, _MINUTES - minute
    return [Piece(f"{value}:{minute:02}", hour.end, "time")]


def _is_to_hour(r: Reader, i: int, word: str, *, has_article: bool) -> bool:
    """Whether minutes before the hour end here: "quarter to", "quarter of", "it's ten to"."""
    if word == "quarter":
        return r.at(i) in _TO_HOURS or (r.at(i) == "of" and not has_article)
    return word != "half" and r.at(i) == "to" and r.before() in {"it's", "at"}


def _continues(r: Reader, i: int) -> bool:
    """Whether more of a number follows."""
    word = r.at(i)
    return word in NUMBER_WORDS or word in ORDINAL_WORDS or word in {"percent", "point"}


def _time(r: Reader, i: int) -> list[Piece] | None:
    if _CLOCK.fullmatch(r.at(i)) is not None:
        if _MINUTE.fullmatch(r.at(i + 1)) is not None and _meridiem(r, i + 2) is not None:
            return [Piece(f"{r.at(i)}:{r.at(i + 1)}", i + 2, "time")]
        return [Piece(None, i + 1, "time")] if _meridiem(r, i + 1) is not None else None
    hour = TEENS.get(r.at(i)) or ONES.get(r.at(i))
    if hour is None or hour > _NOON:
        return None
    if r.at(i + 1) == "o'clock" or _meridiem(r, i + 1) is not None:
        return [Piece(str(hour), i + 1, "time")]
    has_oh = r.at(i + 1) in {"oh", "zero", "o"}
    minute = below_hundred(r.at, i + 1 + has_oh)
    if minute is None or minute.value >= _MINUTES or (minute.value < _FEWEST_IN_DIGITS) != has_oh:
        return None
    is_time = _meridiem(r, minute.end) is not None or _is_time(r, hour, minute, has_oh=has_oh)
    return [Piece(f"{hour}:{minute.value:02}", minute.end, "time")] if is_time else None


def _is_time(r: Reader, hour: int, minute: Number, *, has_oh: bool) -> bool:
    """Whether an hour and a minute without "o'clock", "am" or "pm" are a time, and not a year or a code."""
    following = r.at(minute.end)
    if _continues(r, minute.end) or following in _COUNTED or following in _CURRENCIES:
        return False
    if r.before() in _BEFORE_TIMES or r.before() in _CODES or r.before() in _BEFORE_YEARS:
        return r.before() in _BEFORE_TIMES
    if has_oh:
        return hour >= _FEWEST_IN_DIGITS
    step = 5 if hour >= _FEWEST_IN_DIGITS else 15
    return minute.value % step == 0 and not _is_address(r, minute.end)


def _is_address(r: Reader, end: int) -> bool:
    """Whether the name of a street follows."""
    for n in range(_LONGEST_STREET):
        word = r.at(end + n)
        if n > 0 and word in _STREETS:
            return True
        if not word or not r.capital(end + n):
            return False
    return False


def _year_at(r: Reader, i: int) -> Number | None:
    """A year of two pairs of digits: "nineteen oh five"."""
    century = below_hundred(r.at, i)
    if century is None or not _FIRST_CENTURY - 1 <= century.value <= _LAST_CENTURY:
        return None
    value, end = century.value * 100, century.end
    if r.at(end) in {"oh", "o"} and (one := ONES.get(r.at(end + 1))) is not None:
        value, end = value + one, end + 2
    elif (rest := below_hundred(r.at, end)) is not None and rest.value >= _FEWEST_IN_DIGITS:
        value, end = value + rest.value, rest.end
    else:
        return None
    return None if _continues(r, end) or r.at(end) in _COUNTED else Number(value, end)


def _date(r: Reader, i: int) -> list[Piece] | None:
    """A day beside its month."""
    if (day := ordinal(r.at, i)) is not None:
        is_date = day.value <= _MOST_DAYS and (
            r.kind == "month"
            or (
                r.kind in WORDS_AND_MONTHS
                and (day.value not in _WORDS_AND_ORDINALS or _has_year(r, day.end))
            )
            or (r.at(day.end) == "of" and r.at(day.end + 1) in MONTHS)
            or _is_month(r, day.end)
        )
        return [Piece(_with_suffix(day.value), day.end, "day")] if is_date else None
    day = below_hundred(r.at, i)
    if day is None or day.value > _MOST_DAYS or r.at(day.end) in MULTIPLIERS:
        return None
    piece = Piece(str(day.value), day.end, "day")
    has_year = _has_year(r, day.end)
    if r.kind == "month" or (r.kind in WORDS_AND_MONTHS and has_year):
        is_year = not has_year and _year_at(r, i) is not None
        is_else = (
            r.at(day.end) in _COUNTED or r.at(day.end) == "o'clock" or _meridiem(r, day.end) is not None
        )
        return None if is_year or is_else else [piece]
    is_date = _is_month(r, day.end) or (r.at(day.end) in MONTHS and _has_year(r, day.end + 1))
    return [piece] if is_date else None


def _is_month(r: Reader, i: int) -> bool:
    """Whether a month follows, and not the same word in another sense."""
    return r.at(i) in MONTHS and (r.capital(i) or r.at(i) not in WORDS_AND_MONTHS)


def _has_year(r: Reader, i: int) -> bool:
    return _year_at(r, i) is not None or _thousands_year(r, i) is not None


def _thousands_year(r: Reader, i: int) -> Number | None:
    """A year such as "two thousand and five"."""
    if r.at(i) != "two" or r.at(i + 1) != "thousand":
        return None
    found = cardinal(r.at, i)
    is_year = found is not None and found.value < _FIRST_OF_LAST_CENTURY
    return found if is_year else None


def _year(r: Reader, i: int) -> list[Piece] | None:
    after_date = r.kind in {"month", "day"} or r.before() in MONTHS
    in_year = after_date or r.before() in _BEFORE_YEARS
    if in_year and (year := _thousands_year(r, i)) is not None:
        is_amount = _continues(r, year.end) or r.at(year.end) in _COUNTED
        return None if is_amount else [Piece(str(year.value), year.end)]
    if (found := _decade(r, i)) is not None:
        return found
    year = _year_at(r, i)
    if year is None:
        return None
    is_late = year.value // 100 >= _FIRST_CENTURY or year.value % 100 >= _MINUTES
    return [Piece(str(year.value), year.end)] if is_late or in_year else None


def _decade(r: Reader, i: int) -> list[Piece] | None:
    century = below_hundred(r.at, i)
    if century is None or not _FIRST_CENTURY <= century.value <= _LAST_CENTURY:
        return None
    word = r.at(century.end)
    years = PLURAL_TENS.get(word, 10 if word == "tens" else 0 if word == "hundreds" else None)
    if years is None:
        return None
    return [Piece(f"{century.value * 100 + years}s", century.end + 1)]


def _toll_free(r: Reader, i: int) -> list[Piece] | None:
    """A telephone number such as "one eight hundred five five five one two three four"."""
    first = i + (r.at(i) == "one")
    area = ONES.get(r.at(first))
    if area is None or r.at(first + 1) != HUNDRED:
        return None
    rest = digits(r.at, first + 2)
    if rest is None or len(rest.text) != len("5551234"):
        return None
    country = "1-" if first > i else ""
    return [Piece(f"{country}{area}00-{rest.text[:3]}-{rest.text[3:]}", rest.end)]


def _digit_string(r: Reader, i: int) -> list[Piece] | None:
    begin = i + (r.at(i) == "plus")
    found = digits(r.at, begin)
    if found is None:
        return None
    doubled = r.at(begin) in REPEATED
    longer = _with_pairs(r, found)
    dotted = decimal(r.at, longer) if begin == i else None
    if dotted is not None and (len(longer.text) > 1 or dotted.text.count(".") > 1):
        return [Piece(dotted.text, dotted.end)]
    text, end = longer
    if begin > i:
        return [Piece(f"+{text}", end)] if len(text) >= len("5551234") else None
    if dotted is not None or r.at(end) in MULTIPLIERS:
        return None
    is_code = r.before() in _CODES or (r.before() == "is" and r.before(2) in _CODES)
    shortest = len("11") if is_code or doubled else len("111")
    return [Piece(_grouped(r, text), end)] if len(text) >= shortest else None


def _with_pairs(r: Reader, found: Digits) -> Digits:
    """The digits with numbers of two digits after them, if they make a telephone number."""
    text, end = found
    if len(text) < len("555"):
        return found
    longest = max(_LENGTHS_OF_TELEPHONES)
    while len(text) < longest and (pair := below_hundred(r.at, end)) is not None:
        if pair.value < _FEWEST_IN_DIGITS:
            break
        text, end = f"{text}{pair.value}", pair.end
        if (more := digits(r.at, end)) is not None:
            text, end = text + more.text, more.end
    is_complete = len(text) in _LENGTHS_OF_TELEPHONES and r.at(end) not in MULTIPLIERS
    return Digits(text, end) if is_complete else found


def _grouped(r: Reader, text: str) -> str:
    """Digits with dashes if they are a North American telephone number and the words before say so."""
    recent = {token.text for token in r.tokens[max(0, r.start - _NEAR) : r.start]}
    found = _TELEPHONE_NUMBER.fullmatch(text)
    if found is None or not r.american or not recent & _TELEPHONE:
        return text
    return "-".join(group for group in found.groups() if group)


def _code(r: Reader, i: int) -> list[Piece] | None:
    """Numbers said in pieces after a word such as "flight", or before a street."""
    is_code = r.before() in _CODES
    text, end, pieces = "", i, 0
    while pieces < _MOST_PIECES and (found := below_hundred(r.at, end)) is not None:
        if r.at(found.end) in MULTIPLIERS:
            break
        text, end, pieces = f"{text}{found.value}", found.end, pieces + 1
        if r.at(end) in {"oh", "zero"} and (one := ONES.get(r.at(end + 1))) is not None:
            text, end, pieces = f"{text}0{one}", end + 2, pieces + 1
    if pieces == 0 or r.at(end) in {"percent", "point", "dot", *_ALL_COINS} | _CURRENCIES.keys():
        return None
    if is_code:
        alone = pieces == 1 and int(text) < _FEWEST_IN_DIGITS
        if alone and (r.before() in _WEAK_CODES or r.at(end) in {"of", *_SPANS}):
            return None
        return [Piece(text, end)]
    return [Piece(text, end)] if pieces > 1 and _is_address(r, end) else None


def _fraction(r: Reader, i: int) -> list[Piece] | None:
    found = fraction(r.at, i)
    if found is None:
        return None
    numerator, denominator, end = found
    is_fiscal = r.before() in _FISCAL and denominator == _QUARTER
    if is_fiscal or (numerator == 1 and r.at(end) not in _FRACTION_FOLLOWERS):
        return None
    return [Piece(f"{numerator}/{denominator}", end)]


def _span(r: Reader, i: int) -> list[Piece] | None:
    """A number below 10 that begins a span whose second number is in digits: the "5" of "5 to 10"."""
    if (low := ONES.get(r.at(i))) is None:
        return None
    between = r.at(i + 1) == "and" and r.before() == "between"
    if r.at(i + 1) not in _SPANS and not between:
        return None
    high = _quantity(r, i + 2)
    if high is None or _ends_vaguely(r, i + 2, low) or high.value <= low:
        return None
    if (symbol := _currency(r, high)) is not None:
        return [Piece(f"{symbol.text}{low}", i + 1)]
    is_large = high.value >= _FEWEST_IN_DIGITS or _has_unit(r, high.end)
    return [Piece(str(low), i + 1)] if is_large else None


def _ends_vaguely(r: Reader, i: int, low: int) -> bool:
    """Whether the smaller number shares the scale of the larger one: "two or three hundred"."""
    high = ONES.get(r.at(i))
    return high is not None and high > low and r.at(i + 1) in MULTIPLIERS


def _has_unit(r: Reader, i: int) -> bool:
    return _is_unit(r, i) or _percent(r, i) is not None


def _is_unit(r: Reader, i: int) -> bool:
    if r.at(i) in {"square", "cubic"}:
        return r.at(i + 1) in _UNITS or r.at(i + 1) in {"feet", "foot", "inches", "yards"}
    return r.at(i) in _UNITS


def _percent(r: Reader, i: int) -> int | None:
    """The index after "percent"."""
    if r.at(i) == "percent":
        return i + 1
    return i + 2 if r.at(i) == "per" and r.at(i + 1) == "cent" else None


def _vague(r: Reader, i: int) -> list[Piece] | None:
    """Numbers that stay words: "half a million", and "two or three hundred", whose first is not written."""
    if r.before() == "half" and r.at(i) == "a" and r.at(i + 1) in MULTIPLIERS:
        return _as_spoken(r, i, i + 2)
    low = ONES.get(r.before(2))
    if r.before() not in _SPANS or low is None or not _ends_vaguely(r, i, low):
        return None
    end = i + 1
    while r.at(end) in MULTIPLIERS:
        end += 1
    return _as_spoken(r, i, end)


def _amount(r: Reader, i: int) -> list[Piece] | None:
    """A quantity with the unit or currency that it counts, if there is one."""
    is_difference = r.kind == "number" or r.before() in NUMBER_WORDS
    has_sign = r.at(i) in {"minus", "negative"} and not is_difference
    quantity = _quantity(r, i + has_sign)
    if quantity is None:
        return None
    if r.at(quantity.end) in _VAGUE:
        return _as_spoken(r, i, quantity.end)
    sign = "-" if has_sign else ""
    return _money(r, quantity, sign) or _counted(r, i, quantity, sign)


def _counted(r: Reader, i: int, quantity: _Quantity, sign: str) -> list[Piece] | None:
    text, end, value, scale, plain = quantity
    if scale is not None:
        return [Piece(f"{sign}{text}", end - 1), Piece(scale, end, "number")]
    if (after := _percent(r, end)) is not None:
        return [Piece(f"{sign}{text}%", after, "number")]
    if plain and value < _FEWEST_IN_DIGITS and not sign:
        return _small(r, text, i, end)
    return [Piece(f"{sign}{text}", end, "number")]


def _small(r: Reader, text: str, i: int, end: int) -> list[Piece] | None:
    """A number below 10."""
    is_coin = r.at(end) in _ALL_COINS and r.before() not in _POSSESSIVES
    is_score = r.before() == "to" and r.before(2) in NUMBER_WORDS - DIGITS.keys()
    if is_coin or _is_unit(r, end) or (is_score and r.at(end) != "of"):
        return [Piece(text, end, "number")]
    following = below_hundred(r.at, end)
    if following is None or following.value < _FEWEST_IN_DIGITS or r.at(following.end) in MULTIPLIERS:
        return None
    counted = r.at(following.end)
    # "two fifty" may be 250, 2:50 or $2.50, and "two fifty dollar bills" are two.
    if counted in _CURRENCIES and counted.endswith("s"):
        return _money(
            r, _Quantity(f"{text}{following.value}", following.end, _THREE_DIGITS, plain=True), ""
        )
    if (after := _percent(r, following.end)) is not None:
        return [Piece(f"{text}{following.value}%", after, "number")]
    if counted in _UNITS and counted.endswith("s"):
        return [Piece(f"{text}{following.value}", following.end, "number")]
    is_counted = counted in _COUNTED or counted in _CURRENCIES
    return None if is_counted else _as_spoken(r, i, following.end)


def _as_spoken(r: Reader, i: int, end: int) -> list[Piece]:
    """Pieces for words that stay as they are."""
    return [Piece(None, n + 1) for n in range(i, end) if r.tokens[n].last]


def _quantity(r: Reader, i: int) -> _Quantity | None:
    """A number of any size with its decimals, its fraction, and its scale."""
    word = r.at(i)
    if _LITERAL.fullmatch(word) is not None:
        return _scaled(r, word, i + 1, float(word.replace(",", "")))
    if word in {"point", "zero"}:
        return _below_one(r, i)
    if word == "a" and r.at(i + 1) in SCALES and r.at(i + 1) != "thousand":
        scale = r.at(i + 1)
        is_money = r.at(i + 2) in _CURRENCIES or r.at(i + 2) in _POUNDS
        return _Quantity("1", i + 2, SCALES[scale], scale) if is_money else None
    if word == HUNDRED and (r.at(i + 1) != "and" or not _may_be_one(r.before())):
        return None
    number = cardinal(r.at, i, joined=r.before() != "between")
    return None if number is None else _continued(r, i, number)


def _may_be_one(before: str) -> bool:
    """Whether "hundred" after this word may be one hundred."""
    return before not in _BEFORE_HUNDREDS | NUMBER_WORDS and not before[:1].isdigit()


def _below_one(r: Reader, i: int) -> _Quantity | None:
    """A number that begins with "zero", or with "point" if it is one ("at this point five people")."""
    has_zero = r.at(i) == "zero"
    found = decimal(r.at, Digits("0", i + has_zero))
    if found is not None and (has_zero or _has_unit(r, found.end) or r.at(found.end) in _CURRENCIES):
        return _scaled(r, found.text, found.end, 0.5)
    is_zero = has_zero and r.at(i + 1) not in DIGITS
    return _Quantity("0", i + 1, 0, plain=True) if is_zero else None


def _continued(r: Reader, i: int, number: Number) -> _Quantity:
    """A whole number with its decimals, its fraction, or its scale."""
    value, end = number
    dotted = decimal(r.at, Digits(str(value), end))
    if dotted is not None and (value > 1 or not _is_moment(r, dotted.end)):
        return _scaled(r, dotted.text, dotted.end, value + 0.5)
    if value < _LONG_NUMBER and (mixed := _mixed(r, value, end)) is not None:
        return mixed
    scale = r.tokens[end - 1].text
    if scale in SCALES and scale != "thousand" and value % SCALES[scale] == 0:
        return _Quantity(f"{value // SCALES[scale]:,}", end, value, scale)
    hundreds = end - i == len(("fifteen", HUNDRED)) and _LONG_NUMBER < value < _AFTER_HUNDREDS
    return _Quantity(str(value) if hundreds else f"{value:,}", end, value, plain=True)


def _is_moment(r: Reader, end: int) -> bool:
    """Whether "one point five" that ends here means "at one point, five"."""
    is_amount = r.at(end) in MULTIPLIERS or _has_unit(r, end)
    return r.before() in {"at", "this", "that", "any"} and not is_amount


def _scaled(r: Reader, text: str, end: int, value: float) -> _Quantity:
    scale = r.at(end)
    if scale in SCALES:
        return _Quantity(text, end + 1, value * SCALES[scale], scale)
    return _Quantity(text, end, value)


def _mixed(r: Reader, whole: int, end: int) -> _Quantity | None:
    """The whole number with "and a half" or "and three quarters"."""
    if r.at(end) != "and":
        return None
    if r.at(end + 1) == "a" and r.at(end + 2) in _NAMED_FRACTIONS:
        part, after = _NAMED_FRACTIONS[r.at(end + 2)], end + 3
    elif (found := fraction(r.at, end + 1)) is not None:
        part, after = found[:2], found[2]
    else:
        return None
    following = r.at(after)
    wants_decimals = following in SCALES or following in _CURRENCIES or _percent(r, after) is not None
    if wants_decimals and part in _DECIMALS:
        return _scaled(r, f"{whole}{_DECIMALS[part]}", after, whole + 0.5)
    text = f"{whole}{_VULGAR[part]}" if part in _VULGAR else f"{whole}-{part[0]}/{part[1]}"
    return _Quantity(text, after, whole + 0.5)


def _currency(r: Reader, quantity: _Quantity) -> _Currency | None:
    word = r.at(quantity.end)
    if word in _CURRENCIES:
        return _Currency(_CURRENCIES[word], quantity.end + 1)
    if word not in _POUNDS or r.at(quantity.end + 1) == "of":
        return None
    after = quantity.end + 1
    if r.at(after) == "sterling":
        return _Currency("£", after + 1)
    coins = _coins(r, after, "£")
    weighs = r.before().startswith("weigh")
    is_money = coins is not None or (not r.american and not weighs) or word == "quid"
    return _Currency("£", after) if is_money else None


def _coins(r: Reader, i: int, symbol: str) -> Number | None:
    """Coins after notes: "and fifty cents", "fifty cents", or "fifty" at the end of a phrase."""
    joined = r.at(i) == "and"
    word = r.at(i + joined)
    is_literal = word.isdecimal() and len(word) < len("100")
    coins = Number(int(word), i + joined + 1) if is_literal else below_hundred(r.at, i + joined)
    if coins is None:
        return None
    if r.at(coins.end) in _COINS.get(symbol, ()):
        return Number(coins.value, coins.end + 1)
    is_last = not joined and coins.value >= _FEWEST_IN_DIGITS and not r.at(coins.end)
    return coins if is_last else None


def _notes(r: Reader, i: int) -> list[Piece] | None:
    """An amount that has a symbol, and coins in words after it: "$5 and fifty cents"."""
    found = _NOTES.fullmatch(r.at(i))
    coins = None if found is None else _coins(r, i + 1, found[1])
    if coins is None or coins.end == i + 2:
        return None
    return [Piece(f"{r.at(i)}.{coins.value:02}", coins.end, "number")]


def _money(r: Reader, quantity: _Quantity, sign: str) -> list[Piece] | None:
    currency = _currency(r, quantity)
    if currency is None:
        return None
    text, _, value, scale, plain = quantity
    symbol, end = currency
    if scale is not None:
        return [
            Piece(f"{sign}{symbol}{text}", quantity.end - 1),
            Piece(scale, end, "number"),
        ]
    if plain or text.replace(",", "").isdigit():
        text = f"{int(value):,}" if _LONG_NUMBER <= value < _MOST_EXACT else text
        if (coins := _coins(r, end, symbol)) is not None:
            text, end = f"{text}.{coins.value:02}", coins.end
    elif re.fullmatch(r"\d+\.\d", text):
        text += "0"
    return [Piece(f"{sign}{symbol}{text}", end, "number")]


def _ordinal(r: Reader, i: int) -> list[Piece] | None:
    found = ordinal(r.at, i)
    if found is None or found.value < _FEWEST_IN_DIGITS:
        return None
    value, end = found
    last = r.at(end - 1)
    following = r.at(end)
    if last == "second" and (following in _OF_SECONDS or r.before() in {"a", "an", "every", "another"}):
        return [Piece(str(value - 2), end - 1, "number")]
    if r.before() in {"a", "an"} and following == "of":
        return None
    return [Piece(_with_suffix(value), end)]


def _with_suffix(value: int) -> str:
    suffix = "th" if value // 10 % 10 == 1 else _SUFFIXES.get(value % 10, "th")
    return f"{value:,}{suffix}"


_IDIOMS = (
    (("twenty", "four", "seven"), "24/7"),
    (("fifty", "fifty"), "50-50"),
    (("nine", "eleven"), "9/11"),
    (("twenty", "twenty"), "20/20"),
)
_RULES: Sequence[Callable[[Reader, int], list[Piece] | None]] = (
    _after_time,
    _past_the_hour,
    _idiom,
    _date,
    _time,
    _toll_free,
    _digit_string,
    _code,
    _year,
    _ordinal,
    _fraction,
    _vague,
    _span,
    _notes,
    _amount,
)
"""The rules, in order of precedence."""
