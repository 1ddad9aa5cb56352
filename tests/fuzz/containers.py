"""Small recordings in every container and codec that can be written here, and what can be wrong with them.

The bytes are changed blindly and knowingly: at random, at what looks like the name or the length of a part,
and with numbers that readers stumble over. Where Ogg's checksums would hide it all, some are made right
again. A mutation is made of a random number generator alone: the same seed makes the same file.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from random import Random

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

_BIT_RATES = {"libopencore_amrnb": 12_200, "wmav1": 64_000, "wmav2": 64_000}
MOST_BYTES = 256 * 1024
"""Of a mutated file, which may have been joined of several."""

_SECONDS = 0.6
_NUMBERS = (0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 2**24 - 1, 2**31 - 1, 2**31,
            2**32 - 2, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 48_000, 192_000, 251_680_290)  # fmt: skip
# What begins a part of a file: four letters (RIFF, IFF, MP4, Ogg, WavPack, TTA, ASF's are numbers), the
# elements of Matroska, the start codes of MPEG, the synchronisation of its frames.
_PARTS = re.compile(
    rb"RIFF|WAVE|fmt |fact|data|LIST|COMM|SSND|FVER|desc|chan|pakt|kuki|ftyp|moov|mvhd|trak|tkhd|mdia|mdhd"
    rb"|hdlr|minf|stbl|stsd|stts|stsc|stsz|stco|co64|ctts|edts|elst|esds|mp4a|alac|dOps|moof|mfhd|traf|tfhd|tfdt"
    rb"|trun|mvex|trex|sidx|mdat|udta|meta|ilst|free|wave|avih|strh|strf|movi|idx1|01wb|00wb|OggS|OpusHead|OpusTags"
    rb"|vorbis|Speex|fLaC|ID3|Xing|Info|LAME|wvpk|TTA1|FLV|\.snd|FORM|AIFF|AIFC|caff|Creative"
    rb"|\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x15\x49\xa9\x66|\x16\x54\xae\x6b|\x1f\x43\xb6\x75|\x1c\x53\xbb\x6b"
    rb"|\x12\x54\xc3\x67|\xae[\x80-\xff]|\xa3[\x40-\xff]|\xe1[\x80-\xff]|\xb5[\x80-\x8f]|\x9f\x81|\x63\xa2"
    rb"|\x00\x00\x01[\xb9-\xef]|\x47[\x40-\x5f].[\x10-\x3f]|\xff[\xe2-\xff]|\x0b\x77"
    rb"|\x30\x26\xb2\x75|\xa1\xdc\xab\x8c|\x91\x07\xdc\xb7|\x36\x26\xb2\x75",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Format:
    """A container and what is in it: tracks of sound, and a moving picture where `video` is a codec."""

    container: str
    codecs: tuple[str, ...]
    rate: int = 16_000
    layout: str = "mono"
    options: Mapping[str, str] = field(default_factory=dict)
    video: str | None = None


FORMATS: dict[str, Format] = {
    "wav": Format("wav", ("pcm_s16le",)),
    "wav-stereo-24": Format("wav", ("pcm_s24le",), 8_000, "stereo"),
    "wav-float": Format("wav", ("pcm_f32le",), 16_000),
    "wav-u8": Format("wav", ("pcm_u8",), 8_000),
    "wav-mulaw": Format("wav", ("pcm_mulaw",), 8_000),
    "wav-alaw": Format("wav", ("pcm_alaw",), 8_000),
    "wav-adpcm-ms": Format("wav", ("adpcm_ms",), 22_050),
    "wav-adpcm-ima": Format("wav", ("adpcm_ima_wav",), 22_050, "stereo"),
    "wav-5.1": Format("wav", ("pcm_s16le",), 8_000, "5.1"),
    "wav-mp3": Format("wav", ("libmp3lame",), 22_050),
    "rf64": Format("wav", ("pcm_s16le",), options={"rf64": "always"}),
    "w64": Format("w64", ("pcm_s16le",), 11_025, "stereo"),
    "aiff": Format("aiff", ("pcm_s16be",), 22_050),
    "aiff-c": Format("aiff", ("pcm_mulaw",), 8_000),
    "caf-pcm": Format("caf", ("pcm_s16be",), 11_025, "stereo"),
    "caf-alac": Format("caf", ("alac",), 44_100),
    "caf-opus": Format("caf", ("libopus",), 48_000),
    "au": Format("au", ("pcm_s16be",)),
    "au-mulaw": Format("au", ("pcm_mulaw",), 8_000),
    "flac": Format("flac", ("flac",)),
    "ogg-vorbis": Format("ogg", ("libvorbis",), 44_100),
    "ogg-opus": Format("ogg", ("libopus",), 48_000),
    "ogg-flac": Format("ogg", ("flac",)),
    "ogg-speex": Format("ogg", ("libspeex",)),
    "mp3": Format("mp3", ("libmp3lame",), 44_100),
    "mp2": Format("mp2", ("mp2",), 44_100),
    "adts": Format("adts", ("aac",), 44_100),
    "latm": Format("latm", ("aac",), 44_100),
    "m4a-aac": Format("ipod", ("aac",), 44_100),
    "m4a-alac": Format("ipod", ("alac",), 22_050, "stereo"),
    "mp4-5.1": Format("mp4", ("aac",), 48_000, "5.1"),
    "mp4-opus": Format("mp4", ("libopus",), 48_000),
    "mp4-flac": Format("mp4", ("flac",), 44_100, options={"strict": "-2"}),
    "mp4-fragmented": Format(
        "mp4", ("aac",), 44_100, options={"movflags": "frag_keyframe+empty_moov", "frag_duration": "200000"}
    ),
    "mp4-two-tracks": Format("mp4", ("aac", "aac"), 44_100),
    "mp4-video": Format("mp4", ("aac",), 44_100, video="mpeg4"),
    "mov": Format("mov", ("pcm_s16le",), 12_000, "stereo"),
    "mov-ima": Format("mov", ("adpcm_ima_qt",), 22_050),
    "3gp-amr": Format("3gp", ("libopencore_amrnb",), 8_000),
    "3gp-aac": Format("3gp", ("aac",), 22_050),
    "amr": Format("amr", ("libopencore_amrnb",), 8_000),
    "mka-flac": Format("matroska", ("flac",)),
    "mka-pcm": Format("matroska", ("pcm_s16le",), 11_025, "stereo"),
    "mka-aac": Format("matroska", ("aac",), 44_100),
    "mkv-three-tracks": Format("matroska", ("libopus", "libmp3lame", "ac3"), 48_000, video="mpeg4"),
    "webm-opus": Format("webm", ("libopus",), 48_000),
    "webm-live": Format("webm", ("libopus",), 48_000, options={"live": "1", "cluster_time_limit": "100"}),
    "webm-vorbis": Format("webm", ("libvorbis",), 44_100),
    "webm-video": Format("webm", ("libopus",), 48_000, video="libvpx"),
    "avi-pcm": Format("avi", ("pcm_s16le",), 44_100, video="mpeg4"),
    "avi-mp3": Format("avi", ("libmp3lame",), 44_100),
    "asf": Format("asf", ("wmav2",), 44_100),
    "wmv": Format("asf", ("wmav1",), 44_100, "stereo", video="msmpeg4v3"),
    "mpegts-aac": Format("mpegts", ("aac",), 44_100),
    "mpegts-video": Format("mpegts", ("mp2", "ac3"), 48_000, video="mpeg2video"),
    "mpegps": Format("mpeg", ("mp2",), 48_000, video="mpeg1video"),
    "vob": Format("vob", ("ac3",), 48_000, "stereo"),
    "flv-mp3": Format("flv", ("libmp3lame",), 44_100, video="flv1"),
    "flv-aac": Format("flv", ("aac",), 44_100),
    "ac3": Format("ac3", ("ac3",), 48_000, "5.1"),
    "eac3": Format("eac3", ("eac3",), 48_000, "stereo"),
    "wavpack": Format("wv", ("wavpack",), 44_100, "stereo"),
    "tta": Format("tta", ("tta",), 44_100),
    "voc": Format("voc", ("pcm_u8",), 22_050),
    "sox": Format("sox", ("pcm_s32le",)),
    "ircam": Format("ircam", ("pcm_s16le",)),
    "nut": Format("nut", ("pcm_s16le",)),
    "mxf": Format("mxf", ("pcm_s16le",), 48_000, video="mpeg2video"),
    "rm": Format("rm", ("real_144",), 8_000),
    "swf": Format("swf", ("libmp3lame",), 44_100, video="flv1"),
}  # fmt: skip


def recordings(names: Sequence[str] = tuple(FORMATS)) -> dict[str, bytes]:
    """A sound of some tenths of a second in each of these formats."""
    return {name: encoded(FORMATS[name]) for name in names}


def encoded(form: Format, seconds: float = _SECONDS) -> bytes:
    """A tone with noise, in a format."""
    target = io.BytesIO()

    with av.open(
        target, "w", format=form.container, container_options={"fflags": "+bitexact", **form.options}
    ) as output:
        output.metadata["title"] = "a tone"
        picture = None if form.video is None else output.add_stream(form.video, rate=25)
        if isinstance(picture, VideoStream):
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            picture.bit_rate = 40_000
        for codec in form.codecs:
            track = output.add_stream(codec, rate=form.rate, layout=form.layout)
            assert isinstance(track, AudioStream)
            if codec in _BIT_RATES:
                track.bit_rate = _BIT_RATES[codec]
        tracks = [stream for stream in output.streams if isinstance(stream, AudioStream)]
        packets = [packet for track in tracks for packet in _sound(track, form, seconds)]
        if isinstance(picture, VideoStream):
            for number in range(round(seconds * 25)):
                shown = av.VideoFrame.from_ndarray(np.full((72, 64), number * 9, "uint8"), format="yuv420p")
                shown.pts = number
                packets += picture.encode(shown)
            packets += picture.encode(None)
        for packet in sorted(packets, key=lambda one: (one.dts or 0) * (one.time_base or 0)):
            output.mux(packet)
    return target.getvalue()


def _sound(track: AudioStream, form: Format, seconds: float) -> "list[av.Packet[AudioStream]]":
    context = track.codec_context
    context.open()
    times = np.arange(round(seconds * form.rate)) / form.rate
    noise = np.random.default_rng(1).normal(0, 300, (context.channels, len(times)))
    wave = (8000 * np.sin(2 * np.pi * 440 * times) + noise).astype("int16")
    frame = av.AudioFrame.from_ndarray(wave, format="s16p", layout=form.layout)
    frame.sample_rate, frame.pts, frame.time_base = form.rate, 0, Fraction(1, form.rate)
    fit = av.AudioResampler(context.format.name, form.layout, form.rate, context.frame_size or 1024)
    packets = []
    for part in [*fit.resample(frame), *fit.resample(None)]:
        packets += track.encode(part)
    return packets + track.encode(None)


# --- What can be wrong


def mutated(rng: Random, kept: Mapping[str, bytes]) -> tuple[str, bytes]:
    """One of the recordings with something wrong in it, or several things, and the name of its format."""
    name = rng.choice(list(kept))
    data = kept[name]
    for _ in range(rng.choice((1, 1, 1, 1, 2, 4))):
        way = rng.choice(_WAYS)
        data = way(rng, data, kept)[:MOST_BYTES]
    if data[:4] == b"OggS" and rng.random() < 0.7:
        data = with_checksums(data)
    return name, data


def _flip(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 10, 100)) if changed else 0):
        changed[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _run(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    at, size = _place(rng, data), rng.choice((1, 4, 16, 200, 2000))
    filled = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
    return data[:at] + filled[: len(data) - at] + data[at + size :]


def _number(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    """A length, a rate, a count or whatever else stands there becomes another one."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        size = rng.choice((1, 2, 3, 4, 4, 4, 8))
        number = rng.choice((*_NUMBERS, rng.getrandbits(8 * size))) % 256**size
        at = _place(rng, data)
        data = data[:at] + number.to_bytes(size, rng.choice(("big", "little"))) + data[at + size :]
    return data


