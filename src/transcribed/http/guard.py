"""Enforcement of limits on connections that Granian does not have.

The application does not see connections without a request, idle connections, and incomplete WebSocket
messages. But their sockets belong to this process, and requests that reach the application are counted.
Connections beyond a limit are shut down (docs/decisions/0020-bounds-before-the-application.md).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from transcribed.http.connections import (
    Bounds,
    Connection,
    Connections,
    measure,
    to_be_closed,
    to_be_pinged,
    unfinished,
)
from transcribed.http.sockets import OpenConnection, Peer, Sockets, bytes_read

_MESSAGES_SECONDS = 0.1
_CHECK_SECONDS = 0.25
# Descriptors that are checked before the event loop runs other tasks.
_AT_ONCE = 256
# With thousands of connections, a check takes milliseconds: its share of the event loop's time is limited.
_SHARE_OF_TIME = 0.05
_LONGEST_SECONDS = 1.0
_NEARLY_ALL = 0.9
_REPORT_SECONDS = 60.0
# Browsers connect in advance, and pools keep unused connections: only many of them are worth a warning.
_ORDINARY = {"asked for nothing", "were idle"}
_MANY = 100

_log = logging.getLogger(__name__)


class Guard:
    """Closes connections beyond the limits, and pings quiet WebSockets.

    `descriptors` is the number of files that this process may open. On the ports in `plain` (without TLS),
    a WebSocket's client gets a ping when nothing has been sent to it for `ping` seconds; 0 means never.
    """

    def __init__(
        self,
        connections: Connections,
        ports: Collection[int],
        descriptors: int,
        plain: Collection[int] = (),
        ping: float = 0,
    ) -> None:
        self._connections = connections
        self._plain = plain
        self._ping = ping
        self._sockets = Sockets(ports)
        self._descriptors = descriptors
        self._at: dict[Peer, int] = {}
        self._reports: dict[str, _Report] = {}
        connections.bytes_read = self._bytes_read

    async def run(self) -> None:
        """Check the connections until cancelled."""
        loop = asyncio.get_running_loop()
        look = loop.time()
        while True:
            began = loop.time()
            try:
                if began >= look or self._connections.new_websocket:
                    await self._check(began)
                    took = loop.time() - began
                    look = began + min(max(_CHECK_SECONDS, took / _SHARE_OF_TIME), _LONGEST_SECONDS)
                self._check_messages(loop.time())
            except Exception:  # noqa: BLE001 - a failed check must not end the guard
                _log.exception("A look at the connections failed.")
            await asyncio.sleep(_MESSAGES_SECONDS)

    def close_all(self) -> None:
        """Shut down all connections."""
        for found in self._sockets.connections():
            if found is not None:
                self._sockets.shut_down(found)

    async def _check(self, now: float) -> None:
        known = self._connections
        known.new_websocket = False
        found = []
        for number, each in enumerate(self._sockets.connections()):
            if each is not None:
                found.append(each)
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        for peer, descriptor in found:
            if self._at.get(peer) != descriptor and peer in known.all and not known.all[peer].running:
                # A new connection from the same port, unless the application has seen it first.
                known.all[peer].since = now
            known.at(peer, now)
        self._at = dict(found)
        known.keep(self._at.keys())
        there = [each for peer, each in known.all.items() if peer in self._at and not each.closing]
        if self._ping:
            self._ping_quiet(there, now)
        for reason, some in to_be_closed(there, now, self._bounds(len(there), now)).items():
            self._close(reason, some, now)

    def _ping_quiet(self, there: Iterable[Connection], now: float) -> None:
        """Send pings: proxies close connections that are quiet for a minute, and Granian sends none."""
        for each in to_be_pinged(there, now, self._ping):
            if each.peer.local_port in self._plain:
                self._sockets.ping(OpenConnection(each.peer, self._at[each.peer]))
            each.quiet = now

    def _bounds(self, there: int, now: float) -> Bounds:
        bounds = self._connections.bounds
        if self._sockets.used < self._descriptors * _NEARLY_ALL:
            return bounds
        self._report(
            f"Of the {self._descriptors} files and connections that this process may open, "
            f"{self._sockets.used} are open: quiet connections are closed. Raise the limit: ulimit -n, "
            "LimitNOFILE in systemd, --ulimit nofile in Docker.",
            (),
            now,
        )
        connections, websockets = min(bounds.connections, there), min(bounds.websockets, there)
        return replace(bounds, connections=connections, websockets=websockets)

    def _check_messages(self, now: float) -> None:
        receiving = [each for each in self._connections.all.values() if each.receiving and not each.closing]
        for each in receiving:
            size = self._bytes_read(each)
            if size is not None:
                measure(each, size, now)
        out = unfinished(receiving, now)
        for each in out:
            if each.receiving is not None:
                # The application stops receiving, and sends the client an error.
                each.receiving.reschedule(now)
        if out:
            self._report("sent WebSocket messages that were too large or never whole", out, now)

    def _bytes_read(self, connection: Connection) -> int | None:
        descriptor = self._at.get(connection.peer)
        return None if descriptor is None else bytes_read(descriptor)

    def _close(self, reason: str, some: Iterable[Connection], now: float) -> None:
        closed = []
        for each in some:
            if self._sockets.shut_down(OpenConnection(each.peer, self._at[each.peer])):
                each.closing = True
                closed.append(each)
        if closed:
            self._report(reason, closed, now)

    def _report(self, reason: str, closed: Collection[Connection], now: float) -> None:
        """Log a message, at most one a minute for each reason."""
        report = self._reports.setdefault(reason, _Report())
        report.hosts.update(each.peer.host for each in closed)
        if now < report.next:
            return
        report.next = now + _REPORT_SECONDS
        total = report.hosts.total()
        level = logging.DEBUG if reason in _ORDINARY and total < _MANY else logging.WARNING
        if closed:
            hosts = ", ".join(f"{count} of {host}" for host, count in report.hosts.most_common(3))
            _log.log(level, "Connections that %s were closed: %d, %s.", reason, total, hosts)
        else:
            _log.warning("%s", reason)
        report.hosts.clear()


class _Report:
    """The number of connections closed for a reason, by address, since the last log message about it."""

    def __init__(self) -> None:
        self.next = 0.0
        self.hosts: Counter[str] = Counter()
