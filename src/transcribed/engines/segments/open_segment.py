"""The recognition of one segment: its hypotheses, and which of their words have settled."""

from collections.abc import Sequence
from dataclasses import replace

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE
from transcribed.engines.base import Effort, Hypothesis
from transcribed.engines.segments.recogniser import SegmentRecogniser
from transcribed.options import Stability
from transcribed.recognition.endpointing import Endpointer, SegmentClosed
from transcribed.recognition.stabilizer import Stabilizer
from transcribed.transcript import Word

_UNCERTAIN = 0.608
"""The confidence below which the last words of a partial are withheld."""


class OpenSegment:
    """Makes the hypotheses of the segment `number`, which starts at the sample `start` of the stream.

    While the segment is open, the stream's endpointer tells how much of it is speech, whether it has
    paused, and where it ends at the earliest. Words of a segment longer than `shortest_cut`, in samples, do
    not settle, since it may be cut before them, so that they belong to the next segment. `noise_too`: a
    segment that is noise has an empty final, too.
    """

    def __init__(
        self,
        number: int,
        start: int,
        recogniser: SegmentRecogniser,
        stability: Stability,
        shortest_cut: int,
        *,
        noise_too: bool = False,
    ) -> None:
        self._number = number
        self._start = start
        self._recogniser = recogniser
        self._stability = stability
        self._stabilizer = Stabilizer(stability)
        self._shortest_cut = shortest_cut
        self._noise_too = noise_too
        self._settled_words: list[Word] = []
        self._shown = ""
        self._shown_settled = 0

    def has_final(self, end: int) -> bool:
        """Return whether the final of the segment is known already, if it ends at this sample."""
        return self._recogniser.has_final(end)

    def partial(
        self, audio: SampleBuffer, end: int, endpointer: Endpointer, effort: Effort
    ) -> Sequence[Hypothesis]:
        """Recognise the segment up to `end` at a low cost. Nothing is returned if nothing has changed."""
        words = self._recogniser.partial(audio, end, endpointer.speech, effort)
        return self._show(audio, end, words, endpointer)

    def ahead(
        self, audio: SampleBuffer, end: int, endpointer: Endpointer, effort: Effort
    ) -> Sequence[Hypothesis]:
        """Recognise the segment as if it ended at `end`, and return the result as a partial."""
        words = self._recogniser.final(audio, end, endpointer.speech, effort)
        return self._show(audio, end, words, endpointer)

    def final(self, audio: SampleBuffer, closed: SegmentClosed, effort: Effort) -> Sequence[Hypothesis]:
        """Recognise the closed segment. The final follows a partial of the same text, unless it was shown.

        Nothing is returned if the segment is noise and nothing of it was shown, unless `noise_too`.
        """
        # A segment that had partials must not be rejected as noise.
        speech = None if self._shown else closed.speech
        words = self._words(self._recogniser.final(audio, closed.end, speech, effort))
        hypotheses: list[Hypothesis] = []
        text = " ".join(word.text for word in words)
        if text and text != self._shown:
            hypotheses.append(self._hypothesis(closed.end, words, len(self._settled_words), final=False))
        if text or self._shown or self._noise_too:
            hypotheses.append(self._hypothesis(closed.end, words, len(words), final=True))
        return hypotheses

    def _show(
        self, audio: SampleBuffer, end: int, recognised: Sequence[Word], endpointer: Endpointer
    ) -> Sequence[Hypothesis]:
        words = self._words(recognised)
        if end - self._start <= self._shortest_cut:
            self._stabilizer.push(words, end)
        settled = self._stabilizer.settled
        if settled > len(self._settled_words):
            # No later result may end before the settled words, whose times must not change.
            earliest = min(endpointer.earliest_end, audio.end) / SAMPLE_RATE
            new = words[len(self._settled_words) : settled]
            self._settled_words += [ending_by(word, earliest) for word in new]
            words[:settled] = self._settled_words
            self._recogniser.settle(settled)
        if not endpointer.paused:
            words = without_uncertain_end(words, settled)
        text = " ".join(word.text for word in words)
        if not text or (text, settled) == (self._shown, self._shown_settled):
            return ()
        self._shown, self._shown_settled = text, settled
        return (self._hypothesis(end, words, settled, final=False),)

    def _words(self, recognised: Sequence[Word]) -> list[Word]:
        # A settled word stays, even if the model would now add a comma to it.
        return [*self._settled_words, *recognised[len(self._settled_words) :]] if recognised else []

    def _hypothesis(self, end: int, words: Sequence[Word], settled: int, *, final: bool) -> Hypothesis:
        marked = self._stability is not Stability.OFF
        return Hypothesis(
            segment=self._number,
            start=self._start / SAMPLE_RATE,
            end=end / SAMPLE_RATE,
            text=" ".join(word.text for word in words),
            final=final,
            words=tuple(
                replace(
                    ending_by(word, end / SAMPLE_RATE),
                    stable=i < settled if marked else None,
                )
                for i, word in enumerate(words)
            ),
            model=self._recogniser.model,
        )


def without_uncertain_end(words: Sequence[Word], settled: int) -> list[Word]:
    """Return the words of a partial that may be shown while speech goes on.

    The audio ends within a word, which the model completes to another word with a full stop. So uncertain
    last words are withheld, except for `settled` ones, and the punctuation after the rest. A model without
    confidences withholds words itself.
    """
    shown = list(words)
    while len(shown) > settled and _is_uncertain(shown[-1]):
        shown.pop()
    if len(shown) > settled and shown:
        last = shown[-1]
        text = last.text.rstrip(".,!?;:…-")
        shown[-1:] = [replace(last, text=text)] if text else []
    return shown


def _is_uncertain(word: Word) -> bool:
    return word.confidence is not None and word.confidence < _UNCERTAIN


def ending_by(word: Word, end: float) -> Word:
    """Limit the times of a word to the end of its segment, which may precede that of a settled word."""
    if word.start is None or word.end is None:
        return word
    return replace(word, start=min(word.start, end), end=min(word.end, end))
