"""Parses WAV in a stream of bytes, wherever the stream is cut."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from transcribed.audio.formats import HIGHEST_RATE, LOWEST_RATE, MOST_CHANNELS, Encoding, InputFormat
from transcribed.errors import UnreadableAudio

LONGEST_HEADER = 64 * 1024
"""The audio must start within this many bytes."""

UNKNOWN_SIZES = {0, 0xFFFF_FFFF}
"""Values of a size field in a header that was written before the size was known."""
CHUNK_START_BYTES = 9
"""How many bytes `chunk_start` needs."""

_RIFFS = {b"RIFF", b"RF64", b"BW64"}
_CHUNK_NAMES = {b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"_PMX", b"cue ", b"smpl", b"JUNK", b"PEAK"}
_CHUNK_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_ ]{3}")
_LONGEST_CHUNK = 1 << 24
_RIFF_BYTES, _CHUNK_BYTES, _FORMAT_BYTES = 12, 8, 16
_EXTENSIBLE, _SUBFORMAT = 0xFFFE, 24
_NAMES = {1: "integers", 3: "floats", 6: "A-law", 7: "mu-law"}
_ENCODINGS = {(1, 16): Encoding.PCM, (3, 32): Encoding.F32, (6, 8): Encoding.ALAW, (7, 8): Encoding.MULAW}


@dataclass(frozen=True, slots=True)
class WavHeader:
    """A WAV header."""

    size: int
    """Length of the header in bytes."""
    tag: int
    """WAVE_FORMAT_…, the kind of samples."""
    bits: int
    """Bits per sample."""
    sample_rate: int
    """In Hz."""
    channels: int
    audio_bytes: int | None
    """Length of the audio after the header; None if it was unknown when the header was written."""

    @property
    def encoding(self) -> Encoding | None:
        """The encoding; None for samples that need a container, such as those of 24 bits."""
        return _ENCODINGS.get((self.tag, self.bits))

    @property
    def format(self) -> InputFormat | None:
        """The format of the audio; None if it cannot be sent without a container."""
        fits = LOWEST_RATE <= self.sample_rate <= HIGHEST_RATE and 1 <= self.channels <= MOST_CHANNELS
        if self.encoding is None or not fits:
            return None
        return InputFormat(self.encoding, self.sample_rate, self.channels)

    def __str__(self) -> str:
        samples = f"{self.bits}-bit {_NAMES.get(self.tag, f'samples of kind {self.tag}')}"
        encoding = self.encoding.value if self.encoding else samples
        plural = "" if self.channels == 1 else "s"
        return f"{encoding}, {self.sample_rate} Hz, {self.channels} channel{plural}"


class WavSniffer:
    """Collects the first bytes of a stream until it is clear whether they are a WAV header."""

    def __init__(self) -> None:
        self.held = b""
        self.header: WavHeader | None = None
        """The header, once it is complete; None if there is none."""

    def push(self, data: bytes) -> bool:
        """Add bytes; returns whether it is clear now (see `header`). Raises UnreadableAudio."""
        self.held += data
        start = self.held[:_RIFF_BYTES]
        if not (b"RIFF".startswith(start[:4]) and b"WAVE".startswith(start[8:])):
            return True
        if len(start) < _RIFF_BYTES:
            return False
        self.header = _parse_header(self.held)
        if self.header is None and len(self.held) > LONGEST_HEADER:
            raise UnreadableAudio(
                f"The WAV header has no audio in its first {LONGEST_HEADER} bytes. Send a plain WAV, or "
                "the samples without a header."
            )
        return self.header is not None


class WavStream:
    """Extracts the audio from a stream of WAVs, without headers and other chunks.

    A stream that does not start with a header is all audio. If the bytes after the declared audio are no
    chunk, the declared size was too small, and the rest of the stream is audio. If another WAV follows, its
    audio is extracted too. `check` is called with each header, and may raise UnreadableAudio.
    """

    def __init__(self, check: Callable[[WavHeader], None]) -> None:
        self._check = check
        self._sniffer: WavSniffer | None = WavSniffer()
        # Bytes of the audio that are still to come; None if the rest of the stream is audio.
        self._audio_left: int | None = None
        # Bytes of a chunk after the audio that are still to be skipped.
        self._skipped = 0
        self._following = b""

    def push(self, data: bytes) -> bytes:
        """The audio in these bytes. Raises UnreadableAudio."""
        if self._sniffer is None and self._audio_left is None:
            return data
        audio = []
        while data:
            if self._sniffer is not None:
                data = self._add_to_header(self._sniffer, data)
            elif self._skipped:
                data, self._skipped = data[self._skipped :], max(self._skipped - len(data), 0)
            elif self._audio_left is None:
                audio.append(data)
                break
            elif self._audio_left:
                audio.append(data[: self._audio_left])
                data, self._audio_left = data[self._audio_left :], max(self._audio_left - len(data), 0)
            else:
                data = self._look_for_chunk(data)
        return b"".join(audio)

    def finish(self) -> bytes:
        """The rest of the audio, at the end of the stream."""
        if self._sniffer is None or self._sniffer.held.startswith(b"RIFF"):
            return b""
        return self._sniffer.held

    def _add_to_header(self, sniffer: WavSniffer, data: bytes) -> bytes:
        """Add bytes to the header; returns those after it once it is complete."""
        if not sniffer.push(data):
            return b""
        self._sniffer = None
        if sniffer.header is None:
            self._audio_left = None
            return sniffer.held
        self._check(sniffer.header)
        self._audio_left = sniffer.header.audio_bytes
        return sniffer.held[sniffer.header.size :]

    def _look_for_chunk(self, data: bytes) -> bytes:
        """Find out whether a chunk follows the audio; returns the bytes still to process."""
        self._following += data
        if len(self._following) < CHUNK_START_BYTES:
            return b""
        data, self._following = self._following, b""
        start = chunk_start(data)
        if start is None:
            self._audio_left = None
        elif data[start : start + 4] in _RIFFS:
            self._sniffer = WavSniffer()
            data = data[start:]
        else:
            (size,) = struct.unpack_from("<I", data, start + 4)
            self._skipped = start + _CHUNK_BYTES + size + size % 2
        return data


def chunk_start(data: bytes) -> int | None:
    """The offset of a chunk after a WAV's audio: 0, or 1 after a byte of padding. None if there is none."""
    for start in (0, 1):
        name, size = data[start : start + 4], data[start + 4 : start + _CHUNK_BYTES]
        if name in _RIFFS:
            return start
        named = name in _CHUNK_NAMES or _CHUNK_NAME.fullmatch(name)
        if named and len(size) == _CHUNK_BYTES - 4 and int.from_bytes(size, "little") < _LONGEST_CHUNK:
            return start
    return None


def _parse_header(data: bytes) -> WavHeader | None:
    """The header; None if it is incomplete."""
    format_fields: tuple[int, int, int, int] | None = None
    position = _RIFF_BYTES
    while len(data) >= position + _CHUNK_BYTES:
        name, size = struct.unpack_from("<4sI", data, position)
        position += _CHUNK_BYTES
        if name == b"data":
            if format_fields is None:
                raise UnreadableAudio(
                    "The WAV header does not describe its audio. Send the samples without it."
                )
            return WavHeader(position, *format_fields, None if size in UNKNOWN_SIZES else size)
        if name == b"fmt ":
            if len(data) < position + size:
                return None
            format_fields = _parse_format_chunk(data[position : position + size])
        position += size + size % 2
    return None


def _parse_format_chunk(chunk: bytes) -> tuple[int, int, int, int]:
    if len(chunk) < _FORMAT_BYTES:
        raise UnreadableAudio("The WAV header is damaged. Send the samples without it.")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= _SUBFORMAT + 2:
        (tag,) = struct.unpack_from("<H", chunk, _SUBFORMAT)
    return tag, bits, rate, channels
