"""Measures the cost of live streams on this machine while they run."""

from collections.abc import Sequence

from transcribed.engines.base import Costs, Hypothesis, RecognitionEvent, StepKind
from transcribed.scheduling.policy import PROMISED_INTERVAL

_REMEMBERED_SECONDS = 300.0
"""Costs are averaged over this much audio of all streams together."""
_REMEMBERED_PARTIALS = 30
"""The same for partials."""
_LONGEST_WAIT = 3 * PROMISED_INTERVAL
"""Cap of a partial's wait. A longer one is its own stream's, whose client may read nothing."""
_SILENCE_SECONDS = 10.0
"""After this much audio of all streams without a partial, earlier waits are no longer relevant."""
_TYPICAL_WAIT = 0.7 * PROMISED_INTERVAL
"""Partials with a shorter wait do not count as costs: they cover less new audio, and are cheaper."""


class Meter:
    """Running averages over the steps of all live streams, starting from the costs measured at loading."""

    def __init__(self, measured: Costs) -> None:
        self._listening = _Rate(0.0)
        self._finals = _Rate(measured.steady)
        self._partial = measured.partial
        self._silence = 0.0
        self.interval = 0.0
        """Average seconds from when the audio of a partial was spoken to its result."""

    @property
    def costs(self) -> Costs:
        """The cost of a stream with continuous speech."""
        return Costs(self._listening.mean + self._finals.mean, self._partial)

    def record(
        self,
        kind: StepKind,
        seconds: float,
        heard: float,
        waited: float,
        events: Sequence[RecognitionEvent],
    ) -> None:
        """Record a step. It took `seconds`, and searched `heard` seconds of audio for speech.

        `waited` is for how many seconds the audio had waited since it was spoken and had arrived.
        """
        self._silence = 0.0 if kind is StepKind.PARTIAL else self._silence + heard
        if self._silence >= _SILENCE_SECONDS:
            self.interval = 0.0
        match kind:
            case StepKind.LISTEN:
                self._listening.add(seconds, heard)
            case StepKind.FINAL | StepKind.AHEAD:
                finals = (each for each in events if isinstance(each, Hypothesis) and each.final)
                self._finals.add(seconds, sum(final.end - final.start for final in finals))
            case StepKind.PARTIAL if waited > 0:
                self.interval += (min(waited, _LONGEST_WAIT) - self.interval) / _REMEMBERED_PARTIALS
                if waited >= _TYPICAL_WAIT:
                    self._partial += (seconds - self._partial) / _REMEMBERED_PARTIALS
            case StepKind.PARTIAL:
                pass  # The client sends faster than real time, so the audio has not waited.


class _Rate:
    """A running average of seconds of work per second of audio."""

    def __init__(self, mean: float) -> None:
        self._work = mean * _REMEMBERED_SECONDS
        self._audio = _REMEMBERED_SECONDS

    @property
    def mean(self) -> float:
        return self._work / self._audio

    def add(self, work: float, audio: float) -> None:
        kept = _REMEMBERED_SECONDS / (_REMEMBERED_SECONDS + audio)
        self._work = self._work * kept + work
        self._audio = self._audio * kept + audio
