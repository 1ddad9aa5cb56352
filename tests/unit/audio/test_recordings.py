"""Recordings as people have them: late tracks, gaps, many tracks, containers that begin again, damage."""

import io
import itertools
import struct
import wave
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.stream import Disposition

from transcribed.audio.formats import AudioFormat, Samples
from transcribed.audio.media import MediaReader
from transcribed.errors import UnreadableAudio

Tone = Callable[..., bytes]

_FRAGMENTS = {"movflags": "empty_moov+default_base_moof", "frag_duration": "100000"}


@dataclass
class _Written:
    """An audio track to be written: its sound in Hz (0: silence), and where it sounds, in seconds."""

    codec: str
    rate: int
    tone: float
    stretches: Iterable[tuple[float, float]]
    language: str = ""
    default: bool = False


def _recording(container: str, *tracks: _Written, video_until: float = 0.0, **options: str) -> bytes:
    """Packets go where the stretches say: between them there is nothing."""
    target = io.BytesIO()
    with av.open(target, "w", format=container, container_options=options) as output:
        packets: list[Any] = []
        if video_until:
            pictures = output.add_stream("mpeg4", rate=10)
            pictures.width = pictures.height = 16
            pictures.pix_fmt = "yuv420p"
            for number in range(round(10 * video_until)):
                picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
                picture.pts, picture.time_base = number, Fraction(1, 10)
                packets += pictures.encode(picture)
            packets += pictures.encode(None)
        for track in tracks:
            packets += _encoded(output, track)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return target.getvalue()


