"""Where containers end: the same whether they are a file or come in pieces of any size."""

import io
import itertools
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.parts import LiveParts, StoredParts
from transcribed.errors import MediaChanged, UnreadableAudio


def _box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _large_box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body


def _wav(audio: bytes, behind: bytes = b"") -> bytes:
    form = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    return (
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", len(audio)) + audio + behind
    )


_MP4 = (
    _box(b"ftyp", b"isom") + _box(b"moov", bytes(50)) + _box(b"moof", bytes(20)) + _box(b"mdat", bytes(99))
)
_LARGE = _box(b"ftyp", b"qt  ") + _box(b"moov", bytes(50)) + _large_box(b"mdat", bytes(70))
_WAV = _wav(bytes(200))
_LIST = b"LIST\5\0\0\0hello\0"
_AIFF = b"FORM" + struct.pack(">I", 104) + b"AIFF" + bytes(100)
_AU = b".snd" + struct.pack(">II", 24, 100) + bytes(112)
_CAF = b"caff\0\1\0\0desc" + struct.pack(">q", 32) + bytes(32) + b"data" + struct.pack(">q", 90) + bytes(90)
_WEBM = b"\x1a\x45\xdf\xa3\x84abcd" + b"\x18\x53\x80\x67\x01" + (80).to_bytes(7) + bytes(80)
_FLV = b"FLV\1\1\0\0\0\x09" + b"\0\0\0\0" + (b"\x08\0\0\x14" + bytes(7 + 20) + struct.pack(">I", 31)) * 3


class _Chunks:
    """A stream in pieces of given sizes, one after the other, again and again."""

    def __init__(self, content: bytes, sizes: Iterable[int]) -> None:
        self._content = io.BytesIO(content)
        self._sizes = itertools.cycle(sizes)

    def read(self, size: int, /) -> bytes:
        return self._content.read(min(size, next(self._sizes)))


def _stored(content: bytes) -> list[bytes]:
    parts = StoredParts(io.BytesIO(content))
    found = []
    while (part := parts.next()) is not None:
        whole = part.read(1_000_000)
        assert part.seek(0, io.SEEK_END) == len(whole)
        assert part.seek(-2, io.SEEK_CUR) == part.tell() == len(whole) - 2
        assert part.read(10) == whole[-2:]
        found.append(whole)
    return found


def _live(content: bytes, sizes: Iterable[int]) -> list[bytes]:
    parts = LiveParts(_Chunks(content, sizes))
    found = []
    while (part := parts.next()) is not None:
        whole = b""
        while data := part.read(64):
            whole += data
        found.append(whole)
    return found


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (_MP4, [_MP4]),
        (_MP4 * 3, [_MP4] * 3),
        (_MP4 + _LARGE + _MP4, [_MP4, _LARGE, _MP4]),
        (_WAV * 2, [_WAV] * 2),
        (_WAV + _LIST + _WAV, [_WAV, _WAV]),
        (_WAV + _LIST * 2, [_WAV]),
        (_wav(bytes(201)) + b"\0" + _LIST + _WAV, [_wav(bytes(201)), _WAV]),
        (_WAV + b"\1\2\3\4" * 50, [_WAV + b"\1\2\3\4" * 50]),
        (_AIFF * 2, [_AIFF] * 2),
        (_AU * 2, [_AU] * 2),
        (_CAF * 2, [_CAF] * 2),
        (_WEBM * 2, [_WEBM] * 2),
        (_FLV * 2, [_FLV] * 2),
        (_WAV + _MP4, [_WAV + _MP4]),
        (b"", [b""]),
        (b"ID3 and whatever else" * 20, [b"ID3 and whatever else" * 20]),
        (_MP4[:-30], [_MP4[:-30]]),
    ],
    ids=range(1, 18),
)
def test_each_container_is_a_part(content: bytes, parts: list[bytes]) -> None:
    assert [part for part in _live(content, [1]) if part] == [part for part in parts if part]
    assert _live(content, [1_000]) == parts
    if min(map(len, parts)) > 2:
        assert _stored(content) == parts


@given(
    st.lists(st.sampled_from([_MP4, _LARGE]), min_size=1, max_size=5)
    | st.lists(st.sampled_from([_WAV, _WAV + _LIST]), min_size=1, max_size=5),
    st.lists(st.integers(1, 300), min_size=1, max_size=20),
)
def test_a_stream_is_cut_as_a_file_is(content: list[bytes], sizes: list[int]) -> None:
    joined = b"".join(content)
    assert _live(joined, sizes) == _stored(joined)


def test_what_has_come_of_a_live_container_is_not_held_back() -> None:
    parts = LiveParts(_Chunks(_MP4, [len(_MP4)]))
    part = parts.next()
    assert part is not None
    assert part.read(1_000) == _MP4


def test_an_index_at_the_end_is_told_as_soon_as_it_is_known() -> None:
    content = _box(b"ftyp", b"isom") + struct.pack(">I4s", 1_000_000, b"mdat") + bytes(100)
    parts = LiveParts(_Chunks(content, [7]))
    part = parts.next()
    assert part is not None
    with pytest.raises(UnreadableAudio, match="index stands at its end"):
        assert all(iter(lambda: part.read(64), b""))
    assert isinstance(parts.error, UnreadableAudio)


def test_something_else_behind_a_wav_is_noticed() -> None:
    for content, left in [(_WAV + _LIST + b"\1" * 30, True), (_WAV + _LIST, False), (_WAV, False)]:
        stored, live = StoredParts(io.BytesIO(content)), LiveParts(_Chunks(content, [50]))
        for parts in (stored, live):
            while parts.next() is not None:
                pass
            assert parts.has_trailing_data is left


def test_an_error_of_the_source_is_kept() -> None:
    class Changed(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise MediaChanged("replaced")

    parts = StoredParts(Changed(_WAV))
    with pytest.raises(MediaChanged):
        parts.next()
    assert isinstance(parts.error, MediaChanged)
