"""A stream made of successive engine streams: the tasks, clock and waits around `splice` and `rules`."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import StreamEvent, StreamStatus
from transcribed.engines.failover.opening import EngineStream, StreamOpener, jitter, now, translated_errors
from transcribed.engines.failover.rules import FailoverRules, return_delay
from transcribed.engines.failover.splice import Splice
from transcribed.errors import EngineFailure, TranscribedError, Unavailable
from transcribed.event_queue import EventQueue
from transcribed.options import Pace, StreamOptions
from transcribed.transcript import Notice, SpeechEnded, SpeechStarted

FAILED_OVER, HANDED_BACK, TAKEN_OVER = "FailedOver", "HandedBack", "TakenOver"
"""Codes of the notices to clients."""
_CHUNK_SECONDS = 0.5

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """Totals over all streams of an engine, since it was loaded.

    A takeover replaces a stream of the primary engine because of its age, a recovery because of a failure.
    A fail-over changes to the fallback, a hand-back returns to the primary engine. `fallback_seconds` is
    audio given to the fallback, `repeated_seconds` audio given to a stream after another one had it.
    """

    takeovers: int = 0
    recoveries: int = 0
    fail_overs: int = 0
    hand_backs: int = 0
    fallback_seconds: float = 0.0
    repeated_seconds: float = 0.0


class FailoverStream:
    """A RecognitionStream made of successive engine streams.

    One task owns all other tasks and the engine streams: the current one, and the next one while it waits
    for the end of a segment.
    """

    def __init__(
        self, opener: StreamOpener, options: StreamOptions, *, rules: FailoverRules, counters: Counters
    ) -> None:
        self._opener = opener
        self._options = options
        self._rules = rules
        self._counters = counters
        self._splice = Splice(rules.silence_kept, rules.most_held)
        self._events: EventQueue[StreamEvent] = EventQueue(latest_partial=options.pace is Pace.LIVE)
        self._finishing = False
        self._speaking = False
        self._return_tries = 0
        self._sent: float | None = None
        self._current: EngineStream | None = None
        self._next: EngineStream | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._audio_came = asyncio.Event()
        self._audio_went = asyncio.Event()
        self._between_segments = asyncio.Event()

    async def open(self) -> None:
        """Open the first engine stream and start. To be called once.

        Raises the last error if no stream could be opened; nothing needs to be closed then.
        """
        first, reason = await self._opener.open_first()
        if first.is_fallback:
            self._counters.fail_overs += 1
            self._notify(first, FAILED_OVER, reason)
        self._begin(first)
        self._running = asyncio.create_task(self._run())

    # --- RecognitionStream

    async def send(self, samples: Samples) -> None:
        """Give audio; waits while too much audio is unsent."""
        while not self._events.ended and self._splice.unsent >= self._rules.buffered:
            await _wait_for_next(self._audio_went)
        if self._events.failure is not None:
            raise self._events.failure
        if not self._events.ended:
            self._splice.append(samples)
            self._audio_came.set()

    async def flush(self) -> None:
        """Close the open segment at the end of the audio given so far."""
        self._splice.flush()
        self._audio_came.set()

    async def finish(self) -> None:
        """Declare the end of the audio."""
        self._finishing = True
        self._audio_came.set()

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        return aiter(self._events)

    @property
    def status(self) -> StreamStatus:
        """The current state; `sent` covers all engine streams so far."""
        opened = [each for each in (self._current, self._next) if each is not None]
        sent = _sum_known(self._sent, *(each.stream.status.sent for each in opened))
        lag = self._splice.unsent + (0.0 if self._current is None else self._current.stream.status.lag)
        return StreamStatus(
            self._options.pace, self._splice.received, 0.0 if self._events.ended else lag, sent
        )

    async def aclose(self) -> None:
        """Release all resources."""
        if not self._events.ended:
            self._end(None)
            self._running.cancel()
        await asyncio.wait({self._running})
        await self._release_all()

    # --- The task that owns all others

    async def _run(self) -> None:
        try:
            await self._serve_all()
        except TranscribedError as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001 - any failure must reach the stream's reader
            _log.error("A failover stream failed.", exc_info=error)
            self._end(EngineFailure("The stream failed; the server's log has the cause."))
        finally:
            self._end(None)
            await self._release_all()

    async def _serve_all(self) -> None:
        """Serve one engine stream after the other, until everything is recognised."""
        successor = self._current
        while (current := successor) is not None:
            failure: TranscribedError | None = None
            try:
                successor = await self._serve(current)
            except TranscribedError as error:
                failure = error
                successor = await self._successor(current, failure)
            else:
                self._release(current)
            if successor is not None:
                self._announce(current, successor, failure)
                self._begin(successor)
        if self._speaking:
            self._events.put(SpeechEnded(self._splice.received))
        if (leftover := self._splice.leftover()) is not None:
            self._events.put(leftover)

    async def _serve(self, current: EngineStream) -> EngineStream | None:
        """Serve one engine stream. Return its successor once that is ready, or None at the regular end.

        Raises TranscribedError if the stream fails.
        """
        feeding = asyncio.create_task(self._feed(current))
        listening = asyncio.create_task(self._listen(current))
        preparing = asyncio.create_task(self._prepare_next(current))
        tasks = (feeding, listening, preparing)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not feeding.done() and not listening.done():
                preparing.result()
                return self._take_next()
            preparing.cancel()
            if not listening.done():
                await self._await_last_events(current, listening, failed=feeding.exception() is not None)
            # The error that the stream reports explains more than the failure to send audio to it.
            for task in (listening, feeding):
                if task.done():
                    task.result()
            if not listening.done():
                raise Unavailable(f"{current.name} was given all audio, and did not come to an end.")
            if not feeding.done():
                raise Unavailable(f"{current.name} ended before the audio did.")
            return None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _await_last_events(
        self, current: EngineStream, listening: "asyncio.Task[None]", *, failed: bool
    ) -> None:
        """Wait while a stream that takes no more audio still yields events."""
        patience: float | None = self._rules.last_words
        if failed:
            patience = self._rules.draining
        elif current.is_fallback:
            patience = None
        while not listening.done():
            events = current.events
            await asyncio.wait({listening}, timeout=patience)
            if events == current.events and not self._events.full:
                break

    async def _feed(self, current: EngineStream) -> None:
        patience = None if current.is_fallback else self._rules.sending
        with translated_errors(current.name):
            while True:
                async with asyncio.timeout(patience):
                    if self._splice.take_flush():
                        await current.stream.flush()
                    samples = self._splice.take(_CHUNK_SECONDS)
                    if len(samples):
                        self._audio_went.set()
                        await current.stream.send(samples)
                    elif self._finishing:
                        await current.stream.finish()
                        return
                if not len(samples):
                    await _wait_for_next(self._audio_came)
                    continue
                if current.is_fallback:
                    self._counters.fallback_seconds += len(samples) / SAMPLE_RATE
                if not self._events.full:
                    self._splice.forget_silence()

    async def _listen(self, current: EngineStream) -> None:
        with translated_errors(current.name):
            async for event in current.stream:
                await self._events.wait_for_room()
                current.events += 1
                self._relay(current, event)

    async def _prepare_next(self, current: EngineStream) -> None:
        """Open the next stream of the primary engine when it is due, then wait for the end of a segment."""
        if current.is_fallback:
            delay = return_delay(self._return_tries, self._rules, jitter())
        elif self._rules.lifetime is not None:
            delay = current.opened_at + self._rules.lifetime - now()
        else:
            delay = math.inf
        while self._next is None:
            await asyncio.sleep(delay)
            self._return_tries += 1
            try:
                self._next = await self._opener.open()
            except TranscribedError as error:
                _log.warning(
                    "%s opens no new stream yet: %s", self._opener.primary.capabilities.name, error.message
                )
            delay = return_delay(self._return_tries, self._rules, jitter())
        with suppress(TimeoutError):
            async with asyncio.timeout(self._rules.boundary):
                await self._between_segments.wait()

    # --- From one engine stream to the next

    async def _successor(self, failed: EngineStream, failure: TranscribedError) -> EngineStream | None:
        """Return the stream that follows a failed one, or None if all audio is recognised already."""
        self._release(failed)
        await self._events.wait_for_room()
        if self._finishing and self._splice.is_complete:
            return None
        self._opener.record_failure(failed, failure, in_segment=self._splice.is_open)
        return self._take_next() or await self._opener.reopen(failure)

    def _take_next(self) -> EngineStream | None:
        ready, self._next = self._next, None
        return ready

    def _begin(self, opened: EngineStream) -> None:
        self._current = opened
        self._counters.repeated_seconds += self._splice.begin()
        self._between_segments.set()

    def _announce(
        self, last: EngineStream, successor: EngineStream, failure: TranscribedError | None
    ) -> None:
        """Count a change of streams, and notify the client unless it cannot make a difference."""
        reason = "" if failure is None else failure.message
        if successor.is_fallback and not last.is_fallback:
            self._counters.fail_overs += 1
            self._notify(successor, FAILED_OVER, reason)
        elif last.is_fallback and not successor.is_fallback:
            self._counters.hand_backs += 1
            self._notify(successor, HANDED_BACK, reason)
        elif failure is not None:
            self._counters.recoveries += 1
            self._notify(successor, TAKEN_OVER, reason)
        else:
            self._counters.takeovers += 1
            _log.info("A new stream of %s replaces an old one.", successor.name)

    def _notify(self, opened: EngineStream, code: str, reason: str) -> None:
        message = f"From {self._splice.start:.1f} s on, {opened.name} listens"
        if lost := self._opener.lost_options(opened):
            message += f", without {lost}"
        notice = Notice(code, f"{message}. {reason}".rstrip())
        _log.log(logging.INFO if code == HANDED_BACK else logging.WARNING, "%s: %s", code, notice.message)
        self._events.put(notice)

    # --- Events

    def _relay(self, current: EngineStream, event: StreamEvent) -> None:
        if isinstance(event, Notice):
            self._events.put(event)
            return
        if isinstance(event, SpeechStarted | SpeechEnded):
            # A stream that takes over in the middle of speech reports the start of that speech again.
            if self._speaking != isinstance(event, SpeechStarted):
                self._speaking = not self._speaking
                self._events.put(replace(event, at=self._splice.time(event.at)))
            return
        placed = self._splice.place(event)
        self._opener.recognised(current, final=placed.final)
        if placed.final:
            self._between_segments.set()
            if not current.is_fallback:
                self._return_tries = 0
        else:
            self._between_segments.clear()
        if placed.final or self._options.partials:
            self._events.put(placed)

    # --- The end

    def _end(self, failure: TranscribedError | None) -> None:
        """End the stream and wake all waiters. Only the first call has an effect."""
        if not self._events.ended:
            self._events.end(failure)
            self._audio_went.set()

    async def _release_all(self) -> None:
        for opened in (self._current, self._next):
            if opened is not None:
                self._release(opened)
        self._next = None
        if self._closing:
            await asyncio.wait(self._closing)

    def _release(self, opened: EngineStream) -> None:
        """Close an engine stream in the background."""
        if opened is self._current:
            self._current = None
        self._sent = _sum_known(self._sent, opened.stream.status.sent)
        closing = asyncio.create_task(self._close(opened))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _close(self, opened: EngineStream) -> None:
        try:
            async with asyncio.timeout(self._rules.closing):
                await opened.stream.aclose()
        except Exception as error:  # noqa: BLE001 - the stream is abandoned in any case
            _log.warning("A stream of %s could not be closed in good order.", opened.name, exc_info=error)


async def _wait_for_next(event: asyncio.Event) -> None:
    event.clear()
    await event.wait()


def _sum_known(*amounts: float | None) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None
