"""This process's own TCP connections, as the operating system sees them.

Granian keeps its sockets to itself, but their descriptors are this process's: they can be listed, asked
what has arrived, and shut down, before anything of a connection has reached the application.
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

# Linux and macOS have both.
_DESCRIPTORS = "/dev/fd"
_UNREAD = struct.Struct("i")
_PING = b"\x89\x00"
# `tcpi_bytes_received` of struct tcp_info (linux/tcp.h, since Linux 4.1).
_RECEIVED = struct.Struct("@Q")
_RECEIVED_AT = 128


class Ends(NamedTuple):
    """The two ends of a connection: who is at the other, and the port of this one."""

    host: str
    port: int
    local_port: int

    @classmethod
    def of(cls, client: Sequence[Any], local_port: int | str) -> "Ends":
        """From the other end's address and port, in any way of writing them, be it with a zone."""
        return cls(_plain(client[0]), int(client[1]), int(local_port))


@lru_cache(1024)
def _plain(host: str) -> str:
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


class OpenConnection(NamedTuple):
    """A connection, and where it is."""

    ends: Ends
    descriptor: int


class Sockets:
    """The connections to some ports of this process.

    `used` is how many descriptors of any kind were open at the last look.
    """

    def __init__(self, ports: Collection[int]) -> None:
        self._ports = ports
        self._known: dict[tuple[int, int], Ends | None] = {}
        self.used = 0

    def connections(self) -> Iterator[OpenConnection | None]:
        """All that are open now, and None for each descriptor that is something else."""
        known: dict[tuple[int, int], Ends | None] = {}
        descriptors = os.listdir(_DESCRIPTORS)  # noqa: PTH208 - a Path for each would take longer than all else
        self.used = len(descriptors)
        for descriptor in map(int, descriptors):
            ends = None
            try:
                status = os.fstat(descriptor)
                if stat.S_ISSOCK(status.st_mode):
                    key = descriptor, status.st_ino
                    # macOS numbers no socket.
                    ends = self._known[key] if key in self._known and key[1] else self._ends(descriptor)
                    known[key] = ends
            except OSError:  # It has been closed meanwhile.
                pass
            yield None if ends is None else OpenConnection(ends, descriptor)
        self._known = known

    def _ends(self, descriptor: int) -> Ends | None:
        """None for what is no connection to one of the ports."""
        seen = socket.socket(fileno=descriptor)
        try:
            if seen.family not in {socket.AF_INET, socket.AF_INET6}:
                return None
            port = seen.getsockname()[1]
            if port not in self._ports:
                return None
            return Ends.of(seen.getpeername(), port)
        except OSError:  # The listener itself has no other end.
            return None
        finally:
            seen.detach()

    def shut_down(self, connection: OpenConnection) -> bool:
        """End a connection in both directions, if it is still the one that was found."""
        with suppress(OSError), _own(connection) as own:
            if own is not None:
                own.shutdown(socket.SHUT_RDWR)
                return True
        return False

    def ping(self, connection: OpenConnection) -> bool:
        """Send a WebSocket ping (RFC 6455, section 5.5.2), if it is still the connection that was found.

        Nothing else may be on its way to the client: Granian must have written all that it was given. What
        the client has not acknowledged yet is left to reach it first.
        """
        if sys.platform != "linux":
            return False
        with suppress(OSError), _own(connection) as own:
            if own is not None and not _unsent(own):
                return own.send(_PING, socket.MSG_DONTWAIT) == len(_PING)
        return False


@contextmanager
def _own(connection: OpenConnection) -> Iterator[socket.socket | None]:
    """A descriptor of one's own for a connection; None if it is another's by now. May raise OSError."""
    with closing(socket.socket(fileno=os.dup(connection.descriptor))) as own:
        # What was duplicated stays the same, whatever becomes of the number meanwhile.
        same = Ends.of(own.getpeername(), own.getsockname()[1]) == connection.ends
        yield own if same else None


def _unsent(connection: socket.socket) -> int:
    """Bytes that the other end has not acknowledged."""
    size: int = _UNREAD.unpack(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(_UNREAD.size)))[0]
    return size


def taken(descriptor: int) -> int | None:
    """How many bytes of a connection have been read here, since its beginning; None where nobody knows."""
    if sys.platform != "linux":
        return None
    try:
        seen = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
        try:
            known = seen.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED_AT + _RECEIVED.size)
        finally:
            seen.detach()
        received: int = _RECEIVED.unpack_from(known, _RECEIVED_AT)[0]
        # Afterwards: what arrives between the two makes the difference less, never more.
        unread: int = _UNREAD.unpack(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(_UNREAD.size)))[0]
    except (OSError, struct.error):
        return None
    return received - unread
