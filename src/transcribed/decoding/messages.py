"""What the server and a decoding process tell each other over a socket, without I/O.

A message is a kind (one byte), a length (four bytes, big endian) and so many bytes. What a decoding
process sends is never unpickled or run: it is JSON, samples or numbers, and is checked when it is read.
"""

import json
import struct
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, TypeVar, get_type_hints

import numpy as np

from transcribed.audio.formats import AudioFormat, Samples
from transcribed.errors import EngineFailure
from transcribed.transcript import Track

HEADER = struct.Struct(">BI")
"""Kind and length of a message."""
LONGEST = 16 * 1024 * 1024
"""Bytes of a message: half a second of 64 channels is 2 MiB."""
MOST_READ = 1024 * 1024
"""Bytes that a decoding process may ask for at once."""

F = TypeVar("F", AudioFormat, Track)

_MOST_SENTENCES, _LONGEST_SENTENCE = 16, 400
_READ = struct.Struct(">QI")
_SIGNAL = struct.Struct(">I")
_CHANNELS = struct.Struct(">I")
_UNREADABLE = "The decoder sent something that is no message."


class Kind(IntEnum):
    """What a message is."""

    JOB = 1
    """To the process: what to decode, and how (JSON)."""
    DATA = 2
    """To the process: bytes of the source; none at its end."""
    READ = 3
    """From the process: it wants bytes of the source (offset, size); it waits for DATA."""
    FORMAT = 4
    """From the process: what is in the source (JSON)."""
    BLOCK = 5
    """From the process: Samples."""
    END = 6
    """From the process: all is decoded, and what could not be heard (JSON)."""
    FAILED = 7
    """From the process: why nothing more comes (JSON)."""
    DIED = 8
    """From the process's parent: the number of the signal that ended it."""


class Reason(IntEnum):
    """Why a decoding process gave up."""

    UNREADABLE = 1
    """The source is not audio that can be decoded; the message says why."""
    MEMORY = 2
    """It needed more memory than it was given."""
    UNEXPECTED = 3
    """Anything else; the message is a traceback."""
    NO_PROCESS = 4
    """There is none: the system lets no more be started."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is to do with its source.

    `probe` asks for the format alone. `size` is the source's length in bytes; None where it is a stream
    that can be read once. `memory` is how many bytes more than at its start the process may allocate, and
    `niceness` is added to its own.
    """

    probe: bool
    live: bool
    channels: int | None
    track: int | None
    size: int | None
    memory: int
    niceness: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why nothing more comes from a process, and in which words."""

    reason: Reason
    message: str


def packed(kind: Kind, payload: bytes = b"") -> bytes:
    """A message."""
    return HEADER.pack(kind, len(payload)) + payload


def packed_job(job: Job) -> bytes:
    """The message that begins a decoding process's work."""
    return packed(Kind.JOB, json.dumps(asdict(job)).encode())


def job_of(payload: bytes) -> Job:
    """The job in a message."""
    return Job(**json.loads(payload))


def packed_read(offset: int, size: int) -> bytes:
    """A wish for bytes of the source."""
    return packed(Kind.READ, _READ.pack(offset, size))


def read_of(payload: bytes) -> tuple[int, int]:
    """Offset and size of the bytes that are wanted. Raises EngineFailure."""
    try:
        offset, size = _READ.unpack(payload)
    except struct.error as error:
        raise EngineFailure(_UNREADABLE) from error
    return offset, min(size, MOST_READ)


def format_json(found: AudioFormat) -> bytes:
    """A format as JSON."""
    return json.dumps(asdict(found)).encode()


def packed_format(found: AudioFormat) -> bytes:
    """A format as a message."""
    return packed(Kind.FORMAT, format_json(found))


def format_of(payload: bytes) -> AudioFormat:
    """The format that `format_json` wrote. Raises EngineFailure for what it never writes."""
    try:
        said: dict[str, Any] = json.loads(payload)
        tracks = tuple(_checked(Track(**track)) for track in said.pop("tracks"))
        return _checked(AudioFormat(**said, tracks=tracks))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EngineFailure(_UNREADABLE) from error


def _checked(made: F) -> F:
    """The same. Raises TypeError where a member is of another type than it says."""
    kinds = get_type_hints(type(made))
    for name, kind in kinds.items():
        kind = float | int | None if name == "duration" else tuple if name == "tracks" else kind  # noqa: PLW2901
        if not isinstance(getattr(made, name), kind):
            raise TypeError(name)
    return made


def packed_block(samples: Samples) -> bytes:
    """Samples as a message; the channels of [channels, n] are 0 for [n]."""
    channels = len(samples) if samples.ndim > 1 else 0
    raw = np.ascontiguousarray(samples, "<f4").tobytes()
    return packed(Kind.BLOCK, _CHANNELS.pack(channels) + raw)


def block_of(payload: bytes) -> Samples:
    """The Samples in a message. Raises EngineFailure."""
    try:
        (channels,) = _CHANNELS.unpack_from(payload)
        samples: Samples = np.frombuffer(payload, "<f4", offset=_CHANNELS.size).astype(np.float32)
        return samples.reshape(channels, -1) if channels else samples
    except (struct.error, ValueError) as error:
        raise EngineFailure(_UNREADABLE) from error


def packed_end(warnings: tuple[str, ...]) -> bytes:
    """The end of the audio, with a sentence for each thing that was not heard."""
    return packed(Kind.END, json.dumps(warnings).encode())


def end_of(payload: bytes) -> tuple[str, ...]:
    """The sentences in an end. Raises EngineFailure."""
    try:
        sentences = json.loads(payload)[:_MOST_SENTENCES]
        return tuple(str(sentence)[:_LONGEST_SENTENCE] for sentence in sentences)
    except (ValueError, TypeError) as error:
        raise EngineFailure(_UNREADABLE) from error


def packed_failure(reason: Reason, message: str) -> bytes:
    """Why nothing more comes, as a message."""
    return packed(Kind.FAILED, json.dumps([reason, message]).encode())


def failure_of(payload: bytes) -> Failure:
    """The failure in a message. Raises EngineFailure."""
    try:
        reason, message = json.loads(payload)
        return Failure(Reason(reason), str(message))
    except (ValueError, TypeError) as error:
        raise EngineFailure(_UNREADABLE) from error


def packed_death(signal: int) -> bytes:
    """The signal that ended a process, as a message."""
    return packed(Kind.DIED, _SIGNAL.pack(signal))


def death_of(payload: bytes) -> int:
    """The number of the signal in a message. Raises EngineFailure."""
    try:
        (number,) = _SIGNAL.unpack(payload)
    except struct.error as error:
        raise EngineFailure(_UNREADABLE) from error
    return int(number)
