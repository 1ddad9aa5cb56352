"""Decodes containers in sandboxed processes, one for each source.

A process is forked for its source and has little memory, limited CPU time and no access to files and
network (confinement.py). If it takes too long or crashes, that is an error of its source alone.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self

from transcribed.audio.formats import AudioFormat, Samples
from transcribed.audio.source import Source
from transcribed.decoding import messages
from transcribed.decoding.forkserver import ForkServer
from transcribed.decoding.messages import DecodeRequest, Kind, Reason
from transcribed.errors import EngineFailure, LimitExceeded, TranscribedError, Unavailable, UnreadableAudio

PROBES = 8
"""How many probes may run at once that have taken less than QUICK_PROBE_SECONDS so far."""
SLOW_PROBES = 8
"""How many probes that have taken longer may run beside those."""
QUICK_PROBE_SECONDS = 1.0
PROBE_SECONDS = 20.0
"""Time limit until the format is known. The time that the source takes to deliver bytes does not count."""
WORK_SECONDS = 20.0
"""Time limit for each block of audio, counted likewise."""

MEMORY = 16 * 1024 * 1024
"""Bytes that a process may allocate: enough for all but the longest recordings."""
LARGE_MEMORY = 256 * 1024 * 1024
"""Bytes for a source that needs more than MEMORY, of which one is decoded at a time."""
LARGE_WAIT_SECONDS = 10.0
"""How long such a source waits for another one."""

# Live audio must not be delayed, a recording only has to keep up with recognition, and a probe can wait.
_LIVE_NICENESS, _FILE_NICENESS, _PROBE_NICENESS = 0, 5, 10
_BUFFER = 64 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LiveSource:
    """Bytes of a live container, which can be read only once."""

    chunks: AsyncIterator[bytes]


class Decoding:
    """A source that is being decoded by a process."""

    def __init__(self, process: "_Process", media_format: AudioFormat) -> None:
        self._process = process
        self.format = media_format
        """The format; its duration is the one that the container declares, or None."""
        self.warnings: tuple[str, ...] = ()
        """Sentences about audio that could not be decoded. Complete after the last block."""

    async def blocks(self) -> AsyncGenerator[Samples, None]:
        """All audio, in order. Raises UnreadableAudio, and last the error of a source that failed."""
        while True:
            kind, payload = await self._process.receive(WORK_SECONDS)
            if kind is not Kind.BLOCK:
                self.warnings = messages.unpack_end(payload)
                return
            yield messages.unpack_block(payload)


class Decoders:
    """Starts decoding processes. Leaving this context manager kills all of them."""

    def __init__(self, server: ForkServer | None = None) -> None:
        self._server = server or ForkServer()
        self._quick = asyncio.Semaphore(PROBES)
        self._slow = asyncio.Semaphore(SLOW_PROBES)
        self._large = asyncio.Semaphore(1)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    async def probe(self, source: Source) -> AudioFormat:
        """The format of a source, after decoding its start. Raises UnreadableAudio and LimitExceeded."""
        probing = None
        try:
            async with self._quick:
                probing = asyncio.create_task(self._probe(source))
                await asyncio.wait([probing], timeout=QUICK_PROBE_SECONDS)
            if probing.done():
                return probing.result()
            # A slow probe has released its place among the quick ones.
            if self._slow.locked():
                raise LimitExceeded("Too many recordings are being examined. Try again in a moment.")
            async with self._slow:
                return await probing
        finally:
            if probing is not None:
                probing.cancel()
                await asyncio.wait([probing])

    async def _probe(self, source: Source) -> AudioFormat:
        async with self._start(source, probe=True, track=None, channels=None) as decoding:
            return decoding.format

    def decode(
        self, source: Source | LiveSource, *, track: int | None = None, channels: int | None = None
    ) -> AbstractAsyncContextManager[Decoding]:
        """Decode a source.

        `track` is the number of an audio track, from 1; None leaves the choice to MediaReader. `channels`
        is how many channels to keep separate; None mixes them. Raises UnreadableAudio, LimitExceeded if
        another recording that needs much memory is being decoded, and what the source raises.
        """
        return self._start(source, probe=False, track=track, channels=channels)

    @asynccontextmanager
    async def _start(
        self, source: Source | LiveSource, *, probe: bool, track: int | None, channels: int | None
    ) -> AsyncIterator[Decoding]:
        live = isinstance(source, LiveSource)
        size = None if isinstance(source, LiveSource) else source.size
        niceness = _LIVE_NICENESS if live else _PROBE_NICENESS if probe else _FILE_NICENESS
        request = DecodeRequest(probe, live, channels, track, size, MEMORY, niceness)
        async with AsyncExitStack() as held:
            process = held.enter_context(_Process(self._server, source, request))
            try:
                media_format = await process.format()
            except _OutOfMemory:
                process.close()
                await held.enter_async_context(self._room_for_large())
                request = replace(request, memory=LARGE_MEMORY)
                process = held.enter_context(_Process(self._server, source, request))
                media_format = await process.format()
            yield Decoding(process, media_format)

    @asynccontextmanager
    async def _room_for_large(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(LARGE_WAIT_SECONDS):
                await self._large.acquire()
        except TimeoutError:
            raise LimitExceeded(
                "Another recording that takes much memory is being decoded. Try again when it has ended."
            ) from None
        try:
            yield
        finally:
            self._large.release()


class _OutOfMemory(Exception):
    """A process ran out of memory; one with LARGE_MEMORY may succeed."""


class _Process:
    """One decoding process and its source. Leaving this context manager kills the process."""

    def __init__(self, server: ForkServer, source: Source | LiveSource, request: DecodeRequest) -> None:
        self._server = server
        self._source = source
        self._descriptor = None if isinstance(source, LiveSource) else source.descriptor
        self._request = request
        self._number, self._socket = server.fork()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._unread = b""
        self._source_error: TranscribedError | None = None
        self._has_format = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the process."""
        self._server.kill(self._number)
        if self._writer is None:
            self._socket.close()
        else:
            self._writer.transport.abort()

    async def format(self) -> AudioFormat:
        """The format of the source. Raises UnreadableAudio, _OutOfMemory, and what the source raises."""
        start = messages.pack_request(self._request)
        # Sending does not block: the buffer of a new socket has room for this.
        socket.send_fds(self._socket, [start], [] if self._descriptor is None else [self._descriptor])
        self._reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=_BUFFER)
        _, payload = await self.receive(PROBE_SECONDS)
        self._has_format = True
        return messages.format_from_json(payload)

    async def receive(self, seconds: float) -> tuple[Kind, bytes]:
        """The next FORMAT, BLOCK or END message; READ messages before it are answered.

        `seconds` limits the time that the process computes. Raises as `format` does.
        """
        assert self._reader is not None  # noqa: S101 - `format` comes first
        loop = asyncio.get_running_loop()
        left = seconds
        while True:
            since = loop.time()
            try:
                async with asyncio.timeout(left):
                    kind, payload = await self._next_message(self._reader)
            except TimeoutError:
                raise _too_slow() from None
            left -= loop.time() - since
            if kind in {Kind.END, Kind.FAILED, Kind.DIED}:
                await self._check_source()
            match kind:
                case Kind.READ:
                    await self._answer_read(payload)
                case Kind.FORMAT | Kind.BLOCK | Kind.END:
                    return kind, payload
                case Kind.FAILED:
                    self._raise_failure(payload)
                case Kind.DIED:
                    raise _crash(messages.unpack_death(payload))
                case _:
                    raise EngineFailure("The decoder sent what only the server sends.")

    async def _next_message(self, reader: asyncio.StreamReader) -> tuple[Kind, bytes]:
        try:
            header = await reader.readexactly(messages.HEADER.size)
        except (asyncio.IncompleteReadError, OSError) as error:
            if self._has_format:
                raise _crash(None) from error
            # If the file had crashed the process, DIED would have come first. Something else killed it.
            raise Unavailable("The decoding of the audio was interrupted. Send it again.") from error
        try:
            kind, length = messages.HEADER.unpack(header)
            if length > messages.LONGEST:
                raise _crash(None)
            return Kind(kind), await reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError, ValueError) as error:
            raise _crash(None) from error

    async def _answer_read(self, payload: bytes) -> None:
        offset, size = messages.unpack_read(payload)
        assert self._writer is not None  # noqa: S101 - it is read from
        self._writer.write(messages.pack(Kind.DATA, await self._read_source(offset, size)))
        try:
            await self._writer.drain()
        except OSError:
            return  # `receive` finds out why the process is gone.

    async def _read_source(self, offset: int, size: int) -> bytes:
        """Bytes of the source. Empty once it has failed, so that the audio before is still decoded."""
        if self._source_error is not None:
            return b""
        try:
            if isinstance(self._source, LiveSource):
                return await self._read_live(self._source, size)
            return await self._source.read(offset, size)
        except TranscribedError as error:
            self._source_error = error
            return b""

    async def _check_source(self) -> None:
        """Raise the source's error, including that a file which the process reads itself has changed."""
        if self._descriptor is not None:
            await self._read_source(0, 1)
        if self._source_error is not None:
            raise self._source_error

    async def _read_live(self, stream: LiveSource, size: int) -> bytes:
        """Up to `size` bytes, as soon as there are any. Empty at the end."""
        while not self._unread:
            chunk = await anext(stream.chunks, None)
            if chunk is None:
                return b""
            self._unread = chunk
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    @property
    def _can_retry(self) -> bool:
        """Whether the source can be read from its start again by a process with more memory."""
        return not self._has_format and not self._request.live and self._request.memory < LARGE_MEMORY

    def _raise_failure(self, payload: bytes) -> None:
        failure = messages.unpack_failure(payload)
        match failure.reason:
            case Reason.UNREADABLE:
                raise UnreadableAudio(failure.message)
            case Reason.MEMORY if self._can_retry:
                raise _OutOfMemory
            case Reason.MEMORY:
                raise _too_large(self._request.memory)
            case Reason.NO_PROCESS:
                _log.error("No process could be started to decode audio in: %s", failure.message)
                raise LimitExceeded("Too much audio is being decoded. Try again in a moment.")
            case Reason.UNEXPECTED:
                _log.error("Decoding failed with an unexpected exception:\n%s", failure.message)
                raise _crash(None)


def _crash(number: int | None) -> UnreadableAudio:
    if number == signal.SIGXCPU:
        return _too_slow()
    if number is not None:
        _log.warning("A decoder was killed by %s; only its file is affected.", signal.Signals(number).name)
    return UnreadableAudio(
        "The audio cannot be decoded: it is damaged in a way that crashes the decoder. Send a recording "
        "that other players can play, or convert it first, for example to FLAC."
    )


def _too_slow() -> UnreadableAudio:
    return UnreadableAudio(
        "The audio takes too long to decode: it is damaged or malicious. Convert it first, for example to "
        "FLAC."
    )


def _too_large(memory: int) -> UnreadableAudio:
    return UnreadableAudio(
        f"The audio takes more than {memory // (1024 * 1024)} MiB of memory to decode: it is damaged, or "
        "holds far more than sound. Convert it first, for example to FLAC."
    )
