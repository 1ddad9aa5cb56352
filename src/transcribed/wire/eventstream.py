"""Amazon's event stream, `application/vnd.amazon.eventstream`: its messages to bytes and back.

A message, all numbers big endian:

    total length u32, headers length u32, CRC-32 of these 8 bytes, headers, payload, CRC-32 of all before

A header:

    length of the name u8, name, type u8, value

    type   0     1      2   3    4    5    6             7             8                 9
    value  true  false  i8  i16  i32  i64  bytes: u16,…  UTF-8: u16,…  i64 milliseconds  UUID: 16 bytes
"""

from collections.abc import Iterator, Mapping
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

from transcribed.errors import MalformedMessage, shown

MAX_MESSAGE_BYTES = 1024 * 1024
"""Of a whole message. Amazon's own limit of 16 MiB is ten minutes of audio; a message holds a second."""
MAX_HEADERS_BYTES = 128 * 1024
"""Of all headers of a message; Amazon's limit."""
MAX_VALUE_BYTES = 32 * 1024 - 1
"""Of a value of bytes or text in a header; Amazon's limit."""


class Byte(int):
    """An integer of 8 bits."""


class Short(int):
    """An integer of 16 bits."""


class Long(int):
    """An integer of 64 bits. One of 32 is a plain `int`."""


class Timestamp(int):
    """Milliseconds since 1970 began, UTC."""


HeaderValue = bool | int | bytes | str | UUID
Headers = Mapping[str, HeaderValue]


class Message(NamedTuple):
    """The headers in their order, and the payload."""

    headers: Headers
    payload: bytes


_PRELUDE = Struct(">III")
_LENGTHS = Struct(">II")
_CRC = Struct(">I")
_SIZE = Struct(">H")
_AROUND = _PRELUDE.size + _CRC.size
_UUID_BYTES = 16
_MAX_NAME_BYTES = 255

_TRUE, _FALSE, _BYTES, _TEXT, _UUID = 0, 1, 6, 7, 9
_INTEGERS: dict[int, tuple[type[int], Struct]] = {
    2: (Byte, Struct(">b")),
    3: (Short, Struct(">h")),
    4: (int, Struct(">i")),
    5: (Long, Struct(">q")),
    8: (Timestamp, Struct(">q")),
}
_INTEGER_TYPES = {kind: (number, form) for number, (kind, form) in _INTEGERS.items()}


def encode(headers: Headers, payload: bytes = b"") -> bytes:
    """A message. Raises ValueError for what is beyond a limit or does not fit its type."""
    block = encode_headers(headers)
    total = len(block) + len(payload) + _AROUND
    if total > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {total} bytes; {MAX_MESSAGE_BYTES} are the limit")
    lengths = _LENGTHS.pack(total, len(block))
    message = b"".join((lengths, _CRC.pack(crc32(lengths)), block, payload))
    return message + _CRC.pack(crc32(message))


def encode_headers(headers: Headers) -> bytes:
    """The headers alone, as they stand in a message. Raises ValueError as `encode` does."""
    block = b"".join(_named(name) + _encoded(value) for name, value in headers.items())
    if len(block) > MAX_HEADERS_BYTES:
        raise ValueError(f"headers of {len(block)} bytes; {MAX_HEADERS_BYTES} are the limit")
    return block


def _named(name: str) -> bytes:
    encoded = name.encode()
    if not 0 < len(encoded) <= _MAX_NAME_BYTES:
        raise ValueError(f"a name of {len(encoded)} bytes; it has 1 to {_MAX_NAME_BYTES}")
    return bytes([len(encoded)]) + encoded


def _encoded(value: HeaderValue) -> bytes:
    match value:
        case bool():
            return bytes([_TRUE if value else _FALSE])
        case int():
            number, form = _INTEGER_TYPES[type(value)]
            try:
                return bytes([number]) + form.pack(value)
            except StructError as error:
                raise ValueError(f"{value} does not fit: {error}") from None
        case bytes():
            return bytes([_BYTES]) + _sized(value)
        case str():
            return bytes([_TEXT]) + _sized(value.encode())
        case UUID():
            return bytes([_UUID]) + value.bytes


def _sized(value: bytes) -> bytes:
    if len(value) > MAX_VALUE_BYTES:
        raise ValueError(f"a value of {len(value)} bytes; {MAX_VALUE_BYTES} are the limit")
    return _SIZE.pack(len(value)) + value


def decode(message: bytes) -> Message:
    """The one message that the bytes are. Raises MalformedMessage."""
    if len(message) < _AROUND:
        raise MalformedMessage(f"An event-stream message has at least {_AROUND} bytes, not {len(message)}.")
    total, headers_bytes = _lengths(message)
    if total != len(message):
        raise MalformedMessage(f"The message says that it has {total} bytes, and has {len(message)}.")
    return _decoded(message, headers_bytes)


