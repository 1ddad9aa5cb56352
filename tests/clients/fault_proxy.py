"""A TCP proxy in front of an Amazon front (or Amazon's like) that does to its connections what networks do.

It knows what it forwards: the HTTP upgrade, WebSocket frames, and the event-stream messages inside them. So
a fault strikes at an exact place: in the middle of a message's checksum, say, or between two messages.
Bytes are forwarded a frame at a time, as soon as the frame is whole.

    async with FaultProxy(port, upstream) as proxy:
        proxy.expect([Fault(What.CUT, Spot(Way.DOWN, Place.CRC, message=2))])
        …                                # the first connection breaks, later ones do not
        assert proxy.struck

Plain TCP alone: where there is TLS, a network cannot do most of this.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Self

from transcribed.wire.eventstream import encode

_CONNECT_SECONDS = 10
_PIECE = 65_536
_HEAD_END = b"\r\n\r\n"
_BINARY = 2
_MASK = 0x80
_TWO_BYTES, _EIGHT_BYTES = 126, 127  # of length follow
_AROUND = 16


class Way(Enum):
    """A direction."""

    UP = auto()
    """From the client to the server."""
    DOWN = auto()


class Place(Enum):
    """What a byte is part of."""

    HEAD = auto()
    """The HTTP request or answer of the upgrade."""
    FRAME = auto()
    """The header of a WebSocket frame."""
    PRELUDE = auto()
    """The lengths of an event-stream message, and their checksum."""
    HEADERS = auto()
    PAYLOAD = auto()
    CRC = auto()
    CONTROL = auto()
    """What is in a frame that is no event-stream message: a ping, a pong, a close."""
    BETWEEN = auto()
    """Behind a whole frame, before the next."""


class What(Enum):
    """What happens."""

    NOTHING = auto()
    REFUSE = auto()
    """The connection is reset as soon as it is there."""
    AWAY = auto()
    """So is this one, and for some `seconds` nobody listens."""
    ANSWER = auto()
    """An HTTP answer with a `status` and a `name` comes in place of the upgrade."""
    CUT = auto()
    """Both ends are closed in good order, as TCP has it."""
    RESET = auto()
    """Both ends are reset."""
    DELAY = auto()
    """Everything in this direction waits for some `seconds`."""
    SILENCE = auto()
    """Nothing is forwarded any more, either way, and nobody is told."""
    HALF_CLOSE = auto()
    """This direction ends; the other goes on."""
    FLIP = auto()
    """A bit changes."""
    EXCEPTION = auto()
    """The server's exception message of this `name` with this `text`, and a close; nothing behind it."""
    CLOSE = auto()
    """The server's close with this `status`; nothing behind it."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A byte: behind the first `part` of a place, in the `message`th (from 0) that has such a place."""

    way: Way
    place: Place
    message: int = 0
    part: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something to happen to a connection, once it has come to the spot."""

    what: What
    spot: Spot | None = None
    seconds: float = 0.0
    status: int = 0
    name: str = ""
    text: str = ""


NO_FAULT = Fault(What.NOTHING)


@dataclass(frozen=True, slots=True)
class Unit:
    """A head or a frame, and where its places begin and end."""

    data: bytes
    places: dict[Place, tuple[int, int]]


class Units:
    """The units of one direction of a connection, however its bytes are cut."""

    def __init__(self) -> None:
        self._held = b""
        self._head = True

    def push(self, data: bytes) -> Iterator[Unit]:
        """The units that the bytes complete."""
        self._held += data
        while (size := self._size()) is not None:
            unit, self._held = self._held[:size], self._held[size:]
            yield self._head_unit(unit) if self._head else _frame(unit)
            self._head = False

    @property
    def rest(self) -> bytes:
        """What is no whole unit."""
        return self._held

    def _size(self) -> int | None:
        held = self._held
        if self._head:
            end = held.find(_HEAD_END)
            return None if end < 0 else end + len(_HEAD_END)
        if len(held) < 2 or len(held) < (header := _header_bytes(held)):
            return None
        size = header + _content_bytes(held)
        return size if len(held) >= size else None

    def _head_unit(self, data: bytes) -> Unit:
        return Unit(data, {Place.HEAD: (0, len(data)), Place.BETWEEN: (len(data), len(data))})


def _header_bytes(frame: bytes) -> int:
    more = {_TWO_BYTES: 2, _EIGHT_BYTES: 8}.get(frame[1] & ~_MASK, 0)
    return 2 + more + (4 if frame[1] & _MASK else 0)


def _content_bytes(frame: bytes) -> int:
    size = frame[1] & ~_MASK
    if size == _TWO_BYTES:
        return int.from_bytes(frame[2:4], "big")
    if size == _EIGHT_BYTES:
        return int.from_bytes(frame[2:10], "big")
    return size


def _frame(data: bytes) -> Unit:
    header, end = _header_bytes(data), len(data)
    places = {Place.FRAME: (0, header), Place.BETWEEN: (end, end)}
    mask = data[header - 4 : header] if data[1] & _MASK else bytes(4)
    length = bytes(byte ^ mask[n % 4] for n, byte in enumerate(data[header : header + 8]))[4:]
    payload = header + 12 + int.from_bytes(length, "big")
    if data[0] & 15 != _BINARY or end - header < _AROUND or payload > end - 4:  # No event's message.
        return Unit(data, places | {Place.CONTROL: (header, end)})
    message = {
        Place.PRELUDE: (header, header + 12),
        Place.HEADERS: (header + 12, payload),
        Place.PAYLOAD: (payload, end - 4),
        Place.CRC: (end - 4, end),
    }
    return Unit(data, places | message)


class _Over(Exception):
    """This connection is at its end: reset, or closed."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


