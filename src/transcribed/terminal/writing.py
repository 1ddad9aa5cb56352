"""The writing of transcript files, complete or not at all."""

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from transcribed.errors import StorageFailure, StorageFull
from transcribed.storage.files import is_full, write_whole
from transcribed.transcript import Segment
from transcribed.wire import voices
from transcribed.wire.native import result
from transcribed.wire.subtitles import srt, vtt

FileFormat = Literal["text", "json", "srt", "vtt"]

SUFFIXES: dict[FileFormat, str] = {"text": ".txt", "json": ".json", "srt": ".srt", "vtt": ".vtt"}


def document(segments: Sequence[Segment], form: FileFormat) -> str:
    """Return final segments as the content of a file."""
    match form:
        case "text":
            return voices.text(segments)
        case "json":
            return _json({"Transcript": {"Results": [result(segment) for segment in segments]}})
        case "srt":
            return srt(segments)
        case "vtt":
            return vtt(segments)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def check_writable(file: Path) -> None:
    """Create the folder of a file. Raises StorageFailure if the file cannot be written there."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(file.parent if _is_replaceable(file) else file, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except FileExistsError:
        raise _failure(file, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))) from None
    except OSError as error:
        raise _failure(file, error) from error


def write(file: Path, text: str) -> None:
    """Replace a file atomically. Raises StorageFailure, and StorageFull if there is no space."""
    try:
        # The target of a link is replaced, not the link.
        _write(Path(os.path.realpath(file)), text.encode())
    except OSError as error:
        raise _failure(file, error) from error


def _write(file: Path, content: bytes) -> None:
    if _is_replaceable(file):
        write_whole(file, content)
    else:
        file.write_bytes(content)


def _is_replaceable(file: Path) -> bool:
    """Return whether a path is a regular file or nothing yet, not a terminal, pipe or device."""
    return file.is_file() or not file.exists()


def _failure(file: Path, error: OSError) -> StorageFailure:
    message = f"{file} cannot be written ({error.strerror})."
    return StorageFull(message) if is_full(error) else StorageFailure(message)
