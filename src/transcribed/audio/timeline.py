"""Where the pieces of a recording stand in time, as a player plays them."""

from dataclasses import dataclass

_JITTER_SECONDS = 0.2
"""Times are rounded, and wander a little: less than this is no gap."""
_BACKWARDS_SECONDS = 1.0
"""How far times may lie back before they have begun again, as they do in files set behind one another."""


@dataclass(frozen=True, slots=True)
class GapLimits:
    """Seconds of silence that times may ask for: in one gap, and in all. Times may be wrong, or lie."""

    longest: float
    total: float


class Timeline:
    """Tells how much silence stands before each piece of sound.

    Sound is never left out: pieces that overlap follow one another, and the next gap is so much shorter.
    """

    def __init__(self, limits: GapLimits) -> None:
        self._limits = limits
        self._shift: float | None = None
        self._silence = 0.0
        self.end = 0.0
        """Where the sound so far ends, in seconds."""
        self.left_out = 0.0
        """Seconds of gaps beyond the limits."""

    def begin(self, origin: float | None) -> None:
        """What follows counts its times from `origin`, in seconds, and stands behind what was so far.

        None: from the first time that is known.
        """
        self._shift = None if origin is None else self.end - origin

    def see(self, time: float) -> None:
        """Something else in the file has this time: where none was known, times begin with it."""
        if self._shift is None:
            self._shift = self.end - time

    def gap(self, start: float | None) -> float:
        """The seconds of silence in front of a piece that begins at `start` (None: it does not say).

        They count as sound from now on.
        """
        if start is None:
            return 0.0
        if self._shift is None:
            self._shift = self.end - start
        gap = start + self._shift - self.end
        if gap < -_BACKWARDS_SECONDS:
            self._shift -= gap
            return 0.0
        if gap <= _JITTER_SECONDS:
            return 0.0
        if gap > self._limits.longest or self._silence + gap > self._limits.total:
            self._shift -= gap
            self.left_out += gap
            return 0.0
        self._silence += gap
        self.end += gap
        return gap

    def add(self, seconds: float) -> None:
        """A piece of sound of that length."""
        self.end += seconds

    def reach(self, start: float, seconds: float) -> None:
        """A piece that stands there and ends so many seconds later, of which only the end matters."""
        self.gap(start)
        if self._shift is not None:
            self.end = max(self.end, start + self._shift + seconds)
