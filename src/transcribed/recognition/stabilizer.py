"""Which words of a growing hypothesis are settled.

LocalAgreement (Liu, Spanakis and Niehues, 2020, "Low-Latency Sequence-to-Sequence Speech Recognition and
Translation by Partial Hypothesis Selection"): what several hypotheses in a row begin with is settled.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum


class Stability(Enum):
    """How soon words settle, by Amazon's names; the value is how many hypotheses must agree.

    HIGH settles soonest; LOW is the most accurate; with OFF no word settles before the final.
    """

    OFF = 0
    LOW = 4
    MEDIUM = 3
    HIGH = 2


class Stabilizer:
    """Hypotheses of one segment in, the number of settled words out; it never falls."""

    def __init__(self, stability: Stability) -> None:
        self._agreeing = stability.value
        self._recent: deque[Sequence[str]] = deque(maxlen=max(1, self._agreeing - 1))
        self.settled = 0

    def push(self, words: Sequence[str]) -> int:
        """The next hypothesis, which begins with the words settled so far.

        Its last word is never settled: the next sounds may still make it longer.
        """
        if self._agreeing and len(self._recent) == self._recent.maxlen:
            agreed = min(common_length(words, earlier) for earlier in self._recent)
            self.settled = max(self.settled, min(agreed, len(words) - 1))
        self._recent.append(words)
        return self.settled


def common_length(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items two sequences have in common at their starts."""
    for length, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return length
    return min(len(one), len(other))