def _near_number(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    """The same, but not far from the truth."""
    at, order = _place(rng, data), rng.choice(("big", "little"))
    number = int.from_bytes(data[at : at + 4], order)
    changed = rng.choice((number + 1, number - 1, number * 2, number // 2, number + rng.randint(-99, 99)))
    return data[:at] + (changed % 2**32).to_bytes(4, order) + data[at + 4 :]


def _truncate(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    return data[: rng.choice((rng.randint(0, len(data)), _place(rng, data)))]


def _behead(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    return data[_place(rng, data) :]


def _remove(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    at = _place(rng, data)
    return data[:at] + data[at + rng.choice((1, 2, 4, 100, 5000)) :]


def _insert(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    at, size = _place(rng, data), rng.choice((1, 2, 4, 100, 5000))
    return data[:at] + rng.choice((bytes(size), rng.randbytes(size), _part(rng, data))) + data[at:]


def _duplicate(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    at = _place(rng, data)
    piece = data[at : at + rng.choice((8, 100, 1000, 10_000))]
    return data[:at] + piece * rng.choice((2, 2, 3, 50)) + data[at + len(piece) :]


def _swap(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    """Two parts change places."""
    cuts = sorted(_place(rng, data) for _ in range(4))
    one, two, three, four = cuts
    return data[:one] + data[three:four] + data[two:three] + data[one:two] + data[four:]


def _join(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    """Another recording follows: the same, one of the same kind, or any."""
    other = rng.choice((data, rng.choice(list(kept.values()))))
    return data[: rng.choice((len(data), _place(rng, data)))] + other


def _within(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    """A part of another recording stands in this one."""
    at = _place(rng, data)
    return data[:at] + _part(rng, rng.choice(list(kept.values()))) + data[at:]


def _in_front(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    size = rng.choice((1, 16, 500, 20_000))
    tag = b"ID3\x04\x00\x00" + bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)
    return rng.choice((bytes(size), rng.randbytes(size), tag)) + data


def _behind(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    size = rng.choice((1, 16, 500, 20_000))
    return data + rng.choice((bytes(size), rng.randbytes(size), b"TAG" + bytes(125)))


def _rename(rng: Random, data: bytes, kept: Mapping[str, bytes]) -> bytes:
    """A part is called what another is called."""
    parts = _parts(data)
    if len(parts) < 2:
        return _run(rng, data, kept)
    (start, end), (other, other_end) = rng.sample(parts, 2)
    return data[:start] + data[other:other_end] + data[end:]


_WAYS: tuple[Callable[[Random, bytes, Mapping[str, bytes]], bytes], ...] = (
    _flip, _flip, _run, _number, _number, _number, _number, _near_number, _truncate, _behead, _remove,
    _insert, _duplicate, _swap, _join, _within, _in_front, _behind, _rename,
)  # fmt: skip


def _place(rng: Random, data: bytes) -> int:
    """Anywhere, in the first bytes, or around what looks like the beginning of a part."""
    last = max(0, len(data) - 1)
    where = rng.random()
    if where < 0.25:
        return rng.randint(0, min(last, 96))
    if where < 0.8 and (parts := _parts(data)):
        # Not mostly one of a thousand frames.
        at, _ = rng.choice(parts[: rng.choice((8, 40, len(parts)))])
        return min(last, max(0, at + rng.randint(-8, 40)))
    return rng.randint(0, last)


@lru_cache(512)
def _parts(data: bytes) -> list[tuple[int, int]]:
    return [found.span() for found in _PARTS.finditer(data)]


def _part(rng: Random, data: bytes) -> bytes:
    at = _place(rng, data)
    return data[at : at + rng.choice((30, 300, 3000))]


# --- Ogg's checksums


def with_checksums(data: bytes) -> bytes:
    """An Ogg file with the checksum of each page that is whole set right."""
    made = bytearray(data)
    at = made.find(b"OggS")
    while at >= 0:
        segments = made[at + 26] if at + 27 <= len(made) else 0
        end = at + 27 + segments + sum(made[at + 27 : at + 27 + segments])
        if segments and end <= len(made):
            made[at + 22 : at + 26] = bytes(4)
            made[at + 22 : at + 26] = struct.pack("<I", _checksum(made[at:end]))
        at = made.find(b"OggS", at + 4)
    return bytes(made)


def _checksum(page: bytearray) -> int:
    """The polynomial of zlib's, from 0 and with the bits of each byte, and of the whole, the other way."""
    turned = zlib.crc32(page.translate(_TURNED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{turned:032b}"[::-1], 2)


_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
