"""A guard against a recogniser that says one phrase over and over.

People repeat themselves, too: a clause three times, "no" twelve times, a menu on the telephone. Then each
time is spoken later than the one before, and the decoder attends to later audio. In a loop it attends to
the same audio time after time, or to none in particular. So the text is only what raises the suspicion; the
attention decides.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_LONGEST_PHRASE = 24
_FEWEST_TOKENS = 12
_FEWEST_TIMES = 3

_COMPARED = 8
"""Tokens at the end that are compared with those a phrase before."""
_ALIKE, _SAME = 0.7, 0.8
"""How much of their attention lies on the same audio where nothing moves on: measured are 0.05 to 0.5 for
clauses that are repeated, up to 0.75 for words, and soon 0.8 to 1 for loops, in speech, music and noise."""
_DOUBTED = 0.6
"""What is this much alike belongs to the loop that is found behind it."""
_PACE = 0.5
"""Frames (24 ms) a token by which a phrase is later than the one before, at least; people need four."""


def repeated_phrase(tokens: Sequence[int]) -> int | None:
    """The length of the phrase that the sequence ends in several times in a row, else None.

    Several is three times, and at least twelve tokens in all. Of several lengths it is the shortest.
    """
    for phrase in range(1, min(_LONGEST_PHRASE, len(tokens) // _FEWEST_TIMES) + 1):
        times = max(_FEWEST_TIMES, -(-_FEWEST_TOKENS // phrase))
        span = phrase * times
        if (
            span <= len(tokens)
            and tokens[-1] == tokens[-1 - phrase]
            and _is_periodic(tokens[-span:], phrase)
        ):
            return phrase
    return None


def without_loop(tokens: Sequence[int], phrase: int, attention: Array) -> int | None:
    """How many tokens to keep if those at the end are a loop, else None.

    The sequence ends in a repeated phrase of this length. `attention` [n, frames] says how much each of its
    last tokens attends to each frame of audio; a row sums to 1. Tokens before these are not judged. What
    was said as often as the audio moved on is kept, and the first time in any case.
    """
    if len(attention) < phrase + _COMPARED:
        return None
    overlap = np.minimum(attention[phrase:], attention[:-phrase]).sum(axis=1)
    middles = _middles(attention)
    later = middles[phrase:] - middles[:-phrase]
    alike, pace = overlap[-_COMPARED:].mean(), np.median(later[-_COMPARED:]) / phrase
    if not (alike >= _SAME or (alike >= _ALIKE and pace < _PACE)):
        return None
    begin = _first_of_run(tokens, phrase)
    kept = begin + (len(tokens) - 1 - begin) // phrase * phrase
    # From the last time back: the run begins with a time that nothing before it is compared with.
    while kept - phrase > begin:
        low = kept - phrase - (len(tokens) - len(overlap))
        if low < 0:
            break
        times = slice(low, low + phrase)
        if overlap[times].mean() < _DOUBTED and np.median(later[times]) / phrase >= _PACE:
            break
        kept -= phrase
    return kept


def _middles(attention: Array) -> npt.NDArray[np.int64]:
    """The frame that half of a token's attention lies before."""
    sums = np.cumsum(attention, axis=1)
    middles: npt.NDArray[np.int64] = (sums < sums[:, -1:] / 2).sum(axis=1)
    return middles


def _first_of_run(tokens: Sequence[int], phrase: int) -> int:
    """Where the first of the repeated phrases begins."""
    first = len(tokens) - phrase
    while first > 0 and tokens[first - 1] == tokens[first - 1 + phrase]:
        first -= 1
    return first


def _is_periodic(tokens: Sequence[int], period: int) -> bool:
    return all(tokens[i] == tokens[i + period] for i in range(len(tokens) - period))
