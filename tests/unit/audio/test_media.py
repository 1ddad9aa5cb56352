import io
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from transcribed.audio.formats import AudioFormat, Samples
from transcribed.audio.media import BLOCK_SECONDS, LIVE_BLOCK_SECONDS, MediaReader
from transcribed.errors import MediaChanged, UnreadableAudio
from transcribed.transcript import Track

Tone = Callable[..., bytes]


def _samples(content: bytes | io.BytesIO) -> Samples:
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    with MediaReader(source) as media:
        return np.concatenate(list(media.blocks()))


def _probe(content: bytes | io.BytesIO) -> AudioFormat:
    with MediaReader(io.BytesIO(content) if isinstance(content, bytes) else content) as media:
        return media.probe()


def _wav(samples: "np.ndarray[tuple[int, ...], np.dtype[np.int16]]", rate: int, channels: int = 1) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as target:
        target.setparams((channels, 2, rate, 0, "NONE", ""))
        target.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()


def _assert_sounds_at_440_hz(samples: Samples, amplitude: float) -> None:
    middle = samples[8_000:24_000]
    assert int(np.argmax(np.abs(np.fft.rfft(middle)))) == 440
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(amplitude, rel=0.2)


# --- What can be read


@pytest.mark.parametrize(
    ("container", "codec", "rate", "channels", "described"),
    [
        ("wav", "pcm_s16le", 16_000, 1, "wav/pcm_s16le"),
        ("wav", "pcm_s16le", 48_000, 2, "wav/pcm_s16le"),
        ("wav", "pcm_mulaw", 8_000, 1, "wav/pcm_mulaw"),
        ("wav", "pcm_u8", 11_025, 1, "wav/pcm_u8"),
        ("wav", "pcm_s24le", 96_000, 2, "wav/pcm_s24le"),
        ("wav", "pcm_f32le", 44_100, 2, "wav/pcm_f32le"),
        ("aiff", "pcm_s16be", 22_050, 1, "aiff/pcm_s16be"),
        ("au", "pcm_mulaw", 8_000, 1, "au/pcm_mulaw"),
        ("mp3", "libmp3lame", 44_100, 2, "mp3/mp3float"),
        ("mp4", "aac", 48_000, 2, "mov/aac"),
        ("ipod", "aac", 44_100, 1, "mov/aac"),
        ("adts", "aac", 32_000, 1, "aac/aac"),
        ("mpegts", "aac", 44_100, 1, "mpegts/aac"),
        ("flac", "flac", 44_100, 2, "flac/flac"),
        ("ogg", "libopus", 48_000, 2, "ogg/opus"),
        ("webm", "libopus", 48_000, 1, "matroska/opus"),
        ("amr", "libopencore_amrnb", 8_000, 1, "amr/amrnb"),
    ],
)
def test_reads_containers_codecs_rates_and_channels(
    tone: Tone, *, container: str, codec: str, rate: int, channels: int, described: str
) -> None:
    content = tone(container, codec, rate, channels, 2.0)
    samples = _samples(content)
    assert samples.dtype == np.float32
    # Codecs add up to two frames of their own at the ends.
    assert len(samples) / 16_000 == pytest.approx(2.0, abs=0.06)
    _assert_sounds_at_440_hz(samples, 0.5)
    found = _probe(content)
    assert f"{found.container}/{found.codec}" == described
    assert (found.sample_rate, found.channels) == (rate, channels)
    assert found.duration == pytest.approx(2.0, abs=0.06)


def test_reads_vorbis(data: Path) -> None:
    content = (data / "trumpet.ogg").read_bytes()
    track = Track(1, "vorbis", 22_050, 1, None, None, default=False, decodable=True)
    seconds = pytest.approx(5.333, abs=0.001)
    assert _probe(content) == AudioFormat("ogg", "vorbis", 22_050, 1, seconds, 1, (track,))
    assert len(_samples(content)) / 16_000 == pytest.approx(5.333, abs=0.001)


