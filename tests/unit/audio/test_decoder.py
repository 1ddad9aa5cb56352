import math
import struct
import wave
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.decoder import RawDecoder
from transcribed.audio.formats import Encoding, InputFormat, Samples
from transcribed.audio.wav import LONGEST_HEADER, WavSniffer
from transcribed.errors import UnreadableAudio

_RAW = [encoding for encoding in Encoding if encoding is not Encoding.AUTO]
_RANDOM = np.random.default_rng(11)
_PCM = _RANDOM.integers(-32_768, 32_768, 4_000).astype("<i2")


def _decoded(form: InputFormat, *chunks: bytes) -> Samples:
    decoder = RawDecoder(form)
    return np.concatenate([*map(decoder.push, chunks), decoder.finish()])


def _cut(data: bytes, cuts: set[int]) -> list[bytes]:
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    return [data[low:high] for low, high in pairwise(edges)]


def _header(
    *,
    tag: int = 1,
    bits: int = 16,
    rate: int = 16_000,
    channels: int = 1,
    before: bytes = b"",
    size: int = 0xFFFF_FFFF,
) -> bytes:
    block = channels * bits // 8
    described = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)
    chunks = before + b"fmt " + struct.pack("<I", 16) + described + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", size) + b"WAVE" + chunks


# --- Samples


def test_pcm_is_divided_by_its_full_scale() -> None:
    data = struct.pack("<5h", 0, 1, -1, 32_767, -32_768)
    assert _decoded(InputFormat(), data).tolist() == [0, 1 / 32_768, -1 / 32_768, 32_767 / 32_768, -1]


def test_floats_are_as_they_are_but_for_what_is_no_sound() -> None:
    values = [0.0, 0.25, -1.0, 1.5, -7.0, math.inf, -math.inf, math.nan]
    data = struct.pack("<8f", *values)
    assert _decoded(InputFormat(Encoding.F32), data).tolist() == [0, 0.25, -1, 1, -1, 1, -1, 0]


def _mulaw(byte: int) -> int:
    """G.711, table 2."""
    inverted = ~byte & 0xFF
    magnitude = (((inverted & 0x0F) << 3) + 0x84 << ((inverted & 0x70) >> 4)) - 0x84
    return -magnitude if inverted & 0x80 else magnitude


def _alaw(byte: int) -> int:
    """G.711, table 1."""
    toggled = byte ^ 0x55
    step, exponent = (toggled & 0x0F) << 4, (toggled & 0x70) >> 4
    magnitude = step + 8 if exponent == 0 else step + 0x108 << exponent - 1
    return magnitude if toggled & 0x80 else -magnitude


@pytest.mark.parametrize(("encoding", "value"), [(Encoding.MULAW, _mulaw), (Encoding.ALAW, _alaw)])
def test_a_law_and_mu_law_are_those_of_g_711(encoding: Encoding, value: Callable[[int], int]) -> None:
    found = _decoded(InputFormat(encoding), bytes(range(256))) * 32_768
    assert found.tolist() == [value(byte) for byte in range(256)]


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("kind", ["same", "opposite", "one"])
def test_the_channels_are_mixed_to_what_each_says(channels: int, kind: str) -> None:
    signs = {"same": [1] * channels, "opposite": [1, -1] * channels, "one": [1] + [0] * channels}[kind]
    data = np.outer(_RANDOM.integers(-9_999, 9_999, 8_000), signs[:channels]).astype("<i2")
    found = _decoded(InputFormat(channels=channels), data.tobytes())
    assert found[1_600:] == pytest.approx(data[1_600:, 0] / 32_768, abs=1e-6)


@pytest.mark.parametrize("split_channels", [True, False])
def test_a_constant_is_taken_out(*, split_channels: bool) -> None:
    data = np.full((32_000, 2), 6_000, "<i2")
    decoder = RawDecoder(InputFormat(channels=2), split_channels=split_channels)
    found = np.concatenate([decoder.push(data.tobytes()), decoder.finish()], axis=-1)
    assert found.shape == ((2, 32_000) if split_channels else (32_000,))
    assert np.abs(found[..., 3_200:]).max() < 0.0011


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_any_rate_becomes_16_khz(rate: int) -> None:
    tone = 0.9 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    found = _decoded(InputFormat(sample_rate=rate), (tone * 32_767).astype("<i2").tobytes())
    assert len(found) == pytest.approx(16_000, abs=2)
    assert np.argmax(np.abs(np.fft.rfft(found))) == pytest.approx(440, abs=1)
    assert np.abs(found).max() == pytest.approx(0.9, abs=0.02)


