"""Segments as subtitles: SRT and WebVTT.

The limits are those of broadcasters' guides: at most two lines of 42 columns, 1 to 7 s on screen, and at
most 17 columns a second where the speech leaves the time. Where a new subtitle begins is decided for the
whole transcript at once, by dynamic programming over all its words, as Knuth and Plass do it with lines
(1981, "Breaking Paragraphs into Lines").

Ends of sentences and phrases are told in every script; that no line should end in "the", of English alone.

Where it is known who speaks (see `voices`), a subtitle has one voice alone. Voices are divided each on its
own, so that what was said at the same time is shown at the same time. SRT tells them apart by two dashes,
as Amazon's subtitles do, WebVTT by voice spans.
"""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from transcribed.transcript import Segment, Word
from transcribed.wire.voices import voice, voices

LINE_COLUMNS = 42
"""Most characters are one column; wide ones (Chinese, Japanese, Korean) are two."""
SHORTEST = 1_000
"""ms of a subtitle at least; where the next is due sooner, that one comes late."""
LONGEST = 7_000
"""ms of a subtitle at most."""
COLUMNS_A_SECOND = 17
"""What can be read. A subtitle stays until it can have been read, if the next is not due sooner."""

# What it costs to break a line, or to end a subtitle: the less, the better a place it is.
_AT_SENTENCE = 0.0
_AT_PHRASE = 3.0
_AT_CONJUNCTION = 5.0
_AT_PREPOSITION = 7.0
_BETWEEN_WORDS = 11.0
_IN_PHRASE = 18.0
_IN_WORD = 40.0
# What else is said against a subtitle.
_SUBTITLE, _ENDING = 6.0, 2.0
"""That it is one more; and how much worse it is to end a subtitle at a bad place than a line."""
_NARROW, _LACKED_COLUMN = 24, 0.4
"""That it is narrower than this, for each column: no word stands alone."""
_SILENT_SECOND, _MOST_SILENT = 15.0, 60.0
"""That it has silence inside: it shows what is not said yet."""
_HURRIED_SECOND, _MOST_HURRIED = 6.0, 30.0
"""That it lacks time to be read."""
_DELAYING = 10_000.0
"""That the next must wait for it: this counts more than all else that can be said against two."""
_UNBALANCED_COLUMN = 0.35
"""That one of its two lines is wider than the other."""
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

_JOINER = "\u200d"
_DASHES = "-- "


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle; its times are ms from the start of the audio, `voice` says whose it is if known."""

    start: int
    end: int
    lines: tuple[str, ...]
    voice: str | None = None


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is never broken: a word, or a part of one that no line could hold. Times are ms.

    `spaced`: a space stands before it, unless a line begins with it. `turn`: units of different turns,
    between which somebody else speaks, never share a subtitle.
    """

    text: str
    spaced: bool
    start: int
    end: int
    turn: int = 0


@dataclass(frozen=True, slots=True)
class _Timed:
    """A word as it is shown; times are ms."""

    text: str
    start: int
    end: int
    voice: str | None


def srt(segments: Iterable[Segment]) -> str:
    """Final segments, in their order, as a SubRip file."""
    shown = cues(segments)
    several = len({cue.voice for cue in shown}) > 1
    return "".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{_srt_text(cue, several)}\n\n"
        for number, cue in enumerate(shown, 1)
    )


def vtt(segments: Iterable[Segment]) -> str:
    """Final segments, in their order, as a WebVTT file."""
    return "WEBVTT\n" + "".join(
        f"\n{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_vtt_text(cue)}\n"
        for cue in cues(segments)
    )


def cues(segments: Iterable[Segment]) -> list[Cue]:
    """Final segments, in their order, as subtitles, by their start. Those of one voice do not overlap."""
    shown: list[Cue] = []
    for who, units in _units(segments).items():
        shown += _cues(units, who)
    return sorted(shown, key=lambda cue: cue.start)


def _cues(units: Sequence[_Unit], who: str | None) -> list[Cue]:
    layout = _Layout(units, _columns_for(who))
    shown: list[Cue] = []
    for first, end in layout.division():
        start = max(units[first].start, shown[-1].end if shown else 0)
        read = start + max(SHORTEST, _reading_time(layout.columns(first, end)))
        until = max(units[end - 1].end, read)
        if end < len(units):
            until = min(until, max(units[end].start, start + SHORTEST))
        shown.append(Cue(start, min(until, start + LONGEST), layout.lines(first, end), who))
    return shown


