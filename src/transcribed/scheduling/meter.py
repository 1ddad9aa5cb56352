"""Measures the cost of live streams on this machine while they run. It reads no clock: times are given."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from transcribed.engines.base import Costs, Effort, Hypothesis, RecognitionEvent, StepKind
from transcribed.scheduling.policy import LONGEST_WAIT, PROMISED_INTERVAL, demand

_COSTS_FADE = 30.0
"""Seconds after which a measurement of costs counts by a third of its weight."""
_ASSUMED_AUDIO = 30.0
"""What was measured at loading counts like so many seconds of audio of streams."""
_ASSUMED_PARTIALS = 20.0
"""The same for partials."""
_LISTENING_PART = 0.15
"""The part of listening in the costs of listening and finals that are measured together at loading."""
_CONSTANT_PART = 0.7
"""The part of a partial's cost at the promised interval that does not depend on the amount of new audio."""
_ASSUMED_SPEECH = 0.9
"""The part of the time for which speakers are assumed to speak."""
_ASSUMED_SPEECH_AUDIO = 200.0
"""How many seconds of audio that assumption counts like: streams that begin are silent for a moment."""
_LEAST_SPEECH = 0.75
"""A stream is taken to be in speech for this part of the time at least, since silent speakers may speak."""


class Average:
    """An average over amounts of something, which fade: it returns to what was assumed at first.

    So neither a busy hour nor an idle one counts for ever. Times are in seconds of any clock.
    """

    def __init__(self, assumed: float, weight: float, fade: float) -> None:
        """`assumed` is as if measured of an amount `weight`. `fade` is the time constant in seconds."""
        self.assumed = assumed
        self._assumed_weight = weight
        self._fade = fade
        self._sum = self._weight = 0.0
        self._at = -math.inf

    def add(self, now: float, total: float, weight: float = 1.0) -> None:
        """Add a measurement: so much in total, of an amount `weight`."""
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

    `cpu` is for how long its thread computed, for a final including what was done ahead of it; `taken` for
    how long the thread could do nothing else. Each stream of a batch has its part of both. `heard` is the
    audio that was searched for speech, `recognised` the audio that was recognised first in this step.
    `waited` is for how long the step's audio had waited at the end, since it was spoken and had arrived; it
    is negative for a client that sends faster than real time.
    """

    kind: StepKind
    effort: Effort
    cpu: float
    taken: float
    heard: float = 0.0
    recognised: float = 0.0
    waited: float = 0.0
    events: Sequence[RecognitionEvent] = ()


class Meter:
    """The cost of an engine's live streams while the machine is busy, from the costs measured at loading.

    Costs are the times for which threads computed, so that waiting for a core is none. Those of partials
    are of REDUCED effort and at the promised interval: one that covers less new audio is converted.
    """

    def __init__(self, measured: Costs, *, reduces: bool = False) -> None:
        """`reduces` says that partials of reduced effort cost less, so that only those count."""
        self._reduces = reduces
        self._listening = Average(_LISTENING_PART * measured.steady, _ASSUMED_AUDIO, _COSTS_FADE)
        self._finals = Average((1 - _LISTENING_PART) * measured.steady, _ASSUMED_AUDIO, _COSTS_FADE)
        self._partial = Average(measured.partial, _ASSUMED_PARTIALS, _COSTS_FADE)
        self._speech = Average(_ASSUMED_SPEECH, _ASSUMED_SPEECH_AUDIO, _COSTS_FADE)

    def costs(self, now: float) -> Costs:
        """The cost of a stream with continuous speech."""
        return Costs(self._listening.mean(now) + self._finals.mean(now), self._partial.mean(now))

    def demand(self, now: float) -> float:
        """The seconds of a thread that a stream needs per second, with partials as often as promised."""
        return demand(self.costs(now), min(1.0, max(_LEAST_SPEECH, self._speech.mean(now))))

    def record(self, now: float, step: Step) -> None:
        """Record a step that ended `now`."""
        if step.effort is Effort.ALONE:
            return  # It also computes on other cores, and has their caches for itself.
        match step.kind:
            case StepKind.LISTEN:
                self._listening.add(now, step.cpu, step.heard)
            case StepKind.FINAL:
                said = (each.end - each.start for each in step.events if _is_final(each))
                self._finals.add(now, step.cpu, sum(said))
            case StepKind.PARTIAL if step.waited > 0:
                self._speech.add(now, step.recognised, 0.0)
                if step.effort is Effort.REDUCED or not self._reduces:
                    self._partial.add(now, step.cpu / _size(step.recognised))
            case StepKind.PARTIAL | StepKind.AHEAD:
                pass  # The client sends faster than real time; a final has the cost of what was done ahead.
        self._speech.add(now, 0.0, step.heard)


def _is_final(event: RecognitionEvent) -> TypeGuard[Hypothesis]:
    return isinstance(event, Hypothesis) and event.final


def _size(new: float) -> float:
    """Return the cost of a partial with so much new audio, relative to one at the promised interval."""
    return _CONSTANT_PART + (1 - _CONSTANT_PART) * min(new, LONGEST_WAIT) / PROMISED_INTERVAL
