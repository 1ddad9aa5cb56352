"""Streams to Amazon Transcribe, each a WebSocket of its own."""

import asyncio
import logging
import socket
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import CloseCode

from transcribed import __version__
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.amazon.account import Account
from transcribed.engines.amazon.refusals import refusal, refusal_of_status
from transcribed.engines.amazon.request import (
    audio_event,
    check,
    identifies_language,
    stabilizes,
    stream_parameters,
)
from transcribed.engines.amazon.sending import FLUSHING, LONGEST, USUAL, Outbox, Pacer, TimeMapping
from transcribed.engines.amazon.settings import LANGUAGES, AmazonSettings
from transcribed.engines.base import Hypothesis, LocalSaid, SegmentSpeech, StreamStatus
from transcribed.errors import (
    ConfigurationError,
    EngineFailure,
    ExpiredCredentials,
    InvalidSignature,
    MalformedMessage,
    TranscribedError,
    UnknownClient,
    UpstreamLost,
)
from transcribed.event_queue import EventQueue
from transcribed.options import Capabilities, Pace, StreamOptions
from transcribed.transcript import Word
from transcribed.wire.amazon_results import Reading, read_event
from transcribed.wire.eventstream import MAX_MESSAGE_BYTES, decode

BUFFERED_SECONDS = 5.0
"""Audio that one stream may hold before its sender waits."""
_SAMPLE_BYTES = 2
_TICKS = 4
"""In the shortest of the times that are watched."""

_GOOD_ENDS = (CloseCode.NORMAL_CLOSURE, CloseCode.NO_STATUS_RCVD)

_log = logging.getLogger(__name__)
# At DEBUG it would write down signed addresses, which let a reader use them.
_quiet = logging.getLogger(f"{__name__}.websocket")
_quiet.setLevel(logging.INFO)


class AmazonEngine:
    """An Engine whose streams are Amazon's."""

    def __init__(self, settings: AmazonSettings) -> None:
        """Blocks; raises ConfigurationError."""
        check(settings.asked)
        self._settings = settings
        self._account = Account(settings)
        self.endpoint = self._account.endpoint
        self._region = self._account.region
        self._trust = self._account.trust() if self.endpoint.startswith("https:") else None

    @property
    def capabilities(self) -> Capabilities:
        """What Amazon can do."""
        first = self._settings.language
        others = (language for language in LANGUAGES if language != first)
        return Capabilities(
            "amazon",
            (first, *others),
            language_identification=True,
            transcript_form=True,
            vocabulary_filter=True,
            vocabularies=True,
            language_model=True,
            speaker_labels=True,
            redaction=True,
        )

    async def open(self, options: StreamOptions) -> "AmazonStream":
        """A new stream. Raises TranscribedError; what Amazon refuses may also come from the stream."""
        parameters = stream_parameters(self._settings, options)
        connection = await self._connection({**parameters, "session-id": str(uuid.uuid4())})
        return AmazonStream(connection, parameters, options, self._settings, self._failed)

    def _failed(self, error: TranscribedError) -> None:
        if isinstance(error, ExpiredCredentials | UnknownClient | InvalidSignature):
            self._account.refused()

    async def _connection(self, parameters: Mapping[str, str]) -> ClientConnection:
        place = urlsplit(self.endpoint).netloc
        seconds = self._settings.timeouts.open
        try:
            async with asyncio.timeout(seconds):
                address = await asyncio.to_thread(self._account.address, parameters)
                return await connect(
                    address,
                    ssl=self._trust,
                    compression=None,
                    user_agent_header=f"transcribed/{__version__}",
                    open_timeout=None,
                    ping_interval=None,
                    close_timeout=self._settings.timeouts.close,
                    max_size=MAX_MESSAGE_BYTES,
                    logger=_quiet,
                )
        except InvalidStatus as error:
            answer = error.response
            headers = {name.lower(): value for name, value in answer.headers.raw_items()}
            refused = refusal_of_status(answer.status_code, headers, bytes(answer.body or b""))
            self._failed(refused)
            raise refused from error
        except ssl.SSLCertVerificationError as error:
            raise ConfigurationError(
                f"The certificate of {place} is not trusted: {error.verify_message}. Where it is right, "
                "say so with AWS_CA_BUNDLE or SSL_CERT_FILE."
            ) from error
        except socket.gaierror as error:
            raise self._not_found(place, error.strerror or str(error)) from error
        except TimeoutError as error:
            raise UpstreamLost(f"{place} has not answered within {seconds:g} s.") from error
        except (OSError, InvalidHandshake) as error:
            raise UpstreamLost(f"{place} cannot be reached: {error}.") from error
        except ImportError as error:
            raise ConfigurationError(f"The environment's proxy cannot be used: {error}.") from error
        except (InvalidURI, UnicodeError) as error:
            raise ConfigurationError(
                f"At {place} there can be no WebSocket: check the endpoint."
            ) from error

    def _not_found(self, place: str, why: str) -> TranscribedError:
        known = self._account.regions
        if self._region in known or self._region not in place:
            return UpstreamLost(
                f"The host {place} is not found: {why}. Check the network and the endpoint."
            )
        return ConfigurationError(
            f"The host {place} is not found: {why}. Check the region, here {self._region}. Amazon "
            f"Transcribe streams in {', '.join(known)}."
        )


