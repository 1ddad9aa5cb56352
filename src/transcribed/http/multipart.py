"""Parsing of multipart/form-data bodies while they arrive, with limits of their parts and of their size."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from transcribed.errors import BadRequest, Disconnected, TranscribedError
from transcribed.http.body import DISCARDED_BYTES, body_in_time
from transcribed.http.disposition import Disposition, disposition

_SLICE = 32 * 1024


class Parts(Protocol):
    """What takes the parts of a form, in order."""

    @property
    def complete(self) -> bool:
        """Whether the rest of the form is not needed, and not to be parsed."""
        ...

    def begin(self, names: Disposition, media_type: str) -> bool:
        """Begin a part. Returns whether its bytes are those of the file, which have a limit of their own.

        `media_type` is its content type in lower case, without parameters; empty if it has none.
        """
        ...

    def add(self, data: bytes) -> None:
        """Take the next bytes of the part. May raise BadRequest."""
        ...

    def end(self) -> None:
        """End the part."""
        ...


class Body:
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


def boundary_of(request: Request) -> bytes | None:
    """The boundary of a multipart/form-data request; None if it is another."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    return options.get(b"boundary") or None if kind == b"multipart/form-data" else None


@dataclass
class MultipartReader:
    """Parses a multipart body, and gives its parts to `parts`.

    `most_parts` is the most parts that a form may have, `most_beside` the most bytes of it that do not
    belong to its file, and `advice` how to send fewer.
    """

    boundary: bytes
    parts: Parts
    most_parts: int
    most_beside: int
    advice: str = ""
    _header: bytearray = field(default_factory=bytearray, init=False)
    _value: bytearray = field(default_factory=bytearray, init=False)
    _headers: dict[bytes, bytes] = field(default_factory=dict, init=False)
    _in_file: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
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
                    "on_part_end": self.parts.end,
                },
            )
        except FormParserError as error:
            raise _not_valid(error) from error

    async def feed(self, chunk: bytes) -> None:
        """Parse the next chunk, until the parts are complete, and yield to other tasks in between.

        Raises BadRequest for a body that is invalid or exceeds the limits, and what the parts raise.
        """
        for start in range(0, len(chunk), _SLICE):
            if start:
                await asyncio.sleep(0)
            if self.parts.complete:
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
        if self.parts.complete:
            return
        if self._delimiters > self.most_parts:
            raise BadRequest(f"The form has more than {self.most_parts} fields.")
        if self._beside > self.most_beside:
            raise BadRequest(
                f"The form has more than {self.most_beside} bytes besides its file. {self.advice}".strip()
            )

    def _on_header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        names = disposition(self._headers.get(b"content-disposition", b""))
        kind = self._headers.get(b"content-type", b"").decode("latin-1")
        self._in_file = self.parts.begin(names, kind.partition(";")[0].strip().lower())

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts.add(data[start:end])
        if self._in_file:
            self._beside -= end - start


def _not_valid(error: Exception) -> BadRequest:
    return BadRequest(f"The body is not valid multipart/form-data: {error}.")
