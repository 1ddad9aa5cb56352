"""What live streams cost on this machine, as it turns out while they run."""

from collections.abc import Sequence

from transcribed.engines.base import Costs, Hypothesis, RecognitionEvent, StepKind
from transcribed.scheduling.policy import PROMISED_INTERVAL

_REMEMBERED_SECONDS = 300.0
"""Audio, of all streams together, over which costs are averaged."""
_REMEMBERED_PARTIALS = 30
_LONGEST_WAIT = 3 * PROMISED_INTERVAL
"""More says that one stream was held up, as it is while its client does not read, and not that all are."""
_NOBODY_SPEAKS = 10.0
"""Audio, of all streams together, in which no partial was due: how long they waited before says nothing."""
_AS_PROMISED = 0.7 * PROMISED_INTERVAL
"""Partials made sooner than this are cheaper than those that are promised."""


class Meter:
    """Running averages of the steps of all live streams.

    They begin with what the engine measured when it was loaded.
    """

    def __init__(self, measured: Costs) -> None:
        self._listening = _Rate(0.0)
        self._finals = _Rate(measured.steady)
        self._partial = measured.partial
        self._silence = 0.0
        self.interval = 0.0
        """Seconds that the audio of partials waited, from the moment it was spoken to the result."""

    @property
    def costs(self) -> Costs:
        """What a stream costs in which somebody speaks all the time."""
        return Costs(self._listening.mean + self._finals.mean, self._partial)

    def step(
        self, kind: StepKind, seconds: float, heard: float, waited: float, said: Sequence[RecognitionEvent]
    ) -> None:
        """A step took `seconds` and listened to `heard` seconds of audio, which had waited for `waited`."""
        self._silence = 0.0 if kind is StepKind.PARTIAL else self._silence + heard
        if self._silence >= _NOBODY_SPEAKS:
            self.interval = 0.0
        match kind:
            case StepKind.LISTEN:
                self._listening.add(seconds, heard)
            case StepKind.FINAL | StepKind.AHEAD:
                finals = (each for each in said if isinstance(each, Hypothesis) and each.final)
                self._finals.add(seconds, sum(final.end - final.start for final in finals))
            case StepKind.PARTIAL if waited > 0:
                self.interval += (min(waited, _LONGEST_WAIT) - self.interval) / _REMEMBERED_PARTIALS
                if waited >= _AS_PROMISED:
                    self._partial += (seconds - self._partial) / _REMEMBERED_PARTIALS
            case StepKind.PARTIAL:
                pass  # The audio came ahead of its time.


class _Rate:
    """Seconds of work for each second of audio; what is long past counts less."""

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
