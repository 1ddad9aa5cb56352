"""What a model brings to the segment loop."""

from collections.abc import Sequence
from typing import Protocol

from transcribed.audio.buffer import SampleBuffer
from transcribed.recognition.vad import SpeechProbabilities
from transcribed.transcript import Word


class SegmentRecogniser(Protocol):
    """One segment in a model, from where it starts; never used by two threads at once.

    `end` is a sample's position in the stream, as the start is. Of the samples in between `speech` are
    speech: what the model then takes for noise has no words; None is for what is no noise. Times of words
    are seconds from the start of the stream; confidence is the model's own probability.
    """

    def partial(self, audio: SampleBuffer, end: int, speech: int | None) -> Sequence[Word]:
        """What the segment probably says up to `end`, while more is coming: as cheap as the model can."""
        ...

    def final(self, audio: SampleBuffer, end: int, speech: int | None, *, parallel: bool) -> Sequence[Word]:
        """What the segment says if it ends at `end`: as good as the model can, and kept.

        `parallel`: nobody else computes, so that more cores may be used.
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

    def recogniser(self, start: int, speech: SpeechProbabilities) -> SegmentRecogniser:
        """One for the segment that starts at this sample; `speech` says where somebody speaks."""
        ...

    def confidence(self, probability: float) -> float:
        """How often a word is right to which the model gives this probability, in [0, 1]."""
        ...
