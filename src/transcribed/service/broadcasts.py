"""Live sessions that are shared: what was said in them, and all who watch them.

The messages of a session are in one log, and a viewer is a position in it. So a message is encoded and kept
once, however many watch, and a viewer who reads slowly gets the newest partial, and all finals.

A broadcast outlives its session if that breaks off: another session can continue it, as after a
reconnection. Times are the broadcast's, which begins with its first session, and each word is in it once.
"""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from transcribed.errors import (
    Conflict,
    LimitExceeded,
    NotFound,
    Stopping,
    TranscribedError,
    Unavailable,
    Unread,
    UnreadableAudio,
)
from transcribed.request_context import REQUEST
from transcribed.scheduling.admission import client_limit
from transcribed.service import trail
from transcribed.service.joining import as_final, as_partial, later, rest, without_doubtful
from transcribed.service.trail import Action
from transcribed.transcript import Away, Back, Done, LiveEvent, Notice, Segment

HELD_SECONDS = 60.0
"""How long a broadcast whose session broke off waits for one that continues it."""
MOST_HELD = 50
"""The most broadcasts that wait; of more, the one that has waited longest is ended."""
KEPT_CHARACTERS = 4_000_000
"""The most characters of messages that are kept of a broadcast for later viewers: hours of speech."""
KEPT_SECONDS = 300.0
"""How long a broadcast can be watched after its end."""
MOST_ENDED = 50
"""The most broadcasts that can be watched after their end; then the one that began first is dropped."""
MOST_RECORDED = 1000
"""The most viewers of a broadcast that the trail knows; further ones are recorded each time."""
TOKEN_BYTES = 16
"""The bytes of a link, and of a token with which a broadcast is continued."""

CONTINUED = "Another connection continues this shared session."

Encode = Callable[[LiveEvent], str | None]


@dataclass(frozen=True, slots=True)
class ViewerLimits:
    """The most viewers of all sessions together, and of one; the share of both for one address."""

    total: int = 600
    session: int = 300
    share: float = 1.0


class Part:
    """The part of a broadcast that one session makes. `start` is its place on the broadcast's timeline."""

    def __init__(self, broadcast: "Broadcast", session_id: str, start: float, said: float) -> None:
        self.broadcast = broadcast
        self.session_id = session_id
        self.start = start
        self.said = said
        """The time up to which viewers know all words from the parts before."""

    def publish(self, event: LiveEvent, *, broken: bool = False) -> None:
        """Pass on an event to viewers, unless another part follows or they need not know of it.

        A final of `broken` audio may end within a word.
        """
        self.broadcast.publish(event, self, broken=broken)


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """The intention of a connection to continue a broadcast, until another one has the same."""

    broadcast: "Broadcast"


