"""Endpointing: decides where segments open and close, from the speech probabilities of 32 ms windows.

A segment opens after a short run of speech, and starts a little before it. It closes after enough silence,
and needs less silence the longer it is. At its maximum length it is cut at the quietest recent window,
which is most likely between words.
"""

from collections import deque
from dataclasses import dataclass

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.recognition.vad import WINDOW, SpeechGate


@dataclass(frozen=True, slots=True)
class EndpointingRules:
    """Parameters of endpointing, in seconds except `onset_probability`."""

    endpoint_silence: float = 0.6
    """Silence that closes a segment."""
    pause: float = 0.2
    """Silence after which the open segment counts as paused."""
    longest_segment: float = 15.0
    """Length at which a segment is cut."""
    onset: float = 0.064
    """Length of a run of speech that opens a segment."""
    onset_probability: float = 0.8
    """Probability that must be reached within that run. Noise and music rarely do, speech does."""
    onset_after_flush: float = 0.128
    """Length of such a run directly after a flush. A shorter one is the end of the flushed word."""
    longest_uncertain: float = 1.0
    """The most of a run that is kept from before `onset_probability` was reached."""
    padding_before: float = 0.4
    """Audio before the first speech that belongs to a segment, for soft onsets. More silence costs words,
    since the model normalises its features over the whole segment; less costs punctuation."""
    padding_after: float = 0.2
    """Audio after the last speech that belongs to a segment. At most `pause`."""

    @property
    def shortest_cut(self) -> float:
        """The least length of a segment that was cut at `longest_segment`."""
        return self.longest_segment * 3 / 4


@dataclass(frozen=True, slots=True)
class SegmentOpened:
    """A segment has opened; it starts at this sample."""

    start: int


@dataclass(frozen=True, slots=True)
class SegmentPaused:
    """The speech of the open segment has paused; if it closed now, it would end at this sample."""

    end: int


@dataclass(frozen=True, slots=True)
class SegmentClosed:
    """The segment [start, end) has closed; `speech` is how much of it was speech. All in samples.

    After a cut within speech, the next segment is already open, and starts at `end`.
    """

    start: int
    end: int
    speech: int


Boundary = SegmentOpened | SegmentPaused | SegmentClosed


class Endpointer:
    """Takes one window after the other, and returns the segment boundaries that they cause.

    All positions are samples from the start of the stream.
    """

    def __init__(self, rules: EndpointingRules) -> None:
        self._rules = rules
        self._gate = SpeechGate()
        self._position = 0
        self._speech_run = 0
        self._run_peak = 0.0
        self._previous_end = 0
        self._levels: deque[float] = deque(maxlen=_windows(rules.longest_segment - rules.shortest_cut))
        self._resumes = False
        self.start: int | None = None
        """Where the open segment starts; None if none is open."""
        self.speech_start = 0
        """Where its first speech starts."""
        self.speech_end = 0
        """Where its last speech ends, so far."""
        self.speech = 0
        """How many of its samples are speech."""
        self.paused = False
        """Whether its speech has paused."""

    def push(self, probability: float, level: float) -> Boundary | None:
        """Add the next window: its speech probability, and its loudness in any monotonic unit."""
        speech = self._gate.push(probability)
        self._position += WINDOW
        self._levels.append(level)
        self._speech_run = self._speech_run + 1 if speech else 0
        self._run_peak = max(self._run_peak, probability) if speech else 0.0
        self._resumes = self._resumes and speech
        if self.start is None:
            return self._open() if self._is_onset() else None
        if speech:
            self.speech += WINDOW
            self.speech_end = self._position
            self.paused = False
        return self._close_or_pause(self.start)

    def finish(self, end: int) -> SegmentClosed | None:
        """End the stream at this sample, and close the open segment."""
        return None if self.start is None else self._close(self.start, min(self.earliest_end, end))

    def flush(self, end: int) -> SegmentClosed | None:
        """Close the open segment at this sample, which is less than a window after those pushed.

        If speech continues, the next segment starts at this sample too.
        """
        if self.start is None:
            return None
        self._resumes = self._speech_run > 0
        return self._close(self.start, end if self._resumes else min(self.earliest_end, end))

    def _is_onset(self) -> bool:
        if self._resumes:
            return self._speech_run >= _windows(self._rules.onset_after_flush)
        long_enough = self._speech_run >= _windows(self._rules.onset)
        return long_enough and self._run_peak >= self._rules.onset_probability

    def _open(self) -> SegmentOpened:
        run = min(self._speech_run * WINDOW, _samples(self._rules.longest_uncertain))
        self.speech_start = self._position - run
        self.start = max(self.speech_start - _samples(self._rules.padding_before), self._previous_end)
        self.speech_end = self._position
        self.speech = run
        self.paused = False
        self._resumes = False
        return SegmentOpened(self.start)

    def _close_or_pause(self, start: int) -> Boundary | None:
        length = self._position - start
        silence = self._position - self.speech_end
        if silence >= self._silence_needed(length):
            return self._close(start, self.earliest_end)
        if length >= _samples(self._rules.longest_segment):
            return self._cut(start)
        if silence >= _samples(self._rules.pause) and not self.paused:
            self.paused = True
            return SegmentPaused(self.earliest_end)
        return None

    def _silence_needed(self, length: int) -> float:
        """Samples of silence that close a segment of this length.

        They fall linearly from `endpoint_silence` at half the longest segment to `pause` at the longest.
        """
        rules = self._rules
        late = max(0.0, 2 * length / _samples(rules.longest_segment) - 1)
        return _samples(rules.endpoint_silence - late * max(0.0, rules.endpoint_silence - rules.pause))

    def _cut(self, start: int) -> SegmentClosed:
        # Not the newest window, which may be padded beyond the end of the stream.
        quietest = min(range(len(self._levels) - 1), key=lambda i: (self._levels[i], -i))
        end = self._position - (len(self._levels) - quietest) * WINDOW + WINDOW // 2
        closed = self._close(start, end)
        if self.speech_end > end:
            self.start = self.speech_start = end
            self.paused = False
        return closed

    def _close(self, start: int, end: int) -> SegmentClosed:
        self._previous_end = end
        self.start = None
        self._speech_run = 0
        self._run_peak = 0.0
        speech, self.speech = self.speech, 0
        return SegmentClosed(start, end, speech)

    @property
    def earliest_end(self) -> int:
        """Where the open segment would end if it closed now. Unless it is cut, it ends no earlier."""
        return min(self.speech_end + _samples(self._rules.padding_after), self._position)


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def _windows(seconds: float) -> int:
    return max(1, round(seconds * SAMPLE_RATE / WINDOW))
