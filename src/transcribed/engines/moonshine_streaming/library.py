"""The vendor's shared library (in the package moonshine-voice), through its C API `moonshine-c-api.h`.

The library writes the causes of its errors to stderr, and returns a number. Its own voice activity
detection is off (`vad_threshold` 0), so that all audio of one call or stream becomes one line of its
transcript.
"""

import os
import platform
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import (
    CDLL,
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_float,
    c_int8,
    c_int32,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakSet, finalize

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import BLOCK_SECONDS, MediaReader
from transcribed.errors import ConfigurationError, EngineFailure

CHUNK = 1_280
"""Samples (80 ms) that a streaming model takes at a time; the library leaves a shorter rest unread."""
TOKENS_PER_SECOND = 6.5
"""The vendor's limit of tokens per second of audio, for languages in Latin script."""
_CHUNKS_AFTER = 1
"""Chunks of silence after the audio. Without them, the model repeats words that are cut off."""
_MOST_WAIT = 15
"""Seconds to wait for another thread; must be less than the time limit of a step."""
_API_VERSION = 20_000
_FORCE_UPDATE = 1
_LIBRARIES = {"Darwin": "libmoonshine.dylib", "Linux": "libmoonshine.so", "Windows": "moonshine.dll"}
_ONE_THREAD = "MOONSHINE_ORT_SINGLE_THREAD"
_OPTIONS = {
    "vad_threshold": "0",
    # One line must hold a whole segment.
    "vad_max_segment_duration": "100000",
    # The library copies the whole segment once for each hop.
    "vad_hop_size": str(CHUNK),
    "vad_look_behind_sample_count": str(CHUNK),
    "return_audio_data": "false",
}


class Architecture(IntEnum):
    """The library's numbers for the architectures of models."""

    TINY = 0
    BASE = 1
    TINY_STREAMING = 2
    BASE_STREAMING = 3
    SMALL_STREAMING = 4
    MEDIUM_STREAMING = 5


class _Line(Structure):
    _fields_ = (
        ("text", c_char_p),
        ("audio_data", c_void_p),
        ("audio_data_count", c_size_t),
        ("start_time", c_float),
        ("duration", c_float),
        ("id", c_uint64),
        ("is_complete", c_int8),
        ("is_updated", c_int8),
        ("is_new", c_int8),
        ("has_text_changed", c_int8),
        ("have_speakers_changed", c_int8),
        ("speaker_spans", c_void_p),
        ("speaker_span_count", c_uint64),
        ("last_transcription_latency_ms", c_uint32),
        ("words", c_void_p),
        ("word_count", c_uint64),
    )


class _Transcript(Structure):
    _fields_ = (("lines", POINTER(_Line)), ("line_count", c_uint64))


class _Option(Structure):
    _fields_ = (("name", c_char_p), ("value", c_char_p))


def package_file(name: str) -> Path:
    """Return the path of a file of the vendor's package. Raises ConfigurationError without the package."""
    # The package is not imported, since it would need further packages, unlike its library.
    found = find_spec("moonshine_voice")
    for folder in (found and found.submodule_search_locations) or ():
        if (path := Path(folder) / name).exists():
            return path
    raise ConfigurationError(
        "Streaming models need the vendor's library, which is not installed. "
        "Run: pip install moonshine-voice==0.0.73"
    )


def package_speech(seconds: int) -> Samples:
    """Return the first seconds of a recording in the vendor's package."""
    with package_file("assets/beckett.wav").open("rb") as file, MediaReader(file) as media:
        blocks = list(islice(media.blocks(), round(seconds / BLOCK_SECONDS)))
    return np.concatenate(blocks)[: seconds * SAMPLE_RATE]


@lru_cache(maxsize=1)
def _library() -> CDLL:
    path = package_file(_LIBRARIES.get(platform.system(), "libmoonshine.so"))
    try:
        library = CDLL(str(path))
    except OSError as error:
        raise ConfigurationError(f"The library of moonshine-voice cannot be loaded: {error}") from None
    samples, transcript = POINTER(c_float), POINTER(POINTER(_Transcript))
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "error_to_string": (c_char_p, [c_int32]),
        "load_transcriber_from_files": (
            c_int32,
            [c_char_p, c_uint32, POINTER(_Option), c_uint64, c_int32],
        ),
        "free_transcriber": (None, [c_int32]),
        "transcribe_without_streaming": (
            c_int32,
            [c_int32, samples, c_uint64, c_int32, c_uint32, transcript],
        ),
        "create_stream": (c_int32, [c_int32, c_uint32]),
        "start_stream": (c_int32, [c_int32, c_int32]),
        "free_stream": (c_int32, [c_int32, c_int32]),
        "transcribe_add_audio_to_stream": (
            c_int32,
            [c_int32, c_int32, samples, c_uint64, c_int32, c_uint32],
        ),
        "transcribe_stream": (c_int32, [c_int32, c_int32, c_uint32, transcript]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"moonshine_{name}")
        function.restype, function.argtypes = result, arguments
    return library


@contextmanager
def _one_thread() -> Iterator[None]:
    """Make a model that is loaded now compute in the calling thread only.

    The library's own threads would compete with the scheduler's. It reads the environment variable while it
    loads a model.
    """
    before = os.environ.get(_ONE_THREAD)
    os.environ[_ONE_THREAD] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ONE_THREAD]
        else:
            os.environ[_ONE_THREAD] = before


