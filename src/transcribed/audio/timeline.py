"""Places the decoded audio of a recording on the timeline of a player, by the container's timestamps."""

from dataclasses import dataclass

_JITTER_SECONDS = 0.2
"""Timestamps are rounded and jitter. A smaller difference is not a gap."""
_BACKWARDS_SECONDS = 1.0
"""A larger step backwards means that timestamps restart, as they do in concatenated files."""


@dataclass(frozen=True, slots=True)
class GapLimits:
    """The most seconds of silence inserted: in one gap, and in all. Damaged timestamps may imply more."""

    longest: float
    total: float


class Timeline:
    """Computes how much silence to insert before each piece of audio. All times are in seconds.

    Audio is never dropped: overlapping pieces are placed one after the other, and the next gap is
    shortened.
    """

    def __init__(self, limits: GapLimits) -> None:
        self._limits = limits
        self._offset: float | None = None
        self._silence = 0.0
        self.end = 0.0
        """Where the audio so far ends."""
        self.ignored = 0.0
        """Total length of the gaps that exceeded the limits, for which no silence was inserted."""

    def begin(self, origin: float | None) -> None:
        """Start a container: its timestamp `origin` is where the audio so far ends.

        With None, its first known timestamp is.
        """
        self._offset = None if origin is None else self.end - origin

    def note(self, time: float) -> None:
        """Note a timestamp of another track, which becomes the origin if none is known."""
        if self._offset is None:
            self._offset = self.end - time

    def gap(self, start: float | None) -> float:
        """Insert silence before a piece with the timestamp `start` (None: unknown); returns how much."""
        if start is None:
            return 0.0
        if self._offset is None:
            self._offset = self.end - start
        gap = start + self._offset - self.end
        if gap < -_BACKWARDS_SECONDS:
            self._offset -= gap
            return 0.0
        if gap <= _JITTER_SECONDS:
            return 0.0
        if gap > self._limits.longest or self._silence + gap > self._limits.total:
            self._offset -= gap
            self.ignored += gap
            return 0.0
        self._silence += gap
        self.end += gap
        return gap

    def add(self, seconds: float) -> None:
        """Add a piece of audio of this length."""
        self.end += seconds

    def extend(self, start: float, seconds: float) -> None:
        """Extend the audio to the end of a piece with the timestamp `start` that is `seconds` long."""
        self.gap(start)
        if self._offset is not None:
            self.end = max(self.end, start + self._offset + seconds)