@pytest.mark.parametrize("channels", [3, 6, 8, 9, 16, 64])
def test_reads_as_many_channels_as_ffmpeg_converts(channels: int) -> None:
    said = np.random.default_rng(1).integers(-20_000, 20_000, 16_000)
    samples = _samples(_wav(np.repeat(said, channels), 16_000, channels))
    assert samples == pytest.approx(said / 32_768, abs=1e-4)


def test_reads_the_sound_of_a_video() -> None:
    samples = _samples(_video(sound=True))
    assert len(samples) == 32_000
    _assert_sounds_at_440_hz(samples, 0.5)


def test_counts_the_duration_where_the_file_does_not_declare_it(tone: Tone) -> None:
    # As a browser's recorder writes it.
    content = tone("webm", "libopus", 48_000, 1, 12.0, live="1")
    with av.open(io.BytesIO(content)) as container:
        assert container.duration is None
    assert _probe(content).duration == pytest.approx(12.0, abs=0.05)


def test_blocks_are_decoded_as_they_are_asked_for(tone: Tone) -> None:
    source = io.BytesIO(tone("wav", "pcm_s16le", 16_000, 1, 60.0))
    with MediaReader(source) as media:
        blocks = media.blocks()
        first = next(blocks)
        assert source.tell() < 200_000
    assert BLOCK_SECONDS <= len(first) / 16_000 < 2 * BLOCK_SECONDS


def test_the_source_stays_open_for_its_owner(data: Path) -> None:
    with (data / "test.wav").open("rb") as source:
        with MediaReader(source) as media:
            media.probe()
        source.seek(0)
        assert source.read(4) == b"RIFF"


# --- Containers that are still being written


