"""The work of a decoding process: reads one source, and sends its format and audio to the server."""

import errno
import importlib
import io
import os
import pkgutil
import socket
import traceback
import wave
from typing import TYPE_CHECKING

import av

from transcribed.audio.media import MediaReader
from transcribed.audio.parts import ByteStream
from transcribed.decoding import confinement as limits
from transcribed.decoding import messages
from transcribed.decoding.confinement import Confinement
from transcribed.decoding.messages import DecodeRequest, Kind, Reason
from transcribed.errors import UnreadableAudio

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_READ_AHEAD = 256 * 1024


class ServerGone(Exception):
    """The server has closed the socket, so the audio is no longer wanted."""


class Channel:
    """Blocking messages to and from the server. All methods raise ServerGone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, message: bytes) -> None:
        """Send a message. Blocks while the server reads nothing, so that decoding does not run ahead."""
        try:
            self._connection.sendall(message)
        except OSError as error:
            raise ServerGone from error

    def receive(self) -> tuple[Kind, bytes]:
        """The next message."""
        kind, length = messages.HEADER.unpack(self._receive_exactly(messages.HEADER.size))
        return Kind(kind), self._receive_exactly(length)

    def request(self) -> tuple[DecodeRequest, int | None]:
        """The first message, and the descriptor of the source if the server sent one."""
        try:
            header, descriptors, _, _ = socket.recv_fds(self._connection, messages.HEADER.size, 1)
        except OSError as error:
            raise ServerGone from error
        header += self._receive_exactly(messages.HEADER.size - len(header))
        _, length = messages.HEADER.unpack(header)
        return messages.unpack_request(self._receive_exactly(length)), descriptors[
            0
        ] if descriptors else None

    def _receive_exactly(self, size: int) -> bytes:
        held = bytearray()
        while len(held) < size:
            try:
                data = self._connection.recv(size - len(held))
            except OSError as error:
                raise ServerGone from error
            if not data:
                raise ServerGone
            held += data
        return bytes(held)


class _ServerSource(io.RawIOBase):
    """A seekable source that the server reads for this process."""

    def __init__(self, channel: Channel, size: int) -> None:
        super().__init__()
        self._channel = channel
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._size - self._position, messages.MOST_READ)
        data = self._read_at(self._position, wanted) if wanted > 0 else b""
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read_at(self, position: int, size: int) -> bytes:
        self._channel.send(messages.pack_read(position, size))
        _, data = self._channel.receive()
        return data


class _FileSource(_ServerSource):
    """A source whose descriptor the server sent. The file position, which is shared, is not used."""

    def __init__(self, channel: Channel, descriptor: int, size: int) -> None:
        super().__init__(channel, size)
        self._descriptor = descriptor

    def _read_at(self, position: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, position)


class _LiveSource:
    """A live source, which can be read only once."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, as soon as there are any. Empty at the end."""
        if self._ended or size <= 0:
            return b""
        self._channel.send(messages.pack_read(0, size))
        _, data = self._channel.receive()
        self._ended = not data
        return data


def prepare() -> None:
    """Import and initialise all that decoding uses: a sandboxed process cannot open module files."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        importlib.import_module(module.name)
    content = io.BytesIO()
    with wave.open(content, "wb") as target:
        target.setparams((2, 2, 8_000, 0, "NONE", ""))
        target.writeframes(bytes(8_000))
    for live in (True, False):
        content.seek(0)
        with MediaReader(content, live=live) as reader:
            reader.probe()
        content.seek(0)
        with MediaReader(content, live=live) as reader:
            for _ in reader.blocks():
                pass


def work(connection: socket.socket, confinement: Confinement) -> None:
    """Decode the source that the first message describes, and report any failure to the server."""
    channel = Channel(connection)
    allocated = limits.allocated_bytes()
    confinement.confine()
    try:
        request, descriptor = channel.request()
        os.nice(request.niceness)
        limits.limit_cpu_time()
        limits.limit_memory(allocated, request.memory)
        try:
            _decode(request, _source(request, channel, descriptor), channel)
        except ServerGone:
            raise
        except Exception as error:  # noqa: BLE001 - the server logs it
            channel.send(_failure_message(error))
    except ServerGone:
        return


def _source(request: DecodeRequest, channel: Channel, descriptor: int | None) -> ByteStream:
    if request.size is None:
        return _LiveSource(channel)
    if descriptor is not None:
        return io.BufferedReader(_FileSource(channel, descriptor, request.size), _READ_AHEAD)
    return io.BufferedReader(_ServerSource(channel, request.size), _READ_AHEAD)


def _decode(request: DecodeRequest, source: ByteStream, channel: Channel) -> None:
    with MediaReader(source, live=request.live, channels=request.channels, track=request.track) as reader:
        if request.probe:
            channel.send(messages.pack_format(reader.probe()))
            return
        blocks = reader.blocks()
        block = next(blocks, None)
        # Sent only after the first block is decoded: until then the server can header again with more
        # memory.
        channel.send(messages.pack_format(reader.described))
        while block is not None:
            channel.send(messages.pack_block(block))
            limits.limit_cpu_time()
            block = next(blocks, None)
        channel.send(messages.pack_end(reader.warnings))


def _failure_message(error: Exception) -> bytes:
    if _out_of_memory(error):
        return messages.pack_failure(Reason.MEMORY, "")
    if isinstance(error, UnreadableAudio):
        return messages.pack_failure(Reason.UNREADABLE, error.message)
    return messages.pack_failure(Reason.UNEXPECTED, traceback.format_exc())


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether the error was caused by a failed allocation."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        error = error.__cause__ or error.__context__
    return False