class AmazonStream:
    """A RecognitionStream over a WebSocket.

    One task sends what waits, another reads. All that may take too long is watched by one timer.
    """

    def __init__(
        self,
        connection: ClientConnection,
        parameters: Mapping[str, str],
        options: StreamOptions,
        settings: AmazonSettings,
        failed: Callable[[TranscribedError], None],
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._times = settings.timeouts
        self._failed = failed
        self._pace = options.pace
        self._hypotheses = _Hypotheses(parameters, options)
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        self._mapping = TimeMapping()
        self._pacer = Pacer(settings.speed) if options.pace is Pace.FAST else None
        self._received = 0
        self._silence_due = 0
        self._speech = SegmentSpeech(asked=options.speech_events)
        self._said: EventQueue[LocalSaid] = EventQueue(newest=options.pace is Pace.LIVE)
        self._finishing = False
        self._end_sent = False
        self._to_send = asyncio.Event()
        self._taken = asyncio.Event()
        now = self._loop.time()
        self._last_sent = self._last_read = self._pinged = now
        self._sending_since: float | None = None
        self._pong: asyncio.Future[float] | None = None
        self._answers_pings = False
        self._die_with_the_other_end()
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
        """Give audio."""
        while not self._said.ended and self._outbox.samples >= BUFFERED_SECONDS * SAMPLE_RATE:
            self._taken.clear()
            await self._taken.wait()
        if self._said.failure is not None:
            raise self._said.failure
        if not self._said.ended:
            self._outbox.push(samples)
            self._received += len(samples)
            self._to_send.set()

    async def flush(self) -> None:
        """Close the open segment: silence is sent behind the audio so far, at which Amazon ends it."""
        self._outbox.flush()
        self._to_send.set()

    async def finish(self) -> None:
        """No more audio comes."""
        self._finishing = True
        self._to_send.set()

    def __aiter__(self) -> AsyncIterator[LocalSaid]:
        """What Amazon hears."""
        return aiter(self._said)

    @property
    def status(self) -> StreamStatus:
        """What waits is what has not been sent yet. What was sent is with the silence that was put in."""
        waiting, sent = self._outbox.samples, self._mapping.sent
        return StreamStatus(
            self._pace, self._received / SAMPLE_RATE, waiting / SAMPLE_RATE, sent / SAMPLE_RATE
        )

    async def aclose(self) -> None:
        """Say that the audio has ended, and part."""
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

    # --- The two tasks

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception:  # noqa: BLE001 - whatever it is, the stream's reader must hear of it
            _log.exception("A stream to Amazon Transcribe failed, which ends alone.")
            self._end(EngineFailure("A stream to Amazon Transcribe failed; the server's log says how."))

    async def _send_all(self) -> None:
        # Why a connection ended its reader knows: there may be a message in front of its end.
        with suppress(ConnectionClosed):
            await self._ping()
            while not self._said.ended:
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
            if not self._said.ended:
                self._end_sent = True
                self._last_read = self._loop.time()
                await self._put(b"")

    def _next_piece(self) -> bytes:
        """What is to be sent now: nothing while there is too little, or when all has been sent."""
        if self._outbox.take_flush() and not (self._finishing and not self._outbox.samples):
            self._silence_due = FLUSHING
        silence = min(self._silence_due, LONGEST)
        self._silence_due -= silence
        piece = b"" if silence else self._outbox.take(all_of_it=self._finishing)
        if not piece and not silence and not self._finishing and self._is_quiet:
            piece = self._outbox.take(all_of_it=True)
            silence = USUAL
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
        """Ask whether the other end is there, unless a question is open."""
        if self._pong is not None:
            if not self._pong.done():
                return
            self._answers_pings = True
        self._pinged = self._loop.time()
        self._pong = asyncio.ensure_future(await self._connection.ping())

    async def _read_all(self) -> None:
        try:
            while not self._said.ended:
                message = await self._connection.recv()
                self._last_read = self._loop.time()
                self._take(message)
                await self._said.room()
        except ConnectionClosed as closed:
            self._end(self._why(closed))
        except MalformedMessage as error:
            self._lose(f"Amazon Transcribe's answer cannot be read: {error.message}")

    def _why(self, closed: ConnectionClosed) -> TranscribedError | None:
        """None where a stream ended as it should."""
        code = None if closed.rcvd is None else closed.rcvd.code
        if code in _GOOD_ENDS and self._end_sent:
            return None
        how = "broke off" if code is None else f"was closed by the other end ({closed.rcvd})"
        return UpstreamLost(f"The connection to Amazon Transcribe {how} before all was said.")

    def _take(self, data: str | bytes) -> None:
        if isinstance(data, str):
            raise MalformedMessage("It is text.")
        headers, payload = decode(data)
        match headers.get(":message-type"), headers.get(":event-type"):
            case "event", "TranscriptEvent":
                for reading in read_event(payload):
                    if (hypothesis := self._hypotheses.of(reading, self._mapping)) is not None:
                        for said in self._speech.around(hypothesis):
                            self._said.put(said)
            case "exception", _:
                name = str(headers.get(":exception-type", ""))
                self._end(refusal_of_status(0, {"x-amzn-errortype": name}, payload))
            case "error", _:
                code, text = headers.get(":error-code", ""), headers.get(":error-message", "")
                self._end(refusal(str(code), str(text)))
            case _:
                _log.debug("Amazon Transcribe sends what is not known here: %s", headers)

    # --- The end

    def _end(self, failure: TranscribedError | None) -> None:
        """Nothing more happens here; whoever waits is told."""
        if not self._said.ended:
            self._said.end(failure)
            if failure is not None:
                self._failed(failure)
            self._timer.cancel()
            self._taken.set()

    def _lose(self, message: str) -> None:
        """Do not wait for an end that does not answer, or that nobody understands."""
        self._end(UpstreamLost(message))
        self._connection.transport.abort()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._tick_seconds, self._tick)
        now, times = self._loop.time(), self._times
        if self._said.full:
            # It is not read because its own reader is late.
            self._last_read = self._pinged = now
        if self._sending_since is not None and now - self._sending_since > times.send:
            self._lose(f"Amazon Transcribe has taken no audio for {times.send:g} s.")
        elif self._end_sent and now - self._last_read > times.last_words:
            self._lose(
                f"Amazon Transcribe has said nothing for {times.last_words:g} s after the end of the "
                "audio, and has not ended the stream."
            )
        elif (
            self._answers_pings and self._pong and not self._pong.done() and now - self._pinged > times.pong
        ):
            self._lose(f"Amazon Transcribe has not answered for {times.pong:g} s.")
        else:
            self._to_send.set()

    def _die_with_the_other_end(self) -> None:
        """Where the system can: what is not received within the time to send breaks the connection."""
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        found = self._connection.transport.get_extra_info("socket")
        if option is not None and found is not None:
            with suppress(OSError):
                found.setsockopt(socket.IPPROTO_TCP, option, round(self._times.send * 1000))


