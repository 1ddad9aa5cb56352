from itertools import pairwise

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.formats import Samples
from transcribed.audio.resampler import Resampler

_NOISE = np.random.default_rng(7).uniform(-1, 1, 24_000).astype(np.float32)


def _resampled(resampler: Resampler, *parts: Samples) -> Samples:
    return np.concatenate([*map(resampler.push, parts), resampler.flush()], axis=-1)


@given(
    rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000, 96_000]),
    channels=st.integers(1, 3),
    split_channels=st.booleans(),
    look_ahead=st.booleans(),
    offset=st.sampled_from([0.0, 0.2]),
    cuts=st.sets(st.integers(1, len(_NOISE) - 1), max_size=30),
)
def test_the_output_does_not_depend_on_how_the_input_is_cut(
    *, rate: int, channels: int, split_channels: bool, look_ahead: bool, offset: float, cuts: set[int]
) -> None:
    sound = 0.5 * np.stack([_NOISE, -0.5 * _NOISE, _NOISE[::-1]])[:channels] + np.float32(offset)
    sound[-1, 6_000:12_000] = 0
    edges = [0, *sorted(cuts), len(_NOISE)]
    parts = [sound[:, low:high] for low, high in pairwise(edges)]
    found, whole = (
        _resampled(
            Resampler(
                rate,
                channels,
                split_channels=split_channels,
                names=["FL", "FR", "FC"],
                look_ahead=look_ahead,
            ),
            *pushed,
        )
        for pushed in (parts, [sound])
    )
    assert np.array_equal(found, whole)
    assert whole.shape[-1] == pytest.approx(len(_NOISE) * 16_000 / rate, abs=2)
    assert np.abs(whole).max() <= 1


def test_what_has_the_right_form_already_passes_unchanged() -> None:
    for look_ahead in (True, False):
        assert np.array_equal(_resampled(Resampler(16_000, 1, look_ahead=look_ahead), _NOISE[None]), _NOISE)


def test_nothing_in_is_nothing_out() -> None:
    for rate in (8_000, 16_000):
        assert len(Resampler(rate, 2).flush()) == 0
        assert Resampler(rate, 3, split_channels=True, look_ahead=True).flush().shape == (3, 0)


def test_what_is_live_comes_out_at_once() -> None:
    resampler = Resampler(16_000, 2)
    assert len(resampler.push(np.stack([_NOISE[:160], _NOISE[:160]]))) == 160


def test_a_resampler_needs_no_threads() -> None:
    before = psutil.Process().num_threads()
    Resampler(8_000, 1).push(_NOISE[None])
    assert psutil.Process().num_threads() <= before