@dataclass
class _Connection:
    """What happens to one connection, and how far it has come."""

    fault: Fault
    struck: list[Fault]
    done: bool = False
    silent: bool = False
    deaf: set[Way] = field(default_factory=set)
    met: int = 0

    async def forward(
        self, way: Way, unit: Unit, receiver: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        """Pass a unit on, or do what is to be done."""
        if self.silent or way in self.deaf:
            return
        at = self._offset(way, unit)
        if at is None:
            await _write(receiver, unit.data)
            return
        self.done = True
        self.struck.append(self.fault)
        await self._strike(way, unit.data, at, receiver, back)

    def _offset(self, way: Way, unit: Unit) -> int | None:
        """Where in the unit the fault strikes."""
        spot = self.fault.spot
        if self.done or spot is None or way is not spot.way or spot.place not in unit.places:
            return None
        start, end = unit.places[spot.place]
        if start == end and spot.place is not Place.BETWEEN:
            return None
        self.met += 1
        return start + int(spot.part * (end - start)) if self.met > spot.message else None

    async def _strike(
        self, way: Way, data: bytes, at: int, receiver: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        fault = self.fault
        match fault.what:
            case What.CUT | What.RESET:
                await _write(receiver, data[:at])
                raise _Over(reset=fault.what is What.RESET)
            case What.DELAY:
                await _write(receiver, data[:at])
                await asyncio.sleep(fault.seconds)
                await _write(receiver, data[at:])
            case What.SILENCE:
                await _write(receiver, data[:at])
                self.silent = True
            case What.HALF_CLOSE:
                await _write(receiver, data[:at])
                self.deaf.add(way)
                receiver.write_eof()
            case What.FLIP:
                await _write(receiver, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            case What.EXCEPTION:
                client = back if way is Way.UP else receiver
                await _write(client, _frame_of(_BINARY, _exception(fault)) + _close_frame(1000))
                raise _Over(reset=False)
            case What.CLOSE:
                await _write(back if way is Way.UP else receiver, _close_frame(fault.status))
                raise _Over(reset=False)
            case _:
                raise AssertionError(fault)


def _frame_of(opcode: int, content: bytes) -> bytes:
    """An unmasked frame, as a server sends it."""
    size = len(content)
    length = bytes([size]) if size < _TWO_BYTES else bytes([_TWO_BYTES]) + struct.pack(">H", size)
    return bytes([0x80 | opcode]) + length + content


def _close_frame(code: int) -> bytes:
    return _frame_of(8, struct.pack(">H", code))


def _exception(fault: Fault) -> bytes:
    headers = {":message-type": "exception", ":exception-type": fault.name}
    body = json.dumps({"Message": fault.text}).encode()
    return encode(headers | {":content-type": "application/json"}, body)


def _answer(fault: Fault) -> bytes:
    body = json.dumps({"Message": fault.text}).encode()
    lines = [
        f"HTTP/1.1 {fault.status} Refused",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
        *([f"x-amzn-errortype: {fault.name}"] if fault.name else []),
    ]
    return "\r\n".join(lines).encode() + _HEAD_END + body


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


class FaultProxy:
    """Listens on a port of 127.0.0.1, for as long as its context lasts."""

    def __init__(self, port: int, upstream: tuple[str, int]) -> None:
        self.port = port
        self.struck: list[Fault] = []
        """The faults that did happen."""
        self.connections = 0
        self.listens = asyncio.Event()
        self._upstream = upstream
        self._faults: Iterator[Fault] = iter(())
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Of the endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def expect(self, faults: Iterable[Fault]) -> None:
        """From now on: one for each new connection, and none for those behind the last."""
        self._faults = iter(faults)
        self.struck = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop_listening()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.listens.set()

    def _stop_listening(self) -> None:
        self.listens.clear()
        if self._server is not None:
            self._server.close()
            self._server = None

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._own(self._serve(next(self._faults, NO_FAULT), reader, writer))

    def _own(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            match fault.what:
                case What.REFUSE | What.AWAY:
                    self.struck.append(fault)
                    _hang_up(writer, reset=True)
                    if fault.what is What.AWAY:
                        self._stop_listening()
                        await asyncio.sleep(fault.seconds)
                        await self._listen()
                case What.ANSWER:
                    await reader.readuntil(_HEAD_END)
                    self.struck.append(fault)
                    await _write(writer, _answer(fault))
                case _:
                    await self._connect(fault, reader, writer)
        _hang_up(writer, reset=False)

    async def _connect(
        self, fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async with asyncio.timeout(_CONNECT_SECONDS):
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        connection = _Connection(fault, self.struck)
        reset = True
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(connection, Way.UP, reader, upstream_writer, writer))
                pumps.create_task(_pump(connection, Way.DOWN, upstream_reader, writer, upstream_writer))
            reset = False
        except* _Over as over:
            reset = any(isinstance(error, _Over) and error.reset for error in over.exceptions)
        except* OSError:
            pass  # One end was reset: so is the other.
        finally:
            _hang_up(writer, reset=reset)
            _hang_up(upstream_writer, reset=reset)


async def _pump(
    connection: _Connection,
    way: Way,
    reader: asyncio.StreamReader,
    receiver: asyncio.StreamWriter,
    back: asyncio.StreamWriter,
) -> None:
    """Forward one direction to its end."""
    units = Units()
    while data := await reader.read(_PIECE):
        for unit in units.push(data):
            await connection.forward(way, unit, receiver, back)
    if connection.silent:
        if way is Way.DOWN:
            return  # What the server does is not seen any more. The client's end ends both.
        raise _Over(reset=False)
    if way not in connection.deaf:
        await _write(receiver, units.rest)
        receiver.write_eof()


def _hang_up(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset and not writer.transport.is_closing():
        found = writer.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    writer.close()
