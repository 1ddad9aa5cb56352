"""Live sessions that are shared: what was said in them, and all who watch them.

The messages of a session are in one log, and a viewer is a position in it. So a message is encoded and kept
once, however many watch, and a viewer who reads slowly gets the newest partial, and all finals.
"""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from transcribed.errors import LimitExceeded, NotFound, Stopping, TranscribedError, Unavailable, Unread
from transcribed.scheduling.admission import client_limit
from transcribed.service import trail
from transcribed.service.trail import Action
from transcribed.transcript import Done, LiveEvent, Notice, Segment

KEPT_CHARACTERS = 4_000_000
"""The most characters of messages that are kept of a session for later viewers: hours of speech."""
KEPT_SECONDS = 300.0
"""How long a session can be watched after its end."""
MOST_ENDED = 50
"""The most sessions that can be watched after their end; then the one that began first is dropped."""

_LINK_BYTES = 16


@dataclass(frozen=True, slots=True)
class ViewerLimits:
    """The most viewers of all sessions together, and of one; the share of both for one address."""

    total: int = 600
    session: int = 300
    share: float = 1.0


class Broadcast:
    """A shared session: its messages so far, for any number of viewers."""

    def __init__(self, owner: str, session_id: str) -> None:
        self.link = secrets.token_urlsafe(_LINK_BYTES)
        """What viewers know of the session. Nobody can guess it."""
        self.owner = owner
        self.session_id = session_id
        self.ended = False
        self.failure: TranscribedError | None = None
        """What viewers are told at the end of a session that has no Done."""
        self._log: deque[str] = deque()
        self._dropped = 0
        self._characters = 0
        self._partial: str | None = None
        self._news = asyncio.Event()

    def publish(self, event: LiveEvent, message: str) -> None:
        """Pass on an event and its message, unless viewers need not know of it."""
        match event:
            case Segment(final=False):
                self._partial = message
            case Segment() | Notice() | Done():
                if isinstance(event, Segment):
                    self._partial = None
                self._keep(message)
                self.ended = isinstance(event, Done)
            case _:
                return
        self._wake()

    def end(self, failure: TranscribedError) -> None:
        """End a session that has no Done. Later calls have no effect."""
        if not self.ended:
            self.ended, self.failure = True, failure
            self._wake()

    async def watch(self) -> AsyncGenerator[str, None]:
        """The messages for one viewer: what is kept of those so far, then the following ones as they come.

        Raises Unread if messages were dropped that the viewer has not read, and last the session's failure.
        """
        position, seen = self._dropped, None
        while True:
            if position < self._dropped:
                raise Unread("The viewer is too slow.")
            if position < self._dropped + len(self._log):
                position += 1
                yield self._log[position - 1 - self._dropped]
            elif self._partial is not None and self._partial is not seen:
                seen = self._partial
                yield seen
            elif self.ended:
                break
            else:
                await self._news.wait()
        if self.failure is not None:
            raise self.failure

    @property
    def incomplete(self) -> bool:
        """Whether the first messages have been dropped."""
        return self._dropped > 0

    def _keep(self, message: str) -> None:
        self._log.append(message)
        self._characters += len(message)
        while self._characters > KEPT_CHARACTERS and len(self._log) > 1:
            self._characters -= len(self._log.popleft())
            self._dropped += 1

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Broadcasts:
    """All shared sessions of this server, by their links."""

    def __init__(self, limits: ViewerLimits | None = None) -> None:
        self._limits = limits or ViewerLimits()
        self._all: dict[str, Broadcast] = {}
        self._viewers: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    @property
    def viewers(self) -> int:
        """The number of viewers."""
        return self._viewers.total()

    @contextmanager
    def share(self, owner: str, session_id: str) -> Iterator[Broadcast]:
        """Share a session while it runs; viewers can watch what was said for KEPT_SECONDS after that."""
        broadcast = Broadcast(owner, session_id)
        self._all[broadcast.link] = broadcast
        trail.record(Action.SESSION_SHARED, session_id, owner=owner)
        try:
            yield broadcast
        except Stopping as error:
            broadcast.end(error)
            raise
        finally:
            broadcast.end(Unavailable("The session was broken off. What was said before has been sent."))
            self._forget_later(broadcast)

    @contextmanager
    def view(self, link: str, address: str | None) -> Iterator[Broadcast]:
        """Count a viewer of a session. `address` is the viewer's; None if it has no limit.

        Raises NotFound for a link that is wrong or over, and LimitExceeded.
        """
        broadcast = self._all.get(link)
        if broadcast is None:
            raise NotFound("There is no such session, or it ended some minutes ago. Ask for a new link.")
        self._check_room(link, address)
        trail.record(Action.SESSION_VIEWED, broadcast.session_id, owner=broadcast.owner)
        keys = [(self._viewers, link), *([(self._addresses, address)] if address else [])]
        for counter, key in keys:
            counter[key] += 1
        try:
            yield broadcast
        finally:
            for counter, key in keys:
                counter[key] -= 1
                if not counter[key]:
                    del counter[key]

    def _check_room(self, link: str, address: str | None) -> None:
        limits = self._limits
        many = "Too many are watching{} already. Try again later."
        if self.viewers >= limits.total:
            raise LimitExceeded(many.format(" on this server"))
        if self._viewers[link] >= limits.session:
            raise LimitExceeded(many.format(" this session"))
        if address and self._addresses[address] >= client_limit(limits.total, limits.share):
            raise LimitExceeded(many.format(" from your address"))

    def _forget_later(self, broadcast: Broadcast) -> None:
        """Drop a session that has ended after KEPT_SECONDS; of too many, the first at once."""
        ended = [each for each in self._all.values() if each.ended]
        for each in ended[: max(0, len(ended) - MOST_ENDED)]:
            del self._all[each.link]
        # A session may end because its loop is closed.
        with suppress(RuntimeError):
            loop = asyncio.get_running_loop()
            loop.call_later(KEPT_SECONDS, self._all.pop, broadcast.link, None)
