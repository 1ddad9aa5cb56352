"""Live audio through a live session, in any format."""

import asyncio
from asyncio import Task
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, closing
from functools import partial

from transcribed.audio.decoder import RawDecoder
from transcribed.audio.formats import Encoding, InputFormat, Samples
from transcribed.audio.media import MediaReader
from transcribed.audio.wav import WavHeader, WavSniffer
from transcribed.engines.base import Engine, StreamOptions
from transcribed.errors import BadRequest
from transcribed.service.live import LiveSession, transcript_of
from transcribed.service.media import blocks, cut
from transcribed.service.pipe import Pipe
from transcribed.service.threads import OwnThread
from transcribed.transcript import LiveEvent

_PIECE_SECONDS = 0.5
_PIPE_BYTES = 64 * 1024


def transcribe_live(
    engine: Engine,
    chunks: AsyncIterator[bytes],
    form: InputFormat,
    options: StreamOptions,
    idle_timeout: float | None,
) -> AsyncGenerator[LiveEvent, None]:
    """The events of audio, while it comes.

    Chunks are waited for `idle_timeout` seconds (None: for ever), then BadRequest is raised;
    UnreadableAudio for audio that is not what `form` says; and what the chunks and the engine raise. All
    that was said before comes first.
    """
    return transcript_of(engine, options, partial(_feed, chunks, form, idle_timeout))


async def _feed(
    chunks: AsyncIterator[bytes], form: InputFormat, idle_timeout: float | None, session: LiveSession
) -> None:
    if idle_timeout is None:
        await _send_all(session, form, chunks)
    else:
        with closing(_Timely(chunks, idle_timeout)) as timely:
            await _send_all(session, form, timely)


async def _send_all(session: LiveSession, form: InputFormat, chunks: AsyncIterator[bytes]) -> None:
    if form.encoding is not Encoding.AUTO:
        await _send_raw(session, RawDecoder(form), chunks)
        return
    start, header = await _start(chunks)
    if header is not None and (known := header.format) is not None:
        # FFmpeg would hold back two seconds of it, to see whether it is something else after all.
        await _send_raw(session, RawDecoder(known), chunks, start)
    elif start:
        await _send_container(session, chunks, start)


async def _start(chunks: AsyncIterator[bytes]) -> tuple[bytes, WavHeader | None]:
    """The first bytes, as many as are needed to know whether they are a WAV header, and that."""
    sniffer = WavSniffer()
    async for data in chunks:
        if sniffer.push(data):
            break
    return sniffer.held, sniffer.header


# --- Samples without a container


async def _send_raw(
    session: LiveSession, decoder: RawDecoder, chunks: AsyncIterator[bytes], start: bytes = b""
) -> None:
    await _send(session, decoder.push(start))
    async for data in chunks:
        await _send(session, decoder.push(data))
    await _send(session, decoder.finish())


async def _send(session: LiveSession, samples: Samples) -> None:
    # In pieces, since the engine takes whole what it has any room for.
    for piece in cut(samples, _PIECE_SECONDS):
        await session.send(piece)


# --- Containers


async def _send_container(session: LiveSession, chunks: AsyncIterator[bytes], start: bytes) -> None:
    """A live container is a recording that is read from a pipe."""
    with closing(Pipe(_PIPE_BYTES)) as pipe:
        writing = asyncio.create_task(_write(pipe, chunks, start))
        reading = asyncio.create_task(_read(pipe, session))
        try:
            await asyncio.wait([reading])
            pipe.close()  # Behind the container's end, and behind an error, nothing is read.
            if writing.done():
                await writing  # What broke the audio off is the cause of what the reader says of it.
            await reading
            await writing
        finally:
            pipe.close()
            writing.cancel()
            reading.cancel()
            await asyncio.gather(writing, reading, return_exceptions=True)


async def _write(pipe: Pipe, chunks: AsyncIterator[bytes], start: bytes) -> None:
    try:
        await pipe.write(start)
        async for data in chunks:
            await pipe.write(data)
    finally:
        pipe.end()


async def _read(pipe: Pipe, session: LiveSession) -> None:
    # Of its own, since it is blocked for as long as the client is silent.
    with OwnThread("live-container") as thread:
        async with aclosing(blocks(thread.run, partial(MediaReader, pipe, live=True))) as read:
            async for block in read:
                await session.send(block)


# --- Patience


class _Timely:
    """Chunks of a sender that is given up when none comes for some seconds.

    One timer watches all waits: it looks at the time when it fires, and is not set anew for each chunk.
    """

    def __init__(self, chunks: AsyncIterator[bytes], seconds: float) -> None:
        self._next = aiter(chunks).__anext__
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: Task[object] | None = None
        self._since = 0.0
        self._late = False
        self._timer = self._loop.call_later(seconds, self._look)

    def close(self) -> None:
        self._timer.cancel()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        waiting = self._waiting = asyncio.current_task()
        self._since = self._loop.time()
        try:
            return await self._next()
        except asyncio.CancelledError:
            if waiting is None or not self._late or waiting.uncancel() > 0:
                raise
            raise BadRequest(
                f"Your request timed out because no new audio was received for {self._seconds:g} seconds."
            ) from None
        finally:
            self._waiting = None

    def _look(self) -> None:
        now = self._loop.time()
        since = now if self._waiting is None else self._since
        if self._waiting is not None and now - since >= self._seconds:
            self._late = True
            self._waiting.cancel()
        else:
            self._timer = self._loop.call_later(since + self._seconds - now, self._look)
