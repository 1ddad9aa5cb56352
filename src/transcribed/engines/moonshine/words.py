"""Tokens to words, and which of them may be shown."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.engines.moonshine.model import Decoded
from transcribed.engines.moonshine.tokenizer import Tokenizer
from transcribed.transcript import Word

_DOUBTFUL = 0.5
"""A word at the edge of the audio is shown only if the model gives it more than this."""
_NOISE, _BRIEF_NOISE = 0.3, 0.5
"""A segment whose tokens are on average less probable than this was no speech."""
_BRIEF_SECONDS = 0.35
"""So little speech is one word, or a noise that resembled one."""


def words_of(tokenizer: Tokenizer, decoded: Decoded) -> list[Word]:
    """The words of a text. A word's confidence is that of its least probable token with letters."""
    words = []
    for low, high in _spans(tokenizer, decoded.tokens):
        spoken = [i for i in range(low, high) if _has_letters(tokenizer.text(decoded.tokens[i : i + 1]))]
        confidence = min(decoded.probabilities[i] for i in spoken or [low])
        words.append(Word(tokenizer.text(decoded.tokens[low:high]), confidence=confidence))
    return words


def first_words(tokenizer: Tokenizer, decoded: Decoded, count: int) -> Decoded:
    """The tokens of a text's first words."""
    spans = _spans(tokenizer, decoded.tokens)
    return decoded.first(spans[count - 1][1] if count else 0)


def is_credible(decoded: Decoded, speech: int) -> bool:
    """Whether tokens that were made of so many samples of speech are words at all."""
    least = _BRIEF_NOISE if speech < _BRIEF_SECONDS * SAMPLE_RATE else _NOISE
    return bool(decoded.tokens) and float(np.mean(decoded.probabilities)) >= least


def without_doubtful_end(words: Sequence[Word], settled: int) -> list[Word]:
    """What may be shown while somebody is speaking.

    The audio breaks off inside a word, of which the model makes some other word, and a full stop. So a
    last word that the model itself doubts is withheld, and so is the punctuation behind it.
    """
    shown = list(words)
    while len(shown) > settled and (shown[-1].confidence or 0.0) < _DOUBTFUL:
        shown.pop()
    if len(shown) > settled and shown:
        last = shown[-1]
        text = last.text.rstrip(".,!?;:…-")
        shown[-1:] = [Word(text, confidence=last.confidence)] if text else []
    return shown


def _spans(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[tuple[int, int]]:
    """The words of a text, each as a range of tokens."""
    starts = [i for i, token in enumerate(tokens) if i == 0 or tokenizer.starts_word(token)]
    spans = pairwise([*starts, len(tokens)])
    return [(low, high) for low, high in spans if tokenizer.text(tokens[low:high])]


def _has_letters(text: str) -> bool:
    return any(character.isalnum() for character in text)