def _encoded(output: Any, track: _Written) -> list[Any]:
    stream = output.add_stream(track.codec, rate=track.rate, layout="mono")
    stream.codec_context.open()
    stream.metadata["language"] = track.language
    stream.disposition = (Disposition.default if track.default else Disposition(0)).value
    size = stream.codec_context.frame_size or 1_024
    packets = []
    for start, end in track.stretches:
        for number in range(round((end - start) * track.rate / size)):
            at = round(start * track.rate) + number * size
            sound = 0.5 * np.sin(2 * np.pi * track.tone * np.arange(at, at + size) / track.rate)
            frame = av.AudioFrame.from_ndarray(sound.astype(np.float32)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = track.rate, Fraction(1, track.rate), at
            form = av.AudioResampler(stream.codec_context.format.name, "mono", track.rate)
            packets += [packet for part in form.resample(frame) for packet in stream.encode(part)]
    return packets + stream.encode(None)


class _Live(io.RawIOBase):
    """A network's packets, one at a time."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        return self._content.read(min(size, 400))

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise AssertionError("a stream cannot be sought")


class _OnlyRead:
    def __init__(self, content: bytes) -> None:
        self._live = _Live(content)

    def read(self, size: int, /) -> bytes:
        return self._live.read(size)


@dataclass
class _Heard:
    samples: Samples
    described: AudioFormat
    warnings: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return self.samples.shape[-1] / 16_000

    def sounding(self) -> list[tuple[float, float]]:
        """Where it is not silent, in seconds, pauses under 0.1 s apart."""
        loud = np.flatnonzero(np.abs(self.samples) > 0.02) / 16_000
        edges = np.flatnonzero(np.diff(loud) > 0.1)
        starts = [loud[0], *loud[edges + 1]]
        ends = [*loud[edges], loud[-1]]
        return list(zip(starts, ends, strict=True))

    def tone(self, start: float) -> float:
        """Hz, of the half second from there."""
        part = self.samples[round(16_000 * start) : round(16_000 * (start + 0.5))]
        return 2.0 * float(np.argmax(np.abs(np.fft.rfft(part))))


def _hear(content: bytes, *, live: bool = False, track: int | None = None) -> _Heard:
    source: Any = _OnlyRead(content) if live else io.BytesIO(content)
    with MediaReader(source, live=live, track=track) as media:
        samples = np.concatenate(list(media.blocks()))
        return _Heard(samples, media.described, media.warnings)


# --- The file's own timeline


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("matroska", "aac", 44_100),
        ("webm", "libopus", 48_000),
        ("mp4", "aac", 44_100),
        ("matroska", "pcm_s16le", 16_000),
        ("mpegts", "aac", 44_100),
        ("ogg", "libopus", 48_000),
    ],
)
def test_a_gap_is_silence(container: str, codec: str, rate: int) -> None:
    heard = _hear(_recording(container, _Written(codec, rate, 440, [(0, 2), (6, 8)])))
    (first, second) = heard.sounding()
    assert first == pytest.approx((0, 2), abs=0.1)
    assert second == pytest.approx((6, 8), abs=0.1)
    assert heard.warnings == ()


@pytest.mark.parametrize("container", ["matroska", "mp4", "mov", "mpegts"])
def test_a_track_that_begins_late_is_late(container: str) -> None:
    late = _Written("aac", 44_100, 440, [(5, 7)])
    ((start, end),) = _hear(_recording(container, late, video_until=8.0)).sounding()
    assert (start, end) == pytest.approx((5, 7), abs=0.1)


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("webm", "libopus", {"live": "1"}),
        ("mpegts", "aac", {}),
        ("mp4", "aac", _FRAGMENTS | {"avoid_negative_ts": "disabled", "use_editlist": "0"}),
    ],
)
def test_what_was_joined_in_the_middle_begins_with_its_first_sound(
    *, container: str, codec: str, options: dict[str, str], live: bool
) -> None:
    content = _recording(
        container, _Written(codec, 48_000, 440, [(7_200, 7_202), (7_204, 7_206)]), **options
    )
    first, second = _hear(content, live=live).sounding()
    assert first == pytest.approx((0, 2), abs=0.12)
    assert second == pytest.approx((4, 6), abs=0.12)


def test_a_late_track_of_a_live_container_is_late() -> None:
    content = _recording(
        "webm", _Written("libopus", 48_000, 440, [(2, 4)]), _Written("libopus", 48_000, 0, [(0, 4)])
    )
    ((start, _),) = _hear(content, live=True, track=1).sounding()
    assert start == pytest.approx(2, abs=0.1)


def test_times_that_are_rounded_add_no_silence() -> None:
    # Matroska's times are whole milliseconds; AAC's frames at 44.1 kHz last 23.22 of them.
    heard = _hear(_recording("matroska", _Written("aac", 44_100, 440, [(0, 20)])))
    assert heard.seconds == pytest.approx(20, abs=0.1)
    assert len(heard.sounding()) == 1


@pytest.mark.parametrize("live", [True, False])
def test_a_gap_that_is_not_believed_is_told_and_left_out(*, live: bool) -> None:
    content = _recording("matroska", _Written("aac", 44_100, 440, [(0, 2), (50_000, 50_002)]))
    heard = _hear(content, live=live)
    assert heard.seconds == pytest.approx(4, abs=0.2)
    assert any("13:53:1" in sentence for sentence in heard.warnings), heard.warnings


def test_lost_packets_leave_their_time(tone: Tone) -> None:
    content = bytearray(tone("mpegts", "aac", 44_100, 1, 10.0))
    start = len(content) // 2 // 188 * 188
    del content[start : start + len(content) // 5 // 188 * 188]
    heard = _hear(bytes(content))
    assert heard.seconds == pytest.approx(10, abs=0.3)
    assert any(1.5 < after[0] - before[1] < 2.5 for before, after in itertools.pairwise(heard.sounding()))


# --- Tracks


def _tracks(*, silent_first: bool = False, marked: int | None = None) -> bytes:
    tones = [0 if silent_first else 300, 500, 700]
    return _recording(
        "matroska",
        *(
            _Written("aac", 16_000, tone, [(0, 3)], language, default=number == marked)
            for number, (tone, language) in enumerate(zip(tones, ["eng", "ger", "fre"], strict=True), 1)
        ),
    )


@pytest.mark.parametrize(
    ("content", "track", "number", "tone"),
    [
        (_tracks(), None, 1, 300),
        (_tracks(marked=2), None, 2, 500),
        (_tracks(marked=3), None, 3, 700),
        (_tracks(silent_first=True), None, 2, 500),
        (_tracks(marked=2), 3, 3, 700),
        (_tracks(silent_first=True), 1, 1, 0),
    ],
    ids=["first", "default", "last default", "silent first", "asked", "asked though silent"],
)
def test_the_track_that_is_meant_is_read(
    content: bytes, track: int | None, number: int, tone: float
) -> None:
    heard = _hear(content, track=track)
    assert heard.described.track == number
    assert [track.language for track in heard.described.tracks] == ["eng", "ger", "fre"]
    assert [track.number for track in heard.described.tracks] == [1, 2, 3]
    assert all(track.decodable for track in heard.described.tracks)
    assert heard.tone(1.0) == pytest.approx(tone, abs=2)


@pytest.mark.parametrize("track", [0, 4, -1])
def test_a_track_that_is_not_there_is_told_with_those_that_are(track: int) -> None:
    with pytest.raises(
        UnreadableAudio, match=rf"no audio track {track}\. It has: 1 \(aac, eng\), 2 \(aac, ger\)"
    ):
        _hear(_tracks(), track=track)


def _with_unknown_codec(content: bytes) -> bytes:
    """The first track of an MP4, in a codec without a name."""
    return content.replace(b"mp4a", b"zzzz", 1).replace(b"esds", b"zzzz", 1)


@pytest.mark.parametrize("live", [True, False])
def test_a_codec_that_nobody_knows_is_unreadable(tone: Tone, *, live: bool) -> None:
    content = _with_unknown_codec(tone("mp4", "aac", 16_000, 1, 1.0, **_FRAGMENTS))
    with pytest.raises(UnreadableAudio, match=r"cannot be read here: 1 \(zzzz\)\. Convert it"):
        _hear(content, live=live)


def test_beside_a_codec_that_nobody_knows_another_track_is_read() -> None:
    tracks = [_Written("aac", 16_000, tone, [(0, 2)]) for tone in (300, 500)]
    heard = _hear(_with_unknown_codec(_recording("mp4", *tracks)))
    assert heard.described.track == 2
    assert [track.decodable for track in heard.described.tracks] == [False, True]
    assert heard.tone(1.0) == pytest.approx(500, abs=2)


def test_a_codec_that_is_known_but_not_taken_is_named(tone: Tone) -> None:
    content = tone("wav", "adpcm_ima_wav", 16_000, 1, 1.0)
    content = content.replace(struct.pack("<HH", 0x11, 1), struct.pack("<HH", 0x61, 1), 1)
    with pytest.raises(UnreadableAudio, match=r"cannot be read here: 1 \(adpcm_ima_dk4\)") as refused:
        _hear(content)
    assert "Convert it" in refused.value.message


# --- Containers that begin again


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    ("container", "codec", "rate", "options"),
    [
        ("wav", "pcm_s16le", 16_000, {}),
        ("wav", "pcm_s24le", 44_100, {}),
        ("w64", "pcm_s16le", 16_000, {}),
        ("aiff", "pcm_s16be", 22_050, {}),
        ("au", "pcm_mulaw", 8_000, {}),
        ("caf", "pcm_s16le", 16_000, {}),
        ("flac", "flac", 44_100, {}),
        ("mp3", "libmp3lame", 44_100, {}),
        ("adts", "aac", 44_100, {}),
        ("ogg", "libopus", 48_000, {}),
        ("webm", "libopus", 48_000, {}),
        ("webm", "libopus", 48_000, {"live": "1"}),
        ("mpegts", "aac", 44_100, {}),
        ("mp4", "aac", 44_100, _FRAGMENTS),
        ("flv", "aac", 44_100, {}),
        ("asf", "libmp3lame", 44_100, {}),
        ("mpeg", "mp2", 44_100, {}),
        ("avi", "libmp3lame", 44_100, {}),
    ],
    ids=str,
)
def test_recordings_behind_one_another_are_all_heard(
    tone: Tone, *, container: str, codec: str, rate: int, options: dict[str, str], live: bool
) -> None:
    parts = [tone(container, codec, rate, 1, seconds, **options) for seconds in (1.0, 2.0, 0.5)]
    heard = _hear(b"".join(parts), live=live)
    assert heard.seconds == pytest.approx(3.5, abs=0.2)
    assert heard.tone(0.2) == heard.tone(1.5) == 440
    assert sum(end - start for start, end in heard.sounding()) == pytest.approx(3.5, abs=0.25)


def test_an_mp4_with_its_index_at_its_end_is_heard_if_it_is_a_file_and_explained_if_it_is_live(
    tone: Tone,
) -> None:
    content = tone("mp4", "aac", 44_100, 1, 2.0)
    assert content.index(b"mdat") < content.index(b"moov")
    assert _hear(content * 2).seconds == pytest.approx(4, abs=0.1)
    with pytest.raises(UnreadableAudio, match=r"index stands at its end.*Upload the file.*faststart"):
        _hear(content, live=True)


def test_what_another_recording_holds_that_cannot_be_read_is_told(tone: Tone) -> None:
    broken = _with_unknown_codec(tone("mp4", "aac", 44_100, 1, 2.0))
    heard = _hear(tone("mp4", "aac", 44_100, 1, 2.0) + broken)
    assert heard.seconds == pytest.approx(2, abs=0.1)
    (sentence,) = heard.warnings
    assert sentence.startswith("The audio after 0:00:02.0 was not decoded: ")


def _wav(seconds: float, *, size: int | None = None, behind: bytes = b"", bits: int = 16) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as target:
        target.setparams((1, bits // 8, 16_000, 0, "NONE", ""))
        sound: npt.NDArray[np.int32] = (
            (2**30) * np.sin(2 * np.pi * 440 * np.arange(round(16_000 * seconds)) / 16_000)
        ).astype("<i4")
        target.writeframes(sound.view(np.uint8).reshape(-1, 4)[:, 4 - bits // 8 :].tobytes())
    data = bytearray(content.getvalue() + behind)
    if size is not None:
        struct.pack_into("<I", data, 40, size)
    return bytes(data)


_PICTURE = b"id3 " + struct.pack("<I", 50_000) + np.random.default_rng(2).bytes(50_000)


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize(
    ("size", "behind"),
    [
        (0, b""),
        (0xFFFF_FFFF, b""),
        (0x7FFF_F000, b""),
        (4_096, b""),
        (36, b""),
        (None, _PICTURE),
        (None, b"LIST\4\0\0\0abcd"),
    ],
    ids=["zero", "endless", "huge", "small", "header", "picture", "list"],
)
def test_a_wav_is_heard_whatever_its_header_says(
    *, size: int | None, behind: bytes, bits: int, live: bool
) -> None:
    content = _wav(2.0, size=size, behind=behind, bits=bits)
    heard = _hear(content, live=live)
    assert heard.seconds == pytest.approx(2.0, abs=0.001)
    assert heard.sounding() == [pytest.approx((0, 2), abs=0.01)]
    assert heard.warnings == ()
    if not live:
        with MediaReader(io.BytesIO(content)) as media:
            assert media.probe().duration == pytest.approx(2.0, abs=0.001)


# --- Forms that no speech has


@pytest.mark.parametrize("rate", [1, 3_999, 251_680_290, 2**32 - 1])
@pytest.mark.parametrize("live", [True, False])
def test_a_rate_that_no_speech_has_is_refused_at_once(*, rate: int, live: bool) -> None:
    content = bytearray(_wav(0.5))
    struct.pack_into("<I", content, 24, rate)
    with pytest.raises(UnreadableAudio, match=f"has {rate} samples a second"):
        _hear(bytes(content), live=live)


def test_a_rate_that_changes_to_none_on_the_way_ends_the_recording(tone: Tone) -> None:
    content = tone("flac", "flac", 16_000, 1, 3.0)
    heard = _hear(content + tone("flac", "flac", 5, 1, 4_000.0))
    assert heard.seconds == pytest.approx(3, abs=0.3)
    assert any("has 5 samples a second" in sentence for sentence in heard.warnings), heard.warnings


def _moov(count: int, step: int, *, nested: int = 0) -> bytes:
    """An index that says that it has so many samples, each so many ticks long."""

    def box(kind: bytes, *content: bytes) -> bytes:
        body = b"".join(content)
        return struct.pack(">I4s", 8 + len(body), kind) + body

    times = box(b"stts", bytes(4), struct.pack(">III", 1, count, step))
    table = box(b"stbl", times, box(b"stsz", bytes(4), struct.pack(">II", 1, count)))
    track = box(b"trak", box(b"mdia", box(b"hdlr", bytes(8), b"soun"), box(b"minf", table)))
    for _ in range(nested):
        track = box(b"trak", track)
    return box(b"ftyp", b"qt  ") + box(b"moov", track, track, track) + box(b"mdat", bytes(64))


@pytest.mark.parametrize("live", [True, False])
def test_an_index_of_days_is_refused_before_it_is_built(*, live: bool) -> None:
    with pytest.raises(UnreadableAudio, match="over 8000000 entries"):
        _hear(_moov(40_000_000, 2), live=live)
    # One sample after the other is how MOV writes PCM, and takes no room; here nothing is behind it.
    with pytest.raises(UnreadableAudio, match=r"Send a recording"):
        _hear(_moov(40_000_000, 1), live=live)
    with pytest.raises(UnreadableAudio, match=r"Send a recording"):
        _hear(_moov(40_000_000, 2, nested=20_000), live=live)


# --- All layouts that Apple has a number for


def _caf(tag: int, channels: int, bitmap: int = 0, labels: Iterable[int] = ()) -> bytes:
    labels = list(labels)
    described = struct.pack(">III", tag, bitmap, len(labels))
    described += b"".join(struct.pack(">IIfff", label, 0, 0, 0, 0) for label in labels)
    sound = (
        np.repeat(np.random.default_rng(1).integers(-9_999, 9_999, 400), channels).astype(">i2").tobytes()
    )
    form = struct.pack(">d4sIIIII", 16_000, b"lpcm", 0, 2 * channels, 1, channels, 16)
    chunks = [(b"desc", form), (b"chan", described), (b"data", b"\0\0\0\0" + sound)]
    return b"caff\0\1\0\0" + b"".join(name + struct.pack(">q", len(body)) + body for name, body in chunks)


def _mov(content: bytes, tag: int, bitmap: int = 0) -> bytes:
    """The sound of a MOV with another layout in its box `chan`."""
    at = content.index(b"chan") + 8
    return content[:at] + struct.pack(">II", tag, bitmap) + content[at + 8 :]


# Core Audio's layout tags: a number from 100 on, and how many channels it has, one digit each.
_CHANNELS = "1222222445688334455556666788888" + "343454556767780038234445677788888888456667777888"
_TAGS = [number << 16 | int(digit) for number, digit in enumerate(_CHANNELS, 100) if digit != "0"]
_TAGS += [145 << 16 | 16, 146 << 16 | 21, 192 << 16 | 12, 194 << 16 | 16, 500 << 16 | 2, 0xFFFF_0000 | 2]
_TAGS += [100 << 16 | 2, 101 << 16 | 3, 0xFFFF_0000 | 64]


def test_no_layout_of_apples_breaks_the_process(tone: Tone) -> None:
    for tag in _TAGS:
        assert len(_hear(_caf(tag, tag & 0xFFFF)).samples) == 400
    for labels in itertools.chain(
        itertools.product((1, 2, 3, 33, 38, 200, 301, 400, 0xFFFF_FFFF, 1 << 16), repeat=2),
        ((1,) * 12, range(1, 19), (0xFFFF_FFFE, 77)),
    ):
        assert len(_hear(_caf(0, len(labels), labels=labels)).samples) == 400
    for bitmap in (0, 1, 3, 0x3F, 0xFFFF_FFFF, 1 << 31 | 1):
        assert len(_hear(_caf(1 << 16, 2, bitmap)).samples) == 400
    content = tone("mov", "pcm_s16le", 16_000, 2, 0.025)
    for tag in (tag for tag in _TAGS if tag & 0xFFFF == 2):
        assert len(_hear(_mov(content, tag)).samples) == 400
    for bitmap in (0, 1, 3, 0x3F, 0xFFFF_FFFF, 1 << 31 | 1):
        assert len(_hear(_mov(content, 1 << 16, bitmap)).samples) == 400
