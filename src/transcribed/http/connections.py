"""Who is connected, what of them has reached the application, and who of them has to go.

All here is about the application's side, and pure but for the ASGI middleware; `guard.py` brings it
together with the sockets.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transcribed.errors import RETRY_SECONDS, LimitExceeded, TooLarge, TranscribedError
from transcribed.http.proxies import NO_PROXIES, Proxies
from transcribed.http.sockets import Ends
from transcribed.scheduling.admission import CLIENT, shared

FIRST_REQUEST_SECONDS = 15.0
"""Within which a connection has to ask for something."""
IDLE_SECONDS = 75.0
"""After which one on which nothing runs is closed: more than the 60 s after which proxies close theirs."""
ENDED_SECONDS = 5.0
"""The same for a WebSocket whose conversation is over: its client has had its time to close it."""
MESSAGE_SECONDS = 60.0
"""Within which a WebSocket message has to be there as a whole."""
MESSAGE_BYTES = 1024 * 1024 + 256 * 1024
"""The most of an unfinished one: the largest that any protocol here takes, and room for its frames.

Granian reads up to 128 KiB of the next message together with the end of one.
"""
UNFINISHED_BYTES = 96 * 1024 * 1024
"""The most of all unfinished messages together."""
REQUESTS = 1024
"""HTTP requests that may run at once, but for the first of each connection, which always may."""

# Pings are no messages, and nobody tells of them.
_PINGS_BYTES, _PINGS_A_SECOND = 4096, 64
# Under a press, who has said nothing for so long has to go: a slow line needs about as long to say hello.
_SILENT_SECONDS, _QUIET_SECONDS = 1.0, 10.0
_PRESS = 0.75
# Requests of one connection that are let in however many run.
_REQUESTS_OF_ANY = 8


@dataclass(eq=False, slots=True)
class Connection:
    """One connection; times in the event loop's seconds."""

    ends: Ends
    since: float
    websocket: bool = False
    requests: int = 0
    """How many have reached the application."""
    running: int = 0
    """How many of them have not ended."""
    active: float = 0.0
    """When anything last came to the application, or went from it."""
    receiving: asyncio.Timeout | None = None
    """There while the application waits for a message: only then does Granian read."""
    whole: int = 0
    """Bytes of WebSocket messages that have reached the application, without their frames."""
    unfinished: "Unfinished | None" = None
    """None where nobody knows what has been read."""
    closing: bool = False
    """Whether it has been shut down, and only Granian has still to notice."""
    quiet: float | None = None
    """Since when nothing goes to a WebSocket's client; None while something does, and before it is open."""
    ended: bool = False
    """Whether a WebSocket has been closed by one of its ends."""


@dataclass(slots=True)
class Unfinished:
    """What has been read of a WebSocket since its last whole message: `taken` bytes in all were before."""

    taken: int
    since: float
    size: int = 0

    def late(self, now: float) -> bool:
        """Whether it is more than pings, and too old."""
        seconds = now - self.since
        return seconds > MESSAGE_SECONDS and self.size > _PINGS_BYTES + _PINGS_A_SECOND * seconds


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many connections there may be, that are no WebSockets and that are, and one address's part."""

    connections: int
    websockets: int
    share: float = 1.0
    proxies: Proxies = NO_PROXIES
    """Those named, whose connections are of many clients."""

    def shared_by(self, host: str) -> bool:
        """Whether connections from an address have one address's part."""
        return sharing(host) and not self.proxies.include(host)


def sharing(host: str) -> bool:
    """Whether connections from an address share what is for one address: not those of this machine."""
    return not ipaddress.ip_address(host).is_loopback


