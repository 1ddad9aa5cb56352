"""One stream made of successive ones: the tasks, the clock and the waits around `splice` and `rules`."""

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Engine, RecognitionStream, Said, StreamStatus
from transcribed.engines.failover.rules import (
    CircuitBreaker,
    FailOver,
    FailoverRules,
    FailureKind,
    GiveUp,
    Outage,
    Retry,
    classify_failure,
    decide,
    for_fallback,
    return_delay,
    with_general,
)
from transcribed.engines.failover.splice import Splice
from transcribed.errors import EngineFailure, TranscribedError, Unavailable
from transcribed.event_queue import EventQueue
from transcribed.options import Pace, StreamOptions, lacking
from transcribed.transcript import Notice, SpeechEnded, SpeechStarted

FAILED_OVER, HANDED_BACK, TAKEN_OVER = "FailedOver", "HandedBack", "TakenOver"
"""Codes of what a client is told."""
_CHUNK_SECONDS = 0.5

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """Of all streams of an engine, from its beginning; they only grow.

    `takeovers` are new streams of the same engine because the last one was old, `recoveries` because it
    had failed. `fallback_seconds` is audio that the fallback was given, `repeated_seconds` what a stream
    was given that another had had before.
    """

    takeovers: int = 0
    recoveries: int = 0
    fail_overs: int = 0
    hand_backs: int = 0
    fallback_seconds: float = 0.0
    repeated_seconds: float = 0.0


@dataclass(slots=True, eq=False)
class _Part:
    """A stream of one of the engines, since when it is open, and how much it has said."""

    stream: RecognitionStream
    name: str
    is_fallback: bool
    since: float
    said: int = 0


