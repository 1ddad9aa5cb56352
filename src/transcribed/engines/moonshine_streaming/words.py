"""The words of a model that returns only text: their times, and their agreement with settled words."""

from collections.abc import Sequence

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.recognition.stabilizer import common_prefix_length
from transcribed.recognition.vad import SpeechGate, SpeechProbabilities
from transcribed.transcript import Word

_LETTERS_OF_A_WORD = 2
"""Letters that are added to the length of each word, since short words are spoken more slowly."""
_STEP = 128
"""The resolution of times in samples (8 ms)."""


def timed(texts: Sequence[str], start: int, end: int, speech: SpeechProbabilities) -> list[Word]:
    """Give words times within the samples [start, end): spread over the speech, by numbers of letters.

    If there is too little speech, they are spread over the whole range.
    """
    if not texts:
        return []
    lengths = np.array([len(text) + _LETTERS_OF_A_WORD for text in texts])
    bounds = np.concatenate([[0], np.cumsum(lengths)]) / lengths.sum()
    positions = np.arange(start, end - _STEP + 1, _STEP)
    spoken = positions[speech.at(positions + _STEP // 2) >= SpeechGate.CLOSES_BELOW]
    if len(spoken) * lengths.min() < lengths.sum():
        samples = start + bounds * max(end - start, 1)
        begins, ends = samples[:-1], samples[1:]
    else:
        first = np.floor(bounds * len(spoken)).astype(int)
        begins, ends = spoken[first[:-1]], spoken[first[1:] - 1] + _STEP
    return [
        Word(text, float(begin) / SAMPLE_RATE, float(stop) / SAMPLE_RATE)
        for text, begin, stop in zip(texts, begins, ends, strict=True)
    ]


def said_twice(before: Sequence[str], texts: Sequence[str]) -> Sequence[str]:
    """Return the words of a result, without the last one if the result before has not all of them."""
    agreed = len(before) >= len(texts) and all(map(same, texts, before))
    return texts if agreed else texts[:-1]


def beginning_said_twice(before: Sequence[str], texts: Sequence[str]) -> Sequence[str]:
    """Return the common beginning of two results in a language that is written without spaces."""
    text = " ".join(texts)
    return text[: common_prefix_length(text, " ".join(before))].split()


def after_settled(settled: Sequence[str], texts: Sequence[str]) -> int:
    """Return how many of the first words of a new result correspond to the settled words.

    They may differ from these. The beginning with the least edit distance in letters is chosen.
    """
    count = len(settled)
    if len(texts) >= count and all(map(same, settled, texts)):
        return count
    bare = [_bare(text) for text in texts]
    ends = np.cumsum([0, *map(len, bare)])
    distances = _distances("".join(map(_bare, settled)), "".join(bare))
    # Of equally close beginnings, the one with as many words.
    return min(range(len(ends)), key=lambda words: (distances[ends[words]], abs(words - count)))


def _distances(text: str, other: str) -> list[int]:
    """Return the edit distances of `text` from each beginning of `other`, from the empty one on."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(text, start=1):
        diagonal, row[0] = row[0], number
        for column, against in enumerate(other, start=1):
            replaced = diagonal + (letter != against)
            diagonal = row[column]
            row[column] = min(replaced, diagonal + 1, row[column - 1] + 1)
    return row


def same(text: str, other: str) -> bool:
    """Whether two words are the same but for case and punctuation."""
    return _bare(text) == _bare(other)


def _bare(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum()) or text
