"""A large and a small model together: finals by the large one, and under load partials by the small one."""

from collections.abc import Sequence
from dataclasses import dataclass

from transcribed.audio.buffer import SampleBuffer
from transcribed.engines.base import Costs, Effort
from transcribed.engines.moonshine.segment import MoonshineSegment, MoonshineSegments
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.engines.segments.stream import SegmentStream
from transcribed.options import Capabilities, Phrase, StreamOptions
from transcribed.recognition.vad import SpeechProbabilities
from transcribed.transcript import Word


class PairedSegment:
    """A SegmentRecogniser.

    Finals have the text that the large model would decode alone. With Effort.REDUCED, partials come from
    the small model, and its latest tokens are the draft that the large model verifies for the final.
    """

    def __init__(self, large: MoonshineSegment, small: MoonshineSegment) -> None:
        self._large, self._small = large, small
        self._latest = large

    @property
    def model(self) -> str:
        """The name of the model that made the last result."""
        return self._latest.model

    def partial(self, audio: SampleBuffer, end: int, speech: int | None, effort: Effort) -> Sequence[Word]:
        """Return the words of an incremental result, by the model that the effort allows."""
        recogniser = self._small if effort is Effort.REDUCED else self._large
        return self._continued(recogniser).partial(audio, end, speech, effort)

    def final(self, audio: SampleBuffer, end: int, speech: int | None, effort: Effort) -> Sequence[Word]:
        """Return the words of the whole segment, by the large model."""
        return self._continued(self._large).final(audio, end, speech, effort)

    def has_final(self, end: int) -> bool:
        """Return whether `final` would return the last result without computation."""
        return self._latest is self._large and self._large.has_final(end)

    def settle(self, words: int) -> None:
        """Settle the first words of the last result."""
        self._latest.settle(words)

    def _continued(self, recogniser: MoonshineSegment) -> MoonshineSegment:
        if recogniser is not self._latest:
            recogniser.follow(self._latest)
            self._latest = recogniser
        return recogniser


@dataclass(frozen=True, slots=True)
class PairedSegments:
    """A SegmentModel."""

    large: MoonshineSegments
    small: MoonshineSegments

    def favouring(self, phrases: tuple[Phrase, ...]) -> "PairedSegments":
        """Return the models with phrases that both favour, which are compiled if they are new."""
        return PairedSegments(self.large.favouring(phrases), self.small.favouring(phrases))

    def recogniser(self, start: int, speech: SpeechProbabilities) -> PairedSegment:
        """Return a recogniser for the segment that starts at this sample."""
        return PairedSegment(self.large.recogniser(start, speech), self.small.recogniser(start, speech))


@dataclass(frozen=True, slots=True)
class PairEngine:
    """A StepDownEngine: `full` has both models, `reduced` the small one alone."""

    full: SegmentEngine
    reduced: SegmentEngine

    @property
    def capabilities(self) -> Capabilities:
        """What the engine supports."""
        return self.full.capabilities

    @property
    def costs(self) -> Costs:
        """The cost of a live stream with partials of the small model and finals of the large one."""
        return self.full.costs

    def measured(self) -> "PairEngine":
        """Return the engines with their costs on this machine, which also warms up the models. Blocks."""
        return PairEngine(self.full.measured(), self.reduced.measured())

    def open(self, options: StreamOptions) -> SegmentStream:
        """Open a new stream."""
        return self.full.open(options)
