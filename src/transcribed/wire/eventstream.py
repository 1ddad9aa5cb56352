"""Encoding and decoding of Amazon's event stream, `application/vnd.amazon.eventstream`.

The format of a message, all numbers in big-endian order
(https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html):

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
"""The most bytes in a message. Amazon allows 16 MiB, but a message holds at most a second of audio."""
MAX_HEADERS_BYTES = 128 * 1024
"""The most bytes in the headers of a message; Amazon's limit."""
MAX_VALUE_BYTES = 32 * 1024 - 1
"""The most bytes in a header's value of type bytes or UTF-8; Amazon's limit."""


class Byte(int):
    """A signed integer of 8 bits."""


class Short(int):
    """A signed integer of 16 bits."""


class Long(int):
    """A signed integer of 64 bits. A plain `int` has 32 bits."""


class Timestamp(int):
    """Milliseconds since 1970, UTC."""


HeaderValue = bool | int | bytes | str | UUID
Headers = Mapping[str, HeaderValue]


class Message(NamedTuple):
    """A decoded message: its headers, in order, and its payload."""

    headers: Headers
    payload: bytes


_PRELUDE = Struct(">III")
_LENGTHS = Struct(">II")
_CRC = Struct(">I")
_SIZE = Struct(">H")
_OVERHEAD = _PRELUDE.size + _CRC.size
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
    """Encode a message. Raises ValueError if it exceeds a limit, or a value its type's range."""
    block = encode_headers(headers)
    total = len(block) + len(payload) + _OVERHEAD
    if total > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {total} bytes; {MAX_MESSAGE_BYTES} are the limit")
    lengths = _LENGTHS.pack(total, len(block))
    message = b"".join((lengths, _CRC.pack(crc32(lengths)), block, payload))
    return message + _CRC.pack(crc32(message))


def encode_headers(headers: Headers) -> bytes:
    """Encode headers alone, as in a message. Raises ValueError as `encode` does."""
    block = b"".join(_encoded_name(name) + _encoded_value(value) for name, value in headers.items())
    if len(block) > MAX_HEADERS_BYTES:
        raise ValueError(f"headers of {len(block)} bytes; {MAX_HEADERS_BYTES} are the limit")
    return block


def _encoded_name(name: str) -> bytes:
    encoded = name.encode()
    if not 0 < len(encoded) <= _MAX_NAME_BYTES:
        raise ValueError(f"a name of {len(encoded)} bytes; it has 1 to {_MAX_NAME_BYTES}")
    return bytes([len(encoded)]) + encoded


def _encoded_value(value: HeaderValue) -> bytes:
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
            return bytes([_BYTES]) + _with_length(value)
        case str():
            return bytes([_TEXT]) + _with_length(value.encode())
        case UUID():
            return bytes([_UUID]) + value.bytes


def _with_length(value: bytes) -> bytes:
    if len(value) > MAX_VALUE_BYTES:
        raise ValueError(f"a value of {len(value)} bytes; {MAX_VALUE_BYTES} are the limit")
    return _SIZE.pack(len(value)) + value


def decode(message: bytes) -> Message:
    """Decode exactly one message. Raises MalformedMessage."""
    if len(message) < _OVERHEAD:
        raise MalformedMessage(
            f"An event-stream message has at least {_OVERHEAD} bytes, not {len(message)}."
        )
    total, headers_bytes = _lengths(message)
    if total != len(message):
        raise MalformedMessage(f"The message says that it has {total} bytes, and has {len(message)}.")
    return _checked(message, headers_bytes)


class Decoder:
    """Decodes messages from a stream of bytes that arrives in chunks of any size.

    It buffers at most an incomplete message and the last chunk. After a MalformedMessage, the beginning of
    the next message is unknown, so that every later push raises the same error.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._broken: str | None = None

    def push(self, data: bytes) -> Iterator[Message]:
        """Add a chunk, and return an iterator over the complete messages.

        Messages that are not consumed remain for the next push. The iterator raises MalformedMessage after
        the last valid message.
        """
        if self._broken is None:
            self._buffer += data
        return self._messages()

    def finish(self) -> None:
        """End the stream. Raises MalformedMessage if a message is incomplete."""
        if self._broken is not None or self._buffer:
            raise MalformedMessage(self._broken or "The stream ends in the middle of a message.")

    def _messages(self) -> Iterator[Message]:
        try:
            while (message := self._next()) is not None:
                yield message
        except MalformedMessage as error:
            self._broken = error.message
            self._buffer.clear()
            raise

    def _next(self) -> Message | None:
        if self._broken is not None:
            raise MalformedMessage(self._broken)
        buffer = self._buffer
        if len(buffer) < _PRELUDE.size:
            return None
        total, headers_bytes = _lengths(buffer)
        if len(buffer) < total:
            return None
        with memoryview(buffer) as view:
            message = bytes(view[:total])
        del buffer[:total]
        return _checked(message, headers_bytes)


def _lengths(message: bytes | bytearray) -> tuple[int, int]:
    """The lengths of a message and of its headers, once their checksum is verified."""
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
    if headers_bytes + _OVERHEAD > total:
        raise MalformedMessage(
            f"The headers of a message have {headers_bytes} bytes, which a message of {total} cannot hold."
        )
    return total, headers_bytes


def _checked(message: bytes, headers_bytes: int) -> Message:
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
    """A header's value, and the index of its end."""
    if kind in (_BYTES, _TEXT):
        start = at + _SIZE.size
        end = start + _SIZE.unpack_from(block, at)[0]
        if end - start > MAX_VALUE_BYTES:
            raise MalformedMessage(
                f"A header's value has {end - start} bytes, and may have {MAX_VALUE_BYTES}."
            )
        value = _slice(block, start, end)
        return (value.decode() if kind == _TEXT else value), end
    if kind in _INTEGERS:
        number, form = _INTEGERS[kind]
        return number(form.unpack_from(block, at)[0]), at + form.size
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind == _UUID:
        return UUID(bytes=_slice(block, at, at + _UUID_BYTES)), at + _UUID_BYTES
    raise MalformedMessage(f"A header of a message has the type {kind}; there are 0 to 9.")


def _slice(block: bytes, start: int, end: int) -> bytes:
    if end > len(block):
        raise IndexError
    return block[start:end]
