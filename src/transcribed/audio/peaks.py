"""The peaks of a recording, from which a waveform is drawn."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transcribed.audio.formats import SAMPLE_RATE, Samples

FINEST_SAMPLES = 320
"""The fewest samples of one pair of peaks, 0.02 s: a syllable is a tenth of a second or longer."""
MOST_PAIRS = 720_000
"""The most pairs that are kept for one recording: four hours at the finest resolution."""

_FULL_SCALE = 127

Pairs = npt.NDArray[np.int8]
"""The lowest and the highest sample of successive spans: [n, 2], in [-127, 127] for [-1, 1]."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """The peaks of a whole recording; `samples` is its length, each pair is of `samples_per_pair`."""

    pairs: Pairs
    samples_per_pair: int
    samples: int

    @property
    def seconds_per_pair(self) -> float:
        """The duration of each pair."""
        return self.samples_per_pair / SAMPLE_RATE

    @property
    def duration(self) -> float:
        """The duration of the recording, in seconds."""
        return self.samples / SAMPLE_RATE

    def of_at_most(self, count: int) -> "Peaks":
        """The same with at most `count` pairs, each of a whole number of these pairs."""
        factor = max(1, -(-len(self.pairs) // count))
        return Peaks(_joined(self.pairs, factor), self.samples_per_pair * factor, self.samples)


class PeakMeter:
    """Computes the peaks of audio that arrives in blocks, in bounded memory.

    Whenever MOST_PAIRS is reached, each two pairs become one.
    """

    def __init__(self) -> None:
        self._pairs: Pairs = np.zeros((MOST_PAIRS, 2), np.int8)
        self._count = 0
        self._samples_per_pair = FINEST_SAMPLES
        self._rest: Samples = np.zeros(0, np.float32)
        self._samples = 0

    def accept(self, block: Samples) -> None:
        """Add mono audio."""
        self._samples += len(block)
        audio = np.concatenate([self._rest, block])
        while (count := min(len(audio) // self._samples_per_pair, MOST_PAIRS - self._count)) > 0:
            length = count * self._samples_per_pair
            self._add(_measured(audio[:length].reshape(count, -1)))
            audio = audio[length:]
        self._rest = audio

    def finish(self) -> Peaks:
        """The peaks of all audio; the last pair may be of fewer samples."""
        if len(self._rest) > 0:
            self._add(_measured(self._rest[np.newaxis]))
        return Peaks(self._pairs[: self._count].copy(), self._samples_per_pair, self._samples)

    def _add(self, pairs: Pairs) -> None:
        self._pairs[self._count : self._count + len(pairs)] = pairs
        self._count += len(pairs)
        if self._count == MOST_PAIRS:
            self._count //= 2
            self._pairs[: self._count] = _joined(self._pairs, 2)
            self._samples_per_pair *= 2


def _measured(spans: Samples) -> Pairs:
    """The pairs of spans [n, samples]."""
    peaks = np.stack([spans.min(axis=1), spans.max(axis=1)], axis=1)
    pairs: Pairs = np.rint(np.clip(peaks, -1, 1) * _FULL_SCALE).astype(np.int8)
    return pairs


def _joined(pairs: Pairs, factor: int) -> Pairs:
    """The pairs of spans that are `factor` times as long."""
    starts = np.arange(0, len(pairs), factor)
    if factor == 1 or len(starts) == 0:
        return pairs
    lowest, highest = pairs[:, 0], pairs[:, 1]
    return np.stack([np.minimum.reduceat(lowest, starts), np.maximum.reduceat(highest, starts)], axis=1)
