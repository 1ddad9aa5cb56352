"""Tokens to words, and how far they are to be believed."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.engines.moonshine.model import Decoded
from transcribed.engines.moonshine.tokenizer import Tokenizer
from transcribed.transcript import Word

_NOISE, _BRIEF_NOISE = 0.3, 0.5
"""A segment whose tokens are on average less probable than this was no speech."""
_BRIEF_SECONDS = 0.35
"""So little speech is one word, or a noise that resembled one."""
_SLOPE, _OFFSET = 0.85, 0.44
"""From the log-odds of a word's least probable token to those of the word being right: a fit to half of the
words of bench/words."""
_SUREST = 1e-4


def words_of(tokenizer: Tokenizer, decoded: Decoded) -> list[Word]:
    """The words of a text. A word's confidence is that of its least probable token with letters."""
    words = []
    for low, high in _spans(tokenizer, decoded.tokens):
        spoken = _spoken(tokenizer, decoded.tokens, low, high)
        start = end = None
        if decoded.spans:
            start, end = (decoded.spans[i][j] / SAMPLE_RATE for i, j in ((spoken[0], 0), (spoken[-1], 1)))
        confidence = min(decoded.probabilities[i] for i in spoken)
        words.append(Word(tokenizer.text(decoded.tokens[low:high]), start, end, confidence))
    return words


def spoken_tokens(
    tokenizer: Tokenizer, tokens: Sequence[int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The numbers of those tokens that are heard, which marks are not, and whether each begins a word."""
    words = [_spoken(tokenizer, tokens, low, high) for low, high in _spans(tokenizer, tokens)]
    spoken = [token for word in words for token in word]
    return np.array(spoken, np.int64), np.isin(spoken, [word[0] for word in words])


def first_words(tokenizer: Tokenizer, decoded: Decoded, count: int) -> Decoded:
    """The tokens of a text's first words."""
    spans = _spans(tokenizer, decoded.tokens)
    return decoded.first(spans[count - 1][1] if count else 0)


def is_credible(decoded: Decoded, speech: int) -> bool:
    """Whether tokens that were made of so many samples of speech are words at all."""
    least = _BRIEF_NOISE if speech < _BRIEF_SECONDS * SAMPLE_RATE else _NOISE
    return bool(decoded.tokens) and float(np.mean(decoded.probabilities)) >= least


def calibrated(probability: float) -> float:
    """How often a word is right whose least probable token has this probability.

    It depends on nothing else: what more may be known of a word, or of those beside it, tells right from
    wrong hardly better, and would change the confidence of words that are settled.
    """
    kept = min(max(probability, _SUREST), 1 - _SUREST)
    odds = _SLOPE * math.log(kept / (1 - kept)) + _OFFSET
    return 1 / (1 + math.exp(-odds))


def _spans(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[tuple[int, int]]:
    """The words of a text, each as a range of tokens."""
    starts = [i for i, token in enumerate(tokens) if i == 0 or tokenizer.starts_word(token)]
    spans = pairwise([*starts, len(tokens)])
    return [(low, high) for low, high in spans if tokenizer.text(tokens[low:high])]


def _spoken(tokenizer: Tokenizer, tokens: Sequence[int], low: int, high: int) -> list[int]:
    """Of a word's tokens those with letters; of one that is all marks the first."""
    return [i for i in range(low, high) if _has_letters(tokenizer.text(tokens[i : i + 1]))] or [low]


def _has_letters(text: str) -> bool:
    return any(character.isalnum() for character in text)
