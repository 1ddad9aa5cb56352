"""Sending live audio, in any format, to a session."""

import asyncio
from asyncio import Task
from collections.abc import AsyncIterator

from transcribed.audio.decoder import RawDecoder
from transcribed.audio.formats import Encoding, InputFormat
from transcribed.audio.wav import WavHeader, WavSniffer
from transcribed.decoding.decoders import Decoders, LiveSource
from transcribed.errors import NoAudio, TranscribedError
from transcribed.service.live import ContainerReport, Session
from transcribed.service.media import cut, send_decoded
from transcribed.wire.audio import Flush

_PIECE_SECONDS = 0.5

Chunks = AsyncIterator[bytes | Flush]
"""Live audio as it arrives, with requests to close the open segment."""


async def send_live(
    decoders: Decoders, form: InputFormat, chunks: Chunks, session: Session, track: int | None
) -> ContainerReport | None:
    """Decode chunks of audio and send them to a session; `track` selects a container's audio track.

    Returns a report on the container, if there is one. Raises UnreadableAudio, and what the chunks and the
    session raise.
    """
    split_channels = session.channels is not None
    if form.encoding is not Encoding.AUTO:
        await _send_raw(session, RawDecoder(form, split_channels=split_channels), chunks)
        return None
    start, header = await _start(chunks)
    if header is not None and (known := header.format) is not None and not split_channels:
        # FFmpeg would delay the first two seconds, to check whether the format is another one.
        await _send_raw(session, RawDecoder(known), chunks, start)
        return None
    return await _send_container(decoders, session, chunks, start, track) if start else None


async def _start(chunks: Chunks) -> tuple[bytes, WavHeader | None]:
    """The first bytes, up to the end of a WAV header, and the header if there is one."""
    sniffer = WavSniffer()
    async for data in chunks:
        if not isinstance(data, Flush) and sniffer.push(data):
            break
    return sniffer.held, sniffer.header


# --- Samples without a container


async def _send_raw(session: Session, decoder: RawDecoder, chunks: Chunks, start: bytes = b"") -> None:
    # In small pieces, because the engine accepts any piece while its buffer has some room.
    for piece in cut(decoder.push(start), _PIECE_SECONDS):
        await session.send(piece)
    async for data in chunks:
        if isinstance(data, Flush):
            await session.flush()
            continue
        for piece in cut(decoder.push(data), _PIECE_SECONDS):
            await session.send(piece)
    for piece in cut(decoder.finish(), _PIECE_SECONDS):
        await session.send(piece)


# --- Containers


async def _send_container(
    decoders: Decoders,
    session: Session,
    chunks: Chunks,
    start: bytes,
    track: int | None,
) -> ContainerReport:
    """Decode a live container, which is read once and without seeking."""

    async def all_chunks() -> AsyncIterator[bytes]:
        yield start
        async for data in chunks:
            if isinstance(data, Flush):
                await session.flush()
            else:
                yield data

    stream = LiveSource(all_chunks())
    report = await send_decoded(decoders, stream, session.send, track=track, channels=session.channels)
    async for _ in stream.chunks:
        pass  # Discard bytes after the container's end.
    return report


# --- Time-outs


class IdleTimeout:
    """Chunks with a time limit for each, which can also be broken off with an error. To be closed.

    A single timer serves all waits, because resetting one for each chunk costs more: it checks the time
    when it fires.
    """

    def __init__(self, chunks: Chunks, seconds: float) -> None:
        self._next = aiter(chunks).__anext__
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: Task[object] | None = None
        self._since = self._loop.time()
        self._is_fed = True
        self._broken: TranscribedError | None = None
        self._timer = self._loop.call_later(seconds, self._check)

    def close(self) -> None:
        """Stop the timer."""
        self._timer.cancel()

    def break_off(self, error: TranscribedError) -> None:
        """Raise the error in the task that waits for the next chunk."""
        self._broken = error
        if self._waiting is not None:
            self._waiting.cancel()

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes | Flush:
        """Wait for the next chunk. Raises NoAudio after the time limit."""
        if self._broken is not None:
            raise self._broken
        waiting = self._waiting = asyncio.current_task()
        if self._is_fed:
            self._since = self._loop.time()
        try:
            data = await self._next()
        except asyncio.CancelledError:
            if waiting is None or self._broken is None or waiting.uncancel() > 0:
                raise
            raise self._broken from None
        finally:
            self._waiting = None
        self._is_fed = not isinstance(data, Flush)
        return data

    def _check(self) -> None:
        now = self._loop.time()
        since = now if self._waiting is None else self._since
        if self._waiting is not None and now - since >= self._seconds:
            self.break_off(
                NoAudio(
                    "Your request timed out because no new audio was received for "
                    f"{self._seconds:g} seconds."
                )
            )
        else:
            self._timer = self._loop.call_later(since + self._seconds - now, self._check)


class BreakWatch:
    """Chunks that remember whether they ended with an error, and not at the end of the audio."""

    def __init__(self, chunks: Chunks) -> None:
        self.broken = False
        self._next = aiter(chunks).__anext__

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes | Flush:
        """Wait for the next chunk. Raises what the chunks raise."""
        try:
            return await self._next()
        except StopAsyncIteration:
            raise
        except BaseException:
            self.broken = True
            raise
