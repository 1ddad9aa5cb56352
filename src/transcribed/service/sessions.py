"""Live sessions by id: a single connection for each id, and sessions that outlive a connection."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from contextlib import aclosing, asynccontextmanager, suppress

from transcribed.errors import Conflict, Disconnected, Stopping, TranscribedError
from transcribed.event_queue import EventQueue
from transcribed.service.live import Feed, Session, SessionTimeline
from transcribed.service.live_audio import IdleTimeout
from transcribed.transcript import Done, LiveEvent, Segment

MOST_RESUMABLE = 1000
"""The most resumable sessions; beyond it, the owner with the most loses the one that expires first."""
MAKING_WAY_SECONDS = 5.0
"""Seconds for the last events of a stream whose id another connection takes over."""

ANOTHER_STREAM = "Another stream is in progress with the same session ID."

_log = logging.getLogger(__name__)

SessionKey = tuple[str, str]
"""The identity of a session: its owner and its id."""
EventsOf = Callable[[Session], AsyncGenerator[LiveEvent, None]]


class SessionLease:
    """A connection's lease of a session's id, until it ends or another connection takes the id over."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.took_over = False
        self._error: TranscribedError | None = None
        self._chunks: IdleTimeout | None = None

    def watch(self, chunks: IdleTimeout) -> None:
        """Break these chunks off when the lease ends."""
        self._chunks = chunks
        if self._error is not None:
            chunks.break_off(self._error)

    def end(self, error: TranscribedError) -> None:
        """End the lease, because another connection takes the id over."""
        self._error = error
        if self._chunks is not None:
            self._chunks.break_off(error)


class Sessions:
    """All live sessions of this server. To be closed."""

    def __init__(self) -> None:
        self._held: dict[SessionKey, SessionLease] = {}
        self._resumable: dict[SessionKey, ResumableSession] = {}

    @asynccontextmanager
    async def hold(self, key: SessionKey) -> AsyncIterator[SessionLease]:
        """Lease an id. Its previous holder gets Conflict, and MAKING_WAY_SECONDS for its last events."""
        lease = SessionLease()
        former = self._held.get(key)
        lease.took_over = former is not None
        self._held[key] = lease
        try:
            if former is not None:
                await _break_off(former, ANOTHER_STREAM)
            yield lease
        finally:
            lease.ended.set()
            if self._held.get(key) is lease:
                del self._held[key]

    async def break_off(self, key: SessionKey, reason: str) -> None:
        """Let the holder of an id have Conflict, and MAKING_WAY_SECONDS for its last events."""
        if (holder := self._held.get(key)) is not None:
            await _break_off(holder, reason)

    def resumable(
        self, key: SessionKey, window: float, make: Callable[[], "ResumableSession"]
    ) -> "ResumableSession":
        """The session to resume, or else a new one that can be resumed for `window` seconds."""
        now = asyncio.get_running_loop().time()
        for over in [each for each, session in self._resumable.items() if session.until <= now]:
            del self._resumable[over]
        found = self._resumable.get(key)
        if found is None:
            if len(self._resumable) >= MOST_RESUMABLE:
                self._resumable.pop(self._to_forget()).until = now
            found = self._resumable[key] = make()
            found.until = now + window
        return found

    def _to_forget(self) -> SessionKey:
        """One of an owner with the most sessions, so that nobody loses any to another who opens many."""
        counts = Counter(owner for owner, _ in self._resumable)
        most = max(counts.values())
        theirs = (key for key in self._resumable if counts[key[0]] == most)
        return min(theirs, key=lambda key: self._resumable[key].until)

    async def aclose(self) -> None:
        """Finish the sessions that wait for a connection."""
        sessions = list(self._resumable.values())
        self._resumable.clear()
        await asyncio.gather(*(session.aclose() for session in sessions))


async def _break_off(lease: SessionLease, reason: str) -> None:
    lease.end(Conflict(reason))
    with suppress(TimeoutError):
        async with asyncio.timeout(MAKING_WAY_SECONDS):
            await lease.ended.wait()


