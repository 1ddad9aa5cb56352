"""Peaks of audio in blocks of any size."""

import numpy as np
import pytest

from transcribed.audio import peaks
from transcribed.audio.peaks import FINEST_SAMPLES, PeakMeter, Peaks


def _metered(audio: np.ndarray, block: int = 1000) -> Peaks:
    meter = PeakMeter()
    for start in range(0, len(audio), block):
        meter.accept(audio[start : start + block])
    return meter.finish()


def _noise(spans: float) -> np.ndarray:
    random = np.random.default_rng(1)
    return random.uniform(-1, 1, round(spans * FINEST_SAMPLES)).astype(np.float32)


def _expected(audio: np.ndarray, samples_per_pair: int) -> list[list[int]]:
    spans = [audio[start : start + samples_per_pair] for start in range(0, len(audio), samples_per_pair)]
    return [[round(float(span.min()) * 127), round(float(span.max()) * 127)] for span in spans]


@pytest.mark.parametrize("block", [1, 319, 320, 321, 8000])
def test_each_pair_is_of_its_span_however_the_audio_arrives(block: int) -> None:
    audio = _noise(7.5)
    found = _metered(audio, block)
    assert found.pairs.tolist() == _expected(audio, FINEST_SAMPLES)
    assert (found.samples_per_pair, found.seconds_per_pair) == (320, 0.02)
    assert found.duration == pytest.approx(0.15)


def test_louder_than_full_scale_is_full_scale() -> None:
    assert _metered(np.array([-1.5, 3.0], np.float32)).pairs.tolist() == [[-127, 127]]


def test_no_audio_has_no_peaks() -> None:
    found = _metered(np.zeros(0, np.float32))
    assert (found.pairs.shape, found.duration) == ((0, 2), 0)
    assert found.of_at_most(10).pairs.shape == (0, 2)


@pytest.mark.parametrize(("count", "factor"), [(100, 1), (10, 1), (9, 2), (5, 2), (4, 3), (1, 10)])
def test_fewer_pairs_are_of_longer_spans(count: int, factor: int) -> None:
    audio = _noise(9.5)
    found = _metered(audio).of_at_most(count)
    assert len(found.pairs) <= count
    assert found.samples_per_pair == factor * FINEST_SAMPLES
    assert found.pairs.tolist() == _expected(audio, factor * FINEST_SAMPLES)
    assert found.duration == pytest.approx(0.19)


@pytest.mark.parametrize("block", [700, 100_000])
def test_long_audio_has_longer_spans_in_the_same_memory(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(peaks, "MOST_PAIRS", 16)
    audio = _noise(100.25)
    found = _metered(audio, block)
    assert found.samples_per_pair == 8 * FINEST_SAMPLES
    assert found.pairs.tolist() == _expected(audio, 8 * FINEST_SAMPLES)
