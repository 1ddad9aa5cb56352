"""Granian on the ports of this server, with its limits."""

import asyncio
import logging
import resource
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server
from starlette.types import ASGIApp

from transcribed.errors import ConfigurationError, TranscribedError
from transcribed.http.connections import Bounds, Connections
from transcribed.http.guard import Guard
from transcribed.http.proxies import NO_PROXIES, Proxies

if TYPE_CHECKING:
    from transcribed.tls.certificates import ServerCertificate

CONNECTIONS = 4096
"""The most concurrent connections other than WebSockets."""
WEBSOCKETS = 1024
"""The most concurrent WebSockets; Granian takes 150 KiB for each."""
HEADER_BYTES = 64 * 1024
"""The most bytes in the headers of a request."""
STREAMS_OF_A_CONNECTION = 100
"""The most concurrent requests of an HTTP/2 connection."""

# For the connections of two ports and the WebSockets, and a quarter for files and databases.
_DESCRIPTORS = 16384
_OTHER_DESCRIPTORS = 64
_LAST_TRANSFERS_SECONDS = 5.0
_LAST_BYTES_SECONDS = 3.0
_CANCELLING_SECONDS = 2.0

_log = logging.getLogger(__name__)


def connections(share: float, ports: int = 1, proxies: Proxies = NO_PROXIES) -> Connections:
    """The connections to some ports, limited by the number of files that this process may open.

    Raises that number if possible. `share` is the share of one address; `proxies` have no such limit.
    """
    most = _allowed_descriptors()
    # Granian counts the connections of each port separately, and does not count WebSockets.
    each = min(CONNECTIONS, (most - max(_OTHER_DESCRIPTORS, most // 4)) // (ports + 1))
    if each < CONNECTIONS:
        _log.warning(
            "This process may open %d files: at most %d connections and %d WebSockets are served at once. "
            "With ulimit -n %d (LimitNOFILE in systemd, --ulimit nofile in Docker) it is %d and %d.",
            most,
            max(1, each),
            max(1, min(WEBSOCKETS, each)),
            _DESCRIPTORS,
            CONNECTIONS,
            WEBSOCKETS,
        )
    return Connections(Bounds(max(1, each), max(1, min(WEBSOCKETS, each)), share, proxies))


def _allowed_descriptors() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS has an additional limit.
        return soft
    return wanted


def listener(
    asgi: ASGIApp,
    address: str,
    port: int,
    most: int,
    certificate: "ServerCertificate | None" = None,
) -> Server:
    """Granian on one port: HTTP/1.1, HTTP/2 and WebSockets, with TLS if there is a certificate.

    It accepts at most `most` concurrent connections other than WebSockets; further ones wait.
    """
    return Server(
        asgi,
        address,
        port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.auto,
        backlog=CONNECTIONS,
        backpressure=most,
        http1_settings=HTTP1Settings(max_buffer_size=HEADER_BYTES),
        http2_settings=HTTP2Settings(
            max_concurrent_streams=STREAMS_OF_A_CONNECTION, max_headers_size=HEADER_BYTES
        ),
        log_enabled=False,
        ssl_cert=certificate.certificate if certificate else None,
        ssl_key=certificate.key if certificate else None,
        ssl_protocol_min=SSLProtocols.tls12,
    )


async def listen(
    listeners: Mapping[str, Server],
    connected: Connections,
    drain: Callable[[], Awaitable[None]],
    stopping: asyncio.Event,
    ping: float = 0,
) -> None:
    """Run listeners, keyed by the command-line option for their port, until `stopping` is set.

    Quiet WebSockets without TLS are pinged after `ping` seconds; 0 means never. Raises ConfigurationError
    for a port that is in use, and TranscribedError if a listener ends by itself, which ends the others.
    """
    for option, each in listeners.items():
        _check_free(each.bind_addr, each.bind_port, option)
    ports = {each.bind_port for each in listeners.values()}
    plain = {each.bind_port for each in listeners.values() if not each.ssl_ctx[0]}
    guard = Guard(connected, ports, _allowed_descriptors(), plain, ping)
    guarding = asyncio.create_task(guard.run())
    serving = [asyncio.create_task(each.serve()) for each in listeners.values()]
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({*serving, stop}, return_when=asyncio.FIRST_COMPLETED)
        for task in serving:
            if task.done():
                raise TranscribedError("The HTTP server ended by itself.") from task.exception()
        await drain()
    finally:
        stop.cancel()
        guarding.cancel()
        for each in listeners.values():
            each.stop()  # type: ignore[no-untyped-call]
        _, late = await asyncio.wait(serving, timeout=_LAST_BYTES_SECONDS)
        if late:
            guard.close_all()
            _, late = await asyncio.wait(serving, timeout=_LAST_TRANSFERS_SECONDS - _LAST_BYTES_SECONDS)
        if late:
            _log.warning("Some transfers stood still and are cut off.")
            connected.cancel()
            _, late = await asyncio.wait(serving, timeout=_CANCELLING_SECONDS)
        if late:
            asyncio.get_running_loop().set_exception_handler(_log_but_late_ends)


def _log_but_late_ends(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception handler of the event loop, the default one except for the late end of a listener.

    If the event loop ends before a listener, Granian sets the result of a cancelled future.
    """
    if not isinstance(context.get("exception"), asyncio.InvalidStateError):
        loop.default_exception_handler(context)


def resolved(host: str) -> str:
    """The IP address of a host, because Granian accepts no host names. Raises ConfigurationError."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise ConfigurationError(
            f"{host} is no address: {error.strerror}. Choose another with --host."
        ) from error


def _check_free(address: str, port: int, option: str) -> None:
    """Raise ConfigurationError for a port that is in use.

    Granian would share the port with the other process (SO_REUSEPORT), and get only a part of the clients.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {address} port {port}: {error.strerror}. "
            f"Is another server running there? Choose another port with {option}, or address with --host."
        ) from error
