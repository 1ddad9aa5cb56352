"""The composition root: creates all parts of the server, and starts and stops them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware.authentication import AuthenticationMiddleware

from transcribed import __version__
from transcribed.decoding.decoders import Decoders
from transcribed.errors import Stopping, Unavailable
from transcribed.http import (
    documentation,
    health,
    jobs,
    metrics,
    recordings,
    tokens,
    transcripts,
    vocabularies,
    vocabulary_filters,
)
from transcribed.http import errors as http_errors
from transcribed.http.amazon import routes as amazon
from transcribed.http.amazon.handler import Limits
from transcribed.http.amazon.opening import AmazonFront
from transcribed.http.authentication import Authentication
from transcribed.http.native import routes as native
from transcribed.http.openai import client_secrets
from transcribed.http.openai import models as openai_models
from transcribed.http.openai import realtime as openai_realtime
from transcribed.http.openai import transcriptions as openai_transcriptions
from transcribed.http.openai.paths import FinalSlashes
from transcribed.http.relay import Relays
from transcribed.http.sign_ins import SignIns
from transcribed.http.timeouts import BoundedRequests, HttpRequests
from transcribed.http.vosk import routes as vosk
from transcribed.http.web import routes as web
from transcribed.loading import Engines, favoured_phrases
from transcribed.options import Capabilities
from transcribed.scheduling.accounts import Accounts
from transcribed.scheduling.admission import AdmissionLimit, AdmittedEngine
from transcribed.scheduling.scheduler import Scheduler
from transcribed.service.access_keys import AccessKeys
from transcribed.service.broadcasts import Broadcasts, ViewerLimits
from transcribed.service.job_media import JobMedia
from transcribed.service.job_runner import Counts, JobRunner, RunnerSettings
from transcribed.service.jobs import JobLimits, Jobs
from transcribed.service.key_usage import AccountSync
from transcribed.service.library import Library
from transcribed.service.transcription import Transcription
from transcribed.service.transcripts import Transcripts
from transcribed.service.vocabularies import Vocabularies
from transcribed.service.vocabulary_filters import VocabularyFilters
from transcribed.settings import NO_TRANSCRIPTS, ServerSettings
from transcribed.storage.jobs import JobStore
from transcribed.storage.opening import open_stores
from transcribed.storage.places import media_store
from transcribed.storage.vocabularies import VocabularyFolder
from transcribed.storage.vocabulary_filters import FilterFolder

if TYPE_CHECKING:
    from transcribed.telemetry import Telemetry

_DESCRIPTION = """
Real-time speech transcription.

1. Upload a recording with `POST /audio`.
2. Open the WebSocket `/stream` and send the recording's name, or live audio, to receive the transcript
   while it is recognised. (This page cannot open WebSockets: use `npx wscat -c ws://localhost:3000/stream`.)
