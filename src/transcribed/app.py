"""The composition root: makes every part, knows every part, and owns start and stop."""

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI

from transcribed import __version__
from transcribed.decoding.decoders import Decoders
from transcribed.engines.failover.engine import FailoverEngine
from transcribed.engines.failover.rules import FailoverRules
from transcribed.engines.registry import LOCAL, REMOTE
from transcribed.errors import (
    BadRequest,
    ConfigurationError,
    Stopping,
    TranscribedError,
    Unavailable,
)
from transcribed.http import (
    amazon,
    documentation,
    health,
    listening,
    metrics,
    native,
    recordings,
    transcripts,
    vocabulary_filters,
)
from transcribed.http import errors as http_errors
from transcribed.http.relay import Relays
from transcribed.http.timeouts import BoundedRequests, HttpRequests
from transcribed.scheduling.admission import AdmissionLimit, AdmittedEngine
from transcribed.scheduling.scheduler import ScheduledEngine, Scheduler
from transcribed.service.access_keys import AccessKeys
from transcribed.service.library import Library
from transcribed.service.sessions import Sessions
from transcribed.service.threads import in_thread
from transcribed.service.transcripts import Transcripts
from transcribed.settings import RecognitionSettings, ServerSettings
from transcribed.stopping import StopSignals
from transcribed.storage.opening import open_transcripts
from transcribed.storage.places import media_store
from transcribed.storage.private import read_secret
from transcribed.storage.vocabulary_filters import VocabularyFilters
from transcribed.wire.amazon_parameters import one_of

if TYPE_CHECKING:
    from transcribed.tls.certificates import ServerCertificate

_DESCRIPTION = """
Speech to text while it is spoken.

1. `POST /audio` a recording.
2. Open the WebSocket `/stream` and send the recording's name: its transcript comes back as it grows.
   (This page cannot show WebSockets: `npx wscat -c ws://localhost:3000/stream`.)
3. `GET /transcripts`: what was said so far can be read, searched, corrected and deleted.
"""

_NO_TRANSCRIPTS = "none"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recognition:
    """What turns recordings into text."""

    engine: AdmittedEngine
    decoders: Decoders


@asynccontextmanager
async def recognition(settings: RecognitionSettings) -> AsyncIterator[Recognition]:
    """A loaded engine, with inference threads and decoding processes of its own."""
    with Decoders() as decoders:
        async with Scheduler(settings.threads or None) as scheduler:
            engines = Engines(settings, scheduler, AdmissionLimit())
            engines.show(await engines.load())
            yield Recognition(engines.named(None), decoders)


class Engines:
    """Those that are loaded, by their names; the first is what is meant where none is named."""

    def __init__(self, settings: RecognitionSettings, scheduler: Scheduler, limit: AdmissionLimit) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._limit = limit
        self._local: dict[str, ScheduledEngine] = {}
        self._loaded: Mapping[str, AdmittedEngine] = {}

    @property
    def all(self) -> list[AdmittedEngine]:
        """In the order in which they were asked for; none until all are shown."""
        return list(self._loaded.values())

    def named(self, name: str | None) -> AdmittedEngine:
        """The engine of a name. Raises BadRequest, and Unavailable until they are shown."""
        if not self._loaded:
            raise Unavailable("The model is being loaded. Try again in a moment.")
        found = self._loaded.get(name or next(iter(self._loaded)))
        if found is None:
            raise BadRequest(
                f"There is no engine {name!r} here. Ask for {one_of(list(self._loaded))}, or for none."
            )
        return found

    async def load(self, also: Iterable[str] = ()) -> Mapping[str, AdmittedEngine]:
        """Load the engine, others, and the fallback, for `show`. Raises ConfigurationError."""
        names, fallback = [self._settings.engine, *also], self._settings.fallback
        if fallback in LOCAL:
            if not REMOTE.keys() & set(names):
                raise ConfigurationError(
                    f"--fallback {fallback} goes on where an engine elsewhere cannot, and there is none: "
                    f"say --engine {' or '.join(REMOTE)} too, or leave --fallback out."
                )
            names.append(fallback)
        return {name: await self._served(name) for name in dict.fromkeys(names)}

    def show(self, loaded: Mapping[str, AdmittedEngine]) -> None:
        """From now on they can be asked for."""
        self._loaded = loaded

    async def _served(self, name: str) -> AdmittedEngine:
        if name in REMOTE:
            return await self._served_remotely(name)
        scheduled = await self._scheduled(name)
        return AdmittedEngine(scheduled, self._limit, lambda: scheduled.capacity)

    async def _served_remotely(self, name: str) -> AdmittedEngine:
        """Its streams made to last."""
        settings = self._settings
        first = await in_thread(REMOTE[name], settings.for_engines())
        fallback = await self._scheduled(settings.fallback) if settings.fallback in LOCAL else None
        rules = FailoverRules(lifetime=settings.amazon_longest_stream)
        lasting = FailoverEngine(first, fallback, rules, general=settings.for_amazon().asked)
        return AdmittedEngine(
            lasting,
            self._limit,
            lambda: settings.amazon_streams,
            remote=True,
            counters=lambda: asdict(lasting.counters),
        )

    async def _scheduled(self, name: str) -> ScheduledEngine:
        """One that computes here, loaded once."""
        if name not in self._local:
            loaded = await in_thread(LOCAL[name], self._settings.for_engines())
            self._local[name] = self._scheduler.run(loaded)
        return self._local[name]


