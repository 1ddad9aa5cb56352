"""A guard against a recogniser that says one phrase over and over."""

from collections.abc import Sequence

_LONGEST_PHRASE = 24
_FEWEST_TOKENS = 12
_FEWEST_TIMES = 3


def without_repetition(tokens: Sequence[int]) -> int | None:
    """How many tokens to keep if the sequence ends in a phrase said too often, else None.

    Too often is three times in a row, and at least twelve tokens long in all: people do say "no, no, no"
    and "very very very", but not a whole clause thrice without a breath. One time is kept.
    """
    for phrase in range(1, min(_LONGEST_PHRASE, len(tokens) // _FEWEST_TIMES) + 1):
        times = max(_FEWEST_TIMES, -(-_FEWEST_TOKENS // phrase))
        span = phrase * times
        if span <= len(tokens) and _is_periodic(tokens[-span:], phrase):
            return len(tokens) - span + phrase
    return None


def _is_periodic(tokens: Sequence[int], period: int) -> bool:
    return all(tokens[i] == tokens[i + period] for i in range(len(tokens) - period))
