"""The contract of models that recognise single segments."""

from collections.abc import Sequence
from typing import Protocol, Self, runtime_checkable

from transcribed.audio.buffer import SampleBuffer
from transcribed.engines.base import Effort
from transcribed.options import Phrase
from transcribed.recognition.vad import SpeechProbabilities
from transcribed.transcript import Word


class SegmentRecogniser(Protocol):
    """The recognition of one segment. It is never used by two threads at once.

    `end`, like the segment's start, is a position in the stream in samples. `speech` is the number of
    samples with speech in between; a model that takes the segment for noise returns no words. `speech` is
    None if the segment is known to be speech. Word times are seconds from the start of the stream. The
    confidence of a word is the calibrated probability that it is right. It is None if the model states no
    probabilities; then the model itself withholds uncertain last words from partials.
    """

    @property
    def model(self) -> str | None:
        """The name of the model that made the last result, which may differ from result to result."""
        ...

    def partial(self, audio: SampleBuffer, end: int, speech: int | None, effort: Effort) -> Sequence[Word]:
        """Recognise the segment up to `end` while more audio is coming, at a low cost."""
        ...

    def final(self, audio: SampleBuffer, end: int, speech: int | None, effort: Effort) -> Sequence[Word]:
        """Recognise the segment as if it ended at `end`, with the best quality, and keep the result."""
        ...

    def has_final(self, end: int) -> bool:
        """Return whether the result of `final` is kept already."""
        ...

    def settle(self, words: int) -> None:
        """Settle the first words of the last result: they need not be recognised again."""
        ...


class SegmentModel(Protocol):
    """A loaded model, shared by all streams."""

    def recogniser(self, start: int, speech: SpeechProbabilities) -> SegmentRecogniser:
        """Return a recogniser for the segment that starts at this sample of the stream.

        `speech` are the speech probabilities of the stream, which grow with it.
        """
        ...


@runtime_checkable
class FavouringModel(SegmentModel, Protocol):
    """A SegmentModel that can favour phrases."""

    def favouring(self, phrases: tuple[Phrase, ...]) -> Self:
        """Return a version of the model whose recognisers favour phrases.

        Blocks while phrases are compiled that no open stream has: 0.6 s for 10,000 names.
        """
        ...