class Application:
    """The server without its sockets: an ASGI app, and the engine behind it."""

    def __init__(self, settings: ServerSettings, keys: AccessKeys | None = None) -> None:
        self._settings = settings
        self.access_keys = keys or AccessKeys()
        self._transcripts: Transcripts | None = None
        self._opened = AsyncExitStack()
        self._scheduler = Scheduler(settings.threads or None, settings.max_sessions or None)
        self._engines = Engines(
            settings, self._scheduler, AdmissionLimit(settings.max_sessions or None, settings.client_share)
        )
        self.store = media_store(settings.audio)
        self._decoders = Decoders()
        library = self._library = Library(self.store, self._decoders, settings.max_upload_bytes)
        self.asgi = FastAPI(
            title="transcribed",
            version=__version__,
            description=_DESCRIPTION,
            docs_url=None,
            redoc_url=None,
        )
        self._requests = HttpRequests()
        self.asgi.add_middleware(BoundedRequests, requests=self._requests)
        http_errors.install(self.asgi)
        documentation.install(self.asgi)
        self.asgi.include_router(recordings.router(library))
        self._relays = Relays()
        self.asgi.include_router(transcripts.router(self.transcripts))
        self.asgi.include_router(
            native.router(
                self.engine,
                library,
                self.transcripts,
                self._relays,
                decoders=self._decoders,
                audio_timeout=settings.audio_timeout,
            )
        )
        filters = VocabularyFilters(settings.vocabulary_filters)
        self.asgi.include_router(vocabulary_filters.router(filters))
        self._sessions = Sessions()
        limits = amazon.Limits(settings.audio_timeout, settings.longest_stream, settings.strict_end)
        dependencies = amazon.AmazonDependencies(
            self.engine,
            self._decoders,
            self.transcripts,
            filters,
            self._sessions,
            self._relays,
            self.access_keys,
            limits,
        )
        self.asgi.include_router(amazon.router(dependencies))
        self.asgi.include_router(health.router(self.engine, lambda: self._engines.all, __version__))
        self.asgi.include_router(metrics.router(lambda: self._engines.all, __version__))

    def engine(self, name: str | None = None) -> AdmittedEngine:
        """An engine by its name, or the one that is meant without.

        Raises BadRequest for one that is not there, Unavailable until they are loaded, Stopping at the end.
        """
        if self._relays.stopping.is_set():
            raise Stopping
        return self._engines.named(name)

    def transcripts(self) -> Transcripts:
        """The transcripts. Raises Unavailable until they are open, which they are before the engine is."""
        if self._transcripts is None:
            raise Unavailable("The transcripts are being opened. Try again in a moment.")
        return self._transcripts

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From start to stop; what is open at the end is told, and ended."""
        # Beside all else: a store that does not answer holds up nothing but itself.
        sweeping = asyncio.create_task(self.store.sweep(), name="sweep")
        try:
            with self._decoders:
                async with aclosing(self._library), self._opened, self._scheduler:
                    yield
        finally:
            sweeping.cancel()
            (outcome,) = await asyncio.gather(sweeping, return_exceptions=True)
            if isinstance(outcome, Exception):
                _log.error("What earlier uploads left could not be swept.", exc_info=outcome)

    async def drain(self) -> None:
        """Begin nothing new, let what runs come to its end within the grace, and tell all clients."""
        await self._relays.stop(self._settings.stop_grace)
        await self._sessions.aclose()
        await self._requests.stop()

    async def load(self) -> str:
        """Open the transcripts and load the engines; returns where transcripts are kept.

        Until then the app answers that it is starting. Raises ConfigurationError.
        """
        opening = asyncio.create_task(self._open_transcripts())
        try:
            loaded = await self._engines.load(self._settings.more_engines)
        finally:
            place = await opening
        self._engines.show(loaded)
        return place

    async def _open_transcripts(self) -> str:
        store, place = None, "nowhere"
        if self._settings.transcripts != _NO_TRANSCRIPTS:
            store = await open_transcripts(self._settings.transcripts)
            place = store.place
        kept = Transcripts(store, self._settings.keep_days)
        self._transcripts = await self._opened.enter_async_context(kept)
        return place


@dataclass(frozen=True)
class Started:
    """What the server has to tell when it is ready."""

    audio: str
    """The place of the recordings."""

    transcripts: str
    """The place of the transcripts."""

    certificate: "ServerCertificate | None"
    """That of the listener with TLS, where there is one."""


async def serve(settings: ServerSettings, ready: Callable[[Started], None]) -> None:
    """Serve until SIGINT or SIGTERM. A second one ends the process at once.

    `ready` is called once recognition is possible. Raises ConfigurationError where the server cannot start.
    """
    address = listening.resolved(settings.host)
    keys = access_keys(settings, address)
    certificate = _certificate(settings, address)
    application = Application(settings, keys)
    connected = listening.connections(settings.client_share, ports=1 + settings.tls)
    asgi, most = connected.watched(application.asgi), connected.bounds.connections
    listeners = {"--port": listening.listener(asgi, address, settings.port, most)}
    if certificate is not None:
        listeners["--tls-port"] = listening.listener(asgi, address, settings.tls_port, most, certificate)
    stopping = asyncio.Event()
    StopSignals(stopping.set, settings.stop_grace)

    async def load() -> None:
        transcripts = await application.load()
        ready(Started(application.store.place, transcripts, certificate))

    failure: BaseException | None = None
    try:
        async with application.running(), asyncio.TaskGroup() as tasks:
            tasks.create_task(load())
            drain, ping = application.drain, settings.ping_interval
            tasks.create_task(listening.listen(listeners, connected, drain, stopping, ping))
    except* TranscribedError as errors:
        # Raised below: Python 3.11.2, which Debian has, makes a group of what is raised here.
        failure = errors.exceptions[0]
    if failure is not None:
        raise failure


def access_keys(settings: ServerSettings, address: str) -> AccessKeys:
    """The keys that are configured. Raises ConfigurationError where others could come in without any."""
    others = not ipaddress.ip_address(address).is_loopback
    if settings.access_keys is None:
        if others and not settings.no_auth:
            raise ConfigurationError(
                f"--host {settings.host} lets other machines in, and there are no access keys. Name a file "
                "of keys with --access-keys, or say --no-auth to do without them."
            )
        return AccessKeys()
    if settings.no_auth:
        raise ConfigurationError("--access-keys and --no-auth contradict each other. Give one of them.")
    path = settings.access_keys
    try:
        keys = AccessKeys.parsed(read_secret(path).decode(), str(path))
    except OSError as error:
        raise ConfigurationError(
            f"The access keys in {path} cannot be read: {error.strerror}. Name a file with --access-keys."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path} is not text. --access-keys names a file of lines: ID SECRET."
        ) from error
    if others:
        _log.warning(
            "Access keys guard Amazon's endpoints alone: all else is open to whoever can reach %s. "
            "See docs/operations.md, Access.",
            settings.host,
        )
    return keys


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
    from transcribed.tls import certificates  # noqa: PLC0415 - every start would wait for it

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
            return certificates.own_certificate(certificate, key)
        case _:
            raise ConfigurationError("--tls-certificate needs --tls-key, and the other way round.")