class Broadcast:
    """What viewers see under one link. `encode` makes the messages of events, whose times are shifted."""

    def __init__(self, owner: str, encode: Encode) -> None:
        self.link = secrets.token_urlsafe(TOKEN_BYTES)
        """What viewers know of the broadcast. Nobody can guess it."""
        self.continuation = secrets.token_urlsafe(TOKEN_BYTES)
        """What its owner needs, too, in order to continue it."""
        self.owner = owner
        self.sessions: set[str] = set()
        """The ids of the sessions that it consists of."""
        self.part: Part | None = None
        """The current part, or else the last one."""
        self.claim: Claim | None = None
        """The claim of the connection that continues it next; the newest one counts."""
        self.away = False
        """Whether the last part broke off, and another one may follow."""
        self.visitors: set[tuple[str | None, str | None]] = set()
        """The keys and addresses of the viewers so far, up to MOST_RECORDED."""
        self.ended = False
        self.failure: TranscribedError | None = None
        """What viewers are told at the end of a broadcast that has no Done."""
        self._encode = encode
        self._began: float | None = None
        self._said = 0.0
        self._open: Segment | None = None
        self._log: deque[str] = deque()
        self._dropped = 0
        self._characters = 0
        self._partial: str | None = None
        self._news = asyncio.Event()

    def begin(self, session_id: str, start: float | None = None) -> Part:
        """The part of a session that begins now, at `start`; by default at the time since the first began.

        The part before it is over.
        """
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began, start = now, 0.0
        elif start is None:
            start = max(now - self._began, self._said, 0.0 if self._open is None else self._open.end)
        if self._open is not None:
            self._settle(without_doubtful(self._open, start))
        self.sessions.add(session_id)
        self.part = Part(self, session_id, start, self._said)
        self.away = False
        self._wake()
        return self.part

    def publish(self, event: LiveEvent, part: Part, *, broken: bool = False) -> None:
        """Pass on an event of a part, unless that is over or viewers need not know of the event."""
        if self.ended or part is not self.part:
            return
        match event:
            case Segment():
                self._publish_segment(rest(later(event, part.start), part.said), broken=broken)
            case Notice():
                self._keep(event)
            case Done():
                self._settle(self._open)
                self._keep(later(event, part.start))
                self.ended = True
            case _:
                return
        self._wake()

    def _publish_segment(self, segment: Segment, *, broken: bool) -> None:
        if self._open is not None and self._open.id != segment.id:
            self._settle(self._open)
        if not segment.text and self._open is None:
            return
        if segment.final and not broken:
            self._settle(segment)
        else:
            self._open = segment
            self._partial = self._encode(as_partial(segment) if segment.final else segment)

    def _settle(self, segment: Segment | None) -> None:
        """Add the last result of the open segment, if there is one."""
        if segment is None:
            return
        self._open = self._partial = None
        self._said = max(self._said, segment.end)
        self._keep(segment if segment.final else as_final(segment))

    def leave(self) -> None:
        """Let viewers know that the part broke off."""
        self.away = True
        self._wake()

    def end(self, failure: TranscribedError) -> None:
        """End a broadcast that has no Done. Later calls have no effect."""
        if not self.ended:
            self._settle(self._open)
            self.ended, self.failure = True, failure
            self._wake()

    def erase(self, failure: TranscribedError) -> None:
        """End the broadcast, and show nothing more of it."""
        self.ended, self.failure = True, failure
        self._log.clear()
        self._open = self._partial = None
        self._wake()

    async def watch(self) -> AsyncGenerator[str, None]:
        """The messages for one viewer: what is kept of those so far, then the others as they come.

        Raises Unread if messages were dropped that the viewer has not read, and last the failure.
        """
        position, seen, away = self._dropped, None, False
        while True:
            if position < self._dropped:
                raise Unread("The viewer is too slow.")
            if position < self._dropped + len(self._log):
                position += 1
                yield self._log[position - 1 - self._dropped]
            elif self.away is not away and not self.ended:
                away = self.away
                yield self._encode(Away() if away else Back()) or ""
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

    def _keep(self, event: LiveEvent) -> None:
        message = self._encode(event)
        if message is None:
            return
        self._log.append(message)
        self._characters += len(message)
        while self._characters > KEPT_CHARACTERS and len(self._log) > 1:
            self._characters -= len(self._log.popleft())
            self._dropped += 1

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Broadcasts:
    """All broadcasts of this server, by their links."""

    def __init__(self, limits: ViewerLimits | None = None) -> None:
        self._limits = limits or ViewerLimits()
        self._all: dict[str, Broadcast] = {}
        self._held: dict[str, asyncio.TimerHandle] = {}
        self._viewers: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()
        self.refused = 0
        """How many viewers were refused because too many were watching."""

    @property
    def viewers(self) -> int:
        """The number of viewers."""
        return self._viewers.total()

    @property
    def running(self) -> int:
        """The number of broadcasts that have not ended."""
        return sum(not each.ended for each in self._all.values())

    def claim(self, owner: str, continuation: str | None) -> Claim | None:
        """Claim the broadcast of an owner that can be continued with a token; None if there is none.

        Claims before this one are void: a client that connects twice has given up its first connection.
        """
        for each in self._all.values():
            if continuation is None or each.ended or each.owner != owner:
                continue
            if secrets.compare_digest(each.continuation, continuation):
                each.claim = Claim(each)
                return each.claim
        return None

    @contextmanager
    def share(
        self,
        owner: str,
        session_id: str,
        encode: Encode,
        claim: Claim | None = None,
        start: float | None = None,
    ) -> Iterator[Part]:
        """Share a session while it runs, as a part of the claimed broadcast, or of a new one.

        `start` is its place on the broadcast's timeline in seconds; by default the time since the broadcast
        began. If the session breaks off, the broadcast is held for HELD_SECONDS. Viewers can watch what was
        said for KEPT_SECONDS after its end. Raises Conflict for a claim that is void.
        """
        if claim is None or claim.broadcast.ended:
            broadcast, start = Broadcast(owner, encode), None
            self._all[broadcast.link] = broadcast
        elif claim.broadcast.claim is not claim:
            raise Conflict(CONTINUED)
        else:
            broadcast = claim.broadcast
        if (timer := self._held.pop(broadcast.link, None)) is not None:
            timer.cancel()
        part = broadcast.begin(session_id, start)
        trail.record(Action.SESSION_SHARED, session_id, owner=owner)
        try:
            yield part
        except Stopping as error:
            self._end(part, error)
            raise
        except UnreadableAudio:
            self._end(part, _broken_off())
            raise
        finally:
            self._leave(part)

    @contextmanager
    def view(self, link: str, address: str | None) -> Iterator[Broadcast]:
        """Count a viewer of a broadcast. `address` is the viewer's; None if it has no limit.

        Raises NotFound for a link that is wrong or over, and LimitExceeded.
        """
        broadcast = self._all.get(link)
        if broadcast is None:
            raise NotFound("There is no such session, or it ended some minutes ago. Ask for a new link.")
        self._check_room(link, address)
        _record_visit(broadcast)
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
        if self.viewers >= limits.total:
            where = " on this server"
        elif self._viewers[link] >= limits.session:
            where = " this session"
        elif address and self._addresses[address] >= client_limit(limits.total, limits.share):
            where = " from your address"
        else:
            return
        self.refused += 1
        raise LimitExceeded(f"Too many are watching{where} already. Try again later.")

    def erase(self, owner: str, session_id: str) -> None:
        """Show nothing more of a session, and of what its broadcast consists of beside it."""
        for each in [
            each for each in self._all.values() if each.owner == owner and session_id in each.sessions
        ]:
            del self._all[each.link]
            if (timer := self._held.pop(each.link, None)) is not None:
                timer.cancel()
            each.erase(NotFound("What was said was deleted."))

    def _end(self, part: Part, failure: TranscribedError) -> None:
        if part is part.broadcast.part:
            part.broadcast.end(failure)

    def _leave(self, part: Part) -> None:
        """Hold the broadcast of a part that broke off, for another one; or let it end."""
        broadcast = part.broadcast
        if part is not broadcast.part or broadcast.link not in self._all:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # The session ends because its loop is closed.
            broadcast.end(_broken_off())
            return
        if broadcast.ended:
            self._forget_later(broadcast)
            return
        broadcast.leave()
        self._held[broadcast.link] = loop.call_later(HELD_SECONDS, self._give_up, broadcast.link)
        if len(self._held) > MOST_HELD:
            self._give_up(next(iter(self._held)))

    def _give_up(self, link: str) -> None:
        self._held.pop(link).cancel()
        self._all[link].end(_broken_off())
        self._forget_later(self._all[link])

    def _forget_later(self, broadcast: Broadcast) -> None:
        """Drop a broadcast that has ended after KEPT_SECONDS; of too many, the first at once."""
        ended = [each for each in self._all.values() if each.ended]
        for each in ended[: max(0, len(ended) - MOST_ENDED)]:
            del self._all[each.link]
        asyncio.get_running_loop().call_later(KEPT_SECONDS, self._all.pop, broadcast.link, None)


def _record_visit(broadcast: Broadcast) -> None:
    """Record a viewer's first connection; a viewer that reconnects would fill the trail."""
    context = REQUEST.get()
    principal = None if context is None else context.principal
    visitor = None if principal is None else principal.key, None if context is None else context.address
    if visitor in broadcast.visitors:
        return
    if len(broadcast.visitors) < MOST_RECORDED:
        broadcast.visitors.add(visitor)
    session_id = "" if broadcast.part is None else broadcast.part.session_id
    trail.record(Action.SESSION_VIEWED, session_id, owner=broadcast.owner)


def _broken_off() -> Unavailable:
    return Unavailable("The session was broken off. What was said before has been sent.")
