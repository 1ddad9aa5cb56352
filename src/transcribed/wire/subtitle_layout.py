"""Division of timed text into subtitles, and of subtitles into lines.

Where each subtitle begins is decided for the whole text at once, by dynamic programming over its words, as
Knuth and Plass do for the lines of a paragraph (1981, "Breaking Paragraphs into Lines"). The ends of
sentences and phrases are recognised in all scripts; words such as "the", after which no line should end, in
English only.
"""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

LINE_COLUMNS = 42
"""Columns in a line. A wide character (Chinese, Japanese, Korean) takes two columns, any other one."""
SHORTEST = 1_000
"""The shortest time on screen in ms; a subtitle that is due sooner is delayed."""
LONGEST = 7_000
"""The longest time on screen in ms."""
COLUMNS_A_SECOND = 17
"""Reading speed. A subtitle stays until it can have been read, unless the next one is due sooner."""

# The costs of breaking a line, or of ending a subtitle.
_AT_SENTENCE = 0.0
_AT_PHRASE = 3.0
_AT_CONJUNCTION = 5.0
_AT_PREPOSITION = 7.0
_BETWEEN_WORDS = 11.0
_IN_PHRASE = 18.0
_IN_WORD = 40.0
# The other costs of a subtitle.
_SUBTITLE, _ENDING = 6.0, 2.0
"""Each subtitle; and the weight of the cost of its end, compared with a line's end."""
_NARROW, _MISSING_COLUMN = 24, 0.4
"""Each column by which a subtitle is narrower than _NARROW: avoids single words."""
_SILENT_SECOND, _MOST_SILENT = 15.0, 60.0
"""Each second of silence inside, up to a maximum: avoids showing words long before they are spoken."""
_HURRIED_SECOND, _MOST_HURRIED = 6.0, 30.0
"""Each second that is lacking for reading, up to a maximum."""
_DELAYING = 10_000.0
"""Delaying the next subtitle; greater than all other costs of two subtitles together."""
_UNBALANCED_COLUMN = 0.35
"""Each column by which one of two lines is wider than the other."""
_PAUSE = 300
"""ms of silence that end a phrase."""

