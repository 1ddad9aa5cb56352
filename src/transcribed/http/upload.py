"""Streaming of a file from a multipart/form-data body, while the body arrives.

The number of parts, and the bytes outside the file, are limited. The body after the file is not parsed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from transcribed.errors import BadRequest, Disconnected, TranscribedError
from transcribed.http.body import DISCARDED_BYTES, body_in_time
from transcribed.http.disposition import disposition

MOST_PARTS = 100
"""The most fields of a form up to the file."""
MOST_BESIDE = 1024 * 1024
"""The most bytes of a form, up to the file's end, that do not belong to the file."""
_SLICE = 32 * 1024


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """An uploaded file: its name, its media type, and its bytes as they arrive."""

    name: str
    media_type: str
    """The content type in lower case, without parameters; empty if the client sends none."""
    chunks: AsyncIterator[bytes]
    _body: "_Body"

    async def discard(self) -> None:
        """Read and discard the rest, up to DISCARDED_BYTES: clients send all before they read."""
        await self._body.discard()


async def uploaded_file(request: Request, field_name: str) -> UploadedFile:
    """The file in a field of a multipart/form-data request. Reads the body up to the file's first bytes.

    Raises BadRequest for an invalid request, and Disconnected if the client disconnects.
    """
    body = _Body(request)
    try:
        part = _FilePart(field_name, _boundary(request, field_name))
        while not part.found:
            chunk = await body.next()
            if not chunk:
                raise _no_file(field_name)
            await part.feed(chunk)
    except BadRequest:
        await body.discard()
        raise
    return UploadedFile(part.name, part.media_type, _bytes_of(part, body), body)


def _boundary(request: Request, field_name: str) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise _no_file(field_name)
    return boundary


async def _bytes_of(part: "_FilePart", body: "_Body") -> AsyncIterator[bytes]:
    while True:
        if part.data:
            yield bytes(part.data)
            part.data.clear()
        if part.complete:
            break
        chunk = await body.next()
        if not chunk:
            raise BadRequest("The body ended before the file did. Send the whole file.")
        await part.feed(chunk)
    await body.skip()


class _Body:
    """The unread part of a request's body."""

    def __init__(self, request: Request) -> None:
        self._chunks = body_in_time(request)

    async def next(self) -> bytes:
        """The next bytes; empty at the end. Raises Disconnected, and BadRequest if it takes too long."""
        try:
            return await anext(self._chunks, b"")
        except ClientDisconnect as error:
            raise Disconnected("The upload broke off.") from error

    async def skip(self) -> None:
        """Read and discard the rest, up to DISCARDED_BYTES. Raises as `next`."""
        left = DISCARDED_BYTES
        while left > 0 and (chunk := await self.next()):
            left -= len(chunk)

    async def discard(self) -> None:
        """The same without errors, for a request that is refused anyway."""
        with suppress(TranscribedError):
            await self.skip()


@dataclass
class _FilePart:
    """Parses a multipart body, and keeps the data of one field."""

    field_name: str
    boundary: bytes
    name: str = ""
    media_type: str = ""
    data: bytearray = field(default_factory=bytearray)
    found: bool = False
    complete: bool = False

    def __post_init__(self) -> None:
        self._wanted = False
        self._header = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._delimiter = b"\r\n--" + self.boundary
        self._delimiters = 0
        self._tail = b""
        self._beside = 0
        try:
            self._parser = MultipartParser(
                self.boundary,
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                },
            )
        except FormParserError as error:
            raise _not_valid(error) from error

    async def feed(self, chunk: bytes) -> None:
        """Parse the next chunk, up to the file's end, and yield to other tasks in between.

        Raises BadRequest for a body that is invalid or exceeds the limits.
        """
        for start in range(0, len(chunk), _SLICE):
            if start:
                await asyncio.sleep(0)
            if self.complete:
                return
            self._feed(chunk[start : start + _SLICE])

    def _feed(self, data: bytes) -> None:
        # Delimiters are counted, because the parser is fast except at and around a boundary.
        self._delimiters += data.count(self._delimiter)
        around = self._tail + data[: len(self._delimiter) - 1]
        self._delimiters += around.count(self._delimiter)
        self._tail = (self._tail + data[-len(self._delimiter) :])[1 - len(self._delimiter) :]
        self._beside += len(data)
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise _not_valid(error) from error
        if self.complete:
            return
        if self._delimiters > MOST_PARTS:
            raise BadRequest(f"The form has more than {MOST_PARTS} fields before the end of its file.")
        if self._beside > MOST_BESIDE:
            raise BadRequest(
                f"The form has more than {MOST_BESIDE} bytes besides its file. Send the file first."
            )

    def _on_header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        if self.found:
            return
        names = disposition(self._headers.get(b"content-disposition", b""))
        if names.name == self.field_name and names.filename is not None:
            self._wanted = self.found = True
            self.name = names.filename
            kind = self._headers.get(b"content-type", b"").decode("latin-1")
            self.media_type = kind.partition(";")[0].strip().lower()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._wanted:
            self.data += data[start:end]
            self._beside -= end - start

    def _on_part_end(self) -> None:
        self.complete = self.complete or self._wanted
        self._wanted = False


def _not_valid(error: Exception) -> BadRequest:
    return BadRequest(f"The body is not valid multipart/form-data: {error}.")


def _no_file(field_name: str) -> BadRequest:
    return BadRequest(
        f"There is no file in the field `{field_name}`. Send the recording as multipart/form-data, "
        f"for example: curl -F '{field_name}=@speech.wav;type=audio/wav'."
    )
