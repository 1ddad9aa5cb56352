"""Segments as subtitles: SRT and WebVTT.

The limits are those of broadcasters' guidelines: at most two lines of 42 columns, 1 to 7 s on screen, and
at most 17 columns a second if the pace of the speech allows it.

If speakers or channels are known (see `voices`), each subtitle has a single voice. Each voice is divided
into subtitles separately, so that simultaneous speech is shown simultaneously. SRT marks voices by two
dashes, as Amazon's subtitles do, WebVTT by voice spans.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from transcribed.transcript import Segment, Word
from transcribed.wire.subtitle_layout import (
    LINE_COLUMNS,
    LONGEST,
    SHORTEST,
    Layout,
    Unit,
    columns_of,
    is_wide,
    reading_time,
)
from transcribed.wire.voices import voice, voices

_JOINER = "\u200d"
_DASHES = "-- "


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle. Times are ms from the start of the audio; `voice` is None if unknown."""

    start: int
    end: int
    lines: tuple[str, ...]
    voice: str | None = None


@dataclass(frozen=True, slots=True)
class _TimedWord:
    """A word with its times in ms."""

    text: str
    start: int
    end: int
    voice: str | None


def srt(segments: Iterable[Segment]) -> str:
    """Final segments, in order, as a SubRip file."""
    shown = cues(segments)
    several = len({cue.voice for cue in shown}) > 1
    return "".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{_srt_text(cue, several)}\n\n"
        for number, cue in enumerate(shown, 1)
    )


def vtt(segments: Iterable[Segment]) -> str:
    """Final segments, in order, as a WebVTT file."""
    return "WEBVTT\n" + "".join(
        f"\n{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_vtt_text(cue)}\n"
        for cue in cues(segments)
    )


def cues(segments: Iterable[Segment]) -> list[Cue]:
    """Final segments, in order, as subtitles sorted by start. Those of one voice do not overlap."""
    shown: list[Cue] = []
    for who, units in _units(segments).items():
        shown += _cues(units, who)
    return sorted(shown, key=lambda cue: cue.start)


def _cues(units: Sequence[Unit], who: str | None) -> list[Cue]:
    layout = Layout(units, _line_columns(who))
    shown: list[Cue] = []
    for first, end in layout.division():
        start = max(units[first].start, shown[-1].end if shown else 0)
        read = start + max(SHORTEST, reading_time(layout.columns(first, end)))
        until = max(units[end - 1].end, read)
        if end < len(units):
            until = min(until, max(units[end].start, start + SHORTEST))
        shown.append(Cue(start, min(until, start + LONGEST), layout.lines(first, end), who))
    return shown


def _line_columns(who: str | None) -> int:
    """The columns of a line; if the voice is known, dashes may precede the text."""
    return LINE_COLUMNS if who is None else LINE_COLUMNS - len(_DASHES)


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def _srt_text(cue: Cue, several: bool) -> str:
    # SubRip cannot escape this arrow, and a parser could take the line for a line of times.
    text = "\n".join(cue.lines).replace("-->", "->")
    return _DASHES + text if several and cue.voice is not None else text


def _vtt_text(cue: Cue) -> str:
    text = _escaped("\n".join(cue.lines))
    return text if cue.voice is None else f"<v {_escaped(cue.voice)}>{text}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# --- From segments to units


def _units(segments: Iterable[Segment]) -> dict[str | None, list[Unit]]:
    """The units of each voice, their starts in ascending order."""
    units: dict[str | None, list[Unit]] = {}
    turn, speaking = 0, dict[int | None, str | None]()
    for segment in segments:
        for word in _timed(segment):
            if speaking.setdefault(segment.channel, word.voice) != word.voice:
                turn += 1
                speaking[segment.channel] = word.voice
            said = units.setdefault(word.voice, [])
            pieces = _pieces(word.text, _line_columns(word.voice))
            spread = _spread(pieces, word.start, word.end)
            for number, (piece, times) in enumerate(zip(pieces, spread, strict=True)):
                start = max(times[0], said[-1].start if said else 0)
                said.append(Unit(piece, number == 0, start, max(start, times[1]), turn))
    return units


def _timed(segment: Segment) -> Iterator[_TimedWord]:
    """The words of a segment; those without times share the time between their neighbours by length.

    If the text is not that of the words, because it was corrected, only the segment's times are used.
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
        yield _TimedWord(text, _ms(word.start), start, who)
    yield from _spread_words(untimed, start, _ms(segment.end))


def _spread_words(said: Sequence[tuple[str, str | None]], start: int, end: int) -> Iterator[_TimedWord]:
    spread = _spread([text for text, _ in said], start, end)
    for (text, who), times in zip(said, spread, strict=True):
        yield _TimedWord(text, *times, who)


def _spread(texts: Sequence[str], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The start and end of each text, if they share the time in proportion to their widths."""
    columns = list(accumulate(map(columns_of, texts), initial=0))
    length = max(0, end - start)
    return pairwise(start + length * column // max(1, columns[-1]) for column in columns)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _clean(text: str) -> str:
    """The text without control characters and lone surrogates, but with its white space."""
    kinds = ((character, unicodedata.category(character)) for character in text)
    return "".join(
        "\ufffd" if kind == "Cs" else character
        for character, kind in kinds
        if kind != "Cc" or character.isspace()
    )


def _pieces(text: str, width: int) -> list[str]:
    """The parts of a word between which a line may break; usually one.

    Chinese and Japanese may break between any two characters, except before closing and after opening
    punctuation. Other words are broken only if they are wider than a line, never between a letter and its
    accents.
    """
    if text.isascii() and len(text) <= width:
        return [text]
    pieces: list[str] = []
    for cluster in _clusters(text, width):
        if pieces and _is_bound(pieces[-1], cluster) and columns_of(pieces[-1] + cluster) <= width:
            pieces[-1] += cluster
        else:
            pieces.append(cluster)
    return pieces


def _clusters(text: str, width: int) -> Iterator[str]:
    """Characters, each with the combining marks that follow it."""
    cluster = ""
    for character in text:
        belongs = _JOINER in {character, cluster[-1:]} or unicodedata.category(character).startswith("M")
        if cluster and not (belongs and columns_of(cluster + character) <= width):
            yield cluster
            cluster = ""
        cluster += character
    yield cluster


def _is_bound(before: str, after: str) -> bool:
    if not (is_wide(before[0]) or is_wide(after[0])):
        return True
    opens = unicodedata.category(before[-1]) in {"Ps", "Pi"}
    closes = unicodedata.category(after[0]) in {"Pe", "Pf", "Po", "Lm"}
    return opens or closes