_OPENING, _CLOSING = "([{\"'“‘«‹¿¡", ")]}\"'”’»›"
_SENTENCE_ENDS = tuple(".!?…。！？؟।۔")
_PHRASE_ENDS = tuple(",;:–—、，；：،؛")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ABBREVIATIONS = _words("mr. mrs. ms. dr. st. prof.")
_CONJUNCTIONS = _words(
    "although and because before but if nor or since so than that though unless until what when where "
    "whereas whether which while who whom whose why yet"
)
_PREPOSITIONS = _words(
    "about above across after against along among around as at behind below beneath beside besides between "
    "beyond by despite during except for from in inside into like near off on onto out outside over past "
    "through throughout to toward towards under upon via with within without"
)
_BOUND_TO_NEXT = _words(
    "a am an are can could did do does every had has have he her his i is it its may might must my no not "
    "of our shall she should some the their these they this those very was we were will would you your"
).union(_CONJUNCTIONS, _PREPOSITIONS)


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of text that is never broken: a word, or a part of a word that no line could hold.

    `start` and `end` are in ms. `spaced` means that a space precedes it, unless it begins a line. Units of
    different turns, between which another voice speaks, are never in one subtitle.
    """

    text: str
    spaced: bool
    start: int
    end: int
    turn: int = 0


def columns_of(text: str) -> int:
    """The width of a text in columns."""
    return len(text) if text.isascii() else len(text) + sum(map(is_wide, text))


def is_wide(character: str) -> bool:
    """Whether a character takes two columns."""
    return unicodedata.east_asian_width(character) in {"F", "W"}


def reading_time(columns: int) -> int:
    """The time that it takes to read so many columns, in ms."""
    return -(-columns * 1000 // COLUMNS_A_SECOND)


class Layout:
    """The division of units into subtitles of at most two lines with `width` columns each."""

    def __init__(self, units: Sequence[Unit], width: int) -> None:
        self._units = units
        self._width = width
        # The columns at which each unit would begin and end if all were in one line.
        self._begins: list[int] = []
        self._ends: list[int] = []
        column = 0
        for unit in units:
            self._begins.append(column + unit.spaced)
            column += unit.spaced + columns_of(unit.text)
            self._ends.append(column)
        self._full = [bisect_right(self._ends, begin + width) for begin in self._begins]
        """For each unit, the end of the longest line that begins with it."""
        self._full.append(len(units))
        self._earliest = [bisect_left(self._begins, end - width) for end in (0, *self._ends)]
        """For each end, the first unit of the longest line that ends there."""
        self._break_cost = [*(_break_cost(*pair) for pair in pairwise(units)), _AT_SENTENCE]
        """For each unit, the cost of a break after it."""
        silences = (max(0, after.start - before.end) for before, after in pairwise(units))
        self._silent = list(accumulate(silences, initial=0))
        """For each unit, the ms of silence before it since the beginning."""

    def columns(self, first: int, end: int) -> int:
        """The width of units [first, end) in one line."""
        return self._ends[end - 1] - self._begins[first]

    def division(self) -> list[tuple[int, int]]:
        """The cheapest division into subtitles, each as its units [first, end)."""
        costs, firsts = [0.0], [0]
        for end in range(1, len(self._units) + 1):
            first = end - 1
            cost, found = costs[first] + self._cost(first, end), first
            while first > 0 and self._can_be_one(first - 1, end):
                first -= 1
                if (other := costs[first] + self._cost(first, end)) < cost:
                    cost, found = other, first
            costs.append(cost)
            firsts.append(found)
        division: list[tuple[int, int]] = []
        end = len(self._units)
        while end > 0:
            division.append((firsts[end], end))
            end = firsts[end]
        return division[::-1]

    def lines(self, first: int, end: int) -> tuple[str, ...]:
        """The one or two lines of the subtitle with units [first, end)."""
        if self.columns(first, end) <= self._width:
            return (self._text(first, end),)
        _, middle = self._broken(first, end)
        return self._text(first, middle), self._text(middle, end)

    def _broken(self, first: int, end: int) -> tuple[float, int]:
        """The cheapest break into two lines: its cost, and the first unit of the second line."""
        # Twice the end of the first line, less `both`, is by how many columns that line is wider.
        both = self._begins[first] + self._ends[end - 1]
        return min(
            (
                self._break_cost[middle - 1] + _UNBALANCED_COLUMN * abs(2 * self._ends[middle - 1] - both),
                middle,
            )
            for middle in range(max(first + 1, self._earliest[end]), self._full[first] + 1)
        )

    def _can_be_one(self, first: int, end: int) -> bool:
        one, last = self._units[first], self._units[end - 1]
        return (
            self._full[self._full[first]] >= end
            and last.end - one.start <= LONGEST
            and one.turn == last.turn
        )

    def _cost(self, first: int, end: int) -> float:
        """The cost of one subtitle."""
        columns = self.columns(first, end)
        cost = _SUBTITLE + _ENDING * self._break_cost[end - 1]
        if columns > self._width:
            cost += self._broken(first, end)[0]
        else:
            cost += _MISSING_COLUMN * max(0, _NARROW - columns)
        silent = self._silent[end - 1] - self._silent[first]
        cost += min(_MOST_SILENT, _SILENT_SECOND * silent / 1000)
        if end == len(self._units):
            return cost
        time = self._units[end].start - self._units[first].start
        hurried = max(0, reading_time(columns) - time)
        cost += min(_MOST_HURRIED, _HURRIED_SECOND * hurried / 1000)
        return cost + (_DELAYING if time < SHORTEST else 0.0)

    def _text(self, first: int, end: int) -> str:
        following = (" " * unit.spaced + unit.text for unit in self._units[first + 1 : end])
        return self._units[first].text + "".join(following)


def _break_cost(before: Unit, after: Unit) -> float:
    cost = _cost_by_text(before.text.rstrip(_CLOSING).lower(), after)
    return min(cost, _AT_PHRASE) if after.start - before.end >= _PAUSE else cost


def _cost_by_text(before: str, after: Unit) -> float:
    word = before.lstrip(_OPENING)
    following = after.text.strip(_OPENING + _CLOSING + ",").lower()
    if word in _ABBREVIATIONS:
        cost = _IN_PHRASE
    elif word.endswith(_SENTENCE_ENDS):
        cost = _AT_SENTENCE
    elif word.endswith(_PHRASE_ENDS):
        cost = _AT_PHRASE
    elif not after.spaced:
        cost = _BETWEEN_WORDS if is_wide(after.text[0]) else _IN_WORD
    elif word in _BOUND_TO_NEXT:
        cost = _IN_PHRASE
    elif following in _CONJUNCTIONS:
        cost = _AT_CONJUNCTION
    elif following in _PREPOSITIONS:
        cost = _AT_PREPOSITION
    else:
        cost = _BETWEEN_WORDS
    return cost
