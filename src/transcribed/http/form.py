"""Reading of a whole multipart/form-data body: its fields in memory, its file on the disk.

Fields may stand before and after the file. The file is unnamed and in the folder for temporary files.
"""

import errno
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from starlette.requests import Request

from transcribed.audio.source import FileSource
from transcribed.errors import (
    BadRequest,
    InvalidField,
    MissingField,
    StorageFailure,
    StorageFull,
    TooLarge,
    TranscribedError,
    UnreadableAudio,
    shown,
)
from transcribed.http.disposition import Disposition
from transcribed.http.multipart import Body, MultipartReader, boundary_of
from transcribed.service.threads import in_thread

MOST_PARTS = 1000
"""The most fields of a form: each item of a list is one."""
MOST_FIELD_BYTES = 256 * 1024
"""The most bytes of all fields together that are kept."""
MOST_BESIDE = 16 * 1024 * 1024
"""The most bytes of a form that do not belong to its file; unused fields, as of voices, have megabytes."""
_PIECE_BYTES = 256 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Form:
    """A form: its file, and the names and values of its other fields, in order."""

    file: FileSource
    fields: tuple[tuple[str, str], ...]


@asynccontextmanager
async def uploaded_form(
    request: Request, file_name: str, most_bytes: int, unused: tuple[str, ...] = ()
) -> AsyncIterator[Form]:
    """The form of a request, whose file is the field `file_name`, of at most `most_bytes` bytes.

    The file is gone on leaving the context. Fields whose names begin with one of `unused` are passed over.
    Raises MissingField, InvalidField, TooLarge and BadRequest for an invalid request, UnreadableAudio for
    an empty file, StorageFull and StorageFailure if the file cannot be written, and Disconnected if the
    client disconnects.
    """
    body = Body(request)
    with ExitStack() as opened:
        try:
            parts = await _read(body, _Parts(file_name, unused), boundary_of(request), most_bytes, opened)
        except TranscribedError:
            await body.discard()
            raise
        assert parts.file is not None  # noqa: S101 - `_read` raises without a file
        yield Form(opened.enter_context(FileSource(parts.file)), tuple(parts.fields))


async def _read(
    body: Body, parts: "_Parts", boundary: bytes | None, most_bytes: int, opened: ExitStack
) -> "_Parts":
    if boundary is None:
        raise parts.no_file()
    reader = MultipartReader(boundary, parts, MOST_PARTS, MOST_BESIDE)
    size = 0
    try:
        while chunk := await body.next():
            await reader.feed(chunk)
            size += await _store(parts, opened, _PIECE_BYTES)
            if size + len(parts.data) > most_bytes:
                raise TooLarge(
                    f"The file is larger than {most_bytes} bytes, the most this server takes. Send it in "
                    "parts, or raise max_upload_bytes."
                )
        size += await _store(parts, opened, 0)
    except OSError as error:
        raise _not_stored(error) from error
    if parts.is_open:
        raise BadRequest("The body ended before the form did. Send the whole form.")
    if not parts.found:
        raise parts.no_file()
    if size == 0:
        raise UnreadableAudio("The file is empty. Send a recording.")
    return parts


async def _store(parts: "_Parts", opened: ExitStack, least: int) -> int:
    """Write the file's data to the disk if it is more than `least` bytes. Returns how many were written."""
    if len(parts.data) <= least:
        return 0
    if parts.file is None:
        file = await in_thread(tempfile.TemporaryFile, buffering=0)
        parts.file = cast("BinaryIO", opened.enter_context(file))
    data, parts.data = bytes(parts.data), bytearray()
    await in_thread(_write, parts.file, data)
    return len(data)


def _write(file: BinaryIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _not_stored(error: OSError) -> StorageFailure:
    if error.errno in _FULL:
        told = "There is no room for the recording on the server's disk. Try again later."
        return StorageFull(f"The folder for temporary files is full: {error}.", told)
    return StorageFailure(f"The folder for temporary files cannot be written: {error}.")


@dataclass
class _Parts:
    """Takes the parts of a form: the bytes of the file that have not been written, and the fields."""

    file_name: str
    unused: tuple[str, ...]
    complete: bool = field(default=False, init=False)
    fields: list[tuple[str, str]] = field(default_factory=list, init=False)
    data: bytearray = field(default_factory=bytearray, init=False)
    file: BinaryIO | None = field(default=None, init=False)
    found: bool = field(default=False, init=False)
    is_open: bool = field(default=False, init=False)
    _in_file: bool = field(default=False, init=False)
    _elsewhere: str | None = field(default=None, init=False)
    _name: str | None = field(default=None, init=False)
    _value: bytearray = field(default_factory=bytearray, init=False)
    _kept: int = field(default=0, init=False)

    def begin(self, names: Disposition, media_type: str) -> bool:  # noqa: ARG002 - any type may be audio
        """Begin a part."""
        self.is_open = True
        self._name = None
        is_file = names.name == self.file_name
        if is_file:
            if self.found:
                raise InvalidField(
                    f"The form has more than one `{self.file_name}`. Send each recording in a request of "
                    "its own.",
                    self.file_name,
                )
            self.found = True
        elif names.filename is not None:
            self._elsewhere = names.name
        elif not names.name.startswith(self.unused):
            self._name = names.name
        self._in_file = is_file
        return is_file

    def add(self, data: bytes) -> None:
        """Keep data of the file or of a field."""
        if self._in_file:
            self.data += data
        elif self._name is not None:
            self._kept += len(data)
            if self._kept > MOST_FIELD_BYTES:
                raise InvalidField(
                    f"The fields of the form have more than {MOST_FIELD_BYTES} bytes together.", self._name
                )
            self._value += data

    def end(self) -> None:
        """End a part."""
        self.is_open = False
        if self._name is not None:
            self.fields.append((self._name, self._value.decode(errors="replace")))
            self._value = bytearray()

    def no_file(self) -> MissingField:
        """The error for a form without a file."""
        instead = "" if self._elsewhere is None else f" It is in the field {shown(self._elsewhere)}."
        return MissingField(
            f"There is no file in the field `{self.file_name}`.{instead} Send the recording as "
            f"multipart/form-data, for example: curl -F {self.file_name}=@speech.wav.",
            self.file_name,
        )
