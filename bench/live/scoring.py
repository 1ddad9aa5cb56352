"""The scoring of live streams: when each word was shown in its right place.

A user sees all finals so far, followed by the partial. Each change of this text is aligned by edit distance
with the part of the reference that has been spoken. Among alignments of equal distance, the one with the
most right words is chosen, then the one that covers the shortest part of the reference. The latency of a
word is the time at which the text first has it in its place, minus the time at which its end was captured;
it is negative if the word was guessed. Only words that are right in the final text are measured; the others
are counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from material import Word
from words import keys

_EDIT = 1 << 16
"""The cost of an edit, in matches: whatever they are, an edit less is worth more."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The finals and the partial that a client had received `at` seconds after the start of the stream.

    `final_end` is the end of the final in this message according to the server; None without a final, or
    if the server reports no times.
    """

    at: float
    finals: tuple[str, ...]
    partial: str
    final_end: float | None = None

    @property
    def text(self) -> str:
        """The whole text."""
        return " ".join((*self.finals, self.partial))


@dataclass
class StreamScore:
    """The figures of one stream; times in seconds.

    `latencies` has an entry for each measured word. `finals` are the times from the end of the last right
    word of a final to that final, `finals_by_server` those from the end that the server reports.
    """

    words: int = 0
    right: int = 0
    latencies: list[float] = field(default_factory=list)
    updates: int = 0
    finals: list[float] = field(default_factory=list)
    finals_by_server: list[float] = field(default_factory=list)
    text: str = ""

    @property
    def unplaced(self) -> int:
        """The number of words that are right in the end but were never shown in their place."""
        return self.right - len(self.latencies)


class Aligner:
    """Aligns a growing and changing text with a reference, at a cost proportional to the changed words."""

    def __init__(self, reference: Sequence[str]) -> None:
        self._ids: dict[str, int] = {}
        self._reference = np.array([self._id(word) for word in reference], dtype=np.int64)
        self._steps = _EDIT * np.arange(len(reference) + 1, dtype=np.int64)
        self._rows = [self._steps]
        self._shown: list[str] = []

    def matches(self, shown: Sequence[str], spoken: int) -> dict[int, int]:
        """Return which of the first `spoken` words of the reference the text has.

        The result maps indices in the reference to indices in `shown`.
        """
        self._update(shown)
        column = int(np.argmin(self._rows[-1][: spoken + 1]))
        return self._path(column)

    def _update(self, shown: Sequence[str]) -> None:
        kept = 0
        for old, new in zip(self._shown, shown, strict=False):
            if old != new:
                break
            kept += 1
        del self._rows[kept + 1 :]
        for word in shown[kept:]:
            above = self._rows[-1]
            row = above + _EDIT
            same = self._reference == self._ids.get(word, -1)
            np.minimum(row[1:], above[:-1] + np.where(same, -1, _EDIT), out=row[1:])
            self._rows.append(np.minimum.accumulate(row - self._steps) + self._steps)
        self._shown = list(shown)

    def _path(self, column: int) -> dict[int, int]:
        found = {}
        row = len(self._shown)
        while row and column:
            here, above = self._rows[row][column], self._rows[row - 1]
            same = self._ids.get(self._shown[row - 1]) == self._reference[column - 1]
            if same and here == above[column - 1] - 1:
                found[column - 1] = row - 1
                row, column = row - 1, column - 1
            elif here == above[column - 1] + _EDIT:
                row, column = row - 1, column - 1
            elif here == above[column] + _EDIT:
                row -= 1
            else:
                column -= 1
        return found

    def _id(self, word: str) -> int:
        return self._ids.setdefault(word, len(self._ids))


def score(reference: Sequence[Word], shown: Iterable[Shown]) -> StreamScore:
    """Score what one client saw, in order."""
    states = list(shown)
    spoken_from = np.array([word.start for word in reference])
    live = Aligner([word.text for word in reference])
    first: dict[int, float] = {}
    result = StreamScore(words=len(reference), text=" ".join(states[-1].finals) if states else "")
    before: list[str] = []
    for state in states:
        seen = keys(state.text)
        if seen == before:
            continue
        before = seen
        result.updates += 1
        spoken = int(np.searchsorted(spoken_from, state.at, side="right"))
        for place in live.matches(seen, spoken):
            first.setdefault(place, state.at)
    right = Aligner([word.text for word in reference]).matches(keys(result.text), len(reference))
    result.right = len(right)
    result.latencies = [first[place] - reference[place].end for place in sorted(right) if place in first]
    _score_finals(reference, states, result)
    return result


def _score_finals(reference: Sequence[Word], states: Sequence[Shown], result: StreamScore) -> None:
    aligner = Aligner([word.text for word in reference])
    spoken_from = np.array([word.start for word in reference])
    words = 0
    before: tuple[str, ...] = ()
    for state in states:
        if state.finals == before:
            continue
        before = state.finals
        text = keys(" ".join(state.finals))
        spoken = int(np.searchsorted(spoken_from, state.at, side="right"))
        new = [place for place, where in aligner.matches(text, spoken).items() if where >= words]
        words = len(text)
        if new:
            result.finals.append(state.at - reference[max(new)].end)
        if state.final_end is not None:
            result.finals_by_server.append(state.at - state.final_end)
