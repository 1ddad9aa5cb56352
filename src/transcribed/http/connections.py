"""The state of connections, as far as the application sees it, and the choice of connections to close.

Everything except the ASGI middleware is pure; `guard.py` combines it with the sockets.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transcribed.errors import LimitExceeded, TooLarge, TranscribedError
from transcribed.http.addresses import subscriber
from transcribed.http.errors import response
from transcribed.http.proxies import NO_PROXIES, Proxies
from transcribed.http.sockets import Peer
from transcribed.scheduling.admission import CLIENT, client_limit
from transcribed.wire.openai import REALTIME_PATH

FIRST_REQUEST_SECONDS = 15.0
"""The time limit for a connection's first request."""
IDLE_SECONDS = 75.0
"""The time limit for an idle connection; more than the usual 60 s of proxies, which should close first."""
ENDED_SECONDS = 5.0
"""The time limit for a WebSocket after its conversation has ended, in which its client can close it."""
MESSAGE_SECONDS = 60.0
"""The time limit for the arrival of a WebSocket message."""
MESSAGE_BYTES = 1024 * 1024 + 256 * 1024
"""The most bytes of an incomplete message: the largest valid message, and room for frame headers.

Granian reads up to 128 KiB of the next message together with the end of one.
"""
REALTIME_MESSAGE_BYTES = 16 * 1024 * 1024 + 256 * 1024
"""The same where OpenAI's clients send audio: the largest frame that Granian reads."""
UNFINISHED_BYTES = 96 * 1024 * 1024
"""The most bytes of all incomplete messages together."""
REQUESTS = 1024
"""The most concurrent HTTP requests, not counting the first one of each connection."""

# The allowance for pings, which count as bytes read although they are not messages.
_PINGS_BYTES, _PINGS_A_SECOND = 4096, 64
# Under pressure, connections that are silent for this long may be closed: before their first request (which
# takes about as long on a slow line), and after it.
_SILENT_SECONDS, _QUIET_SECONDS = 1.0, 10.0
_PRESS = 0.75
_BUSY = 503
# The requests of one connection that are always admitted.
_REQUESTS_OF_ANY = 8


@dataclass(eq=False, slots=True)
class Connection:
    """One connection. Times are those of the event loop's clock, in seconds."""

    peer: Peer
    since: float
    websocket: bool = False
    requests: int = 0
    """The number of requests that have reached the application."""
    running: int = 0
    """The number of requests that have not ended."""
    active: float = 0.0
    """The time of the last message to or from the application."""
    receiving: asyncio.Timeout | None = None
    """Set while the application waits for a message; Granian reads only then."""
    whole: int = 0
    """The bytes of WebSocket messages that have reached the application, without frame headers."""
    unfinished: "Unfinished | None" = None
    """The message that is arriving; None if the number of bytes read is unknown."""
    closing: bool = False
    """Whether the connection has been shut down, which Granian has not noticed yet."""
    quiet: float | None = None
    """When the last message to a WebSocket's client was sent; None while sending, and before opening."""
    ended: bool = False
    """Whether a WebSocket has been closed by either side."""
    message_bytes: int = MESSAGE_BYTES
    """The most bytes of an incomplete message."""


@dataclass(slots=True)
class Unfinished:
    """An incomplete WebSocket message.

    `before` is the number of bytes read from the connection before the message, `size` the number since.
    """

    before: int
    since: float
    size: int = 0

    def late(self, now: float) -> bool:
        """Whether the message has been arriving for too long, and is more than pings."""
        seconds = now - self.since
        return seconds > MESSAGE_SECONDS and self.size > _PINGS_BYTES + _PINGS_A_SECOND * seconds


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most WebSockets, the most other connections, and the share of both for one address."""

    connections: int
    websockets: int
    share: float = 1.0
    proxies: Proxies = NO_PROXIES
    """The trusted proxies, each of whose connections may carry several clients."""

    def shared_by(self, host: str) -> bool:
        """Whether connections from an address have one address's part."""
        return sharing(host) and not self.proxies.include(host)


def sharing(host: str) -> bool:
    """Whether the limits for one address apply to this address: not if it is this machine's (loopback)."""
    return not ipaddress.ip_address(host).is_loopback