class _Hypotheses:
    """Amazon's results as hypotheses of segments, numbered by their finals."""

    def __init__(self, parameters: Mapping[str, str], options: StreamOptions) -> None:
        self._partials = options.partials
        self._stabilizes = stabilizes(parameters)
        self._identifies = identifies_language(parameters)
        self._segment = 0
        self._shown: tuple[tuple[str, bool | None], ...] | None = None

    def of(self, reading: Reading, mapping: TimeMapping) -> Hypothesis | None:
        """None for what says nothing new. A segment that has been shown and turns out empty has a final."""
        words = reading.words
        if reading.final and self._stabilizes:
            words = tuple(word if word.stable else replace(word, stable=True) for word in words)
        shown = tuple((word.text, word.stable) for word in words)
        if reading.final:
            if not words and self._shown is None:
                return None
            self._shown = None
        else:
            if not self._partials or not words or shown == self._shown:
                return None
            self._shown = shown
        start, end, entities = reading.start, reading.end, reading.entities
        if mapping.silent or end > mapping.sent / SAMPLE_RATE:
            ours = mapping.ours
            start, end = ours(start), ours(end)
            words = tuple(_moved(word, ours) for word in words)
            entities = tuple(replace(each, start=ours(each.start), end=ours(each.end)) for each in entities)
        hypothesis = Hypothesis(
            segment=self._segment,
            start=start,
            end=end,
            text=" ".join(word.text for word in words),
            final=reading.final,
            words=words,
            language=reading.language if self._identifies else None,
            entities=entities,
            languages=reading.languages,
        )
        self._segment += reading.final
        return hypothesis


def _moved(word: Word, ours: Callable[[float], float]) -> Word:
    if word.start is None or word.end is None:
        return word
    return replace(word, start=ours(word.start), end=ours(word.end))
