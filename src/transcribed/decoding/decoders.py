"""Audio of any container, decoded by processes that are limited, watched and replaced.

A process decodes one source. It is forked for that, is given little memory and processor time, and can
open and reach nothing (confinement.py). What it does for too long, or dies of, is that source's error.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self

from transcribed.audio.formats import AudioFormat, Samples
from transcribed.audio.source import Source
from transcribed.decoding import messages
from transcribed.decoding.forkserver import ForkServer
from transcribed.decoding.messages import Job, Kind, Reason
from transcribed.errors import EngineFailure, LimitExceeded, TranscribedError, Unavailable, UnreadableAudio

PROBES = 8
"""Sources that are looked at at once, as long as each takes less than QUICK_PROBE_SECONDS."""
SLOW_PROBES = 8
"""Sources beside these that take longer."""
QUICK_PROBE_SECONDS = 1.0
PROBE_SECONDS = 20.0
"""The longest that a look may take, without the time in which the source itself is waited for."""
WORK_SECONDS = 20.0
"""The longest that a process may be busy until it has another block of audio."""

MEMORY = 16 * 1024 * 1024
"""Bytes that a process may allocate: enough for all but the longest recordings."""
LARGE_MEMORY = 256 * 1024 * 1024
"""The same for the one source at a time whose index does not fit into that."""
LARGE_WAIT_SECONDS = 10.0

# Live audio is late when its decoder waits; a file's only has to keep up; a look at an upload can wait.
_LIVE_NICENESS, _FILE_NICENESS, _PROBE_NICENESS = 0, 5, 10
_BUFFER = 64 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stream:
    """Live bytes, as a source that can be read once."""

    chunks: AsyncIterator[bytes]


class Decoding:
    """A source that is being decoded."""

    def __init__(self, process: "_Process", found: AudioFormat) -> None:
        self._process = process
        self.format = found
        """What is in it; the duration is the declared one, if any."""
        self.warnings: tuple[str, ...] = ()
        """A sentence for each thing in it that was not heard: complete behind the last block."""

    async def blocks(self) -> AsyncGenerator[Samples, None]:
        """All the audio, in order. Raises UnreadableAudio, and at last what the source has raised."""
        while True:
            kind, payload = await self._process.receive(WORK_SECONDS)
            if kind is not Kind.BLOCK:
                self.warnings = messages.end_of(payload)
                return
            yield messages.block_of(payload)


class Decoders:
    """All decoding processes of this program. A context manager; leaving it ends them."""

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
        """What is in a source; its first packets are decoded. Raises UnreadableAudio and LimitExceeded."""
        looking = None
        try:
            async with self._quick:
                looking = asyncio.create_task(self._probe(source))
                await asyncio.wait([looking], timeout=QUICK_PROBE_SECONDS)
            if looking.done():
                return looking.result()
            # What takes long makes way for what does not.
            if self._slow.locked():
                raise LimitExceeded("Too many recordings are being looked at. Try again in a moment.")
            async with self._slow:
                return await looking
        finally:
            if looking is not None:
                looking.cancel()
                await asyncio.wait([looking])

    async def _probe(self, source: Source) -> AudioFormat:
        async with self._begun(source, probe=True, track=None, channels=None) as (_, found):
            return found

    @asynccontextmanager
    async def decode(
        self, source: Source | Stream, *, track: int | None = None, channels: int | None = None
    ) -> AsyncIterator[Decoding]:
        """The audio of a source: of one of its tracks, with so many channels kept apart.

        Raises UnreadableAudio, LimitExceeded where several recordings that take much memory are decoded,
        and what the source raises.
        """
        async with self._begun(source, probe=False, track=track, channels=channels) as (process, found):
            yield Decoding(process, found)

    @asynccontextmanager
    async def _begun(
        self, source: Source | Stream, *, probe: bool, track: int | None, channels: int | None
    ) -> "AsyncIterator[tuple[_Process, AudioFormat]]":
        live = isinstance(source, Stream)
        size = None if isinstance(source, Stream) else source.size
        niceness = _LIVE_NICENESS if live else _PROBE_NICENESS if probe else _FILE_NICENESS
        job = Job(probe, live, channels, track, size, MEMORY, niceness)
        async with AsyncExitStack() as held:
            process = held.enter_context(_Process(self._server, source, job))
            try:
                found = await process.format()
            except _OutOfMemory:
                process.close()
                await held.enter_async_context(self._room_for_large())
                job = replace(job, memory=LARGE_MEMORY)
                process = held.enter_context(_Process(self._server, source, job))
                found = await process.format()
            yield process, found

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
    """A process could not allocate what it needed; one with more memory might."""


class _Process:
    """One decoding process and its source. A context manager; leaving it ends the process."""

    def __init__(self, server: ForkServer, source: Source | Stream, job: Job) -> None:
        self._server = server
        self._source = source
        self._job = job
        self._number, self._socket = server.fork()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._rest = b""
        self._broken: TranscribedError | None = None
        self._began = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._server.kill(self._number)
        if self._writer is None:
            self._socket.close()
        else:
            self._writer.transport.abort()

    async def format(self) -> AudioFormat:
        """What is in the source. Raises UnreadableAudio, _OutOfMemory, and what the source raises."""
        start = messages.packed_job(self._job)
        descriptor = None if isinstance(self._source, Stream) else self._source.descriptor
        # A new socket has room for it.
        socket.send_fds(self._socket, [start], [] if descriptor is None else [descriptor])
        self._reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=_BUFFER)
        _, payload = await self.receive(PROBE_SECONDS)
        self._began = True
        return messages.format_of(payload)

    async def receive(self, seconds: float) -> tuple[Kind, bytes]:
        """FORMAT, BLOCK or END, whichever comes; what the process wants to read meanwhile is given to it.

        `seconds` are the time that it may be busy. Raises as `format`.
        """
        assert self._reader is not None  # noqa: S101 - `format` comes first
        loop = asyncio.get_running_loop()
        left = seconds
        while True:
            since = loop.time()
            try:
                async with asyncio.timeout(left):
                    kind, payload = await self._message(self._reader)
            except TimeoutError:
                raise _too_slow() from None
            left -= loop.time() - since
            if kind in {Kind.END, Kind.FAILED, Kind.DIED}:
                await self._check_source()
            match kind:
                case Kind.READ:
                    await self._give(payload)
                case Kind.FORMAT | Kind.BLOCK | Kind.END:
                    return kind, payload
                case Kind.FAILED:
                    self._fail(payload)
                case Kind.DIED:
                    raise _death(messages.death_of(payload))
                case _:
                    raise EngineFailure("The decoder sent what only the server sends.")

    async def _message(self, reader: asyncio.StreamReader) -> tuple[Kind, bytes]:
        try:
            header = await reader.readexactly(messages.HEADER.size)
        except (asyncio.IncompleteReadError, OSError) as error:
            if self._began:
                raise _death(None) from error
            # What a file does to its process at once is told by the fork server. This was somebody else.
            raise Unavailable("The decoding of the audio was interrupted. Send it again.") from error
        try:
            kind, length = messages.HEADER.unpack(header)
            if length > messages.LONGEST:
                raise _death(None)
            return Kind(kind), await reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError, ValueError) as error:
            raise _death(None) from error

    async def _give(self, payload: bytes) -> None:
        offset, size = messages.read_of(payload)
        assert self._writer is not None  # noqa: S101 - it is read from
        self._writer.write(messages.packed(Kind.DATA, await self._bytes(offset, size)))
        try:
            await self._writer.drain()
        except OSError:
            return  # Why it is gone is told where its messages are read.

    async def _bytes(self, offset: int, size: int) -> bytes:
        """What the source gives; when it fails, nothing more: what came before is still decoded."""
        if self._broken is not None:
            return b""
        try:
            if isinstance(self._source, Stream):
                return await self._taken(self._source, size)
            return await self._source.read(offset, size)
        except TranscribedError as error:
            self._broken = error
            return b""

    async def _check_source(self) -> None:
        """Raise what the source has raised, or that a file which was handed over has changed since."""
        if (
            self._broken is None
            and not isinstance(self._source, Stream)
            and self._source.descriptor is not None
        ):
            await self._source.read(0, 1)
        if self._broken is not None:
            raise self._broken

    async def _taken(self, stream: Stream, size: int) -> bytes:
        """What has come of a stream, as soon as there is something; nothing at its end."""
        while not self._rest:
            chunk = await anext(stream.chunks, None)
            if chunk is None:
                return b""
            self._rest = chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    @property
    def _begins_again(self) -> bool:
        """Whether the source can be read from its start again, by a process with more memory."""
        return not self._began and not self._job.live and self._job.memory < LARGE_MEMORY

    def _fail(self, payload: bytes) -> None:
        failure = messages.failure_of(payload)
        match failure.reason:
            case Reason.UNREADABLE:
                raise UnreadableAudio(failure.message)
            case Reason.MEMORY if self._begins_again:
                raise _OutOfMemory
            case Reason.MEMORY:
                raise _too_large(self._job.memory)
            case Reason.NO_PROCESS:
                _log.error("No process could be started to decode audio in: %s", failure.message)
                raise LimitExceeded("Too much audio is being decoded. Try again in a moment.")
            case Reason.UNEXPECTED:
                _log.error("Decoding failed in a way that nobody foresaw:\n%s", failure.message)
                raise _death(None)


def _death(number: int | None) -> UnreadableAudio:
    if number == signal.SIGXCPU:
        return _too_slow()
    if number is not None:
        _log.warning("A decoder was ended by %s. Its file alone is concerned.", signal.Signals(number).name)
    return UnreadableAudio(
        "The audio cannot be decoded: it is damaged in a way that ends the decoder. Send a recording that "
        "other players can play, or convert it first, for example to FLAC."
    )


def _too_slow() -> UnreadableAudio:
    return UnreadableAudio(
        "The audio takes too long to decode: it is damaged, or made to. Convert it first, for example to "
        "FLAC."
    )


def _too_large(memory: int) -> UnreadableAudio:
    return UnreadableAudio(
        f"The audio takes more than {memory // (1024 * 1024)} MiB of memory to decode: it is damaged, or "
        "holds far more than sound. Convert it first, for example to FLAC."
    )
