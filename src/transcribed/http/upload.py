"""Streaming of a file from a multipart/form-data body, while the body arrives.

The number of parts, and the bytes outside the file, are limited. The body after the file is not parsed.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.requests import Request

from transcribed.errors import BadRequest
from transcribed.http.disposition import Disposition
from transcribed.http.multipart import Body, MultipartReader, boundary_of

MOST_PARTS = 100
"""The most fields of a form up to the file."""
MOST_BESIDE = 1024 * 1024
"""The most bytes of a form, up to the file's end, that do not belong to the file."""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """An uploaded file: its name, its media type, and its bytes as they arrive."""

    name: str
    media_type: str
    """The content type in lower case, without parameters; empty if the client sends none."""
    chunks: AsyncIterator[bytes]
    _body: Body

    async def discard(self) -> None:
        """Read and discard the rest, up to DISCARDED_BYTES: clients send all before they read."""
        await self._body.discard()


async def uploaded_file(request: Request, field_name: str) -> UploadedFile:
    """The file in a field of a multipart/form-data request. Reads the body up to the file's first bytes.

    Raises BadRequest for an invalid request, and Disconnected if the client disconnects.
    """
    body = Body(request)
    try:
        boundary = boundary_of(request)
        if boundary is None:
            raise _no_file(field_name)
        part = _FilePart(field_name)
        reader = MultipartReader(boundary, part, MOST_PARTS, MOST_BESIDE, "Send the file first.")
        while not part.found:
            chunk = await body.next()
            if not chunk:
                raise _no_file(field_name)
            await reader.feed(chunk)
    except BadRequest:
        await body.discard()
        raise
    return UploadedFile(part.name, part.media_type, _bytes_of(part, reader, body), body)


async def _bytes_of(part: "_FilePart", reader: MultipartReader, body: Body) -> AsyncIterator[bytes]:
    while True:
        if part.data:
            yield bytes(part.data)
            part.data.clear()
        if part.complete:
            break
        chunk = await body.next()
        if not chunk:
            raise BadRequest("The body ended before the file did. Send the whole file.")
        await reader.feed(chunk)
    await body.skip()


@dataclass
class _FilePart:
    """Keeps the data of one field, up to its end."""

    field_name: str
    name: str = ""
    media_type: str = ""
    data: bytearray = field(default_factory=bytearray)
    found: bool = False
    complete: bool = False
    _wanted: bool = False

    def begin(self, names: Disposition, media_type: str) -> bool:
        """Begin a part."""
        if not self.found and names.name == self.field_name and names.filename is not None:
            self._wanted = self.found = True
            self.name, self.media_type = names.filename, media_type
        return self._wanted

    def add(self, data: bytes) -> None:
        """Keep the data of the file."""
        if self._wanted:
            self.data += data

    def end(self) -> None:
        """End a part."""
        self.complete = self.complete or self._wanted
        self._wanted = False


def _no_file(field_name: str) -> BadRequest:
    return BadRequest(
        f"There is no file in the field `{field_name}`. Send the recording as multipart/form-data, "
        f"for example: curl -F '{field_name}=@speech.wav;type=audio/wav'."
    )
