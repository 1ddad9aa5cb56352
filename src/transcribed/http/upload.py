"""A file out of a multipart body, while the body is still arriving."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from transcribed.errors import BadRequest, Disconnected, TranscribedError
from transcribed.http.body import BODY_TIMEOUT, DISCARDED_BYTES


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file field: what the client calls it, what it says it is, and its bytes as they come."""

    name: str
    content_type: str
    chunks: AsyncIterator[bytes]

    async def discard(self) -> None:
        """Take the rest, within bounds: clients hear an answer only when they have sent everything."""
        left = DISCARDED_BYTES
        with suppress(TranscribedError):
            async for chunk in self.chunks:
                left -= len(chunk)
                if left < 0:
                    break


async def uploaded_file(request: Request, field_name: str) -> UploadedFile:
    """The file in a field of a multipart/form-data request. The body is read only as far as needed.

    Raises BadRequest for what is not such a request, and Disconnected where the body breaks off.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        await _discard_body(request)
        raise _no_file(field_name)
    try:
        part = _FilePart(field_name, boundary)
    except FormParserError as error:
        await _discard_body(request)
        raise BadRequest(f"The body is not valid multipart/form-data: {error}.") from error
    arriving = _arriving(request, part)
    async for _ in arriving:
        if part.found:
            return UploadedFile(part.name, part.content_type, _bytes_of(part, arriving))
    raise _no_file(field_name)


async def _discard_body(request: Request) -> None:
    left = DISCARDED_BYTES
    with suppress(ClientDisconnect, TimeoutError):
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                left -= len(chunk)
                if left < 0:
                    return


async def _arriving(request: Request, part: "_FilePart") -> AsyncIterator[None]:
    """Feeds the body to the part, chunk by chunk."""
    body = aiter(request.stream())
    try:
        while True:
            try:
                async with asyncio.timeout(BODY_TIMEOUT):
                    chunk = await anext(body)
            except StopAsyncIteration:
                break
            if chunk:
                part.parser.write(chunk)
                yield
    except ClientDisconnect as error:
        raise Disconnected("The upload broke off.") from error
    except TimeoutError as error:
        raise BadRequest(f"No more of the upload came for {BODY_TIMEOUT:.0f} seconds.") from error
    except MultipartParseError as error:
        raise BadRequest(f"The body is not valid multipart/form-data: {error}.") from error
    if part.found and not part.complete:
        raise BadRequest("The body ended before the file did. Send the whole file.")


async def _bytes_of(part: "_FilePart", arriving: AsyncIterator[None]) -> AsyncIterator[bytes]:
    while True:
        if part.data:
            yield bytes(part.data)
            part.data.clear()
        if part.complete:
            async for _ in arriving:
                pass  # A client hears the answer only when it has sent everything.
            return
        if await anext(arriving, part) is part:
            return


@dataclass
class _FilePart:
    """Parser callbacks that keep the one field that is wanted."""

    field_name: str
    boundary: bytes
    name: str = ""
    content_type: str = ""
    data: bytearray = field(default_factory=bytearray)
    found: bool = False
    complete: bool = False

    def __post_init__(self) -> None:
        self._wanted = False
        self._header = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self.parser = MultipartParser(
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

    def _on_header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        named = options.get(b"name", b"").decode("utf-8", errors="replace") == self.field_name
        self._wanted = named and b"filename" in options and not self.found
        if self._wanted:
            self.found = True
            self.name = _file_name(disposition, options[b"filename"])
            self.content_type = self._headers.get(b"content-type", b"").decode("latin-1")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._wanted:
            self.data += data[start:end]

    def _on_part_end(self) -> None:
        self.complete = self.complete or self._wanted
        self._wanted = False


def _file_name(disposition: bytes, name: bytes) -> str:
    # The parser drops the folders of a Windows path; no name with a backslash is valid, so let it show.
    raw = disposition.partition(b"filename=")[2] if b"\\" in disposition else name
    # What is no UTF-8 becomes lone surrogates, which no valid name has.
    return raw.decode("utf-8", errors="surrogateescape")


def _no_file(field_name: str) -> BadRequest:
    return BadRequest(
        f"There is no file in the field `{field_name}`. Send the recording as multipart/form-data, "
        f"for example: curl -F '{field_name}=@speech.wav;type=audio/wav'."
    )