@given(
    encoding=st.sampled_from(_RAW),
    rate=st.sampled_from([8_000, 16_000, 44_100]),
    channels=st.integers(1, 3),
    header=st.booleans(),
    length=st.integers(0, 4_000),
    cuts=st.sets(st.integers(1, 4_100), max_size=40),
)
def test_the_samples_do_not_depend_on_how_the_bytes_are_cut(
    *, encoding: Encoding, rate: int, channels: int, header: bool, length: int, cuts: set[int]
) -> None:
    form = InputFormat(encoding, rate, channels)
    tag, bits = {"pcm": (1, 16), "f32": (3, 32), "mulaw": (7, 8), "alaw": (6, 8)}[encoding.value]
    front = _header(tag=tag, bits=bits, rate=rate, channels=channels) if header else b""
    data = np.random.default_rng(length).bytes(length)
    found = _decoded(form, *_cut(front + data, cuts))
    assert found.dtype == np.float32
    assert np.array_equal(found, _decoded(form, data))
    assert np.all(np.abs(found) <= 1)


def test_byte_by_byte_is_the_same_too() -> None:
    data = _header() + _PCM.tobytes()
    assert np.array_equal(_decoded(InputFormat(), *(bytes([byte]) for byte in data)), _PCM / 32_768)


def test_samples_come_as_soon_as_their_bytes_do() -> None:
    decoder = RawDecoder(InputFormat())
    assert len(decoder.push(_PCM.tobytes()[:321])) == 160
    assert len(decoder.push(b"\0")) == 1


@pytest.mark.parametrize("encoding", _RAW)
def test_nothing_in_is_nothing_out(encoding: Encoding) -> None:
    assert len(_decoded(InputFormat(encoding, 8_000))) == 0
    assert len(_decoded(InputFormat(encoding), b"", b"")) == 0


# --- A WAV header in front


def test_a_recorded_wav_is_its_samples() -> None:
    content = BytesIO()
    with wave.open(content, "wb") as target:
        target.setparams((1, 2, 16_000, 0, "NONE", ""))
        target.writeframes(_PCM.tobytes())
    found = _decoded(InputFormat(), content.getvalue())
    assert np.array_equal(found, _PCM / 32_768)


def test_other_chunks_in_front_of_the_audio_are_passed_over() -> None:
    listed = b"LIST" + struct.pack("<I", 5) + b"hello\0"
    found = _decoded(InputFormat(), _header(before=listed) + _PCM.tobytes())
    assert np.array_equal(found, _PCM / 32_768)


def test_an_extensible_header_says_its_encoding_further_behind() -> None:
    described = struct.pack("<HHIIHHHHIH14x", 0xFFFE, 1, 16_000, 32_000, 2, 16, 22, 16, 4, 1)
    header = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", len(described)) + described + b"data\0\0\0\0"
    assert np.array_equal(_decoded(InputFormat(), header + _PCM.tobytes()), _PCM / 32_768)


@pytest.mark.parametrize("start", [b"RI", b"RIFX", b"RIFF0123WAVX", b"RIFF0123wave"])
def test_what_only_begins_like_a_header_is_audio(start: bytes) -> None:
    data = start + _PCM.tobytes()
    assert np.array_equal(_decoded(InputFormat(), data), np.frombuffer(data, "<i2") / 32_768)
    assert len(_decoded(InputFormat(), start[:2])) == 1


