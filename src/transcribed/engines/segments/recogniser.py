"""What a model brings to the segment loop."""

from dataclasses import dataclass
from typing import Protocol

from transcribed.audio.buffer import SampleBuffer
from transcribed.recognition.vad import SpeechCurve
from transcribed.transcript import Word


@dataclass(frozen=True, slots=True)
class Recognised:
    """The words of some audio, and how probable the model finds them on average, in [0, 1].

    A word's times are seconds from the start of the stream; its confidence is the model's own probability.
    Without words `probability` may be 0.
    """

    words: tuple[Word, ...]
    probability: float


class SegmentRecogniser(Protocol):
    """One segment in a model, from where it starts; never used by two threads at once.

    `end` is a sample's position in the stream, as the start is.
    """

    def partial(self, audio: SampleBuffer, end: int) -> Recognised:
        """What the segment probably says up to `end`, while more is coming: as cheap as the model can."""
        ...

    def final(self, audio: SampleBuffer, end: int, *, wide: bool) -> Recognised:
        """What the segment says if it ends at `end`: as good as the model can, and kept.

        `wide`: nobody else computes, so that more cores may be used.
        """
        ...

    def has_final(self, end: int) -> bool:
        """Whether `final` would compute nothing."""
        ...

    def settle(self, words: int) -> None:
        """So many of the words that were told last need not be recognised again: they stay."""
        ...


class SegmentModel(Protocol):
    """A loaded model, which all streams share."""

    def recogniser(self, start: int, speech: SpeechCurve) -> SegmentRecogniser:
        """One for the segment that starts at this sample; `speech` says where somebody speaks."""
        ...

    def is_credible(self, recognised: Recognised, speech: int) -> bool:
        """Whether what was recognised in so many samples of speech is words at all, and no noise."""
        ...

    def confidence(self, probability: float) -> float:
        """How often a word is right to which the model gives this probability, in [0, 1]."""
        ...