class Decoder:
    """Messages out of a stream of bytes, however it is cut.

    It holds less than one message, beside what was pushed last. When it has raised MalformedMessage
    nobody knows where the next message begins: every later push raises the same.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._broken: str | None = None

    def push(self, data: bytes) -> Iterator[Message]:
        """The messages that the bytes complete; what is not taken comes with the next push.

        The iterator raises MalformedMessage behind the last whole message.
        """
        if self._broken is None:
            self._held += data
        return self._messages()

    def finish(self) -> None:
        """No more bytes come. Raises MalformedMessage if a message is not whole."""
        if self._broken is not None or self._held:
            raise MalformedMessage(self._broken or "The stream ends in the middle of a message.")

    def _messages(self) -> Iterator[Message]:
        try:
            while (message := self._next()) is not None:
                yield message
        except MalformedMessage as error:
            self._broken = error.message
            self._held.clear()
            raise

    def _next(self) -> Message | None:
        if self._broken is not None:
            raise MalformedMessage(self._broken)
        held = self._held
        if len(held) < _PRELUDE.size:
            return None
        total, headers_bytes = _lengths(held)
        if len(held) < total:
            return None
        with memoryview(held) as view:
            message = bytes(view[:total])
        del held[:total]
        return _decoded(message, headers_bytes)


def _lengths(message: bytes | bytearray) -> tuple[int, int]:
    """Of the message and of its headers: not believed before their checksum is right."""
    total, headers_bytes, checksum = _PRELUDE.unpack_from(message)
    if crc32(message[: _LENGTHS.size]) != checksum:
        raise MalformedMessage(
            "The checksum of a message's lengths is wrong. Send event-stream messages "
            "(application/vnd.amazon.eventstream) and nothing else, each of them whole."
        )
    if total > MAX_MESSAGE_BYTES:
        raise MalformedMessage(
            f"A message has {total} bytes, and may have {MAX_MESSAGE_BYTES}. Send audio in pieces of "
            "50 to 200 ms."
        )
    if headers_bytes > MAX_HEADERS_BYTES:
        raise MalformedMessage(
            f"The headers of a message have {headers_bytes} bytes, and may have {MAX_HEADERS_BYTES}."
        )
    if headers_bytes + _AROUND > total:
        raise MalformedMessage(
            f"The headers of a message have {headers_bytes} bytes, which a message of {total} cannot hold."
        )
    return total, headers_bytes


def _decoded(message: bytes, headers_bytes: int) -> Message:
    end = len(message) - _CRC.size
    if crc32(memoryview(message)[:end]) != _CRC.unpack_from(message, end)[0]:
        raise MalformedMessage("The checksum of a message is wrong: its bytes were changed on the way.")
    payload_at = _PRELUDE.size + headers_bytes
    return Message(_decoded_headers(message[_PRELUDE.size : payload_at]), message[payload_at:end])


def _decoded_headers(block: bytes) -> Headers:
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(block):
            name_at, kind_at = at + 1, at + 1 + block[at]
            name = block[name_at:kind_at].decode()
            if not name:
                raise MalformedMessage("A header of a message has no name.")
            if name in headers:
                raise MalformedMessage(f"A message has two headers of the name {shown(name)}.")
            headers[name], at = _value(block[kind_at], block, kind_at + 1)
    except (IndexError, StructError):
        raise MalformedMessage("The headers of a message end in the middle of one.") from None
    except UnicodeDecodeError:
        raise MalformedMessage("A header of a message is not UTF-8.") from None
    return headers


def _value(kind: int, block: bytes, at: int) -> tuple[HeaderValue, int]:
    """A header's value, and where it ends."""
    if kind in (_BYTES, _TEXT):
        start = at + _SIZE.size
        end = start + _SIZE.unpack_from(block, at)[0]
        if end - start > MAX_VALUE_BYTES:
            raise MalformedMessage(
                f"A header's value has {end - start} bytes, and may have {MAX_VALUE_BYTES}."
            )
        value = _cut(block, start, end)
        return (value.decode() if kind == _TEXT else value), end
    if kind in _INTEGERS:
        number, form = _INTEGERS[kind]
        return number(form.unpack_from(block, at)[0]), at + form.size
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind == _UUID:
        return UUID(bytes=_cut(block, at, at + _UUID_BYTES)), at + _UUID_BYTES
    raise MalformedMessage(f"A header of a message has the type {kind}; there are 0 to 9.")


def _cut(block: bytes, start: int, end: int) -> bytes:
    if end > len(block):
        raise IndexError
    return block[start:end]
