"""Speech in one channel, others against it: what is left is as loud as it was, and the same sound."""

import numpy as np
import pytest

from transcribed.audio.formats import Samples
from transcribed.audio.mixing import Mixer, OffsetRemover

_RATE = 16_000
_TIMES = np.arange(4 * _RATE) / _RATE
_RANDOM = np.random.default_rng(3)


def _noise(level: float) -> Samples:
    return (level * _RANDOM.standard_normal(len(_TIMES))).astype(np.float32)


def _syllables() -> Samples:
    """Noise that comes and goes four times a second, as speech does."""
    return (_noise(0.1) * np.maximum(np.sin(2 * np.pi * 4 * _TIMES), 0)).astype(np.float32)


_SPEECH = _syllables()
_SURROUND = ("FL", "FR", "FC", "LFE", "BL", "BR")


def _mixed(*channels: Samples, names: tuple[str, ...] = (), look_ahead: bool = True) -> Samples:
    mixer = Mixer(len(channels), _RATE, names, look_ahead=look_ahead)
    return np.concatenate([mixer.push(np.stack(channels)), mixer.flush()], axis=1)[0]


def _level(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def _speech_to_rest(mixed: Samples) -> tuple[float, float]:
    """How loud the speech is in a mix, as a share of what it was, and dB above all else."""
    share = float(mixed @ _SPEECH / (_SPEECH @ _SPEECH))
    rest = _level(mixed - share * _SPEECH) + 1e-9
    return abs(share), 20 * np.log10(abs(share) * _level(_SPEECH) / rest)


@pytest.mark.parametrize("look_ahead", [True, False])
@pytest.mark.parametrize(
    "channels",
    [
        (_SPEECH, _SPEECH),
        (_SPEECH, -_SPEECH),
        (_SPEECH, 0 * _SPEECH),
        (0 * _SPEECH, _SPEECH),
        (_SPEECH, -0.3 * _SPEECH),
        (_SPEECH, _SPEECH, -_SPEECH),
        (_SPEECH, 0 * _SPEECH, 0 * _SPEECH, 0 * _SPEECH),
        (-_SPEECH, _SPEECH, -_SPEECH, _SPEECH),
        (*[0 * _SPEECH] * 7, _SPEECH),
    ],
    ids=["same", "opposite", "left", "right", "weak", "three", "one of four", "four", "one of eight"],
)
def test_speech_is_as_loud_as_it_was(*, channels: tuple[Samples, ...], look_ahead: bool) -> None:
    share, above = _speech_to_rest(_mixed(*channels, look_ahead=look_ahead))
    assert share == pytest.approx(1.0, abs=0.02 if look_ahead else 0.1)
    assert above > (30 if look_ahead else 12)


def test_a_little_noise_on_both_sides_does_not_hide_that_they_are_opposite() -> None:
    share, above = _speech_to_rest(_mixed(_SPEECH + _noise(0.01), _noise(0.01) - _SPEECH))
    assert share == pytest.approx(1.0, abs=0.05)
    assert above > 14


def test_speakers_on_either_side_are_both_heard_in_full() -> None:
    half = len(_SPEECH) // 2
    left, right = _SPEECH.copy(), _SPEECH.copy()
    left[half:] = 0
    right[:half] = 0
    share, above = _speech_to_rest(_mixed(left, right))
    assert share == pytest.approx(1.0, abs=0.05)
    assert above > 20


def test_two_at_once_are_both_heard_and_not_louder_than_full_scale_allows() -> None:
    other = _syllables()
    mixed = _mixed(_SPEECH, other)
    assert _speech_to_rest(mixed)[0] == pytest.approx(0.7, abs=0.1)
    assert _level(mixed) == pytest.approx(_level(_SPEECH), rel=0.15)


def test_speech_in_the_centre_stands_before_the_music_around_it() -> None:
    music = _noise(0.1)
    rumble = (0.5 * np.sin(2 * np.pi * 40 * _TIMES)).astype(np.float32)
    sound = (music, music, _SPEECH, rumble, music, music)
    for look_ahead in (True, False):
        _, above = _speech_to_rest(_mixed(*sound, names=_SURROUND, look_ahead=look_ahead))
        _, mean_above = _speech_to_rest(np.mean(sound, axis=0).astype(np.float32))
        assert above > mean_above + 10


@pytest.mark.parametrize("place", [0, 1, 3, 4, 5])
def test_speech_beside_a_silent_centre_is_heard_in_full(place: int) -> None:
    sound = [_noise(0.0001) for _ in range(6)]
    sound[place] = _SPEECH
    share, above = _speech_to_rest(_mixed(*sound, names=_SURROUND))
    assert share == pytest.approx(1.0, abs=0.02)
    assert above > 20


def test_rumble_does_not_make_speech_quiet() -> None:
    rumble = (0.9 * np.sin(2 * np.pi * 40 * _TIMES)).astype(np.float32)
    sound = [_SPEECH, _SPEECH, 0 * _SPEECH, rumble, 0 * _SPEECH, 0 * _SPEECH]
    share, above = _speech_to_rest(_mixed(*sound, names=_SURROUND))
    assert share == pytest.approx(1.0, abs=0.05)
    assert above > 20


def test_a_constant_on_one_side_does_not_count_as_sound() -> None:
    share, _ = _speech_to_rest(_mixed(_SPEECH, np.full_like(_SPEECH, 0.5)) - 0.5)
    assert share == pytest.approx(1.0, abs=0.02)


# --- A constant


def _without_offset(sound: Samples, *, look_ahead: bool) -> Samples:
    remover = OffsetRemover(len(sound), _RATE, look_ahead=look_ahead)
    return np.concatenate([remover.push(sound), remover.flush()], axis=1)


@pytest.mark.parametrize("look_ahead", [True, False])
@pytest.mark.parametrize("offset", [0.8, 0.3, 0.1, 0.02, -0.1])
def test_a_constant_is_taken_out(*, offset: float, look_ahead: bool) -> None:
    found = _without_offset(np.stack([_SPEECH + np.float32(offset), _SPEECH]), look_ahead=look_ahead)
    start = 0 if look_ahead else _RATE // 4
    assert found[0, start:].mean() == pytest.approx(0, abs=0.006)
    assert found[0, start:] - found[0, start:].mean() == pytest.approx(_SPEECH[start:], abs=0.02)
    assert np.array_equal(found[1], _SPEECH)


@pytest.mark.parametrize("look_ahead", [True, False])
def test_a_constant_that_comes_on_the_way_is_taken_out_within_seconds(*, look_ahead: bool) -> None:
    sound = np.tile(_SPEECH, 2)[None].copy()
    sound[0, len(_SPEECH) :] += 0.2
    assert abs(_without_offset(sound, look_ahead=look_ahead)[0, -_RATE:].mean()) < 0.02


def test_sound_without_a_constant_is_untouched() -> None:
    for sound in (_SPEECH, _noise(0.2), (0.5 * np.sin(2 * np.pi * 100 * _TIMES)).astype(np.float32)):
        assert np.array_equal(_without_offset(sound[None], look_ahead=True)[0], sound)