class Connections:
    """All known connections, and ASGI middleware that updates them."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.all: dict[Peer, Connection] = {}
        self.bytes_read: Callable[[Connection], int | None] = lambda _: None
        """Returns the number of bytes that Granian has read from a connection, or None if unknown."""
        self.new_websocket = False
        """Whether there is a new WebSocket whose socket has not been looked up."""
        self._requests: Counter[str] = Counter()
        self._websockets = 0
        self._beginning = asyncio.Lock()
        self._answering: set[asyncio.Task[object]] = set()

    def at(self, peer: Peer, now: float) -> Connection:
        """The connection of a peer, which is added if it is new."""
        found = self.all.get(peer)
        if found is None:
            found = self.all[peer] = Connection(peer, now, active=now)
        return found

    def keep(self, open_ones: Collection[Peer]) -> None:
        """Forget connections that are closed and have no running request."""
        for peer in [peer for peer, each in self.all.items() if peer not in open_ones and not each.running]:
            del self.all[peer]

    def watched(self, app: ASGIApp) -> ASGIApp:
        """The application, its connections known here."""

        async def watching(scope: Scope, receive: Receive, send: Send) -> None:
            peer = Peer.of(scope["client"], scope["server"][1])
            CLIENT.set(subscriber(peer.host) if sharing(peer.host) else None)
            connection = self.at(peer, _now())
            connection.websocket = scope["type"] == "websocket"
            self.new_websocket = self.new_websocket or connection.websocket
            if connection.websocket:
                connection.quiet = None  # An earlier HTTP request may have set it.
                if scope.get("path") == REALTIME_PATH:
                    connection.message_bytes = REALTIME_MESSAGE_BYTES
            refused = self._refused(connection)
            connection.requests += 1
            self._count(connection, 1)
            # ASGI servers call the application in a task.
            task = cast("asyncio.Task[object]", asyncio.current_task())
            self._answering.add(task)
            try:
                if refused is None:
                    # One request per event loop iteration, so that a burst does not delay live audio.
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
        """Cancel all running requests."""
        for task in self._answering:
            task.cancel()

    def _count(self, connection: Connection, one: int) -> None:
        connection.running += one
        if connection.websocket:
            self._websockets += one
        else:
            who = subscriber(connection.peer.host)
            self._requests[who] += one
            if not self._requests[who]:
                del self._requests[who]

    def _refused(self, connection: Connection) -> str | None:
        """The reason why a request is not admitted; None if it is."""
        if connection.websocket:
            if self._websockets >= self.bounds.websockets:
                return "No more WebSockets can be open at once."
            return None
        running, host = self._requests.total(), connection.peer.host
        # The limit for one connection decreases with the number of all requests, so that none takes all.
        much = running >= REQUESTS or connection.running >= max(_REQUESTS_OF_ANY, (REQUESTS - running) // 4)
        if self.bounds.shared_by(host):
            much = much or self._requests[subscriber(host)] >= client_limit(REQUESTS, self.bounds.share)
        if much and connection.running:
            return f"{running} requests are being answered, and no more can be for you. Try again later."
        return None

    def _receiving(self, connection: Connection, receive: Receive) -> Receive:
        async def receiving() -> Message:
            before = self.bytes_read(connection)
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

        # Requests of an HTTP/2 connection are concurrent, and Granian limits what it reads of each.
        return receiving if connection.websocket else receiving_a_body


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _refuse(reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1013, "reason": "try again later"})
        return
    error = LimitExceeded(reason)
    await response(scope["path"], error, _BUSY, before_routes=True)(scope, receive, send)


def _sending(connection: Connection, send: Send) -> Send:
    async def sending(message: Message) -> None:
        # If sending is cancelled, a part of the message may have been sent, and no ping may follow it.
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
    """The WebSockets whose client has been sent nothing for `seconds`."""
    return [
        each
        for each in connections
        if each.websocket and each.running and not each.ended and not each.closing
        if each.quiet is not None and now - each.quiet >= seconds
    ]


# --- Connections to close


def measure(connection: Connection, bytes_read: int, now: float) -> None:
    """Update the size of an incomplete message from the number of bytes read from its connection."""
    if connection.unfinished is None:
        # The first measurement, early enough that frame headers are negligible.
        connection.unfinished = Unfinished(connection.whole, now)
    connection.unfinished.size = bytes_read - connection.unfinished.before


def unfinished(connections: Iterable[Connection], now: float) -> list[Connection]:
    """The WebSockets whose message is too large or too slow, and the largest if the total is too large."""
    held = [(each, each.unfinished) for each in connections if each.receiving and each.unfinished]
    held.sort(key=lambda one: one[1].size)
    total = sum(what.size for _, what in held)
    out = []
    for each, what in reversed(held):
        if what.size > each.message_bytes or total > UNFINISHED_BYTES or what.late(now):
            out.append(each)
            total -= what.size
    return out


def to_be_closed(
    connections: Collection[Connection], now: float, bounds: Bounds
) -> dict[str, list[Connection]]:
    """The connections to close, by reason. Each has one reason."""
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
        pressed = list(_under_pressure(some, now, most))
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
    """The newest connections of addresses that exceed their share."""
    if bounds.share == 1:
        return
    most = client_limit(all_of_them, bounds.share)
    held: dict[str, list[Connection]] = {}
    for each in connections:
        held.setdefault(subscriber(each.peer.host), []).append(each)
    for some in held.values():
        if len(some) > most:
            limited = [each for each in some if bounds.shared_by(each.peer.host)]
            yield from sorted(limited, key=lambda each: each.since)[most:]


def _under_pressure(connections: Collection[Connection], now: float, most: int) -> Iterator[Connection]:
    """Above a share _PRESS of the limit: the longest quiet connections of the addresses with the most."""
    over = len(connections) - int(most * _PRESS)
    if over <= 0:
        return
    held = Counter(subscriber(each.peer.host) for each in connections)
    quiet = [each for each in connections if now - each.active > _patience(each)]
    yield from sorted(quiet, key=lambda each: (-held[subscriber(each.peer.host)], each.active))[:over]


def _patience(connection: Connection) -> float:
    return _QUIET_SECONDS if connection.requests else _SILENT_SECONDS