class _Growing:
    """What has been written so far, a packet of the network at a time; it cannot seek."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self.read_bytes = 0

    def read(self, size: int, /) -> bytes:
        data = self._content.read(min(size, 200))
        self.read_bytes += len(data)
        return data


@pytest.mark.parametrize(
    ("container", "codec", "rate", "channels", "options"),
    [
        ("webm", "libopus", 48_000, 1, {"live": "1", "cluster_time_limit": "100"}),
        ("ogg", "libopus", 48_000, 1, {"page_duration": "20000"}),
        ("mp3", "libmp3lame", 44_100, 2, {}),
        ("adts", "aac", 44_100, 1, {}),
        ("mp4", "aac", 44_100, 1, {"movflags": "empty_moov+default_base_moof", "frag_duration": "100000"}),
        ("flac", "flac", 44_100, 1, {}),
    ],
    ids=str,
)
def test_a_live_container_is_heard_soon_after_its_start(
    tone: Tone, *, container: str, codec: str, rate: int, channels: int, options: dict[str, str]
) -> None:
    seconds = 10.0
    content = tone(container, codec, rate, channels, seconds, **options)
    source = _Growing(content)
    with MediaReader(source, live=True) as media:
        blocks = media.blocks()
        first = next(blocks)
        # FFmpeg wants ten blocks of FLAC before it believes the first, which are 0.1 s long here.
        assert source.read_bytes / len(content) * seconds < (1.6 if codec == "flac" else 0.5)
        found = np.concatenate([first, *blocks])
    assert LIVE_BLOCK_SECONDS <= len(first) / 16_000 < 0.3
    assert len(found) / 16_000 == pytest.approx(seconds, abs=0.1)
    _assert_sounds_at_440_hz(found, 0.5)


def test_a_live_mp3_may_begin_with_a_large_picture(tone: Tone) -> None:
    size = 300_000
    picture = b"APIC" + size.to_bytes(4) + b"\0\0" + bytes(size)
    length = bytes((len(picture) >> shift) & 127 for shift in (21, 14, 7, 0))
    content = b"ID3\3\0\0" + length + picture + tone("mp3", "libmp3lame", 44_100, 2, 3.0)
    with MediaReader(_Growing(content), live=True) as media:
        found = np.concatenate(list(media.blocks()))
    assert len(found) / 16_000 == pytest.approx(3.0, abs=0.1)


def test_live_noise_is_refused_before_much_of_it_has_come() -> None:
    source = _Growing(np.random.default_rng(5).bytes(1_000_000))
    with pytest.raises(UnreadableAudio), MediaReader(source, live=True) as media:
        list(media.blocks())
    assert source.read_bytes < 70_000


# --- What is damaged


def test_what_comes_before_a_break_is_read(tone: Tone) -> None:
    content = tone("mp3", "libmp3lame", 16_000, 1, 20.0)
    whole = _samples(content)
    part = _samples(content[: len(content) // 2])
    # Half of the bytes are half of the sound, but for the declared length and the packet cut in two.
    assert len(part) / 16_000 == pytest.approx(10.0, abs=0.3)
    assert np.array_equal(part[:-2_000], whole[: len(part) - 2_000])


def test_damage_in_the_middle_is_passed_over(tone: Tone) -> None:
    content = bytearray(tone("mp3", "libmp3lame", 16_000, 1, 20.0))
    middle = len(content) // 2
    content[middle : middle + 3_000] = np.random.default_rng(3).bytes(3_000)
    samples = _samples(bytes(content))
    assert len(samples) / 16_000 == pytest.approx(20.0, abs=1.5)
    _assert_sounds_at_440_hz(samples, 0.5)
    _assert_sounds_at_440_hz(samples[-40_000:], 0.5)


@pytest.mark.parametrize("error", [MediaChanged("replaced"), MemoryError()], ids=repr)
def test_what_is_no_fault_of_the_content_is_raised_as_it_is(tone: Tone, error: Exception) -> None:
    class Replaced(io.BytesIO):
        replaced = False

        def read(self, size: int | None = -1, /) -> bytes:
            if self.replaced and self.tell() > 1_000_000:
                raise error
            return super().read(size)

    lengths: list[int] = []
    source = Replaced(tone("wav", "pcm_s16le", 16_000, 1, 40.0))
    with MediaReader(source) as media:
        source.replaced = True
        with pytest.raises(type(error)):
            lengths.extend(map(len, media.blocks()))
    assert 2 * sum(lengths) == pytest.approx(1_000_000, abs=100_000)


# --- What is no audio


def _png() -> bytes:
    picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width = encoder.height = 64
    encoder.pix_fmt = "rgb24"
    return b"".join(map(bytes, encoder.encode(picture) + encoder.encode(None)))


def _video(*, sound: bool) -> bytes:
    """Two seconds of black, with a tone to it or without."""
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        pictures = output.add_stream("mpeg4", rate=10)
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        voice = output.add_stream("pcm_s16le", rate=16_000, layout="mono") if sound else None
        for number in range(20):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            output.mux(pictures.encode(picture))
            if voice is not None:
                times = np.arange(1_600 * number, 1_600 * (number + 1)) / 16_000
                wave = (16_384 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
                heard = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
                heard.sample_rate = 16_000
                output.mux(voice.encode(heard))
        for stream in filter(None, (pictures, voice)):
            output.mux(stream.encode(None))
    return target.getvalue()


def _unreadable(content: bytes | io.BytesIO) -> str:
    """The reason, which must be the same whether the file is looked at or read."""
    with pytest.raises(UnreadableAudio) as looked_at:
        _probe(content)
    if isinstance(content, io.BytesIO):
        content.seek(0)
    with pytest.raises(UnreadableAudio) as read:
        _samples(content)
    assert looked_at.value.message == read.value.message
    return looked_at.value.message


def test_a_picture_called_wav_is_no_audio() -> None:
    picture = io.BytesIO(_png())
    picture.name = "speech.wav"
    assert "Send a" in _unreadable(picture)


def test_a_video_without_sound_says_what_it_holds() -> None:
    assert "no audio track (it holds: video)" in _unreadable(_video(sound=False))


@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF", b"This is a test.\n" * 1_000, b"\0" * 100_000, b"\xff" * 100_000],
    ids=["empty", "four bytes", "text", "zeros", "ones"],
)
def test_what_is_no_recording_is_said_to_be_none(content: bytes) -> None:
    assert "Send a recording" in _unreadable(content)


def test_a_wav_without_a_sample_is_said_to_hold_none() -> None:
    assert "no audio that can be decoded" in _unreadable(_wav(np.zeros(0, np.int16), 16_000))


def test_what_only_looks_like_audio_is_refused(tone: Tone) -> None:
    content = bytearray(tone("adts", "aac", 16_000, 1, 5.0))
    random = np.random.default_rng(0)
    start = frame = 0
    while start < len(content):
        length = (content[start + 3] & 3) << 11 | content[start + 4] << 3 | content[start + 5] >> 5
        if frame > 3:
            content[start + 7 : start + length] = random.bytes(length - 7)
        start, frame = start + length, frame + 1
    with pytest.raises(UnreadableAudio, match="no audio that can be decoded"):
        _probe(bytes(content))


def test_noise_is_not_taken_for_audio() -> None:
    random = np.random.default_rng(0)
    for size in [10, 1_000, 20_000, 100_000, 400_000] * 5:
        _unreadable(random.bytes(size))


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 65), (16_000, 255), (2**31 - 1, 1)], ids=str)
def test_a_form_that_cannot_be_converted_is_refused(rate: int, channels: int) -> None:
    noise = np.random.default_rng(0).integers(-9_999, 9_999, 4_000 * channels)
    content = bytearray(_wav(noise, 16_000, channels))
    struct.pack_into("<I", content, 24, rate)
    assert (
        f"has {channels} channels" in (said := _unreadable(bytes(content))) or f"has {rate} samples" in said
    )


# --- What a file may not do


class _NamedFile(io.BytesIO):
    """FFmpeg takes some formats by the name of the file alone."""

    def __init__(self, content: str, name: str) -> None:
        super().__init__(content.encode())
        self.name = name


def _playlists(secret: Path) -> list[_NamedFile]:
    hls = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n"
    return [
        _NamedFile(hls, "list.m3u8"),
        _NamedFile(f"ffconcat version 1.0\nfile '{secret}'\n", "list.ffconcat"),
    ]


def test_a_playlist_cannot_read_other_files(tone: Tone, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp3"
    secret.write_bytes(tone("mp3", "libmp3lame", 16_000, 1, 2.0))
    allowed = {"protocol_whitelist": "file", "safe": "0"}
    for playlist in _playlists(secret):
        with av.open(playlist, options=allowed) as container:
            assert len(list(container.decode(audio=0))) > 10, "FFmpeg would follow this list if it were let"
        playlist.seek(0)
        _unreadable(playlist)


_READ_LONG_FILE = """
import struct, sys
import psutil
from transcribed.audio.media import MediaReader

