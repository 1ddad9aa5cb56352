"""Decides which words of a growing hypothesis are settled, so that later hypotheses do not change them.

As in LocalAgreement (Liu, Spanakis and Niehues, 2020, "Low-Latency Sequence-to-Sequence Speech Recognition
and Translation by Partial Hypothesis Selection"), the common prefix of successive hypotheses is settled.
Unlike there, agreement is measured in seconds of audio, not in hypotheses: an idle machine makes ten a
second, a busy one hardly one, and hypotheses of almost the same audio repeat each other's mistakes. Words
of low confidence must remain unchanged for longer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.options import Stability
from transcribed.transcript import Word


@dataclass(frozen=True, slots=True)
class SettlingTime:
    """How long a word and all before it must remain unchanged to be settled, in seconds of audio."""

    base: float
    """For a word of confidence 1."""
    per_halving: float
    """Added for each halving of the confidence."""

    def needed(self, confidence: float) -> float:
        """Seconds for a word of this confidence, in [0, 1]."""
        return self.base + self.per_halving * -math.log2(confidence) if confidence else math.inf


SETTLING_TIMES = {
    Stability.LOW: SettlingTime(base=0.6, per_halving=4.0),
    Stability.MEDIUM: SettlingTime(base=0.4, per_halving=1.5),
    Stability.HIGH: SettlingTime(base=0.2, per_halving=0.5),
}


class Stabilizer:
    """Takes the hypotheses of one segment, and counts its settled words."""

    def __init__(self, stability: Stability) -> None:
        self._settling_time = SETTLING_TIMES.get(stability)
        self._texts: list[str] = []
        self._since: list[int] = []
        self.settled = 0
        """How many words are settled. Never decreases."""

    def push(self, words: Sequence[Word], end: int) -> int:
        """Take the next hypothesis, of audio up to the sample `end`, and return how many words are settled.

        It must begin with the words settled so far. Its last word is not settled, since more audio may
        still extend it.
        """
        if self._settling_time is None:
            return 0
        texts = [word.text for word in words]
        kept = common_prefix_length(texts, self._texts)
        self._since[kept:] = [end] * (len(texts) - kept)
        self._texts = texts
        for word, since in zip(words[self.settled : -1], self._since[self.settled :], strict=False):
            confidence = 1.0 if word.confidence is None else word.confidence
            if (end - since) / SAMPLE_RATE < self._settling_time.needed(confidence):
                break
            self.settled += 1
        return self.settled


def common_prefix_length(one: Sequence[object], other: Sequence[object]) -> int:
    """The length of the longest common prefix of two sequences."""
    for length, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return length
    return min(len(one), len(other))
