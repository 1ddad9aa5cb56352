"""Finds the end of a container by walking from header to header, without I/O.

This is needed where FFmpeg stops after the first of several concatenated containers, or takes the next
one's header for audio: in ISO media (MP4, MOV, M4A), WAV, Wave64, AIFF, AU, CAF, ASF, FLV and Matroska of
known size.
"""

import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from transcribed.audio.frames import check_limits
from transcribed.audio.wav import CHUNK_START_BYTES, UNKNOWN_SIZES, chunk_start
from transcribed.errors import UnreadableAudio

Walk = Generator[tuple[int, int], bytes, int | None]
"""Yields requests (offset, length), is sent those bytes (fewer at the end), and returns an offset.

All are in bytes from the start of the file, and requested offsets increase. A result of None means
that the container extends to the end of the file.
"""

HEADER_BYTES = 16
"""The format of a container is recognised from this many bytes."""
NO_CONTAINER = -1
"""Returned in place of an offset: the following bytes are no container."""

_CHUNK, _CAF_CHUNK, _EBML_HEADER, _BOX = 8, 12, 12, 8
_NEGATIVE_FROM = 0x80
"""A signed size whose first byte is at least this is negative."""
_LARGE_BOX = 1
"""A box of this size has its true size in the eight bytes after its type."""
_MOST_HEADERS, _MAX_DEPTH = 100_000, 6
_MOST_SAMPLES = 8_000_000
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_ASF_HEADER = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"
_ASF_OBJECT = 24
_FLV_TAG, _FLV_TYPES = 15, {8, 9, 18}


@dataclass
class Findings:
    """Input and results of a walk."""

    live: bool
    codecs: list[str] = field(default_factory=list)
    """The codecs of ISO media's audio tracks, as four-character codes."""
    handler: bytes = b""
    """The current track's handler type, "soun" for audio."""
    codec: bytes = b""
    """The current track's four-character code."""
    counted: int = 0
    """The current track's entries in its sample table ("samples" in ISO's sense)."""
    uniform: bool = False
    """Whether the current track's entries last one tick each."""
    samples: int = 0
    """Entries of all tracks that FFmpeg keeps in memory."""
    boxes: int = 0

    def end_track(self) -> None:
        """Add the current track to the results. Raises UnreadableAudio for implausibly many entries."""
        if self.handler == b"soun":
            self.codecs.append(self.codec.decode("ascii", "replace").strip())
        self.samples += 0 if self.uniform else self.counted
        self.counted, self.uniform = 0, False
        if self.samples > _MOST_SAMPLES:
            raise UnreadableAudio(
                f"The recording's index has over {_MOST_SAMPLES} entries, which would be days of audio: it "
                "is damaged or malicious. Send a recording that other players can play."
            )


def walk_result(found: StopIteration) -> int | None:
    """The result of a walk that has ended."""
    value: int | None = found.value
    return value


def demuxer_options(head: bytes) -> dict[str, str]:
    """Options of FFmpeg's demuxer for a container with these first bytes."""
    # A WAV header may declare less audio than the file has; the walk finds the true end.
    return {"ignore_length": "1"} if _walk_of(head) is _wav else {}


def container_end(at: int, found: Findings) -> Walk:
    """Find where the container at `at` ends and something other than its audio follows."""
    walk_of_format = _walk_of((yield at, HEADER_BYTES))
    return None if walk_of_format is None else (yield from walk_of_format(at, found))


def next_start(at: int) -> Walk:
    """Find where the next container starts. Chunks may precede it, as they do after a WAV's audio.

    Returns None if the file ends first, and NO_CONTAINER if other bytes follow.
    """
    for _ in range(_MOST_HEADERS):
        head = yield at, HEADER_BYTES
        if _walk_of(head) is not None:
            return at
        if len(head) < CHUNK_START_BYTES:
            return None
        start = chunk_start(head)
        if start is None:
            return NO_CONTAINER
        at += start
        if _walk_of(head[start:]) is not None:
            return at
        (size,) = struct.unpack_from("<I", head, start + 4)
        at += 8 + size + size % 2
    return None