class Endless:
    '''A WAV file of noise, made as it is read.'''
    def __init__(self, seconds):
        self.size = 44 + seconds * 32_000
        self.header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", self.size - 8, b"WAVE", b"fmt ", 16,
                                  1, 1, 16_000, 32_000, 2, 16, b"data", self.size - 44)
        self.noise = bytes(range(256)) * 256
        self.position = 0
    def tell(self):
        return self.position
    def seek(self, offset, whence):
        self.position = offset + {0: 0, 1: self.position, 2: self.size}[whence]
        return self.position
    def read(self, size):
        size = max(0, min(size, self.size - self.position))
        start, self.position = self.position, self.position + size
        body = self.noise * (size // len(self.noise) + 1)
        return (self.header[start:] + body)[:size]

process = psutil.Process()
read, sizes = 0, []
with MediaReader(Endless(900)) as media:
    for block in media.blocks():
        read += len(block)
        if read // 960_000 > len(sizes):
            sizes.append(process.memory_info().rss)
print(read, max(sizes) - sizes[0])
"""


def test_memory_does_not_grow_with_the_recording() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", _READ_LONG_FILE], capture_output=True, text=True, check=True
    )
    samples, growth = map(int, answer.stdout.split())
    assert samples == 900 * 16_000
    assert growth < 8_000_000, "15 minutes, 29 MB, may not take much more than the first of them"
