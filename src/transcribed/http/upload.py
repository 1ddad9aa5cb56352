"""A file out of a multipart body, while the body is still arriving.

What a body may cost is bounded: how often its boundary comes, and how many bytes there are beside the
file's. Behind the file nothing is looked at.
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
"""Fields of a form, up to the file."""
MOST_BESIDE = 1024 * 1024
"""Bytes of a form, up to the file's end, that are not the file's."""
_SLICE = 32 * 1024


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file field: what the client calls it, what it says it is, and its bytes as they come."""

    name: str
    media_type: str
    """In lower case, without parameters; empty where the client does not say."""
    chunks: AsyncIterator[bytes]
    _body: "_Body"

    async def discard(self) -> None:
        """Take the rest, within bounds: clients hear an answer only when they have sent everything."""
        await self._body.discard()


async def uploaded_file(request: Request, field_name: str) -> UploadedFile:
    """The file in a field of a multipart/form-data request. The body is read only as far as needed.

    Raises BadRequest for what is not such a request, and Disconnected where the body breaks off.
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
    """What is still to come of a request's body."""

    def __init__(self, request: Request) -> None:
        self._chunks = body_in_time(request)

    async def next(self) -> bytes:
        """Some bytes, or none at the end. Raises Disconnected, and BadRequest where that takes long."""
        try:
            return await anext(self._chunks, b"")
        except ClientDisconnect as error:
            raise Disconnected("The upload broke off.") from error

    async def skip(self) -> None:
        """Take the rest, within bounds. Raises as `next`."""
        left = DISCARDED_BYTES
        while left > 0 and (chunk := await self.next()):
            left -= len(chunk)

    async def discard(self) -> None:
        """Take the rest, within bounds, for a client that is refused anyway."""
        with suppress(TranscribedError):
            await self.skip()


@dataclass
class _FilePart:
    """Parser callbacks that keep the one field that is wanted."""

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
        """Look at some more of the body, up to the file's end; others get their turn meanwhile.

        Raises BadRequest for a body that is not valid, or beyond the bounds.
        """
        for start in range(0, len(chunk), _SLICE):
            if start:
                await asyncio.sleep(0)
            if self.complete:
                return
            self._feed(chunk[start : start + _SLICE])

    def _feed(self, data: bytes) -> None:
        # The parser goes over data in large steps, but for what looks like a boundary, and around one.
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
        said = disposition(self._headers.get(b"content-disposition", b""))
        if said.name == self.field_name and said.filename is not None:
            self._wanted = self.found = True
            self.name = said.filename
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