3. Read, search, correct and delete transcripts under `/transcripts`.
"""

_log = logging.getLogger(__name__)


class Application:
    """The server without its listening sockets: the ASGI application, and everything behind it."""

    def __init__(
        self,
        settings: ServerSettings,
        keys: AccessKeys | None = None,
        telemetry: "Telemetry | None" = None,
    ) -> None:
        self._settings = settings
        self.access_keys = keys or AccessKeys()
        self._transcripts: Transcripts | None = None
        self._jobs: Jobs | None = None
        self._opened = AsyncExitStack()
        self._scheduler = Scheduler(settings.threads or None)
        accounts = Accounts(settings.key_streams, settings.key_seconds_a_day)
        self._limit = AdmissionLimit(settings.max_sessions or None, settings.client_share, accounts)
        self._engines = Engines(settings, self._scheduler, self._limit)
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
        self.asgi.add_middleware(FinalSlashes)
        self.asgi.add_middleware(BoundedRequests, requests=self._requests)
        if telemetry is not None:
            self.asgi.add_middleware(telemetry.middleware)
        signed = (amazon.HTTP_PATH, amazon.WEBSOCKET_PATH)
        sign_ins = SignIns(settings.failed_sign_ins)
        authentication = Authentication(self.access_keys, sign_ins, signed)
        # Added after the telemetry, and so outside it: it removes secrets from URLs, which spans contain.
        self.asgi.add_middleware(AuthenticationMiddleware, backend=authentication)
        http_errors.install(self.asgi)
        documentation.install(self.asgi)
        self.asgi.include_router(web.router())
        self.asgi.include_router(recordings.router(library, self.transcripts))
        self._relays = Relays()
        self.asgi.include_router(transcripts.router(self.transcripts))
        filters = VocabularyFilters(FilterFolder(settings.vocabulary_filters))
        self.asgi.include_router(vocabulary_filters.router(filters))
        stored = Vocabularies(VocabularyFolder(settings.vocabularies))
        self.asgi.include_router(vocabularies.router(stored))
        self._transcription = Transcription(
            self.engine,
            self._decoders,
            library=library,
            transcripts=self.transcripts,
            filters=filters,
            vocabularies=stored,
            phrases=favoured_phrases(settings),
            audio_timeout=settings.audio_timeout,
            stopping=self._relays.stopping,
            tracing=None if telemetry is None else telemetry.session,
        )
        self._broadcasts = Broadcasts(
            ViewerLimits(settings.max_viewers, settings.session_viewers, settings.client_share)
        )
        self.asgi.include_router(native.router(self._transcription, self._broadcasts, self._relays))
        self.asgi.include_router(vosk.router(self._transcription, self._relays))
        limits = Limits(settings.longest_stream, settings.strict_end)
        front = AmazonFront(self._transcription, limits)
        self.asgi.include_router(amazon.router(front, self._relays))
        self.asgi.include_router(openai_models.router(self._capabilities))
        self.asgi.include_router(client_secrets.router(self.access_keys, self._capabilities))
        self.asgi.include_router(
            openai_transcriptions.router(self._transcription, self._capabilities, settings.max_upload_bytes)
        )
        self.asgi.include_router(
            openai_realtime.router(self._transcription, self._capabilities, self._relays)
        )
        self.asgi.include_router(jobs.router(self.jobs))
        self.asgi.include_router(tokens.router(self.access_keys))
        self.asgi.include_router(health.router(self.engine, lambda: self._engines.all, __version__))
        self.metrics = metrics.metrics_registry(
            lambda: self._engines.all,
            self._limit,
            sign_ins,
            broadcasts=self._broadcasts,
            jobs=lambda: Counts() if self._jobs is None else self._jobs.counts,
            version=__version__,
        )
        self.asgi.include_router(metrics.router(self.metrics))

    def engine(self, name: str | None = None) -> AdmittedEngine:
        """The engine with a name, or the default engine.

        Raises BadRequest for an unknown engine, Unavailable until the engines are loaded, and Stopping
        during shutdown.
        """
        if self._relays.stopping.is_set():
            raise Stopping
        return self._engines.get(name)

    def _capabilities(self) -> list[Capabilities]:
        """The capabilities of all engines, the default first. Raises as `engine`."""
        self.engine()
        return [each.capabilities for each in self._engines.all]

    def transcripts(self) -> Transcripts:
        """The transcripts. Raises Unavailable until they are open, which is before an engine is loaded."""
        if self._transcripts is None:
            raise Unavailable("The transcripts are being opened. Try again in a moment.")
        return self._transcripts

    def jobs(self) -> Jobs:
        """The jobs. Raises Unavailable until they are open."""
        if self._jobs is None:
            raise Unavailable("The jobs are being opened. Try again in a moment.")
        return self._jobs

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the application. Everything that is still open on leaving the context is closed."""
        # A task of its own, so that a store that does not answer does not delay the start.
        sweeping = asyncio.create_task(self.store.sweep(), name="sweep")
        try:
            with self._decoders:
                async with aclosing(self._library), self._opened, self._scheduler:
                    yield
        finally:
            sweeping.cancel()
            (outcome,) = await asyncio.gather(sweeping, return_exceptions=True)
            if isinstance(outcome, Exception):
                _log.error("Incomplete uploads could not be deleted.", exc_info=outcome)

    async def drain(self) -> None:
        """Refuse new requests, let running ones finish within the grace period, and inform all clients."""
        if self._jobs is not None:
            await self._jobs.stop()
        await self._relays.stop(self._settings.stop_grace)
        await self._transcription.aclose()
        await self._requests.stop()

    async def load(self) -> str:
        """Open the transcripts and load the engines. Returns the place of the transcripts, for display.

        Until then requests for them raise Unavailable. Raises ConfigurationError.
        """
        opening = asyncio.create_task(self._open_transcripts())
        try:
            loaded = await self._engines.load(self._settings.more_engines, opening)
        finally:
            place = await opening
        self._engines.publish(loaded)
        self.jobs().start()
        return place

    async def _open_transcripts(self) -> str:
        stores, place = None, "nowhere"
        if self._settings.transcripts != NO_TRANSCRIPTS:
            stores = await open_stores(self._settings.transcripts)
            place = stores.transcripts.place
        job_store = None if stores is None else stores.jobs
        kept = Transcripts(
            None if stores is None else stores.transcripts,
            self._settings.keep_days,
            self._broadcasts.erase,
            job_store,
        )
        transcripts = await self._opened.enter_async_context(kept)
        usage = AccountSync(self._limit.accounts, None if stores is None else stores.key_usage)
        await self._opened.enter_async_context(usage)
        keys = self.access_keys.watched(None if stores is None else stores.keys)
        await self._opened.enter_async_context(keys)
        self._jobs = await self._opened.enter_async_context(self._opened_jobs(job_store))
        self._transcripts = transcripts
        return place

    def _opened_jobs(self, store: JobStore | None) -> Jobs:
        settings = self._settings
        media = JobMedia(self._library, self._decoders)
        runner = None
        if store is not None:
            runner = JobRunner(
                store,
                self._transcription,
                media,
                self.access_keys.principal,
                RunnerSettings(settings.jobs, settings.job_lease),
            )
        limits = JobLimits(settings.most_jobs, settings.client_share)
        return Jobs(store, runner, self._transcription, media, limits)
