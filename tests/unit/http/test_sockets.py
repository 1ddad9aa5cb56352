"""This process's connections, as the operating system sees them."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from transcribed.http.sockets import OpenConnection, Peer, Sockets, bytes_read


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """Both ends of a connection, that of the server first, and the server's port."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family) as listener:
        there = socket.create_connection(listener.getsockname()[:2])
        here, _ = listener.accept()
        with closing(there), closing(here):
            yield here, there, listener.getsockname()[1]


def peer_of(here: socket.socket, port: int) -> Peer:
    return Peer.of(here.getpeername(), port)


Pair = tuple[socket.socket, socket.socket, int]


def test_connections_to_a_port_are_found_and_nothing_else(pair: Pair) -> None:
    here, _, port = pair
    sockets = Sockets({port})
    for _ in range(2):  # What is known is found again.
        found = [each for each in sockets.connections() if each is not None]
        assert found == [OpenConnection(peer_of(here, port), here.fileno())]
    assert sockets.used > 5
    assert not any(Sockets({port + 1}).connections())


def test_another_connection_under_the_same_number_is_seen(pair: Pair) -> None:
    here, _, port = pair
    sockets = Sockets({port})
    (found,) = filter(None, sockets.connections())
    with socket.create_server(("127.0.0.1", 0)) as other:
        os.dup2(other.fileno(), here.fileno())
        assert not any(sockets.connections())
        assert not sockets.shut_down(found)


def test_a_connection_is_shut_down_for_both_ends(pair: Pair) -> None:
    here, there, port = pair
    (found,) = filter(None, Sockets({port}).connections())
    assert Sockets({port}).shut_down(found)
    there.settimeout(5)
    assert there.recv(1) == b""
    assert here.recv(1) == b""


def test_one_that_is_not_the_one_that_was_found_is_left_alone(pair: Pair) -> None:
    here, there, port = pair
    for wrong in (Peer("192.0.2.1", 1, port), peer_of(here, port + 1)):
        assert not Sockets({port}).shut_down(OpenConnection(wrong, here.fileno()))
    there.sendall(b"a")
    assert here.recv(1) == b"a"
    number = here.fileno()
    here.close()
    assert not Sockets({port}).shut_down(OpenConnection(Peer("127.0.0.1", 1, port), number))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_what_has_been_read_is_known(pair: Pair, eventually: Callable[..., None]) -> None:
    here, there, _ = pair
    assert bytes_read(here.fileno()) == 0
    there.sendall(bytes(100_000))
    read = 0
    while read < 60_000:
        read += len(here.recv(60_000 - read))
    eventually(lambda: bytes_read(here.fileno()) == 60_000, 5, "what waits is not counted")
    while read < 100_000:
        read += len(here.recv(100_000))
    assert bytes_read(here.fileno()) == 100_000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert bytes_read(listener.fileno()) is None
    assert bytes_read(10_000) is None
