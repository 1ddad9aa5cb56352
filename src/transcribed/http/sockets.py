"""Access to the TCP connections of this process, through their file descriptors.

Granian does not expose its sockets, but their descriptors belong to this process: they can be listed,
measured and shut down before a connection reaches the application.
"""

import fcntl
import ipaddress
import os
import socket
import stat
import struct
import sys
import termios
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from typing import Any, NamedTuple

# Lists the process's open descriptors on Linux and macOS.
_DESCRIPTORS = "/dev/fd"
_UNREAD = struct.Struct("i")
_PING = b"\x89\x00"
# `tcpi_bytes_received` of struct tcp_info (linux/tcp.h, since Linux 4.1).
_RECEIVED = struct.Struct("@Q")
_RECEIVED_AT = 128


class Peer(NamedTuple):
    """The peer of a connection: its address and port, and the port of this server."""

    host: str
    port: int
    local_port: int

    @classmethod
    def of(cls, client: Sequence[Any], local_port: int | str) -> "Peer":
        """From the client's address (in any notation, also with a zone) and port, and the server's port."""
        return cls(_plain(client[0]), int(client[1]), int(local_port))


@lru_cache(1024)
def _plain(host: str) -> str:
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


class OpenConnection(NamedTuple):
    """A connection and its file descriptor."""

    peer: Peer
    descriptor: int


class Sockets:
    """The connections to some ports of this process.

    `used` is the number of open descriptors of any kind at the last call of `connections`.
    """

    def __init__(self, ports: Collection[int]) -> None:
        self._ports = ports
        self._known: dict[tuple[int, int], Peer | None] = {}
        self.used = 0

    def connections(self) -> Iterator[OpenConnection | None]:
        """All open connections, and None for each other descriptor."""
        known: dict[tuple[int, int], Peer | None] = {}
        descriptors = os.listdir(_DESCRIPTORS)  # noqa: PTH208 - a Path for each would take longer than all else
        self.used = len(descriptors)
        for descriptor in map(int, descriptors):
            peer = None
            try:
                status = os.fstat(descriptor)
                if stat.S_ISSOCK(status.st_mode):
                    key = descriptor, status.st_ino
                    # On macOS, the inode number of a socket is 0.
                    peer = self._known[key] if key in self._known and key[1] else self._peer(descriptor)
                    known[key] = peer
            except OSError:  # The descriptor was closed meanwhile.
                pass
            yield None if peer is None else OpenConnection(peer, descriptor)
        self._known = known

    def _peer(self, descriptor: int) -> Peer | None:
        """The peer of a socket; None if it is not a connection to one of the ports."""
        seen = socket.socket(fileno=descriptor)
        try:
            if seen.family not in {socket.AF_INET, socket.AF_INET6}:
                return None
            port = seen.getsockname()[1]
            if port not in self._ports:
                return None
            return Peer.of(seen.getpeername(), port)
        except OSError:  # A listening socket has no peer.
            return None
        finally:
            seen.detach()

    def shut_down(self, connection: OpenConnection) -> bool:
        """Shut a connection down in both directions; returns False if the descriptor has another use."""
        with suppress(OSError), _own(connection) as own:
            if own is not None:
                own.shutdown(socket.SHUT_RDWR)
                return True
        return False

    def ping(self, connection: OpenConnection) -> bool:
        """Send a WebSocket ping (RFC 6455, section 5.5.2). Returns whether it was sent.

        Granian must have written all of its data, so that the ping is not inside another frame. Nothing is
        sent if the client has unacknowledged data, or if the descriptor has another use now.
        """
        if sys.platform != "linux":
            return False
        with suppress(OSError), _own(connection) as own:
            if own is not None and not _unsent(own):
                return own.send(_PING, socket.MSG_DONTWAIT) == len(_PING)
        return False


@contextmanager
def _own(connection: OpenConnection) -> Iterator[socket.socket | None]:
    """A duplicate of a connection's socket; None if the descriptor has another use now. Raises OSError."""
    with closing(socket.socket(fileno=os.dup(connection.descriptor))) as own:
        # Checked on the duplicate, because the original descriptor may be reused at any time.
        same = Peer.of(own.getpeername(), own.getsockname()[1]) == connection.peer
        yield own if same else None


def _unsent(connection: socket.socket) -> int:
    """The number of sent bytes that the peer has not acknowledged."""
    size: int = _UNREAD.unpack(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(_UNREAD.size)))[0]
    return size


def bytes_read(descriptor: int) -> int | None:
    """The number of bytes read from a connection since its beginning; None if unknown (not on Linux)."""
    if sys.platform != "linux":
        return None
    try:
        seen = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
        try:
            known = seen.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED_AT + _RECEIVED.size)
        finally:
            seen.detach()
        received: int = _RECEIVED.unpack_from(known, _RECEIVED_AT)[0]
        # Queried after the total, so that bytes that arrive in between never make the result too large.
        unread: int = _UNREAD.unpack(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(_UNREAD.size)))[0]
    except (OSError, struct.error):
        return None
    return received - unread
