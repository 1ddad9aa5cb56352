"""The guard on real connections, by a clock that is moved on."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from typing import Any

import pytest

from transcribed.http.connections import Bounds, Connections
from transcribed.http.guard import Guard
from transcribed.http.sockets import Peer, Sockets

Virtual = Callable[[Any], Any]


class Port:
    """A port with clients, accepted by nobody who would say anything."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.number: int = self._listener.getsockname()[1]

    def connect(self) -> tuple[socket.socket, Peer]:
        """A client's end, and its name at the other."""
        client = self._stack.enter_context(closing(socket.create_connection(("127.0.0.1", self.number))))
        accepted = self._stack.enter_context(closing(self._listener.accept()[0]))
        client.setblocking(False)
        return client, Peer.of(accepted.getpeername(), self.number)


@pytest.fixture
def port() -> Iterator[Port]:
    with ExitStack() as stack:
        yield Port(stack)


def closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


@asynccontextmanager
async def guarded(connections: Connections, port: Port, descriptors: int = 10_000) -> AsyncIterator[None]:
    """With a guard that watches."""
    task = asyncio.create_task(Guard(connections, {port.number}, descriptors).run())
    yield
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


def test_who_says_nothing_and_who_is_idle_is_closed_in_time(port: Port, in_virtual_time: Virtual) -> None:
    async def run() -> None:
        connections = Connections(Bounds(100, 100))
        (silent, _), (idle, idle_peer), (busy, busy_peer) = (port.connect() for _ in range(3))
        for peer, running in ((idle_peer, 0), (busy_peer, 1)):
            known = connections.at(peer, 0.0)
            known.requests, known.running = 1, running
        async with guarded(connections, port):
            await asyncio.sleep(14.5)
            assert [closed(silent), closed(idle), closed(busy)] == [False, False, False]
            await asyncio.sleep(1.5)
            assert [closed(silent), closed(idle), closed(busy)] == [True, False, False]
            await asyncio.sleep(60)
            assert [closed(idle), closed(busy)] == [True, False]

    in_virtual_time(run())


def test_where_files_run_out_the_quiet_are_closed_and_the_log_says_so(
    port: Port, in_virtual_time: Virtual, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        connections = Connections(Bounds(1000, 1000))
        clients = [port.connect()[0] for _ in range(20)]
        async with guarded(connections, port, descriptors=40):
            await asyncio.sleep(3)
        assert 3 < sum(map(closed, clients)) < 20

    in_virtual_time(run())
    lines = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 2
    assert lines[0].startswith("Of the 40 files and connections that this process may open")
    assert lines[1].startswith("Connections that were quiet while others wanted in were closed: ")


def test_a_look_that_goes_wrong_leaves_a_guard(
    port: Port, in_virtual_time: Virtual, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        connections = Connections(Bounds(100, 100))
        silent, _ = port.connect()
        async with guarded(connections, port):
            with monkeypatch.context() as patched:
                patched.setattr(connections, "keep", None)
                await asyncio.sleep(1)
            await asyncio.sleep(16)
        assert closed(silent)

    in_virtual_time(run())
    assert "A look at the connections failed." in caplog.text


class Spoken:
    """A WebSocket of an application that says what it is told to."""

    def __init__(self, connections: Connections, peer: Peer) -> None:
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._came: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent = asyncio.Event()
        self.sent.set()
        self.broken = False
        scope = {
            "type": "websocket",
            "client": [peer.host, peer.port],
            "server": ["127.0.0.1", peer.local_port],
        }
        self._running = asyncio.create_task(
            connections.watched(self._app)(scope, self._came.get, self._send)  # type: ignore[arg-type]
        )

    async def _app(self, _scope: Any, receive: Any, send: Any) -> None:
        receiving = asyncio.create_task(self._receive(receive))
        while (message := await self._said.get())["type"] != "over":
            with suppress(TimeoutError):
                await send(message)
        receiving.cancel()
        await asyncio.wait([receiving])

    async def _receive(self, receive: Any) -> None:
        while True:
            await receive()

    async def _send(self, _message: Any) -> None:
        await self.sent.wait()
        if self.broken:
            raise TimeoutError

    def say(self, kind: str) -> None:
        self._said.put_nowait({"type": kind})

    def come(self, kind: str) -> None:
        self._came.put_nowait({"type": kind})

    async def end(self) -> None:
        self.sent.set()
        self.say("over")
        await self._running


PING = b"\x89\x00"


def came(client: socket.socket) -> bytes:
    try:
        return client.recv(1000)
    except BlockingIOError:
        return b""


@asynccontextmanager
async def pinged(port: Port, *, plain: bool = True) -> AsyncIterator[tuple[socket.socket, Spoken]]:
    connections = Connections(Bounds(100, 100))
    client, peer = port.connect()
    plain_ports = {port.number} if plain else ()
    guard = asyncio.create_task(Guard(connections, {port.number}, 10_000, plain_ports, 20).run())
    websocket = Spoken(connections, peer)
    yield client, websocket
    await websocket.end()
    assert not guard.done()
    guard.cancel()
    await asyncio.wait([guard])


@pytest.mark.skipif(sys.platform != "linux", reason="pings are sent on Linux alone")
def test_a_websocket_that_is_told_nothing_is_pinged(port: Port, in_virtual_time: Virtual) -> None:
    async def run() -> None:
        async with pinged(port) as (client, websocket):
            await asyncio.sleep(14)  # Not accepted yet: the answer to the upgrade has to come first.
            assert came(client) == b""
            websocket.say("websocket.accept")
            await asyncio.sleep(19)
            assert came(client) == b""
            await asyncio.sleep(3)
            assert came(client) == PING
            await asyncio.sleep(40)
            assert came(client) == 2 * PING
            websocket.come("websocket.receive")  # That the client says something is nothing told to it.
            await asyncio.sleep(18)
            websocket.say("websocket.send")
            await asyncio.sleep(18)
            assert came(client) == b""

    in_virtual_time(run())


@pytest.mark.skipif(sys.platform != "linux", reason="pings are sent on Linux alone")
@pytest.mark.parametrize("why", ["half a message", "a send that broke off", "closed", "gone", "TLS"])
def test_no_ping_is_sent_where_it_could_spoil_something(
    port: Port, in_virtual_time: Virtual, why: str
) -> None:
    async def run() -> None:
        async with pinged(port, plain=why != "TLS") as (client, websocket):
            websocket.say("websocket.accept")
            await asyncio.sleep(1)
            if why == "half a message":
                websocket.sent.clear()
                websocket.say("websocket.send")
            elif why == "closed":
                websocket.say("websocket.close")
            elif why == "gone":
                websocket.come("websocket.disconnect")
            elif why == "a send that broke off":
                websocket.broken = True
                websocket.say("websocket.send")
            await asyncio.sleep(100)
            assert came(client) == b""

    in_virtual_time(run())


@pytest.mark.skipif(sys.platform != "linux", reason="pings are sent on Linux alone")
def test_no_ping_is_sent_behind_what_the_client_has_not_got(port: Port) -> None:
    client, peer = port.connect()
    sockets = Sockets({port.number})
    (found,) = [each for each in sockets.connections() if each is not None and each.peer == peer]
    assert sockets.ping(found)
    assert client.recv(2, socket.MSG_WAITALL) == PING
    assert not sockets.ping(found._replace(peer=peer._replace(port=1))), "it is another's by now"
    with closing(socket.socket(fileno=os.dup(found.descriptor))) as accepted:
        accepted.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                accepted.send(bytes(100_000))
    assert not sockets.ping(found)