@pytest.mark.parametrize(
    ("header", "form", "said"),
    [
        ({"rate": 22_050}, InputFormat(), ["pcm, 22050 Hz", "pcm, 16000 Hz", "with sample_rate=22050, or"]),
        ({"channels": 2}, InputFormat(), ["2 channels", "1 channel.", "with channels=2, or"]),
        ({"tag": 3, "bits": 32}, InputFormat(), ["f32, 16000 Hz", "with encoding=f32, or"]),
        ({"tag": 7, "bits": 8}, InputFormat(), ["mulaw, 16000 Hz", "with encoding=mulaw, or"]),
        (
            {},
            InputFormat(Encoding.ALAW, 8_000),
            ["encoding=pcm and sample_rate=16000, or", "alaw, 8000 Hz"],
        ),
        ({"bits": 24}, InputFormat(), ["24-bit integers", "with encoding=auto"]),
        ({"tag": 85, "bits": 0}, InputFormat(), ["kind 85", "with encoding=auto"]),
    ],
)
def test_a_header_that_contradicts_is_told_with_both_and_the_way_out(
    header: dict[str, int], form: InputFormat, said: list[str]
) -> None:
    with pytest.raises(UnreadableAudio) as refused:
        _decoded(form, _header(**header))
    for part in [*said, "encoding=auto"]:
        assert part in refused.value.message


_PICTURE = b"id3 " + struct.pack("<I", 30_000) + _RANDOM.bytes(30_000)


@pytest.mark.parametrize("step", [3, 441, 8_000, 100_000])
@pytest.mark.parametrize(
    ("content", "heard"),
    [
        (_header(size=8_000) + _PCM.tobytes() + _PICTURE, 1),
        (_header(size=8_000) + _PCM.tobytes() + b"LIST\4\0\0\0INFO" + _PICTURE, 1),
        (_header(size=7_999) + _PCM.tobytes()[:-1] + b"\0" + _PICTURE, 1),
        (_header(size=8_000) + _PCM.tobytes() + _PICTURE + _header(size=8_000) + _PCM.tobytes(), 2),
        ((_header(size=8_000) + _PCM.tobytes()) * 3, 3),
        (_header(size=1_024) + _PCM.tobytes(), 1),
        (_header(size=0) + _PCM.tobytes() * 2, 2),
        (_header(size=0x7FFF_F000) + _PCM.tobytes() * 2, 2),
    ],
    ids=["picture", "list", "odd", "another", "three", "small", "zero", "large"],
)
def test_of_a_wav_the_audio_is_heard_and_nothing_else(content: bytes, heard: int, step: int) -> None:
    found = _decoded(InputFormat(), *(content[at : at + step] for at in range(0, len(content), step)))
    expected = np.tile(_PCM, heard) / 32_768
    # Of an odd number of bytes, the last sample is not whole.
    assert len(expected) - len(found) <= 1
    assert np.array_equal(found, expected[: len(found)])


def test_another_wav_that_says_another_format_is_told() -> None:
    content = _header(size=8_000) + _PCM.tobytes() + _header(rate=8_000) + _PCM.tobytes()
    with pytest.raises(UnreadableAudio, match="sample_rate=8000"):
        _decoded(InputFormat(), content)


def test_a_header_that_never_ends_is_refused() -> None:
    endless = b"LIST" + struct.pack("<I", 10_000_000)
    decoder = RawDecoder(InputFormat())
    with pytest.raises(UnreadableAudio, match="has no audio in its first"):  # noqa: PT012 - how far it goes
        for number in range(200):
            assert 1_024 * number <= LONGEST_HEADER + 1_024
            decoder.push(_header(before=endless)[:64] + bytes(960))


@pytest.mark.parametrize(
    "content", [b"RIFF\0\0\0\0WAVEdata\0\0\0\0", b"RIFF\0\0\0\0WAVEfmt \2\0\0\0\1\0data\0\0\0\0"]
)
def test_a_damaged_header_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableAudio, match="Send the samples"):
        _decoded(InputFormat(), content)


def test_a_header_alone_is_no_audio() -> None:
    for length in range(12, len(_header()) + 1):
        assert len(_decoded(InputFormat(), _header()[:length])) == 0


def test_the_format_of_a_header_is_known_if_it_can_go_without(data: Path) -> None:
    for name, known in [("telephone.wav", InputFormat(Encoding.MULAW, 8_000)), ("jfk.mp3", None)]:
        sniffer = WavSniffer()
        assert sniffer.push((data / name).read_bytes()[:1_000])
        assert (sniffer.header.format if sniffer.header else None) == known
    for header in ({"rate": 4_000}, {"channels": 9}, {"channels": 0}, {"bits": 24}):
        sniffer = WavSniffer()
        assert sniffer.push(_header(**header))
        assert sniffer.header is not None
        assert sniffer.header.format is None
