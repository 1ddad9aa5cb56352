"""Measures the cost of live streams on this machine while they run. It reads no clock."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from transcribed.engines.base import Costs, Effort, Hypothesis, RecognitionEvent, StepKind
from transcribed.scheduling.policy import LONGEST_WAIT, PROMISED_INTERVAL, demand

_COSTS_FADE = 30.0
"""Seconds after which a measurement of costs has about a third of its weight."""
_ASSUMED_AUDIO = 30.0
"""The costs measured at loading weigh like so many seconds of audio of streams."""
_ASSUMED_PARTIALS = 20.0
"""The cost of a partial measured at loading weighs like so many partials."""
_LISTENING_PART = 0.15
"""The part of listening in the cost of listening and finals, which are measured together at loading."""
_CONSTANT_PART = 0.7
"""The part of a partial's cost at the promised interval that does not depend on the amount of new audio."""
_ASSUMED_SPEECH = 0.9
"""The part of a stream that is assumed to be speech."""
_ASSUMED_SPEECH_AUDIO = 200.0
"""That assumption weighs like so many seconds of audio, since new streams are silent for a moment."""
_LEAST_SPEECH = 0.75
"""The least part of a stream that counts as speech, since silent speakers may speak at any time."""


class Average:
    """A weighted average of measurements whose weights fade, so that it returns to an assumed value.

    So neither a busy hour nor an idle one has a lasting effect. Times are in seconds of any clock.
    """

    def __init__(self, assumed: float, weight: float, fade: float) -> None:
        """`assumed` is a value with a constant `weight`. `fade` is the time constant in seconds."""
        self.assumed = assumed
        self._assumed_weight = weight
        self._fade = fade
        self._sum = self._weight = 0.0
        self._at = -math.inf

    def add(self, now: float, total: float, weight: float = 1.0) -> None:
        """Add a measurement: the total of an amount `weight`, so that their quotient is averaged."""
        self._sum, self._weight = self._faded(now)
        self._sum += total
        self._weight += weight
        self._at = now

    def mean(self, now: float) -> float:
        """Return the average."""
        total, weight = self._faded(now)
        return (self.assumed * self._assumed_weight + total) / (self._assumed_weight + weight)

    def forget(self) -> None:
        """Forget all measurements."""
        self._sum = self._weight = 0.0

    def _faded(self, now: float) -> tuple[float, float]:
        kept = math.exp(min(0.0, self._at - now) / self._fade)
        return self._sum * kept, self._weight * kept


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a live stream that has been done; all times in seconds.

    `cpu` is the CPU time of the step, and `taken` the elapsed time for which the thread was occupied.
    `ahead` is the CPU time of the earlier step that recognised a final ahead. In a batch, these are divided
    by the number of streams. `heard` is the audio that was searched for speech, `recognised` the audio that
    was recognised for the first time. `waited` is the time from when the audio had been spoken and had
    arrived until the end of the step; it is negative for a client that sends faster than real time.
    """

    kind: StepKind
    effort: Effort
    cpu: float
    taken: float
    heard: float = 0.0
    recognised: float = 0.0
    waited: float = 0.0
    events: Sequence[RecognitionEvent] = ()
    ahead: float = 0.0


class Meter:
    """The cost of an engine's live streams on a busy machine. It begins with the costs measured at loading.

    Costs are CPU times of threads, so that waiting for a core costs nothing. The cost of a partial is that
    at the promised interval: the cost of one that covers another amount of new audio is converted.
    """

    def __init__(self, measured: Costs, *, reduces: bool = False) -> None:
        """With `reduces`, partials of reduced effort cost less than others, and only those count."""
        self._reduces = reduces
        self._listening = Average(_LISTENING_PART * measured.steady, _ASSUMED_AUDIO, _COSTS_FADE)
        self._finals = Average((1 - _LISTENING_PART) * measured.steady, _ASSUMED_AUDIO, _COSTS_FADE)
        self._partial = Average(measured.partial, _ASSUMED_PARTIALS, _COSTS_FADE)
        self._speech = Average(_ASSUMED_SPEECH, _ASSUMED_SPEECH_AUDIO, _COSTS_FADE)

    def costs(self, now: float) -> Costs:
        """The cost of a stream with continuous speech."""
        return Costs(self._listening.mean(now) + self._finals.mean(now), self._partial.mean(now))

    def demand(self, now: float) -> float:
        """The seconds of thread time per second that a stream needs, with partials as often as promised."""
        return demand(self.costs(now), min(1.0, max(_LEAST_SPEECH, self._speech.mean(now))))

    def record(self, now: float, step: Step) -> None:
        """Record a step that ended `now`."""
        if step.effort is Effort.ALONE:
            return  # Such a step may use several cores, and has the caches of the processor for itself.
        match step.kind:
            case StepKind.LISTEN:
                self._listening.add(now, step.cpu, step.heard)
            case StepKind.FINAL:
                said = (each.end - each.start for each in step.events if _is_final(each))
                self._finals.add(now, step.cpu + step.ahead, sum(said))
            case StepKind.PARTIAL if step.waited > 0:
                self._speech.add(now, step.recognised, 0.0)
                if step.effort is Effort.REDUCED or not self._reduces:
                    self._partial.add(now, step.cpu / _size(step.recognised))
            case StepKind.PARTIAL | StepKind.AHEAD:
                pass  # A partial for a client that is too fast; the cost of AHEAD is part of a final's.
        self._speech.add(now, 0.0, step.heard)


def _is_final(event: RecognitionEvent) -> TypeGuard[Hypothesis]:
    return isinstance(event, Hypothesis) and event.final


def _size(new: float) -> float:
    """Return the cost of a partial with so much new audio, relative to one at the promised interval."""
    return _CONSTANT_PART + (1 - _CONSTANT_PART) * min(new, LONGEST_WAIT) / PROMISED_INTERVAL
