"""Words made of tokens, their confidence, and the rejection of noise."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.engines.moonshine.model import Decoded
from transcribed.engines.moonshine.tokenizer import Tokenizer
from transcribed.engines.moonshine.variants import Calibration
from transcribed.transcript import Word

_BRIEF_SECONDS = 0.35
"""Seconds of speech below which a segment is brief: a single word, or a noise that resembles one."""
_CLIPPED = 1e-4


def words_of(tokenizer: Tokenizer, decoded: Decoded) -> list[Word]:
    """Return the words of decoded tokens. The confidence is that of the least probable spoken token."""
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
    """Return the indices of all tokens but punctuation, and for each whether it begins a word."""
    words = [_spoken(tokenizer, tokens, low, high) for low, high in _spans(tokenizer, tokens)]
    spoken = [token for word in words for token in word]
    return np.array(spoken, np.int64), np.isin(spoken, [word[0] for word in words])


def first_words(tokenizer: Tokenizer, decoded: Decoded, count: int) -> Decoded:
    """Return the tokens of the first words."""
    spans = _spans(tokenizer, decoded.tokens)
    return decoded.first(spans[count - 1][1] if count else 0)


def is_credible(decoded: Decoded, speech: int, calibration: Calibration) -> bool:
    """Return whether tokens decoded from so many samples of speech are words, and not noise."""
    brief = speech < _BRIEF_SECONDS * SAMPLE_RATE
    least = calibration.brief_noise if brief else calibration.noise
    return bool(decoded.tokens) and float(np.mean(decoded.probabilities)) >= least


def is_likely(decoded: Decoded, first: int, calibration: Calibration) -> bool:
    """Return whether the tokens from the index `first` on are words, and not noise."""
    added = decoded.probabilities[first:]
    return bool(added) and float(np.mean(added)) >= calibration.noise


def calibrated(probability: float, calibration: Calibration) -> float:
    """Return the probability that a word is right, given that of its least probable token.

    Further features, of the word or its neighbours, hardly improve the estimate, and would change the
    confidence of settled words.
    """
    clipped = min(max(probability, _CLIPPED), 1 - _CLIPPED)
    odds = calibration.slope * math.log(clipped / (1 - clipped)) + calibration.offset
    return 1 / (1 + math.exp(-odds))


def _spans(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[tuple[int, int]]:
    """Return the words, each as a range of token indices."""
    starts = [i for i, token in enumerate(tokens) if i == 0 or tokenizer.starts_word(token)]
    spans = pairwise([*starts, len(tokens)])
    return [(low, high) for low, high in spans if tokenizer.text(tokens[low:high])]


def _spoken(tokenizer: Tokenizer, tokens: Sequence[int], low: int, high: int) -> list[int]:
    """Return the indices of a word's tokens with letters or digits, or of its first token without any."""
    return [i for i in range(low, high) if _has_letters(tokenizer.text(tokens[i : i + 1]))] or [low]


def _has_letters(text: str) -> bool:
    return any(character.isalnum() for character in text)