class ResumableSession:
    """A session that outlives its connections.

    After a connection ends, the engine's stream stays open for `patience` seconds. Then it is finished and
    closed, and the next connection continues the times and numbers with another stream. Final segments that
    the client has not confirmed are sent again. `terms` are the parameters on which all connections must
    agree. After `until`, on the event loop's clock, the session cannot be resumed.
    """

    def __init__(
        self,
        timeline: SessionTimeline,
        start: Callable[[SessionTimeline], Session],
        events_of: EventsOf,
        patience: float,
        terms: Hashable = None,
    ) -> None:
        self.terms = terms
        self.timeline = timeline
        self.until = 0.0
        self._start = start
        self._events_of = events_of
        self._patience = patience
        self._opening = asyncio.Lock()
        self._session: Session | None = None
        self._recognising: asyncio.Task[None] | None = None
        self._finishing: asyncio.Task[None] | None = None
        self._attachment: Attachment | None = None
        self._give_up_timer: asyncio.TimerHandle | None = None
        self._failure: TranscribedError | None = None
        self._events: EventQueue[LiveEvent] = EventQueue(latest_partial=True)
        self._in_delivery: LiveEvent | None = None
        self._unconfirmed: deque[LiveEvent] = deque()

    async def open(self) -> "Attachment":
        """Attach a connection, and open an engine stream if there is none. Raises what the engine raises.

        The previous connection is detached. Concurrent calls wait for one another.
        """
        async with self._opening:
            self._attachment = None
            self._events.wake_waiters()
            if self._finishing is not None and self._recognising is not None:
                await asyncio.wait({self._recognising})
            if self._session is None:
                session = self._start(self.timeline)
                await session.__aenter__()
                self._session, self._finishing, self._failure = session, None, None
                self._recognising = asyncio.create_task(self._recognise(session))
            self._cancel_giving_up()
            self._attachment = attachment = Attachment(self)
            return attachment

    def confirm(self, attachment: "Attachment") -> None:
        """Note that the client is alive, so that earlier events have reached it."""
        if self._attachment is attachment:
            self._unconfirmed.clear()

    async def hear(self, attachment: "Attachment", feed: Feed) -> AsyncGenerator[LiveEvent, None]:
        """The events for one connection, while `feed` sends its audio."""
        session = self._session
        if session is None or self._attachment is not attachment:
            raise Conflict(ANOTHER_STREAM)
        missed = [*self._unconfirmed, *([self._in_delivery] if self._in_delivery else [])]
        self._events.put_back(event for event in missed if _is_final(event))
        self._unconfirmed.clear()
        self._in_delivery = None
        feeding = asyncio.ensure_future(feed(session))
        feeding.add_done_callback(lambda _: self._events.wake_waiters())
        try:
            while True:
                while (event := self._events.take()) is not None:
                    self._in_delivery = event
                    yield event
                    if self._attachment is not attachment:
                        raise Conflict(ANOTHER_STREAM)
                    self._unconfirmed.append(event)
                    self._in_delivery = None
                if self._session is not session:
                    break
                if feeding.done() and self._finishing is None:
                    if isinstance(feeding.exception(), Disconnected | Conflict):
                        break
                    self._finish(session)
                await self._events.wait_for_event()
                if self._attachment is not attachment:
                    raise Conflict(ANOTHER_STREAM)
            if self._failure is not None:
                raise self._failure
            await feeding
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    def leave(self, attachment: "Attachment") -> None:
        """Detach a connection; the session waits for the next one."""
        if self._attachment is not attachment:
            return
        self._attachment = None
        self._events.wake_waiters()
        if self._session is not None and self._finishing is None:
            loop = asyncio.get_running_loop()
            patience = self._patience if loop.time() < self.until else 0
            self._give_up_timer = loop.call_later(patience, self._give_up)

    def _cancel_giving_up(self) -> None:
        if self._give_up_timer is not None:
            self._give_up_timer.cancel()
            self._give_up_timer = None

    def _give_up(self) -> None:
        self._give_up_timer = None
        if self._session is not None:
            self._finish(self._session)

    def _finish(self, session: Session) -> None:
        """End the audio, in a task that does not end with the connection."""
        if self._finishing is None:
            self._finishing = asyncio.create_task(self._finished(session))

    async def _finished(self, session: Session) -> None:
        try:
            await session.finish()
        except Exception as error:  # noqa: BLE001 - raised again where the events are read
            self._failed(error)
            if self._recognising is not None:
                self._recognising.cancel()  # It would wait forever for the end of the audio.

    async def _recognise(self, session: Session) -> None:
        """Queue the events, and close the engine's stream in any case."""
        try:
            async with aclosing(self._events_of(session)) as events:
                async for event in events:
                    await self._keep(event)
        except asyncio.CancelledError:
            self._failed(Stopping())
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)
        finally:
            try:
                await session.__aexit__(None, None, None)
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(error)
            finally:
                self._session = None
                self.timeline.seconds += session.audio_seconds
                self._events.wake_waiters()

    def _failed(self, error: Exception) -> None:
        """Record the first failure for the client, and log unexpected ones."""
        if not isinstance(error, TranscribedError):
            _log.error("A session failed.", exc_info=error)
            error = TranscribedError("The server failed; its log has the cause.")
        elif self._attachment is None and not isinstance(error, Stopping):
            _log.warning("A session whose client is away failed: %s", error.message)
        self._failure = self._failure or error

    async def _keep(self, event: LiveEvent) -> None:
        if isinstance(event, Done):
            return  # The session may continue with another stream.
        self._events.put(event)
        while self._attachment is not None and self._events.full:
            await self._events.wait_for_take()

    async def aclose(self) -> None:
        """End the session; waits at most MAKING_WAY_SECONDS for its last events."""
        self._cancel_giving_up()
        if self._recognising is not None and not self._recognising.done():
            if self._session is not None:
                self._finish(self._session)
            await asyncio.wait({self._recognising}, timeout=MAKING_WAY_SECONDS)
            self._recognising.cancel()
            await asyncio.gather(self._recognising, return_exceptions=True)
        if self._finishing is not None:
            self._finishing.cancel()
            await asyncio.gather(self._finishing, return_exceptions=True)


class Attachment:
    """The attachment of one connection to a resumable session."""

    def __init__(self, session: ResumableSession) -> None:
        self._session = session

    def confirm(self) -> None:
        """Note that the client is alive, so that earlier events have reached it."""
        self._session.confirm(self)

    def hear(self, feed: Feed) -> AsyncGenerator[LiveEvent, None]:
        """The events, while `feed` sends audio; first the final segments that the client may have missed.

        An error of `feed` is raised after the events of the audio before it. If the client is gone, or has
        opened another connection, the session stays open. To be called once.
        """
        return self._session.hear(self, feed)

    def leave(self) -> None:
        """Detach the connection."""
        self._session.leave(self)


def _is_final(event: LiveEvent) -> bool:
    return isinstance(event, Segment) and event.final
