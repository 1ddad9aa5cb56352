import av
import numpy as np
import numpy.typing as npt
import pytest

from transcribed.audio.formats import Samples
from transcribed.audio.frames import FrameConverter
from transcribed.errors import UnreadableAudio

_NOISE = np.random.default_rng(7).uniform(-1, 1, 24_000).astype(np.float32)


def _frame(
    samples: npt.NDArray[np.generic], rate: int, layout: str = "mono", form: str = "flt"
) -> av.AudioFrame:
    """Samples [channels, n] as a packed frame."""
    frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format=form, layout=layout)
    frame.sample_rate = rate
    return frame


def _converted(*frames: av.AudioFrame, live: bool = False) -> Samples:
    converter = FrameConverter(live=live)
    parts = [part for frame in frames for part in converter.push(frame)]
    return np.concatenate([*parts, *converter.flush()])


@pytest.mark.parametrize(
    ("form", "kind", "full"),
    [("u8", np.uint8, 128), ("s16", np.int16, 2**15), ("s32", np.int32, 2**31), ("dbl", np.float64, 1)],
)
def test_any_sample_format_is_heard_at_its_full_scale(form: str, kind: type[np.generic], full: int) -> None:
    middle = 128 if form == "u8" else 0
    written = (0.9 * _NOISE.astype(np.float64) * full + middle).astype(kind)
    assert _converted(_frame(written[None], 16_000, form=form)) == pytest.approx(0.9 * _NOISE, abs=0.01)


@pytest.mark.parametrize(
    ("layout", "channels"),
    [("stereo", 2), ("5.1", 6), ("7.1", 8), ("hexadecagonal", 16), ("64 channels", 64)],
)
@pytest.mark.parametrize("live", [True, False])
def test_channels_that_say_the_same_sound_no_louder_than_one(
    *, layout: str, channels: int, live: bool
) -> None:
    said = _converted(_frame(np.tile(_NOISE, (channels, 1)), 16_000, layout), live=live)
    assert said == pytest.approx(_NOISE, abs=1e-5)


@pytest.mark.parametrize(
    "layout", ["7.1", "8 channels", "hexadecagonal", "2 channels (FL+FL)", "ambisonic 1"]
)
@pytest.mark.parametrize("form", ["fltp", "s16p", "flt"])
def test_frames_in_planes_of_any_layout_are_read(layout: str, form: str) -> None:
    # PyAV cannot fill planes from an array where there are eight or more.
    frame = av.AudioFrame(format=form, layout=layout, samples=1_600)
    for number in range(frame.layout.nb_channels if form != "flt" else 1):
        frame.planes[number].update(bytes(frame.planes[number].buffer_size))
    frame.sample_rate = 16_000
    assert np.array_equal(_converted(frame), np.zeros(1_600))


def test_a_frame_as_long_as_a_file_comes_out_in_pieces() -> None:
    long = np.tile(_NOISE, (2, 50))
    frame = _frame(long, 16_000, "stereo")
    pieces = list(FrameConverter(live=True).push(frame))
    assert len(pieces) > 10
    assert np.allclose(np.concatenate(pieces), long[0], atol=1e-5)


def test_a_change_of_format_on_the_way_loses_nothing() -> None:
    frames = [
        _frame(_NOISE[None, :16_000], 16_000),
        _frame(_NOISE[None, :22_050], 44_100),
        _frame(np.tile(_NOISE[:8_000], (2, 1)), 8_000, "stereo"),
    ]
    heard = _converted(*frames)
    assert len(heard) == pytest.approx(16_000 + 8_000 + 16_000, abs=4)
    assert np.array_equal(heard[:16_000], _NOISE[:16_000])


def test_values_that_are_no_numbers_do_not_get_through() -> None:
    broken = _NOISE.copy()
    broken[[5, 6, 7, 8]] = [np.nan, np.inf, -np.inf, 1e38]
    heard = _converted(_frame(broken[None], 16_000))
    assert heard[[5, 6, 7, 8]].tolist() == [0, 1, -1, 1]
    stereo = _converted(_frame(np.stack([broken, broken]), 16_000, "stereo"))
    assert np.isfinite(stereo).all()
    assert stereo[1_000:] == pytest.approx(_NOISE[1_000:], abs=1e-5)


def test_nothing_in_is_nothing_out() -> None:
    assert list(FrameConverter().flush()) == []


@pytest.mark.parametrize("rate", [5, 3_999, 192_001, 251_680_290])
def test_a_rate_that_no_speech_has_is_refused(rate: int) -> None:
    with pytest.raises(UnreadableAudio, match=f"has {rate} samples a second"):
        _converted(_frame(_NOISE[None, :160], rate))


def test_channels_kept_apart_must_be_as_many_as_were_said() -> None:
    converter = FrameConverter(2)
    with pytest.raises(UnreadableAudio, match="has 1 channels, but 2"):
        list(converter.push(_frame(_NOISE[None], 16_000)))
