"""Messages between the server and a decoding process: packing and unpacking, without I/O.

A message is its kind (one byte), the payload's length (four bytes, big endian) and the payload. A decoding
process may be compromised by a hostile file, so its messages are JSON, samples or numbers, never pickled
objects, and are validated when they are unpacked.
"""

import json
import struct
from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from typing import Any, TypeVar, get_type_hints

import numpy as np

from transcribed.audio.formats import AudioFormat, Samples
from transcribed.errors import EngineFailure
from transcribed.transcript import Track

HEADER = struct.Struct(">BI")
"""A message's kind, and its payload's length in bytes."""
LONGEST = 16 * 1024 * 1024
"""The most bytes in a payload. Half a second of 64 channels takes 2 MiB."""
MOST_READ = 1024 * 1024
"""The most bytes of the source in one answer to READ."""

F = TypeVar("F", AudioFormat, Track)

_MOST_SENTENCES, _LONGEST_SENTENCE = 16, 400
_READ = struct.Struct(">QI")
_SIGNAL = struct.Struct(">I")
_CHANNELS = struct.Struct(">I")
_UNREADABLE = "The decoder sent a malformed message."


class Kind(IntEnum):
    """The kind of a message."""

    REQUEST = 1
    """To the process, once: a DecodeRequest (JSON)."""
    DATA = 2
    """To the process: bytes of the source, the answer to READ. Empty at the source's end."""
    READ = 3
    """From the process: a request for bytes of the source (offset, size), answered by DATA."""
    FORMAT = 4
    """From the process: the AudioFormat of the source (JSON)."""
    BLOCK = 5
    """From the process: a block of Samples."""
    END = 6
    """From the process: all audio is decoded; the warnings about it (JSON)."""
    FAILED = 7
    """From the process: a Failure (JSON)."""
    DIED = 8
    """From the fork server: the number of the signal that killed the process."""


class Reason(IntEnum):
    """Why decoding failed."""

    UNREADABLE = 1
    """The source cannot be decoded as audio. The message is for the client."""
    MEMORY = 2
    """The process needed more memory than its limit."""
    UNEXPECTED = 3
    """Any other exception. The message is its traceback."""
    NO_PROCESS = 4
    """The system refused to start a process."""


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """What a process is to decode, and within which limits."""

    probe: bool
    """Whether only the format is wanted."""
    live: bool
    channels: int | None
    """How many channels to keep separate; None mixes them."""
    track: int | None
    """The number of the audio track, from 1; None leaves the choice to MediaReader."""
    size: int | None
    """The source's length in bytes; None for a stream that can be read only once."""
    memory: int
    """Bytes that the process may allocate beyond those that it has at its start."""
    niceness: int
    """Added to the process's niceness."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a process decodes no further, and a message in English."""

    reason: Reason
    message: str


def pack(kind: Kind, payload: bytes = b"") -> bytes:
    """The bytes of a message."""
    return HEADER.pack(kind, len(payload)) + payload


def pack_request(request: DecodeRequest) -> bytes:
    """The REQUEST message."""
    return pack(Kind.REQUEST, json.dumps(asdict(request)).encode())


def unpack_request(payload: bytes) -> DecodeRequest:
    """The request in a REQUEST payload."""
    return DecodeRequest(**json.loads(payload))


def pack_read(offset: int, size: int) -> bytes:
    """The READ message for `size` bytes from `offset`."""
    return pack(Kind.READ, _READ.pack(offset, size))


def unpack_read(payload: bytes) -> tuple[int, int]:
    """Offset and size in bytes, the size cut to MOST_READ. Raises EngineFailure."""
    try:
        offset, size = _READ.unpack(payload)
    except struct.error as error:
        raise EngineFailure(_UNREADABLE) from error
    return offset, min(size, MOST_READ)


def format_to_json(found: AudioFormat) -> bytes:
    """A format as JSON, also for storage."""
    return json.dumps(asdict(found)).encode()


def pack_format(found: AudioFormat) -> bytes:
    """The FORMAT message."""
    return pack(Kind.FORMAT, format_to_json(found))


def format_from_json(payload: bytes) -> AudioFormat:
    """The format that `format_to_json` wrote. Raises EngineFailure for anything else."""
    try:
        members: dict[str, Any] = json.loads(payload)
        tracks = tuple(_checked(Track(**track)) for track in members.pop("tracks"))
        return _checked(AudioFormat(**members, tracks=tracks))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EngineFailure(_UNREADABLE) from error


def _checked(value: F) -> F:
    """The value itself. Raises TypeError for a field whose type is not as declared."""
    # JSON has one type for all numbers, and isinstance takes no parametrised tuple.
    types = get_type_hints(type(value)) | {"duration": float | int | None, "tracks": tuple}
    for field in fields(value):
        if not isinstance(getattr(value, field.name), types[field.name]):
            raise TypeError(field.name)
    return value


def pack_block(samples: Samples) -> bytes:
    """The BLOCK message for Samples [channels, n], or [n] (sent as 0 channels)."""
    channels = len(samples) if samples.ndim > 1 else 0
    raw = np.ascontiguousarray(samples, "<f4").tobytes()
    return pack(Kind.BLOCK, _CHANNELS.pack(channels) + raw)


def unpack_block(payload: bytes) -> Samples:
    """The Samples, [channels, n] or [n]. Raises EngineFailure."""
    try:
        (channels,) = _CHANNELS.unpack_from(payload)
        samples: Samples = np.frombuffer(payload, "<f4", offset=_CHANNELS.size).astype(np.float32)
        return samples.reshape(channels, -1) if channels else samples
    except (struct.error, ValueError) as error:
        raise EngineFailure(_UNREADABLE) from error


def pack_end(warnings: tuple[str, ...]) -> bytes:
    """The END message; `warnings` are sentences, each about audio that could not be decoded."""
    return pack(Kind.END, json.dumps(warnings).encode())


def unpack_end(payload: bytes) -> tuple[str, ...]:
    """The warnings, limited in number and length. Raises EngineFailure."""
    try:
        sentences = json.loads(payload)[:_MOST_SENTENCES]
        return tuple(str(sentence)[:_LONGEST_SENTENCE] for sentence in sentences)
    except (ValueError, TypeError) as error:
        raise EngineFailure(_UNREADABLE) from error


def pack_failure(reason: Reason, message: str) -> bytes:
    """The FAILED message."""
    return pack(Kind.FAILED, json.dumps([reason, message]).encode())


def unpack_failure(payload: bytes) -> Failure:
    """The failure. Raises EngineFailure for a malformed payload."""
    try:
        reason, message = json.loads(payload)
        return Failure(Reason(reason), str(message))
    except (ValueError, TypeError) as error:
        raise EngineFailure(_UNREADABLE) from error


def pack_death(signal: int) -> bytes:
    """The DIED message for a signal number."""
    return pack(Kind.DIED, _SIGNAL.pack(signal))


def unpack_death(payload: bytes) -> int:
    """The number of the signal that killed the process. Raises EngineFailure."""
    try:
        (number,) = _SIGNAL.unpack(payload)
    except struct.error as error:
        raise EngineFailure(_UNREADABLE) from error
    return int(number)
