"""The composition root: makes every part, knows every part, and owns their start and stop."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import asdict, dataclass

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
    Unavailable,
    shown,
)
from transcribed.http import (
    documentation,
    health,
    metrics,
    recordings,
    transcripts,
    vocabulary_filters,
)
from transcribed.http import errors as http_errors
from transcribed.http.amazon import routes as amazon
from transcribed.http.amazon.handler import Limits
from transcribed.http.amazon.opening import AmazonDependencies
from transcribed.http.native import routes as native
from transcribed.http.relay import Relays
from transcribed.http.timeouts import BoundedRequests, HttpRequests
from transcribed.scheduling.admission import AdmissionLimit, AdmittedEngine
from transcribed.scheduling.scheduler import ScheduledEngine, Scheduler
from transcribed.service.access_keys import AccessKeys
from transcribed.service.library import Library
from transcribed.service.threads import in_thread
from transcribed.service.transcription import Transcription
from transcribed.service.transcripts import Transcripts
from transcribed.service.vocabulary_filters import VocabularyFilters
from transcribed.settings import RecognitionSettings, ServerSettings
from transcribed.storage.opening import open_transcripts
from transcribed.storage.places import media_store
from transcribed.storage.vocabulary_filters import VocabularyFilters as FilterFiles
from transcribed.wire.amazon_parameters import general_options, one_of

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
    transcription: Transcription


@asynccontextmanager
async def recognition(settings: RecognitionSettings) -> AsyncIterator[Recognition]:
    """A loaded engine, with inference threads and decoding processes of its own."""
    with Decoders() as decoders:
        async with Scheduler(settings.threads or None) as scheduler:
            engines = Engines(settings, scheduler, AdmissionLimit())
            engines.show(await engines.load())
            yield Recognition(engines.named(None), decoders, Transcription(engines.named, decoders))


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
                f"There is no engine {shown(name)} here. Ask for {one_of(list(self._loaded))}, or for none."
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
        first = await in_thread(REMOTE[name], settings, settings.model_of(name))
        fallback = await self._scheduled(settings.fallback) if settings.fallback in LOCAL else None
        rules = FailoverRules(lifetime=settings.amazon_longest_stream)
        lasting = FailoverEngine(
            first, fallback, rules, general=general_options(settings.for_amazon().asked)
        )
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
            loaded = await in_thread(LOCAL[name], self._settings, self._settings.model_of(name))
            self._local[name] = self._scheduler.run(loaded)
        return self._local[name]


class Application:
    """The server without its sockets: an ASGI app, and the engine behind it."""

    def __init__(self, settings: ServerSettings, keys: AccessKeys | None = None) -> None:
        self._settings = settings
        self.access_keys = keys or AccessKeys()
        self._transcripts: Transcripts | None = None
        self._opened = AsyncExitStack()
        self._scheduler = Scheduler(settings.threads or None)
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
        filters = VocabularyFilters(FilterFiles(settings.vocabulary_filters))
        self.asgi.include_router(vocabulary_filters.router(filters))
        self._transcription = Transcription(
            self.engine,
            self._decoders,
            library=library,
            transcripts=self.transcripts,
            filters=filters,
            audio_timeout=settings.audio_timeout,
            stopping=self._relays.stopping,
        )
        self.asgi.include_router(native.router(self._transcription, self._relays))
        limits = Limits(settings.longest_stream, settings.strict_end)
        dependencies = AmazonDependencies(self._transcription, self._relays, self.access_keys, limits)
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
        await self._transcription.aclose()
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
