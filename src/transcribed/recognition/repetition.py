"""Detects a decoder that is stuck in a loop, repeating one phrase.

People repeat themselves, too: a clause three times, "no" twelve times, a menu on the telephone. Then each
repetition is spoken later, and the decoder attends to later audio. In a loop it attends to the same audio
each time, or to none in particular. So repeated text only raises the suspicion, and attention decides.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_LONGEST_PHRASE = 48
_FEWEST_TOKENS = 12
_FEWEST_TIMES = 3
_LONG_PHRASE = 8
"""The least number of tokens of a phrase that is suspicious as soon as a part of it is repeated."""
_JUMP_BACK = 20
"""If attention is more than so many frames (24 ms) behind its furthest place, it has jumped back."""

_COMPARED = 8
"""How many of the last tokens are compared with those one phrase earlier."""
_STANDING_OVERLAP, _LOOP_OVERLAP = 0.7, 0.8
"""Overlap of attention with the repetition before from which this is a loop: the lower value if attention
also hardly advances, the higher in any case. Measured are 0.05 to 0.5 for clauses that people repeat, up to
0.75 for words that they repeat, and soon 0.8 to 1 for loops, in speech, music and noise."""
_EARLIER_OVERLAP = 0.6
"""Overlap from which an earlier repetition is part of a loop found after it."""
_LEAST_ADVANCE = 0.5
"""Frames (24 ms) per token that attention advances at least between repetitions; in speech it is four."""


def repeated_phrase_length(tokens: Sequence[int]) -> int | None:
    """The length in tokens of the shortest phrase that is repeated at the end of the sequence, else None.

    A phrase counts as repeated if it stands there at least three times, with at least twelve tokens in
    total. A phrase of eight tokens or more counts as soon as twelve tokens after it repeat its tokens.
    """
    for phrase in range(1, min(_LONGEST_PHRASE, len(tokens)) + 1):
        times = max(_FEWEST_TIMES, -(-_FEWEST_TOKENS // phrase))
        span = phrase * times if phrase < _LONG_PHRASE else phrase + _FEWEST_TOKENS
        if (
            span <= len(tokens)
            and tokens[-1] == tokens[-1 - phrase]
            and _is_periodic(tokens[-span:], phrase)
        ):
            return phrase
    return None


def length_without_loop(tokens: Sequence[int], phrase: int, attention: Array) -> int | None:
    """How many tokens to keep if the repetitions at the end are a loop, else None.

    `phrase` is the length of the repeated phrase. `attention` [n, frames] are the attention weights of the
    last n tokens, each row summing to 1; earlier tokens are not judged. Repetitions during which attention
    advanced are kept, and always the first.
    """
    if len(attention) < phrase + _COMPARED:
        return None
    overlap = np.minimum(attention[phrase:], attention[:-phrase]).sum(axis=1)
    medians = _median_frames(attention)
    advances = medians[phrase:] - medians[:-phrase]
    at_end, advance = overlap[-_COMPARED:].mean(), np.median(advances[-_COMPARED:]) / phrase
    if at_end < (_STANDING_OVERLAP if advance < _LEAST_ADVANCE else _LOOP_OVERLAP):
        return None
    start = _start_of_run(tokens, phrase)
    kept = start + (len(tokens) - 1 - start) // phrase * phrase
    # Backwards from the last repetition: the first has none before it to be compared with.
    while kept - phrase > start:
        first = kept - phrase - (len(tokens) - len(overlap))
        if first < 0:
            break
        times = slice(first, first + phrase)
        if (
            overlap[times].mean() < _EARLIER_OVERLAP
            and np.median(advances[times]) / phrase >= _LEAST_ADVANCE
        ):
            break
        kept -= phrase
    return _without_jump_back(medians, kept, len(tokens) - len(attention))


def _without_jump_back(medians: npt.NDArray[np.int64], kept: int, unjudged: int) -> int:
    """Return how many tokens to keep, without last tokens during which attention has jumped back.

    `medians` are the median frames of the last tokens, and `unjudged` is the number of tokens before these.
    """
    while (
        kept > unjudged + 1 and medians[kept - unjudged - 1] < medians[: kept - unjudged].max() - _JUMP_BACK
    ):
        kept -= 1
    return kept


def _median_frames(attention: Array) -> npt.NDArray[np.int64]:
    """The median frame of each token's attention."""
    sums = np.cumsum(attention, axis=1)
    medians: npt.NDArray[np.int64] = (sums < sums[:, -1:] / 2).sum(axis=1)
    return medians


def _start_of_run(tokens: Sequence[int], phrase: int) -> int:
    """The position of the first repetition."""
    first = len(tokens) - phrase
    while first > 0 and tokens[first - 1] == tokens[first - 1 + phrase]:
        first -= 1
    return first


def _is_periodic(tokens: Sequence[int], period: int) -> bool:
    return all(tokens[i] == tokens[i + period] for i in range(len(tokens) - period))