def _columns_for(who: str | None) -> int:
    """Those of a line; where voices are known there may be dashes in front of it."""
    return LINE_COLUMNS if who is None else LINE_COLUMNS - len(_DASHES)


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def _srt_text(cue: Cue, several: bool) -> str:
    # SubRip has no way to write this arrow, and a reader could take the line for times.
    text = "\n".join(cue.lines).replace("-->", "->")
    return _DASHES + text if several and cue.voice is not None else text


def _vtt_text(cue: Cue) -> str:
    text = _escaped("\n".join(cue.lines))
    return text if cue.voice is None else f"<v {_escaped(cue.voice)}>{text}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _reading_time(columns: int) -> int:
    return -(-columns * 1000 // COLUMNS_A_SECOND)


# --- From segments to units


def _units(segments: Iterable[Segment]) -> dict[str | None, list[_Unit]]:
    """Of each voice, in their order, none before the one in front of it."""
    units: dict[str | None, list[_Unit]] = {}
    turn, speaking = 0, dict[int | None, str | None]()
    for segment in segments:
        for word in _timed(segment):
            if speaking.setdefault(segment.channel, word.voice) != word.voice:
                turn += 1
                speaking[segment.channel] = word.voice
            said = units.setdefault(word.voice, [])
            pieces = _pieces(word.text, _columns_for(word.voice))
            spread = _spread(pieces, word.start, word.end)
            for number, (piece, times) in enumerate(zip(pieces, spread, strict=True)):
                start = max(times[0], said[-1].start if said else 0)
                said.append(_Unit(piece, number == 0, start, max(start, times[1]), turn))
    return units


def _timed(segment: Segment) -> Iterator[_Timed]:
    """The words with their times; where the segment gives none, they are spread by length.

    A text that somebody corrected is no longer that of the words: it has no times but the segment's.
    """
    texts = _clean(segment.text).split()
    fits = [_clean(word.text) for word in segment.words] == texts
    words = segment.words if fits else [Word(text) for text in texts]
    said = voices(segment) if fits else [voice(segment)] * len(texts)
    start, untimed = _ms(segment.start), list[tuple[str, str | None]]()
    for text, word, who in zip(texts, words, said, strict=True):
        if word.start is None or word.end is None:
            untimed.append((text, who))
            continue
        yield from _spread_words(untimed, start, _ms(word.start))
        untimed = []
        start = _ms(word.end)
        yield _Timed(text, _ms(word.start), start, who)
    yield from _spread_words(untimed, start, _ms(segment.end))


def _spread_words(said: Sequence[tuple[str, str | None]], start: int, end: int) -> Iterator[_Timed]:
    spread = _spread([text for text, _ in said], start, end)
    for (text, who), times in zip(said, spread, strict=True):
        yield _Timed(text, *times, who)


def _spread(texts: Sequence[str], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Start and end of each text, where they share the time by their columns."""
    columns = list(accumulate(map(_columns, texts), initial=0))
    length = max(0, end - start)
    return pairwise(start + length * column // max(1, columns[-1]) for column in columns)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _clean(text: str) -> str:
    """Without characters that a text file cannot hold; those that separate words stay."""
    kinds = ((character, unicodedata.category(character)) for character in text)
    return "".join(
        "\ufffd" if kind == "Cs" else character
        for character, kind in kinds
        if kind != "Cc" or character.isspace()
    )


def _columns(text: str) -> int:
    return len(text) if text.isascii() else len(text) + sum(map(_is_wide, text))


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in {"F", "W"}


def _pieces(text: str, width: int) -> list[str]:
    """A word in parts that may stand on lines of their own: one part, as a rule.

    Chinese and Japanese may be broken between any two characters, though not before a mark that closes nor
    behind one that opens. What else is wider than a line is cut, but no accent is taken from its letter.
    """
    if text.isascii() and len(text) <= width:
        return [text]
    pieces: list[str] = []
    for cluster in _clusters(text, width):
        if pieces and _is_bound(pieces[-1], cluster) and _columns(pieces[-1] + cluster) <= width:
            pieces[-1] += cluster
        else:
            pieces.append(cluster)
    return pieces


def _clusters(text: str, width: int) -> Iterator[str]:
    """Characters with the marks that belong to them."""
    cluster = ""
    for character in text:
        belongs = _JOINER in {character, cluster[-1:]} or unicodedata.category(character).startswith("M")
        if cluster and not (belongs and _columns(cluster + character) <= width):
            yield cluster
            cluster = ""
        cluster += character
    yield cluster


def _is_bound(before: str, behind: str) -> bool:
    if not (_is_wide(before[0]) or _is_wide(behind[0])):
        return True
    opens = unicodedata.category(before[-1]) in {"Ps", "Pi"}
    closes = unicodedata.category(behind[0]) in {"Pe", "Pf", "Po", "Lm"}
    return opens or closes


# --- From units to subtitles and lines


class _Layout:
    """Where units may be divided, and what it costs."""

    def __init__(self, units: Sequence[_Unit], width: int) -> None:
        self._units = units
        self._width = width
        # Where each would begin and end if all stood in one line.
        self._begins: list[int] = []
        self._ends: list[int] = []
        column = 0
        for unit in units:
            self._begins.append(column + unit.spaced)
            column += unit.spaced + _columns(unit.text)
            self._ends.append(column)
        self._full = [bisect_right(self._ends, begin + width) for begin in self._begins]
        """From each unit on, the end of those that one line can hold."""
        self._full.append(len(units))
        self._earliest = [bisect_left(self._begins, end - width) for end in (0, *self._ends)]
        """Before each unit, the first from which on one line can hold them."""
        self._break_cost = [*(_break_cost(*pair) for pair in pairwise(units)), _AT_SENTENCE]
        """Of a break behind each unit."""
        silences = (max(0, behind.start - before.end) for before, behind in pairwise(units))
        self._silent = list(accumulate(silences, initial=0))
        """ms of silence before each unit, in all."""

    def columns(self, first: int, end: int) -> int:
        """Of units [first, end) in one line."""
        return self._ends[end - 1] - self._begins[first]

    def division(self) -> list[tuple[int, int]]:
        """The units of each subtitle, as [first, end): of all ways to divide them, the cheapest."""
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
        """Units [first, end), which two lines can hold, as one line or two."""
        if self.columns(first, end) <= self._width:
            return (self._text(first, end),)
        _, middle = self._broken(first, end)
        return self._text(first, middle), self._text(middle, end)

    def _broken(self, first: int, end: int) -> tuple[float, int]:
        """The best place for the second line to begin, and what it costs."""
        # Twice the first line's columns, less those of both, is by how much it is wider.
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
        """Of one subtitle."""
        columns = self.columns(first, end)
        cost = _SUBTITLE + _ENDING * self._break_cost[end - 1]
        if columns > self._width:
            cost += self._broken(first, end)[0]
        else:
            cost += _LACKED_COLUMN * max(0, _NARROW - columns)
        silent = self._silent[end - 1] - self._silent[first]
        cost += min(_MOST_SILENT, _SILENT_SECOND * silent / 1000)
        if end == len(self._units):
            return cost
        time = self._units[end].start - self._units[first].start
        hurried = max(0, _reading_time(columns) - time)
        cost += min(_MOST_HURRIED, _HURRIED_SECOND * hurried / 1000)
        return cost + (_DELAYING if time < SHORTEST else 0.0)

    def _text(self, first: int, end: int) -> str:
        following = (" " * unit.spaced + unit.text for unit in self._units[first + 1 : end])
        return self._units[first].text + "".join(following)


def _break_cost(before: _Unit, behind: _Unit) -> float:
    """Of a break between the two."""
    cost = _cost_by_text(before.text.rstrip(_CLOSING).lower(), behind)
    return min(cost, _AT_PHRASE) if behind.start - before.end >= _PAUSE else cost


def _cost_by_text(before: str, behind: _Unit) -> float:
    word = before.lstrip(_OPENING)
    following = behind.text.strip(_OPENING + _CLOSING + ",").lower()
    if word in _ABBREVIATIONS:
        cost = _IN_PHRASE
    elif word.endswith(_SENTENCE_ENDS):
        cost = _AT_SENTENCE
    elif word.endswith(_PHRASE_ENDS):
        cost = _AT_PHRASE
    elif not behind.spaced:
        cost = _BETWEEN_WORDS if _is_wide(behind.text[0]) else _IN_WORD
    elif word in _BOUND_TO_NEXT:
        cost = _IN_PHRASE
    elif following in _CONJUNCTIONS:
        cost = _AT_CONJUNCTION
    elif following in _PREPOSITIONS:
        cost = _AT_PREPOSITION
    else:
        cost = _BETWEEN_WORDS
    return cost
