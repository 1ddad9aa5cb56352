"""Where segments open and close: an endpointer over windows of 32 ms.

A segment opens when speech has lasted for a moment, a little before its first window. It closes when
silence has lasted long enough; the longer the segment, the shorter the silence that will do; and at the
longest it is cut at its quietest recent point, so that the cut falls between words.
"""

from collections import deque
from dataclasses import dataclass

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.recognition.vad import WINDOW, SpeechGate


@dataclass(frozen=True, slots=True)
class EndpointingRules:
    """When segments open and close; all but `certain` in seconds."""

    silence: float = 0.6
    """Silence that closes a segment."""
    pause: float = 0.2
    """Silence after which what was said so far is complete, though the segment stays open."""
    longest: float = 15.0
    """No segment is longer."""
    onset: float = 0.064
    """Speech that opens a segment."""
    certain: float = 0.8
    """A probability that speech reaches within a segment's first run, and noise and music do not."""
    resumed: float = 0.128
    """Speech that opens a segment where a flush has cut it: less is the end of the word before."""
    doubt: float = 1.0
    """Likely speech that is kept while it is not certain."""
    before: float = 0.8
    """Audio kept before the first window of speech: soft onsets, and context for the recogniser."""
    after: float = 0.2
    """Audio kept behind the last window of speech; at most `pause`."""

    @property
    def uncut(self) -> float:
        """The length that a segment has at least when it is cut."""
        return self.longest * 3 / 4


@dataclass(frozen=True, slots=True)
class Opened:
    """A segment begins at this sample."""

    start: int


@dataclass(frozen=True, slots=True)
class Paused:
    """The open segment would end at this sample, if it closed now."""

    end: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The open segment is [start, end), and `speech` of it was speech, all in samples.

    After a cut in running speech the next one is open already, and starts at `end`.
    """

    start: int
    end: int
    speech: int


Boundary = Opened | Paused | Closed


class Endpointer:
    """Windows in, boundaries out; every decision depends on the windows alone.

    `start` is the open segment's first sample, or None; `speech_start` that of its first window of
    speech; `speech` how many of its samples were speech, the last of which ended at `speech_end`; `paused`
    whether its speech has paused.
    """

    def __init__(self, rules: EndpointingRules) -> None:
        self._rules = rules
        self._gate = SpeechGate()
        self._position = 0
        self._speech_run = 0
        self._run_peak = 0.0
        self.speech_end = 0
        self._previous_end = 0
        self._levels: deque[float] = deque(maxlen=_windows(rules.longest - rules.uncut))
        self._resumes = False
        self.start: int | None = None
        self.speech_start = 0
        self.speech = 0
        self.paused = False

    def push(self, probability: float, level: float) -> Boundary | None:
        """The next window: its speech probability, and its loudness in any unit."""
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

    def finish(self, end: int) -> Closed | None:
        """The stream ends at this sample: close what is open."""
        return None if self.start is None else self._close(self.start, min(self.earliest_end, end))

    def flush(self, end: int) -> Closed | None:
        """Close what is open at this sample, which is less than a window ahead of what was pushed.

        The next segment starts there too, if speech goes on.
        """
        if self.start is None:
            return None
        self._resumes = self._speech_run > 0
        return self._close(self.start, end if self._resumes else min(self.earliest_end, end))

    def _is_onset(self) -> bool:
        if self._resumes:
            return self._speech_run >= _windows(self._rules.resumed)
        long_enough = self._speech_run >= _windows(self._rules.onset)
        return long_enough and self._run_peak >= self._rules.certain

    def _open(self) -> Opened:
        run = min(self._speech_run * WINDOW, _samples(self._rules.doubt))
        self.speech_start = self._position - run
        self.start = max(self.speech_start - _samples(self._rules.before), self._previous_end)
        self.speech_end = self._position
        self.speech = run
        self.paused = False
        self._resumes = False
        return Opened(self.start)

    def _close_or_pause(self, start: int) -> Boundary | None:
        length = self._position - start
        silence = self._position - self.speech_end
        if silence >= self._silence_needed(length):
            return self._close(start, self.earliest_end)
        if length >= _samples(self._rules.longest):
            return self._cut(start)
        if silence >= _samples(self._rules.pause) and not self.paused:
            self.paused = True
            return Paused(self.earliest_end)
        return None

    def _silence_needed(self, length: int) -> float:
        """In a straight line from `silence` at half the longest segment to `pause` at the longest."""
        rules = self._rules
        late = max(0.0, 2 * length / _samples(rules.longest) - 1)
        return _samples(rules.silence - late * max(0.0, rules.silence - rules.pause))

    def _cut(self, start: int) -> Closed:
        # Not the newest window, whose end may lie behind the stream's.
        quietest = min(range(len(self._levels) - 1), key=lambda i: (self._levels[i], -i))
        end = self._position - (len(self._levels) - quietest) * WINDOW + WINDOW // 2
        closed = self._close(start, end)
        if self.speech_end > end:
            self.start = self.speech_start = end
            self.paused = False
        return closed

    def _close(self, start: int, end: int) -> Closed:
        self._previous_end = end
        self.start = None
        self._speech_run = 0
        self._run_peak = 0.0
        speech, self.speech = self.speech, 0
        return Closed(start, end, speech)

    @property
    def earliest_end(self) -> int:
        """Where the open segment would end if it closed now. Unless it is cut, it ends no earlier."""
        return min(self.speech_end + _samples(self._rules.after), self._position)


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def _windows(seconds: float) -> int:
    return max(1, round(seconds * SAMPLE_RATE / WINDOW))