class FailoverStream:
    """A RecognitionStream. One task owns all others, and the engines' streams: one hears, one may wait."""

    def __init__(
        self,
        first: Engine,
        fallback: Engine | None,
        options: StreamOptions,
        *,
        rules: FailoverRules,
        counters: Counters,
        breaker: CircuitBreaker,
        general: StreamOptions,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._first = first
        self._fallback = fallback
        self._options = options
        # Partials tell where segments begin, also where nobody wants to see them.
        self._asked_of_first = replace(options, partials=True)
        self._wanted = with_general(self._asked_of_first, general)
        self._asked_of_fallback = None
        if fallback is not None:
            self._asked_of_fallback = for_fallback(self._wanted, first.capabilities, fallback.capabilities)
        self._rules = rules
        self._counters = counters
        self._breaker = breaker
        self._jitter = jitter
        self._splice = Splice(rules.silence_kept, rules.most_held)
        self._said: EventQueue[Said] = EventQueue(newest=options.pace is Pace.LIVE)
        self._finishing = False
        self._speaking = False
        self._outage: Outage | None = None
        self._proven = False
        self._returns = 0
        self._sent: float | None = None
        self._current: _Part | None = None
        self._next: _Part | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._audio_came = asyncio.Event()
        self._audio_went = asyncio.Event()
        self._boundary = asyncio.Event()

    async def open(self) -> None:
        """Begin, once. Raises the last error where nothing helped; then there is nothing to close."""
        part, reason = await self._open_one()
        if part.is_fallback:
            self._counters.fail_overs += 1
            self._tell(part, FAILED_OVER, reason)
        self._begin(part)
        self._running = asyncio.create_task(self._run())

    async def _open_one(self) -> tuple[_Part, str]:
        """And why it is not the first engine's, if it is not."""
        outage = self._new_outage(self._rules.patience_opening)
        if outage.fallback and _now() < self._breaker.avoided_until:
            with suppress(TranscribedError):
                return await self._open(is_fallback=True), self._breaker.reason
        try:
            return await self._open(), ""
        except TranscribedError as error:
            part = await self._reopen(outage.failed(self._failure_kind(error)), error)
            return part, error.message

    # --- RecognitionStream

    async def send(self, samples: Samples) -> None:
        """Give audio; waits while a few seconds wait to be sent."""
        while not self._said.ended and self._splice.unsent >= self._rules.buffered:
            await _next(self._audio_went)
        if self._said.failure is not None:
            raise self._said.failure
        if not self._said.ended:
            self._splice.append(samples)
            self._audio_came.set()

    async def flush(self) -> None:
        """Close the open segment behind all audio given so far."""
        self._splice.flush()
        self._audio_came.set()

    async def finish(self) -> None:
        """No more audio comes."""
        self._finishing = True
        self._audio_came.set()

    def __aiter__(self) -> AsyncIterator[Said]:
        return aiter(self._said)

    @property
    def status(self) -> StreamStatus:
        """For those who watch."""
        open_parts = [part for part in (self._current, self._next) if part is not None]
        sent = _sum(self._sent, *(part.stream.status.sent for part in open_parts))
        lag = self._splice.unsent + (0.0 if self._current is None else self._current.stream.status.lag)
        return StreamStatus(
            self._options.pace, self._splice.received, 0.0 if self._said.ended else lag, sent
        )

    async def aclose(self) -> None:
        """Give everything back."""
        if not self._said.ended:
            self._end(None)
            self._running.cancel()
        await asyncio.wait({self._running})
        await self._give_back()

    # --- The task that owns the others

    async def _run(self) -> None:
        try:
            await self._succeed()
        except TranscribedError as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the reader must hear of it
            _log.error("A stream made of successive ones failed.", exc_info=error)
            self._end(EngineFailure("The stream failed; the server's log says how."))
        finally:
            self._end(None)
            await self._give_back()

    async def _succeed(self) -> None:
        """One stream after the other, until all is said."""
        successor = self._current
        while (part := successor) is not None:
            failure: TranscribedError | None = None
            try:
                successor = await self._serve(part)
            except TranscribedError as error:
                failure = error
                successor = await self._after(part, failure)
            else:
                self._let_go(part)
            if successor is not None:
                self._announce(part, successor, failure)
                self._begin(successor)
        if self._speaking:
            self._said.put(SpeechEnded(self._splice.received))
        if (leftover := self._splice.leftover()) is not None:
            self._said.put(leftover)

    async def _serve(self, part: _Part) -> _Part | None:
        """Until the part has said all (None), or another one is ready. Raises why it cannot go on."""
        feeding = asyncio.create_task(self._feed(part))
        listening = asyncio.create_task(self._listen(part))
        preparing = asyncio.create_task(self._prepare(part))
        tasks = (feeding, listening, preparing)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not feeding.done() and not listening.done():
                preparing.result()
                return self._take_next()
            preparing.cancel()
            if not listening.done():
                await self._hear_out(part, listening, failed=feeding.exception() is not None)
            # What it says of its end tells more than that it takes no more audio.
            for task in (listening, feeding):
                if task.done():
                    task.result()
            if not listening.done():
                raise Unavailable(f"{part.name} was given all audio, and did not come to an end.")
            if not feeding.done():
                raise Unavailable(f"{part.name} ended before the audio did.")
            return None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear_out(self, part: _Part, listening: "asyncio.Task[None]", *, failed: bool) -> None:
        """While it still says something, if it takes no more audio."""
        patience: float | None = self._rules.last_words
        if failed:
            patience = self._rules.draining
        elif part.is_fallback:
            patience = None
        while not listening.done():
            said = part.said
            await asyncio.wait({listening}, timeout=patience)
            if said == part.said and not self._said.full:
                break

    async def _feed(self, part: _Part) -> None:
        patience = None if part.is_fallback else self._rules.sending
        with _translated(part.name):
            while True:
                async with asyncio.timeout(patience):
                    if self._splice.take_flush():
                        await part.stream.flush()
                    samples = self._splice.take(_CHUNK_SECONDS)
                    if len(samples):
                        self._audio_went.set()
                        await part.stream.send(samples)
                    elif self._finishing:
                        await part.stream.finish()
                        return
                if not len(samples):
                    await _next(self._audio_came)
                    continue
                if part.is_fallback:
                    self._counters.fallback_seconds += len(samples) / SAMPLE_RATE
                if not self._said.full:
                    self._splice.forget_silence()

    async def _listen(self, part: _Part) -> None:
        with _translated(part.name):
            async for said in part.stream:
                await self._said.room()
                part.said += 1
                self._place(part, said)

    async def _prepare(self, part: _Part) -> None:
        """When it is time, open the stream that comes next, and wait for the end of a segment."""
        if part.is_fallback:
            delay = return_delay(self._returns, self._rules, self._jitter())
        elif self._rules.lifetime is not None:
            delay = part.since + self._rules.lifetime - _now()
        else:
            delay = math.inf
        while self._next is None:
            await asyncio.sleep(delay)
            self._returns += 1
            try:
                self._next = await self._open()
            except TranscribedError as error:
                _log.warning("%s opens no new stream yet: %s", _name(self._first), error.message)
            delay = return_delay(self._returns, self._rules, self._jitter())
        with suppress(TimeoutError):
            async with asyncio.timeout(self._rules.boundary):
                await self._boundary.wait()

    # --- What comes next

    async def _after(self, part: _Part, failure: TranscribedError) -> _Part | None:
        """The stream that follows one that has failed, if there is anything left to recognise."""
        self._let_go(part)
        await self._said.room()
        if self._finishing and self._splice.is_complete:
            return None
        outage = self._outage
        lasted = _now() - part.since > self._rules.settled and not self._splice.is_open
        if fresh := outage is None or lasted:
            outage = self._new_outage(self._rules.patience)
        kind = self._failure_kind(failure, is_fallback=part.is_fallback)
        outage = outage.fallback_failed(kind, for_now=fresh) if part.is_fallback else outage.failed(kind)
        self._outage = outage
        return self._take_next() or await self._reopen(outage, failure)

    async def _reopen(self, outage: Outage, error: TranscribedError) -> _Part:
        """A new stream of either engine, or the last error."""
        while True:
            self._outage = outage
            decision = decide(outage, self._rules, _now(), self._jitter())
            _log.warning("A stream is interrupted, %s: %s", decision, error.message)
            if isinstance(decision, GiveUp):
                raise error
            if isinstance(decision, Retry):
                await asyncio.sleep(decision.delay)
            is_fallback = isinstance(decision, FailOver)
            try:
                return await self._open(is_fallback=is_fallback)
            except TranscribedError as failure:
                error = failure
                kind = self._failure_kind(error, is_fallback=is_fallback)
                outage = outage.fallback_failed(kind) if is_fallback else outage.failed(kind)

    def _new_outage(self, patience: float) -> Outage:
        return Outage(_now(), patience, fallback=self._asked_of_fallback is not None)

    def _failure_kind(self, error: TranscribedError, *, is_fallback: bool = False) -> FailureKind:
        return classify_failure(error, proven=self._proven or is_fallback)

    def _take_next(self) -> _Part | None:
        ready, self._next = self._next, None
        return ready

    async def _open(self, *, is_fallback: bool = False) -> _Part:
        engine, options = self._first, self._asked_of_first
        if is_fallback and self._fallback is not None and self._asked_of_fallback is not None:
            engine, options = self._fallback, self._asked_of_fallback
        try:
            with _translated(name := _name(engine)):
                async with asyncio.timeout(self._rules.opening):
                    stream = await engine.open(options)
        except TranscribedError as error:
            if not is_fallback and self._failure_kind(error) is FailureKind.LOST:
                self._breaker.unreachable(error.message, self._rules, _now())
            raise
        if not is_fallback:
            self._breaker.reached()
        return _Part(stream, name, is_fallback, since=_now())

    def _begin(self, part: _Part) -> None:
        self._current = part
        self._counters.repeated_seconds += self._splice.begin()
        self._boundary.set()

    def _announce(self, last: _Part, part: _Part, failure: TranscribedError | None) -> None:
        """Count it, and tell the client what may make a difference to it."""
        reason = "" if failure is None else failure.message
        if part.is_fallback and not last.is_fallback:
            self._counters.fail_overs += 1
            self._tell(part, FAILED_OVER, reason)
        elif last.is_fallback and not part.is_fallback:
            self._counters.hand_backs += 1
            self._tell(part, HANDED_BACK, reason)
        elif failure is not None:
            self._counters.recoveries += 1
            self._tell(part, TAKEN_OVER, reason)
        else:
            self._counters.takeovers += 1
            _log.info("A new stream of %s follows one that was old.", part.name)

    def _tell(self, part: _Part, code: str, reason: str) -> None:
        message = f"From {self._splice.start:.1f} s on, {part.name} listens"
        if part.is_fallback and self._fallback is not None:
            lacked = lacking(self._wanted, self._fallback.capabilities)
            message += f", without {', '.join(lacked).replace('_', ' ')}" if lacked else ""
        notice = Notice(code, f"{message}. {reason}".rstrip())
        _log.log(logging.INFO if code == HANDED_BACK else logging.WARNING, "%s: %s", code, notice.message)
        self._said.put(notice)

    # --- What is said

    def _place(self, part: _Part, said: Said) -> None:
        if isinstance(said, Notice):
            self._said.put(said)
            return
        if isinstance(said, SpeechStarted | SpeechEnded):
            # A stream that follows another in the middle of speech tells its start again.
            if self._speaking != isinstance(said, SpeechStarted):
                self._speaking = not self._speaking
                self._said.put(replace(said, at=self._splice.time(said.at)))
            return
        placed = self._splice.place(said)
        if not part.is_fallback:
            self._proven = True
        if placed.final:
            self._outage = None
            self._boundary.set()
            if not part.is_fallback:
                self._returns = 0
        else:
            self._boundary.clear()
        if placed.final or self._options.partials:
            self._said.put(placed)

    # --- The end

    def _end(self, failure: TranscribedError | None) -> None:
        """Nothing more happens here; whoever waits is told."""
        if not self._said.ended:
            self._said.end(failure)
            self._audio_went.set()

    async def _give_back(self) -> None:
        for part in (self._current, self._next):
            if part is not None:
                self._let_go(part)
        self._next = None
        if self._closing:
            await asyncio.wait(self._closing)

    def _let_go(self, part: _Part) -> None:
        if part is self._current:
            self._current = None
        self._sent = _sum(self._sent, part.stream.status.sent)
        closing = asyncio.create_task(self._close(part))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _close(self, part: _Part) -> None:
        try:
            async with asyncio.timeout(self._rules.closing):
                await part.stream.aclose()
        except Exception as error:  # noqa: BLE001 - it is left in any case
            _log.warning("A stream of %s could not be closed in good order.", part.name, exc_info=error)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Whatever an engine raises, as a TranscribedError."""
    try:
        yield
    except TranscribedError:
        raise
    except TimeoutError as error:
        raise Unavailable(f"{name} does not answer.") from error
    except Exception as error:
        _log.exception("A stream of %s failed.", name)
        raise EngineFailure(f"{name} failed on this audio; the server's log says how.") from error


async def _next(event: asyncio.Event) -> None:
    """Wait until it happens again."""
    event.clear()
    await event.wait()


def _sum(*amounts: float | None) -> float | None:
    """Of those that are known."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None


def _now() -> float:
    return asyncio.get_running_loop().time()


def _name(engine: Engine) -> str:
    return engine.capabilities.name
