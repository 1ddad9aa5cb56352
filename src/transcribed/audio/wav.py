"""A WAV header in front of a stream, however its bytes are cut up."""

import struct
from dataclasses import dataclass

from transcribed.audio.formats import HIGHEST_RATE, LOWEST_RATE, MOST_CHANNELS, Encoding, InputFormat
from transcribed.errors import UnreadableAudio

LONGEST_HEADER = 64 * 1024
"""Bytes in which the audio must begin."""

_RIFF_BYTES, _CHUNK_BYTES, _FORMAT_BYTES = 12, 8, 16
_EXTENSIBLE, _SUBFORMAT = 0xFFFE, 24
_NAMES = {1: "integers", 3: "floats", 6: "A-law", 7: "mu-law"}
_ENCODINGS = {(1, 16): Encoding.PCM, (3, 32): Encoding.F32, (6, 8): Encoding.ALAW, (7, 8): Encoding.MULAW}


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What a header says: Hz, and how many bytes it takes itself."""

    size: int
    tag: int
    bits: int
    sample_rate: int
    channels: int

    @property
    def encoding(self) -> Encoding | None:
        """None for what cannot be sent without a container, such as 24 bits."""
        return _ENCODINGS.get((self.tag, self.bits))

    @property
    def format(self) -> InputFormat | None:
        """What follows the header, if it can be sent without one."""
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
    """Holds the first bytes of a stream until it is known whether they are a WAV header."""

    def __init__(self) -> None:
        self.held = b""
        self.header: WavHeader | None = None

    def push(self, data: bytes) -> bool:
        """Whether it is known now; then `header` is there or None. Raises UnreadableAudio."""
        self.held += data
        start = self.held[:_RIFF_BYTES]
        if not (b"RIFF".startswith(start[:4]) and b"WAVE".startswith(start[8:])):
            return True
        if len(start) < _RIFF_BYTES:
            return False
        self.header = _parsed(self.held)
        if self.header is None and len(self.held) > LONGEST_HEADER:
            raise UnreadableAudio(
                f"The WAV header has no audio in its first {LONGEST_HEADER} bytes. Send a plain WAV, or "
                "the samples without a header."
            )
        return self.header is not None


def _parsed(data: bytes) -> WavHeader | None:
    """The header, if all of it is there."""
    described: tuple[int, int, int, int] | None = None
    position = _RIFF_BYTES
    while len(data) >= position + _CHUNK_BYTES:
        name, size = struct.unpack_from("<4sI", data, position)
        position += _CHUNK_BYTES
        if name == b"data":
            if described is None:
                raise UnreadableAudio("The WAV header does not say what is in it. Send the samples alone.")
            return WavHeader(position, *described)
        if name == b"fmt ":
            if len(data) < position + size:
                return None
            described = _format(data[position : position + size])
        position += size + size % 2
    return None


def _format(chunk: bytes) -> tuple[int, int, int, int]:
    if len(chunk) < _FORMAT_BYTES:
        raise UnreadableAudio("The WAV header is damaged. Send the samples without it.")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= _SUBFORMAT + 2:
        (tag,) = struct.unpack_from("<H", chunk, _SUBFORMAT)
    return tag, bits, rate, channels
