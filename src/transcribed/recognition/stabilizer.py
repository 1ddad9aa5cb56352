"""Which words of a growing hypothesis are settled.

As in LocalAgreement (Liu, Spanakis and Niehues, 2020, "Low-Latency Sequence-to-Sequence Speech Recognition
and Translation by Partial Hypothesis Selection"), what several hypotheses in a row begin with is settled.
How many must agree would say little: an idle machine makes ten a second, a busy one hardly one, and those
that are made of almost the same audio repeat each other's mistakes. So agreement is counted in seconds of
audio, and a word that the recogniser itself doubts must stand for longer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.options import Stability
from transcribed.transcript import Word


@dataclass(frozen=True, slots=True)
class Settling:
    """How long a word must stand, with all words before it, until it is settled; in seconds of audio."""

    sure: float
    """A word that the recogniser is sure of."""
    doubt: float
    """So much more each time that the recogniser's probability of it halves."""

    def needed(self, confidence: float) -> float:
        """For a word of this probability."""
        return self.sure + self.doubt * -math.log2(confidence) if confidence else math.inf


SETTLING = {
    Stability.LOW: Settling(sure=0.6, doubt=4.0),
    Stability.MEDIUM: Settling(sure=0.4, doubt=1.5),
    Stability.HIGH: Settling(sure=0.2, doubt=0.5),
}


class Stabilizer:
    """Hypotheses of one segment in, the number of settled words out; it never falls."""

    def __init__(self, stability: Stability) -> None:
        self._settling = SETTLING.get(stability)
        self._texts: list[str] = []
        self._since: list[int] = []
        self.settled = 0

    def push(self, words: Sequence[Word], end: int) -> int:
        """The next hypothesis, of audio up to the sample `end`; it begins with the words settled so far.

        Its last word is never settled: the next sounds may still make it longer.
        """
        if self._settling is None:
            return 0
        texts = [word.text for word in words]
        kept = common_length(texts, self._texts)
        self._since[kept:] = [end] * (len(texts) - kept)
        self._texts = texts
        for word, since in zip(words[self.settled : -1], self._since[self.settled :], strict=False):
            confidence = 1.0 if word.confidence is None else word.confidence
            if (end - since) / SAMPLE_RATE < self._settling.needed(confidence):
                break
            self.settled += 1
        return self.settled


def common_length(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items two sequences have in common at their starts."""
    for length, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return length
    return min(len(one), len(other))