@dataclass(frozen=True, slots=True)
class _Handle:
    """A loaded model, and the streams of it that nobody uses any more."""

    number: int
    lock: Lock
    abandoned: deque[int]


class Transcriber:
    """A model that the library has loaded. It serves one thread at a time; others wait.

    The library holds the state of a streaming model once for all streams of a transcriber, and without a
    lock: if its streams take turns, each is encoded again from its start, with the same result.
    """

    def __init__(
        self, folder: Path, architecture: Architecture, tokens_per_second: float = TOKENS_PER_SECOND
    ) -> None:
        """Load a model from its folder. Raises ConfigurationError; the cause is on stderr.

        `tokens_per_second` limits the length of a text, in case the model repeats itself.
        """
        library = _library()
        given = {**_OPTIONS, "max_tokens_per_second": str(tokens_per_second)}
        options = (_Option * len(given))(*(_Option(k.encode(), v.encode()) for k, v in given.items()))
        with _one_thread():
            number = library.moonshine_load_transcriber_from_files(
                os.fsencode(folder), architecture, options, len(options), _API_VERSION
            )
        if number < 0:
            raise ConfigurationError(
                f"The model in {folder} cannot be loaded ({_said(number)}; the cause is on stderr)."
            )
        self._handle = _Handle(number, Lock(), deque())
        self._streams: WeakSet[LibraryStream] = WeakSet()
        # Not at the end of the process, when the library's threads may already have ended.
        finalize(self, library.moonshine_free_transcriber, number).atexit = False

    def transcribe(self, samples: Samples) -> str:
        """Return the text of samples [n], as a whole."""
        padded = np.zeros((-(-len(samples) // CHUNK) + _CHUNKS_AFTER) * CHUNK, np.float32)
        padded[: len(samples)] = samples
        transcript = POINTER(_Transcript)()
        with self._mine() as number:
            _check(
                _library().moonshine_transcribe_without_streaming(
                    number, _pointer(padded), len(padded), SAMPLE_RATE, 0, byref(transcript)
                )
            )
            return _text(transcript)

    def stream(self) -> "LibraryStream":
        """Open a stream, whose audio is transcribed while it grows."""
        with self._mine() as number:
            stream = _check(_library().moonshine_create_stream(number, 0))
            opened = LibraryStream(self, stream)
            finalize(opened, self._handle.abandoned.append, stream).atexit = False
            self._streams.add(opened)
            _check(_library().moonshine_start_stream(number, stream))
        return opened

    def extend(self, stream: int, samples: Samples) -> str:
        """Add samples [n · CHUNK] to one of its streams, and return the text so far."""
        contiguous = np.ascontiguousarray(samples, np.float32)
        transcript = POINTER(_Transcript)()
        with self._mine() as number:
            library = _library()
            _check(
                library.moonshine_transcribe_add_audio_to_stream(
                    number, stream, _pointer(contiguous), len(contiguous), SAMPLE_RATE, 0
                )
            )
            _check(library.moonshine_transcribe_stream(number, stream, _FORCE_UPDATE, byref(transcript)))
            return _text(transcript)

    @property
    def busy(self) -> bool:
        """Whether a thread uses it now."""
        return self._handle.lock.locked()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    @contextmanager
    def _mine(self) -> Iterator[int]:
        """Keep other threads out, and free the streams that nobody uses any more.

        Streams are freed here and not by their finalizers, which may run in any thread at any time.
        """
        if not self._handle.lock.acquire(timeout=_MOST_WAIT):
            raise EngineFailure(f"The vendor's library has not answered another stream for {_MOST_WAIT} s.")
        try:
            while self._handle.abandoned:
                _library().moonshine_free_stream(self._handle.number, self._handle.abandoned.popleft())
            yield self._handle.number
        finally:
            self._handle.lock.release()


class LibraryStream:
    """Audio that the library transcribes while it grows. It is freed after the last reference to it."""

    def __init__(self, transcriber: Transcriber, number: int) -> None:
        self._transcriber = transcriber
        self._number = number
        self._text = ""

    def extend(self, samples: Samples) -> str:
        """Add samples [n · CHUNK], and return the text so far."""
        if len(samples):
            self._text = self._transcriber.extend(self._number, samples)
        return self._text


def _pointer(samples: Samples) -> Any:
    return samples.ctypes.data_as(POINTER(c_float))


def _text(transcript: Any) -> str:
    """Return the text of all lines. Valid until the next call for the same stream or transcriber."""
    if not transcript:
        return ""
    lines = (transcript.contents.lines[i].text for i in range(transcript.contents.line_count))
    return " ".join((line or b"").decode("utf-8", errors="replace").strip() for line in lines).strip()


def _check(result: int) -> int:
    if result < 0:
        raise EngineFailure(f"The vendor's library failed: {_said(result)}; the cause is on stderr.")
    return result


def _said(code: int) -> str:
    text: bytes | None = _library().moonshine_error_to_string(code)
    return (text or b"error").decode(errors="replace")