class Connections:
    """All that are known; an ASGI application over another, which counts what reaches it."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.all: dict[Ends, Connection] = {}
        self.taken: Callable[[Connection], int | None] = lambda _: None
        """How many bytes of a connection Granian has read, where that is known."""
        self.unseen = False
        """Whether there is a WebSocket of which nobody has looked where it is."""
        self._requests: Counter[str] = Counter()
        self._websockets = 0
        self._beginning = asyncio.Lock()
        self._answering: set[asyncio.Task[object]] = set()

    def at(self, ends: Ends, now: float) -> Connection:
        """The one between two ends; a new one where there is none."""
        found = self.all.get(ends)
        if found is None:
            found = self.all[ends] = Connection(ends, now, active=now)
        return found

    def keep(self, open_ones: Collection[Ends]) -> None:
        """Forget those that are neither open nor have anything running."""
        for ends in [ends for ends, each in self.all.items() if ends not in open_ones and not each.running]:
            del self.all[ends]

    def watched(self, app: ASGIApp) -> ASGIApp:
        """The application, its connections known here."""

        async def watching(scope: Scope, receive: Receive, send: Send) -> None:
            ends = Ends.of(scope["client"], scope["server"][1])
            CLIENT.set(ends.host if sharing(ends.host) else None)
            connection = self.at(ends, _now())
            connection.websocket = scope["type"] == "websocket"
            self.unseen = self.unseen or connection.websocket
            if connection.websocket:
                connection.quiet = None  # It may have been a request's before.
            refused = self._refused(connection)
            connection.requests += 1
            self._count(connection, 1)
            # A server calls its application in a task.
            task = cast("asyncio.Task[object]", asyncio.current_task())
            self._answering.add(task)
            try:
                if refused is None:
                    # One in a turn of the event loop: of thousands, live audio would wait for all.
                    async with self._beginning:
                        await asyncio.sleep(0)
                    await app(scope, self._receiving(connection, receive), _sending(connection, send))
                else:
                    await _refuse(refused, scope, receive, send)
            finally:
                self._answering.discard(task)
                self._count(connection, -1)
                connection.active = _now()

        return watching

    def cancel(self) -> None:
        """Cancel all that runs for the connections."""
        for task in self._answering:
            task.cancel()

    def _count(self, connection: Connection, one: int) -> None:
        connection.running += one
        if connection.websocket:
            self._websockets += one
        else:
            self._requests[connection.ends.host] += one
            if not self._requests[connection.ends.host]:
                del self._requests[connection.ends.host]

    def _refused(self, connection: Connection) -> str | None:
        """Why a request cannot be let in; None where it can."""
        if connection.websocket:
            if self._websockets >= self.bounds.websockets:
                return "No more WebSockets can be open at once."
            return None
        running, host = self._requests.total(), connection.ends.host
        # The more run, the fewer may be one connection's, so that one alone does not take all.
        much = running >= REQUESTS or connection.running >= max(_REQUESTS_OF_ANY, (REQUESTS - running) // 4)
        if self.bounds.shared_by(host):
            much = much or self._requests[host] >= shared(REQUESTS, self.bounds.share)
        if much and connection.running:
            return f"{running} requests are being answered, and no more can be for you. Try again later."
        return None

    def _receiving(self, connection: Connection, receive: Receive) -> Receive:
        async def receiving() -> Message:
            before = self.taken(connection)
            connection.unfinished = None if before is None else Unfinished(before, _now())
            try:
                async with asyncio.timeout(None) as connection.receiving:
                    message = await receive()
            except TimeoutError as error:
                raise _too_much(connection) from error
            finally:
                connection.receiving = None
            if message["type"] == "websocket.disconnect":
                connection.ended = True
            connection.whole += len(message.get("bytes") or message.get("text") or b"")
            connection.active = _now()
            return message

        async def receiving_a_body() -> Message:
            message = await receive()
            connection.active = _now()
            return message

        # Requests of one HTTP/2 connection run side by side, and Granian bounds what it reads of them.
        return receiving if connection.websocket else receiving_a_body


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _refuse(reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1013, "reason": "try again later"})
        return
    content = {"Code": LimitExceeded.code, "Message": reason}
    await JSONResponse(content, 503, {"retry-after": str(RETRY_SECONDS)})(scope, receive, send)


def _sending(connection: Connection, send: Send) -> Send:
    async def sending(message: Message) -> None:
        # Where sending is broken off, half a message may be there: it is quiet no more.
        connection.quiet = None
        connection.ended = connection.ended or message["type"] == "websocket.close"
        await send(message)
        connection.active = connection.quiet = _now()

    return sending


def _too_much(connection: Connection) -> TranscribedError:
    size = connection.unfinished.size if connection.unfinished else 0
    return TooLarge(
        f"A message is larger than any that is taken here, or was not whole for {MESSAGE_SECONDS:.0f} s: "
        f"{size} bytes of it have come. Send the audio as it is spoken, about a tenth of a second in each "
        "message; upload recordings with POST /audio, then send their names."
    )


def to_be_pinged(connections: Iterable[Connection], now: float, seconds: float) -> list[Connection]:
    """WebSockets whose client has been told nothing for so long."""
    return [
        each
        for each in connections
        if each.websocket and each.running and not each.ended and not each.closing
        if each.quiet is not None and now - each.quiet >= seconds
    ]


# --- Who has to go


def measure(connection: Connection, taken: int, now: float) -> None:
    """Note how many bytes of a WebSocket have been read in all; the application waits for a message."""
    if connection.unfinished is None:
        # The first look at a new one, which has had no time for many frames.
        connection.unfinished = Unfinished(connection.whole, now)
    connection.unfinished.size = taken - connection.unfinished.taken


def unfinished(connections: Iterable[Connection], now: float) -> list[Connection]:
    """WebSockets whose message is too large or too late, and the largest where all are too much."""
    held = [(each, each.unfinished) for each in connections if each.receiving and each.unfinished]
    held.sort(key=lambda one: one[1].size)
    total = sum(what.size for _, what in held)
    out = []
    for each, what in reversed(held):
        if what.size > MESSAGE_BYTES or total > UNFINISHED_BYTES or what.late(now):
            out.append(each)
            total -= what.size
    return out


def superfluous(
    connections: Collection[Connection], now: float, bounds: Bounds
) -> dict[str, list[Connection]]:
    """Those to be closed, by the reason for it. A connection has one reason."""
    out: dict[str, list[Connection]] = {}
    left = []
    for each in connections:
        reason = _late(each, now)
        if reason is None:
            left.append(each)
        else:
            out.setdefault(reason, []).append(each)
    for websockets, most in ((False, bounds.connections), (True, bounds.websockets)):
        some = [each for each in left if each.websocket is websockets]
        beyond = list(_beyond_share(some, most, bounds))
        if beyond:
            out.setdefault("were more than one address's share", []).extend(beyond)
            some = [each for each in some if each not in set(beyond)]
        pressed = list(_pressed_out(some, now, most))
        if pressed:
            out.setdefault("were quiet while others wanted in", []).extend(pressed)
    return out


def _late(connection: Connection, now: float) -> str | None:
    if not connection.requests:
        return "asked for nothing" if now - connection.since > FIRST_REQUEST_SECONDS else None
    if connection.running:
        return None
    most = ENDED_SECONDS if connection.websocket else IDLE_SECONDS
    return "were idle" if now - connection.active > most else None


def _beyond_share(
    connections: Collection[Connection], all_of_them: int, bounds: Bounds
) -> Iterator[Connection]:
    """The newest of an address that has more than its share."""
    if bounds.share == 1:
        return
    most = shared(all_of_them, bounds.share)
    held: dict[str, list[Connection]] = {}
    for each in connections:
        held.setdefault(each.ends.host, []).append(each)
    for host, some in held.items():
        if len(some) > most and bounds.shared_by(host):
            yield from sorted(some, key=lambda each: each.since)[most:]


def _pressed_out(connections: Collection[Connection], now: float, most: int) -> Iterator[Connection]:
    """Where there are many: of the addresses with the most, those that have been quiet the longest."""
    over = len(connections) - int(most * _PRESS)
    if over <= 0:
        return
    held = Counter(each.ends.host for each in connections)
    quiet = [each for each in connections if now - each.active > _patience(each)]
    yield from sorted(quiet, key=lambda each: (-held[each.ends.host], each.active))[:over]


def _patience(connection: Connection) -> float:
    return _QUIET_SECONDS if connection.requests else _SILENT_SECONDS