def _walk_of(head: bytes) -> Callable[[int, Findings], Walk] | None:
    """The walk for a container with these first bytes; None if none is needed or known."""
    if head[4:8] in _FIRST_BOXES:
        return _iso
    if head[:4] in {b"RIFF", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return _wav
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return _aiff
    if head[:3] == b"FLV":
        return _flv
    return {b".snd": _au, b"caff": _caf, _EBML: _matroska}.get(head[:4]) or {
        _W64_RIFF: _wave64,
        _ASF_HEADER: _asf,
    }.get(head)


def _iso(at: int, found: Findings) -> Walk:
    """ISO/IEC 14496-12, 4.2: boxes, each with a size and a type."""
    indexed = False
    for _ in range(_MOST_HEADERS):
        head = yield at, HEADER_BYTES
        if len(head) < _BOX:
            return None
        size, kind = struct.unpack_from(">I4s", head)
        if kind == b"ftyp" and indexed:
            return at
        if found.live and kind == b"mdat" and not indexed:
            raise UnreadableAudio(
                "The stream is an MP4 whose index stands at its end, so that nothing can be decoded before "
                "all of it has arrived. Upload the file; or write it with the index in front (ffmpeg: "
                "-movflags +faststart), or in fragments (-movflags +frag_keyframe+empty_moov)."
            )
        if size == _LARGE_BOX and len(head) == HEADER_BYTES:
            (size,) = struct.unpack_from(">Q", head, 8)
        if size < _BOX:
            return None
        if kind == b"moov":
            yield from _index(at + _BOX, at + size, found)
        indexed = indexed or kind in {b"moov", b"moof"}
        at += size
    return None


def _index(at: int, end: int, found: Findings, depth: int = 0) -> Generator[tuple[int, int], bytes, None]:
    """Walk through an index (moov) to its tracks' tables. Raises UnreadableAudio if it is implausible."""
    while at + _BOX <= end and depth < _MAX_DEPTH:
        head = yield at, _BOX
        found.boxes += 1
        if len(head) < _BOX or found.boxes > _MOST_HEADERS:
            return
        size, kind = struct.unpack(">I4s", head)
        if size < _BOX:
            return
        body = at + _BOX
        if kind in {b"trak", b"mdia", b"minf", b"stbl"}:
            yield from _index(body, min(at + size, end), found, depth + 1)
            if kind == b"stbl":
                found.end_track()
        elif kind == b"hdlr":
            found.handler = (yield body, HEADER_BYTES)[8:12]
        elif kind == b"stsd":
            found.codec = (yield body, HEADER_BYTES)[12:]
        elif kind == b"stts":
            # FFmpeg's index does not store the entries of such tracks, which are PCM, one by one.
            times = yield body, HEADER_BYTES
            found.uniform = times[4:8] == times[12:] == b"\0\0\0\1"
        elif kind == b"stsz":
            found.counted = int.from_bytes((yield body, HEADER_BYTES)[8:12], "big")
        at += size


def _wav(at: int, found: Findings) -> Walk:  # noqa: ARG001
    """RIFF: chunks, each with a name and a size. In RF64, the chunk "ds64" has the audio's size."""
    at += 12
    large: int | None = None
    for _ in range(_MOST_HEADERS):
        head = yield at, _CHUNK
        if len(head) < _CHUNK:
            return None
        name, size = struct.unpack("<4sI", head)
        at += 8
        if name == b"ds64" and len(sizes := (yield at, HEADER_BYTES)) == HEADER_BYTES:
            (large,) = struct.unpack_from("<Q", sizes, 8)
        elif name == b"fmt " and len(form := (yield at, _CHUNK)) == _CHUNK:
            _, channels, rate = struct.unpack("<HHI", form)
            check_limits(rate, channels)
        elif name == b"data":
            if size in UNKNOWN_SIZES:
                if not large:
                    return None
                size = large
            following = yield at + size, CHUNK_START_BYTES
            return at + size if not following or chunk_start(following) is not None else None
        at += size + size % 2
    return None


def _wave64(at: int, found: Findings) -> Walk:  # noqa: ARG001
    """Sony Wave64: a GUID, and the total size."""
    head = yield at, 24
    return (yield from _followed_by(at + int.from_bytes(head[16:], "little"), _W64_RIFF))


def _aiff(at: int, found: Findings) -> Walk:  # noqa: ARG001
    """AIFF (EA IFF 85): "FORM", and the size of the rest, padded to an even number."""
    head = yield at, 8
    size = int.from_bytes(head[4:], "big")
    return None if size in UNKNOWN_SIZES else (yield from _followed_by(at + 8 + size + size % 2, b"FORM"))


def _au(at: int, found: Findings) -> Walk:  # noqa: ARG001
    """Sun AU: offset and size of the audio."""
    head = yield at, 12
    offset, size = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:], "big")
    return None if size in UNKNOWN_SIZES else (yield from _followed_by(at + offset + size, b".snd"))


def _caf(at: int, found: Findings) -> Walk:  # noqa: ARG001
    """Apple Core Audio Format: chunks, each with a name and a 64-bit size, -1 if it extends to the end."""
    at += 8
    for _ in range(_MOST_HEADERS):
        head = yield at, 12
        if head[:4] == b"caff":
            return at
        if len(head) < _CAF_CHUNK or head[4] >= _NEGATIVE_FROM:
            return None
        at += 12 + int.from_bytes(head[4:], "big")
    return None


def _asf(at: int, found: Findings) -> Walk:  # noqa: ARG001
    """Advanced Systems Format: objects, each with a GUID and a size, of which the first is the header."""
    start = at
    for _ in range(_MOST_HEADERS):
        head = yield at, _ASF_OBJECT
        size = int.from_bytes(head[16:], "little")
        if at > start and head[:16] == _ASF_HEADER:
            return at
        if size < _ASF_OBJECT:
            return None
        at += size
    return None


def _flv(at: int, found: Findings) -> Walk:  # noqa: ARG001
    """Flash video: a header, and tags, each with a type and a size, and the size again after the tag."""
    head = yield at, HEADER_BYTES
    at += int.from_bytes(head[5:9], "big")
    for _ in range(_MOST_HEADERS):
        head = yield at, _FLV_TAG
        if head[4:7] == b"FLV":
            return at + 4
        if len(head) < _FLV_TAG or head[4] not in _FLV_TYPES:
            return None
        at += _FLV_TAG + int.from_bytes(head[5:8], "big")
    return None


def _matroska(at: int, found: Findings) -> Walk:  # noqa: ARG001
    """Matroska (EBML, RFC 8794): a header and a segment, each with a four-byte identifier and a size."""
    for identifier in (_EBML, b"\x18\x53\x80\x67"):
        head = yield at, 12
        if len(head) < _EBML_HEADER or head[:4] != identifier or head[4] == 0:
            return None
        length = 9 - head[4].bit_length()
        size = int.from_bytes(head[4 : 4 + length], "big") & ~(1 << 7 * length)
        if size == (1 << 7 * length) - 1:
            return None
        at += 4 + length + size
    return (yield from _followed_by(at, _EBML))


def _followed_by(end: int, magic: bytes) -> Walk:
    """`end` if these bytes follow there, else None."""
    return end if (yield end, len(magic)) == magic else None


_EBML = b"\x1a\x45\xdf\xa3"
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp"}
