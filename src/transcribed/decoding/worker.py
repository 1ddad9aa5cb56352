"""What a decoding process does: read one source, and send what is in it."""

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

from transcribed.audio.media import ByteStream, MediaReader
from transcribed.decoding import confinement as limits
from transcribed.decoding import messages
from transcribed.decoding.confinement import Confinement
from transcribed.decoding.messages import Job, Kind, Reason
from transcribed.errors import UnreadableAudio

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_READ_AHEAD = 256 * 1024


class ServerGone(Exception):
    """The server has closed the socket: nobody wants the audio any more."""


class Channel:
    """The socket to the server, as blocking calls. They raise ServerGone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, message: bytes) -> None:
        """Send a message; waits while the server does not read."""
        try:
            self._connection.sendall(message)
        except OSError as error:
            raise ServerGone from error

    def receive(self) -> tuple[Kind, bytes]:
        """The next message."""
        kind, length = messages.HEADER.unpack(self._exactly(messages.HEADER.size))
        return Kind(kind), self._exactly(length)

    def job(self) -> tuple[Job, int | None]:
        """The first message, and the descriptor of the file that came with it."""
        try:
            start, descriptors, _, _ = socket.recv_fds(self._connection, messages.HEADER.size, 1)
        except OSError as error:
            raise ServerGone from error
        start += self._exactly(messages.HEADER.size - len(start))
        _, length = messages.HEADER.unpack(start)
        return messages.job_of(self._exactly(length)), descriptors[0] if descriptors else None

    def _exactly(self, size: int) -> bytes:
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


class _Served(io.RawIOBase):
    """Bytes that the server reads for this process, from any position."""

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
        data = self._at(self._position, wanted) if wanted > 0 else b""
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _at(self, position: int, size: int) -> bytes:
        self._channel.send(messages.packed_read(position, size))
        _, data = self._channel.receive()
        return data


class _HandedFile(_Served):
    """A file whose descriptor this process was handed. Its position, which others share, is not moved."""

    def __init__(self, channel: Channel, descriptor: int, size: int) -> None:
        super().__init__(channel, size)
        self._descriptor = descriptor

    def _at(self, position: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, position)


class _Stream:
    """Bytes that the server passes on as they come; they can be read once."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, as soon as there are any; none at the end."""
        if self._ended or size <= 0:
            return b""
        self._channel.send(messages.packed_read(0, size))
        _, data = self._channel.receive()
        self._ended = not data
        return data


def prepare() -> None:
    """Import and build what decoding needs: a confined process could not open the modules any more."""
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
    """Do the job that comes first over the socket. Whatever happens to it, the server is told why."""
    channel = Channel(connection)
    allocated = limits.allocated_now()
    confinement.confine()
    try:
        job, descriptor = channel.job()
        os.nice(job.niceness)
        limits.limit_processor()
        limits.limit_memory(allocated, job.memory)
        try:
            _decode(job, _source(job, channel, descriptor), channel)
        except UnreadableAudio as error:
            reason = Reason.MEMORY if _out_of_memory(error) else Reason.UNREADABLE
            channel.send(messages.packed_failure(reason, error.message))
        except MemoryError:
            channel.send(messages.packed_failure(Reason.MEMORY, ""))
        except ServerGone:
            raise
        except Exception as error:  # noqa: BLE001 - it is this file's error, and the server logs it
            reason = Reason.MEMORY if _out_of_memory(error) else Reason.UNEXPECTED
            channel.send(messages.packed_failure(reason, traceback.format_exc()))
    except ServerGone:
        return


def _source(job: Job, channel: Channel, descriptor: int | None) -> ByteStream:
    if job.size is None:
        return _Stream(channel)
    if descriptor is not None:
        return io.BufferedReader(_HandedFile(channel, descriptor, job.size), _READ_AHEAD)
    return io.BufferedReader(_Served(channel, job.size), _READ_AHEAD)


def _decode(job: Job, source: ByteStream, channel: Channel) -> None:
    with MediaReader(source, live=job.live, channels=job.channels, track=job.track) as reader:
        if job.probe:
            channel.send(messages.packed_format(reader.probe()))
            return
        blocks = reader.blocks()
        block = next(blocks, None)
        # Only now: what has not enough memory for a block begins again with more, as if nothing had been.
        channel.send(messages.packed_format(reader.described))
        while block is not None:
            channel.send(messages.packed_block(block))
            limits.limit_processor()
            block = next(blocks, None)
        channel.send(messages.packed_end(reader.warnings))


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether an allocation that failed is behind an error."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        error = error.__cause__ or error.__context__
    return False
