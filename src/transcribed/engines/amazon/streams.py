"""A stream to Amazon Transcribe over a WebSocket."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.amazon.hypotheses import HypothesisReader
from transcribed.engines.amazon.refusals import refusal, refusal_of_status
from transcribed.engines.amazon.request import (
    audio_event,
)
from transcribed.engines.amazon.sending import (
    FLUSH_SILENCE,
    LONGEST_MESSAGE,
    USUAL_MESSAGE,
    Outbox,
    Pacer,
    TimeMapping,
)
from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.engines.base import RecognitionEvent, SegmentSpeechEvents, StreamStatus
from transcribed.errors import (
    EngineFailure,
    MalformedMessage,
    TranscribedError,
    UpstreamLost,
)
from transcribed.event_queue import EventQueue
from transcribed.options import Pace, StreamOptions
from transcribed.wire.amazon_results import read_event
from transcribed.wire.eventstream import decode

BUFFERED_SECONDS = 5.0
"""Audio that a stream buffers before `send` waits."""
_SAMPLE_BYTES = 2
_TICKS = 4
"""Ticks of the watchdog timer within the shortest time-out."""

_NORMAL_CLOSURES = (CloseCode.NORMAL_CLOSURE, CloseCode.NO_STATUS_RCVD)

_log = logging.getLogger(__name__)


class AmazonStream:
    """A RecognitionStream over a WebSocket.

    One task sends audio, another one reads results. A single timer checks all time-outs.
    """

    def __init__(
        self,
        connection: ClientConnection,
        parameters: Mapping[str, str],
        options: StreamOptions,
        settings: AmazonSettings,
        on_failure: Callable[[TranscribedError], None],
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._times = settings.timeouts
        self._on_failure = on_failure
        self._pace = options.pace
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        self._mapping = TimeMapping()
        self._hypotheses = HypothesisReader(parameters, options, self._mapping)
        self._pacer = Pacer(settings.speed) if options.pace is Pace.FAST else None
        self._received = 0
        self._silence_due = 0
        self._speech = SegmentSpeechEvents(enabled=options.speech_events)
        self._events: EventQueue[RecognitionEvent] = EventQueue(latest_partial=options.pace is Pace.LIVE)
        self._finishing = False
        self._end_sent = False
        self._to_send = asyncio.Event()
        self._taken = asyncio.Event()
        now = self._loop.time()
        self._last_sent = self._last_read = self._pinged = now
        self._sending_since: float | None = None
        self._pong: asyncio.Future[float] | None = None
        self._answers_pings = False
        self._set_tcp_user_timeout()
        self._tick_seconds = (
            min(
                settings.silence_after,
                *(self._times.send, self._times.last_words, self._times.ping, self._times.pong),
            )
            / _TICKS
        )
        self._timer = self._loop.call_later(self._tick_seconds, self._tick)
        self._tasks = [
            asyncio.create_task(self._guarded(work)) for work in (self._send_all, self._read_all)
        ]

    # --- RecognitionStream

    async def send(self, samples: Samples) -> None:
        """Give audio; waits while the buffer is full."""
        while not self._events.ended and self._outbox.samples >= BUFFERED_SECONDS * SAMPLE_RATE:
            self._taken.clear()
            await self._taken.wait()
        if self._events.failure is not None:
            raise self._events.failure
        if not self._events.ended:
            self._outbox.push(samples)
            self._received += len(samples)
            self._to_send.set()

    async def flush(self) -> None:
        """Close the open segment, by sending silence after the audio given so far."""
        self._outbox.flush()
        self._to_send.set()

    async def finish(self) -> None:
        """Declare the end of the audio."""
        self._finishing = True
        self._to_send.set()

    def __aiter__(self) -> AsyncIterator[RecognitionEvent]:
        """Yield the events."""
        return aiter(self._events)

    @property
    def status(self) -> StreamStatus:
        """The current state. The audio sent includes inserted silence."""
        waiting, sent = self._outbox.samples, self._mapping.sent
        return StreamStatus(
            self._pace, self._received / SAMPLE_RATE, waiting / SAMPLE_RATE, sent / SAMPLE_RATE
        )

    async def aclose(self) -> None:
        """Send the end of the audio, unless already sent, and close the connection."""
        self._end(None)
        for task in self._tasks:
            task.cancel()
        try:
            async with asyncio.timeout(self._times.close):
                await asyncio.wait(self._tasks)
                if not self._end_sent:
                    self._end_sent = True
                    await self._connection.send(audio_event(b""))
                await self._connection.close()
        except (ConnectionClosed, OSError, TimeoutError):
            pass
        finally:
            self._connection.transport.abort()

    # --- The sending and the reading task

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception:  # noqa: BLE001 - any failure must reach the stream's reader
            _log.exception("A stream to Amazon Transcribe failed.")
            self._end(
                EngineFailure("A stream to Amazon Transcribe failed; the server's log has the cause.")
            )

    async def _send_all(self) -> None:
        # The reading task reports a closed connection: an unread message may explain it.
        with suppress(ConnectionClosed):
            await self._ping()
            while not self._events.ended:
                if self._pacer is not None:
                    await asyncio.sleep(self._pacer.wait(self._loop.time()))
                if piece := self._next_piece():
                    await self._put(piece)
                elif self._finishing:
                    break
                else:
                    self._to_send.clear()
                    await self._to_send.wait()
                if self._loop.time() - self._pinged >= self._times.ping:
                    await self._ping()
            if not self._events.ended:
                self._end_sent = True
                self._last_read = self._loop.time()
                await self._put(b"")

    def _next_piece(self) -> bytes:
        """Return the audio to send now; empty while there is too little, or after the end."""
        if self._outbox.take_flush() and not (self._finishing and not self._outbox.samples):
            self._silence_due = FLUSH_SILENCE
        silence = min(self._silence_due, LONGEST_MESSAGE)
        self._silence_due -= silence
        piece = b"" if silence else self._outbox.take(everything=self._finishing)
        if not piece and not silence and not self._finishing and self._is_quiet:
            piece = self._outbox.take(everything=True)
            silence = USUAL_MESSAGE
        self._mapping.audio(len(piece) // _SAMPLE_BYTES)
        if silence:
            self._mapping.silence(silence)
        return piece + bytes(silence * _SAMPLE_BYTES)

    @property
    def _is_quiet(self) -> bool:
        return self._loop.time() - self._last_sent >= self._settings.silence_after

    async def _put(self, piece: bytes) -> None:
        self._taken.set()
        self._sending_since = self._loop.time()
        await self._connection.send(audio_event(piece))
        self._sending_since = None
        self._last_sent = self._loop.time()
        if self._pacer is not None:
            self._pacer.sent(len(piece) // _SAMPLE_BYTES, self._last_sent)

    async def _ping(self) -> None:
        """Ping the other end, unless the last ping is still unanswered."""
        if self._pong is not None:
            if not self._pong.done():
                return
            self._answers_pings = True
        self._pinged = self._loop.time()
        self._pong = asyncio.ensure_future(await self._connection.ping())

    async def _read_all(self) -> None:
        try:
            while not self._events.ended:
                message = await self._connection.recv()
                self._last_read = self._loop.time()
                self._take(message)
                await self._events.wait_for_room()
        except ConnectionClosed as closed:
            self._end(self._failure(closed))
        except MalformedMessage as error:
            self._lose(f"Amazon Transcribe's answer cannot be read: {error.message}")

    def _failure(self, closed: ConnectionClosed) -> TranscribedError | None:
        """Return the failure that a closed connection means, or None for a regular end."""
        code = None if closed.rcvd is None else closed.rcvd.code
        if code in _NORMAL_CLOSURES and self._end_sent:
            return None
        how = "broke off" if code is None else f"was closed by the other end ({closed.rcvd})"
        return UpstreamLost(f"The connection to Amazon Transcribe {how} before the end of the transcript.")

    def _take(self, data: str | bytes) -> None:
        if isinstance(data, str):
            raise MalformedMessage("It is text.")
        headers, payload = decode(data)
        match headers.get(":message-type"), headers.get(":event-type"):
            case "event", "TranscriptEvent":
                for reading in read_event(payload):
                    if (hypothesis := self._hypotheses.read(reading)) is not None:
                        for event in self._speech.with_events(hypothesis):
                            self._events.put(event)
            case "exception", _:
                name = str(headers.get(":exception-type", ""))
                self._end(refusal_of_status(0, {"x-amzn-errortype": name}, payload))
            case "error", _:
                code, text = headers.get(":error-code", ""), headers.get(":error-message", "")
                self._end(refusal(str(code), str(text)))
            case _:
                _log.debug("Amazon Transcribe sent an unknown message: %s", headers)

    # --- The end

    def _end(self, failure: TranscribedError | None) -> None:
        """End the stream and wake all waiters. Only the first call has an effect."""
        if not self._events.ended:
            self._events.end(failure)
            if failure is not None:
                self._on_failure(failure)
            self._timer.cancel()
            self._taken.set()

    def _lose(self, message: str) -> None:
        """Fail and drop a connection that does not answer, or whose messages cannot be read."""
        self._end(UpstreamLost(message))
        self._connection.transport.abort()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._tick_seconds, self._tick)
        now, times = self._loop.time(), self._times
        if self._events.full:
            # Nothing is read while the stream's own reader is slow, so that silence proves nothing.
            self._last_read = self._pinged = now
        if self._sending_since is not None and now - self._sending_since > times.send:
            self._lose(f"Amazon Transcribe has taken no audio for {times.send:g} s.")
        elif self._end_sent and now - self._last_read > times.last_words:
            self._lose(
                f"Amazon Transcribe has sent nothing for {times.last_words:g} s after the end of the "
                "audio, and has not ended the stream."
            )
        elif (
            self._answers_pings and self._pong and not self._pong.done() and now - self._pinged > times.pong
        ):
            self._lose(f"Amazon Transcribe has not answered for {times.pong:g} s.")
        else:
            self._to_send.set()

    def _set_tcp_user_timeout(self) -> None:
        """Break the connection when sent data is not acknowledged in time, on platforms that support it."""
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        tcp_socket = self._connection.transport.get_extra_info("socket")
        if option is not None and tcp_socket is not None:
            with suppress(OSError):
                tcp_socket.setsockopt(socket.IPPROTO_TCP, option, round(self._times.send * 1000))
