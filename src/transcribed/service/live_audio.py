"""Live audio in any format, sent to a session."""

import asyncio
from asyncio import Task
from collections.abc import AsyncIterator

from transcribed.audio.decoder import RawDecoder
from transcribed.audio.formats import Encoding, InputFormat
from transcribed.audio.wav import WavHeader, WavSniffer
from transcribed.decoding.decoders import Decoders, LiveSource
from transcribed.errors import BadRequest, TranscribedError
from transcribed.service.live import Heard, Session
from transcribed.service.media import cut, send_decoded
from transcribed.wire.audio import Flush

_PIECE_SECONDS = 0.5

Chunks = AsyncIterator[bytes | Flush]
"""Live audio as it comes, and where its open segment is to be closed."""


async def send_live(
    decoders: Decoders, form: InputFormat, chunks: Chunks, session: Session, track: int | None
) -> Heard | None:
    """Send a session the audio of chunks, in this format; `track` is that of a container.

    Raises UnreadableAudio, and what the chunks and the session raise.
    """
    split_channels = session.channels is not None
    if form.encoding is not Encoding.AUTO:
        await _send_raw(session, RawDecoder(form, split_channels=split_channels), chunks)
        return None
    start, header = await _start(chunks)
    if header is not None and (known := header.format) is not None and not split_channels:
        # FFmpeg would hold back two seconds of it, to see whether it is something else after all.
        await _send_raw(session, RawDecoder(known), chunks, start)
        return None
    return await _send_container(decoders, session, chunks, start, track) if start else None


async def _start(chunks: Chunks) -> tuple[bytes, WavHeader | None]:
    """The first bytes, as many as are needed to know whether they are a WAV header, and that."""
    sniffer = WavSniffer()
    async for data in chunks:
        if not isinstance(data, Flush) and sniffer.push(data):
            break
    return sniffer.held, sniffer.header


# --- Samples without a container


async def _send_raw(session: Session, decoder: RawDecoder, chunks: Chunks, start: bytes = b"") -> None:
    # In pieces, since the engine takes whole what it has any room for.
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
) -> Heard:
    """A live container is decoded as a recording is, from bytes that can be read once."""

    async def all_chunks() -> AsyncIterator[bytes]:
        yield start
        async for data in chunks:
            if isinstance(data, Flush):
                await session.flush()
            else:
                yield data

    stream = LiveSource(all_chunks())
    heard = await send_decoded(decoders, stream, session.send, track=track, channels=session.channels)
    async for _ in stream.chunks:
        pass  # What comes behind the container's end.
    return heard


# --- Patience


class IdleTimeout:
    """Chunks of a sender that is given up when none comes for some seconds, or when somebody says so.

    One timer watches all waits: it looks at the time when it fires, and is not set anew for each chunk.
    To be closed.
    """

    def __init__(self, chunks: Chunks, seconds: float) -> None:
        self._next = aiter(chunks).__anext__
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: Task[object] | None = None
        self._since = self._loop.time()
        self._is_fed = True
        self._broken: TranscribedError | None = None
        self._timer = self._loop.call_later(seconds, self._look)

    def close(self) -> None:
        """Watch no longer."""
        self._timer.cancel()

    def break_off(self, error: TranscribedError) -> None:
        """Raise the error where the next chunk is waited for."""
        self._broken = error
        if self._waiting is not None:
            self._waiting.cancel()

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes | Flush:
        """The next chunk. Raises BadRequest when it has not come in time."""
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

    def _look(self) -> None:
        now = self._loop.time()
        since = now if self._waiting is None else self._since
        if self._waiting is not None and now - since >= self._seconds:
            self.break_off(
                BadRequest(
                    "Your request timed out because no new audio was received for "
                    f"{self._seconds:g} seconds."
                )
            )
        else:
            self._timer = self._loop.call_later(since + self._seconds - now, self._look)
