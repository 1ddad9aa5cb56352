from itertools import pairwise

import av
import numpy as np
import numpy.typing as npt
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.formats import Samples
from transcribed.audio.resampler import Resampler

_NOISE = np.random.default_rng(7).uniform(-1, 1, 24_000).astype(np.float32)


def _frame(samples: npt.NDArray[np.float32], rate: int, layout: str = "mono") -> av.AudioFrame:
    """Samples [channels, n] as a frame."""
    # Packed: PyAV cannot make planar frames of eight channels and more.
    frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format="flt", layout=layout)
    frame.sample_rate = rate
    return frame


def _resampled(*frames: av.AudioFrame) -> Samples:
    resampler = Resampler()
    parts = [part for frame in frames for part in resampler.push(frame)]
    return np.concatenate([*parts, *resampler.flush()])


@given(
    rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000, 96_000]),
    layout=st.sampled_from(["mono", "stereo"]),
    cuts=st.sets(st.integers(1, len(_NOISE) - 1), max_size=30),
)
def test_the_output_does_not_depend_on_how_the_input_is_cut(rate: int, layout: str, cuts: set[int]) -> None:
    channels = np.stack([_NOISE, -0.5 * _NOISE]) if layout == "stereo" else _NOISE[None]
    edges = [0, *sorted(cuts), len(_NOISE)]
    parts = [_frame(channels[:, low:high], rate, layout) for low, high in pairwise(edges)]
    whole = _resampled(_frame(channels, rate, layout))
    assert np.array_equal(_resampled(*parts), whole)
    assert len(whole) == pytest.approx(len(_NOISE) * 16_000 / rate, abs=2)


def test_what_has_the_right_form_already_passes_unchanged() -> None:
    assert np.array_equal(_resampled(_frame(_NOISE[None], 16_000)), _NOISE)


@pytest.mark.parametrize(
    ("layout", "channels"), [("stereo", 2), ("5.1", 6), ("7.1", 8), ("hexadecagonal", 16)]
)
def test_channels_that_say_the_same_sound_no_louder_than_one(layout: str, channels: int) -> None:
    said = _resampled(_frame(np.tile(_NOISE, (channels, 1)), 16_000, layout))
    assert said == pytest.approx(_NOISE, abs=1e-5)


def test_a_speaker_on_one_channel_is_heard() -> None:
    heard = _resampled(_frame(np.stack([np.zeros_like(_NOISE), _NOISE]), 16_000, "stereo"))
    assert np.corrcoef(heard, _NOISE)[0, 1] == pytest.approx(1)
    assert np.abs(heard).max() >= 0.49


def test_a_change_of_format_on_the_way_loses_nothing() -> None:
    frames = [
        _frame(_NOISE[None, :16_000], 16_000),
        _frame(_NOISE[None, :22_050], 44_100),
        _frame(np.tile(_NOISE[:8_000], (2, 1)), 8_000, "stereo"),
    ]
    heard = _resampled(*frames)
    assert len(heard) == pytest.approx(16_000 + 8_000 + 16_000, abs=4)
    assert np.array_equal(heard[:16_000], _NOISE[:16_000])


def test_values_that_are_no_numbers_do_not_get_through() -> None:
    broken = _NOISE.copy()
    broken[[5, 6, 7]] = [np.nan, np.inf, -np.inf]
    heard = _resampled(_frame(broken[None], 16_000))
    assert heard[[5, 6, 7]].tolist() == [0, 1, -1]
    assert np.isfinite(heard).all()


def test_nothing_in_is_nothing_out() -> None:
    assert Resampler().flush() == []


def test_a_resampler_needs_no_threads() -> None:
    before = psutil.Process().num_threads()
    resampler = Resampler()
    resampler.push(_frame(_NOISE[None], 8_000))
    assert psutil.Process().num_threads() <= before
