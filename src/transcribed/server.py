"""The server process: listening sockets, signals, access rules and TLS around the application."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transcribed.app import Application
from transcribed.errors import ConfigurationError, TranscribedError
from transcribed.http import listening
from transcribed.http.entrance import entrance
from transcribed.http.head import without_content_for_head
from transcribed.http.origins import EntryRules, Hosts, Origins, is_host
from transcribed.http.proxies import Proxies
from transcribed.http.request_ids import RequestIds
from transcribed.http.security_headers import with_security_headers
from transcribed.service.access_keys import AccessKeys, AccessPolicy
from transcribed.service.key_file import KeyFile
from transcribed.settings import ServerSettings, listed
from transcribed.stopping import StopSignals

if TYPE_CHECKING:
    from transcribed.telemetry import Telemetry
    from transcribed.tls.certificates import ServerCertificate

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Started:
    """The facts that the server prints when it is ready."""

    audio: str
    """Where recordings are stored, for display."""

    transcripts: str
    """Where transcripts are stored, for display."""

    certificate: "ServerCertificate | None"
    """The certificate of the TLS listener; None without TLS."""

    keys: int
    """The number of access keys."""


async def serve(settings: ServerSettings, ready: Callable[[Started], None]) -> None:
    """Serve until SIGINT or SIGTERM. A second one ends the process at once.

    `ready` is called once recognition is possible. Raises ConfigurationError if the server cannot start.
    """
    address = listening.resolved(settings.host)
    keys = access_keys(settings, address)
    certificate = _certificate(settings, address)
    telemetry = _telemetry(settings)
    application = Application(settings, keys, telemetry)
    proxies = Proxies.of(listed(settings.proxies))
    connected = listening.connections(settings.client_share, ports=1 + settings.tls, proxies=proxies)
    entry = entry_rules(settings, address, certificate)
    guarded = entrance(application.asgi, entry, proxies)
    asgi = with_security_headers(RequestIds(connected.watched(guarded)), shared=entry.origins.every)
    asgi = without_content_for_head(asgi)
    most = connected.bounds.connections
    listeners = {"--port": listening.listener(asgi, address, settings.port, most)}
    if certificate is not None:
        listeners["--tls-port"] = listening.listener(asgi, address, settings.tls_port, most, certificate)
    stopping = asyncio.Event()
    StopSignals(stopping.set, settings.stop_grace)

    async def load() -> None:
        transcripts = await application.load()
        if settings.no_auth and _is_network(address):
            _log.warning(
                "--no-auth: whoever can reach %s may read, replace and delete all recordings, transcripts "
                "and vocabulary filters, transcribe speech, and read the metrics.",
                settings.host,
            )
        ready(Started(application.store.place, transcripts, certificate, application.access_keys.count))

    if telemetry is not None:
        telemetry.measure(application.metrics)
    failure: BaseException | None = None
    try:
        async with application.running(), asyncio.TaskGroup() as tasks:
            tasks.create_task(load())
            drain, ping = application.drain, settings.ping_interval
            tasks.create_task(listening.listen(listeners, connected, drain, stopping, ping))
    except* TranscribedError as errors:
        # Raised below: Python 3.11.2, which Debian has, wraps an exception that is raised here in a group.
        failure = errors.exceptions[0]
    finally:
        if telemetry is not None:
            await telemetry.aclose()
    if failure is not None:
        raise failure


def access_keys(settings: ServerSettings, address: str) -> AccessKeys:
    """The keys of the file; those of the database are read later. Raises ConfigurationError."""
    if settings.no_auth and settings.access_keys is not None:
        raise ConfigurationError("--access-keys and --no-auth contradict each other. Give one of them.")
    file = None if settings.access_keys is None else KeyFile(settings.access_keys)
    if file is not None:
        file.read()
    policy = AccessPolicy(settings.host if _is_network(address) else None, settings.no_auth)
    return AccessKeys(policy, file, settings.keys_key)


def _is_network(address: str) -> bool:
    """Whether other machines can reach an address."""
    return not ipaddress.ip_address(address).is_loopback


def entry_rules(
    settings: ServerSettings, address: str, certificate: "ServerCertificate | None" = None
) -> EntryRules:
    """The accepted host names and origins: those of the settings, and this machine's own names."""
    machine = socket.gethostname()
    own = {settings.host, address, machine, f"{machine.partition('.')[0]}.local"}
    if certificate is not None:
        own.update(listed(settings.tls_names), certificate.names)
    hosts = Hosts.of([*listed(settings.allow_host), *filter(is_host, own)])
    origins = Origins.of(listed(settings.allow_origin))
    if hosts.every:
        _log.warning(
            "--allow-host * accepts requests for any host name: a web page whose name resolves to this "
            "server (DNS rebinding) can do whatever its user can."
        )
    if origins.every:
        _log.warning(
            "--allow-origin * lets every web page that a browser with access to this server opens use it: "
            "without access keys such a page can read and delete everything here."
        )
    return EntryRules(hosts, origins)


def _telemetry(settings: ServerSettings) -> "Telemetry | None":
    if not settings.otel:
        return None
    from transcribed.telemetry import Telemetry  # noqa: PLC0415 - an optional extra, and slow to import

    return Telemetry()


def _certificate(settings: ServerSettings, address: str) -> "ServerCertificate | None":
    own = settings.tls_certificate, settings.tls_key
    if not settings.tls:
        if any(own):
            raise ConfigurationError("--tls-certificate and --tls-key need --tls.")
        return None
    if settings.tls_port == settings.port:
        raise ConfigurationError(
            f"--port and --tls-port are both {settings.port}. TLS needs a port of its own."
        )
    from transcribed.tls import certificates  # noqa: PLC0415 - slow to import, and used only with TLS

    match own:
        case None, None:
            names = [name for name in map(str.strip, settings.tls_names.split(",")) if name]
            return certificates.local_certificate(
                settings.certificates, f"{address}-{settings.tls_port}", [settings.host, address], names
            )
        case Path() as certificate, Path() as key:
            if settings.tls_names:
                raise ConfigurationError(
                    "--tls-names is for a certificate of the local authority. Leave it out, or leave out "
                    "--tls-certificate and --tls-key."
                )
            return certificates.user_certificate(certificate, key)
        case _:
            raise ConfigurationError("--tls-certificate needs --tls-key, and the other way round.")
