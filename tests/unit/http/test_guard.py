"""The guard on real connections, by a clock that is moved on."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from typing import Any

import pytest

from transcribed.http.connections import Bounds, Connections
from transcribed.http.guard import Guard
from transcribed.http.sockets import Ends

Virtual = Callable[[Any], Any]


class Port:
    """A port with clients, accepted by nobody who would say anything."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.number: int = self._listener.getsockname()[1]

    def connect(self) -> tuple[socket.socket, Ends]:
        """A client's end, and its name at the other."""
        client = self._stack.enter_context(closing(socket.create_connection(("127.0.0.1", self.number))))
        accepted = self._stack.enter_context(closing(self._listener.accept()[0]))
        client.setblocking(False)
        return client, Ends.of(accepted.getpeername(), self.number)


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
        connections = Connections(Bounds(100))
        (silent, _), (idle, idle_ends), (busy, busy_ends) = (port.connect() for _ in range(3))
        for ends, running in ((idle_ends, 0), (busy_ends, 1)):
            known = connections.at(ends, 0.0)
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
        connections = Connections(Bounds(1000))
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
        connections = Connections(Bounds(100))
        silent, _ = port.connect()
        async with guarded(connections, port):
            with monkeypatch.context() as patched:
                patched.setattr(connections, "keep", None)
                await asyncio.sleep(1)
            await asyncio.sleep(16)
        assert closed(silent)

    in_virtual_time(run())
    assert "A look at the connections failed." in caplog.text
