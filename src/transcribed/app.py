"""The composition root: makes every part, knows every part, and owns start and stop."""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from transcribed import __version__
from transcribed.engines.base import Engine
from transcribed.engines.registry import load_engine
from transcribed.errors import ConfigurationError, Stopping, TranscribedError, Unavailable
from transcribed.http import errors as http_errors
from transcribed.http import health, native, recordings, transcripts
from transcribed.http.relay import Relays
from transcribed.http.timeouts import BoundedRequests, HttpRequests
from transcribed.scheduling.scheduler import ScheduledEngine, Scheduler
from transcribed.service.library import Library
from transcribed.service.threads import in_thread
from transcribed.service.transcripts import Transcripts
from transcribed.settings import RecognitionSettings, ServerSettings
from transcribed.storage.objects import ObjectMediaStore
from transcribed.storage.opening import open_transcripts

_DESCRIPTION = """
Speech to text while it is spoken.

1. `POST /audio` a recording.
2. Open the WebSocket `/stream` and send the recording's name: its transcript comes back as it grows.
   (This page cannot show WebSockets: `npx wscat -c ws://localhost:3000/stream`.)
3. `GET /transcripts`: what was said so far can be read, searched, corrected and deleted.
"""

# Granian accepts no connection beyond this number, idle ones included.
_CONNECTIONS = 4096
_LAST_TRANSFERS_SECONDS = 5.0
_NO_TRANSCRIPTS = "none"

_log = logging.getLogger(__name__)


@asynccontextmanager
async def recognition(settings: RecognitionSettings) -> AsyncIterator[Engine]:
    """A loaded engine, with inference threads of its own."""
    async with Scheduler(settings.threads or None) as scheduler:
        yield scheduler.run(await in_thread(load_engine, settings.engine, settings.for_engines()))


class Application:
    """The server without its sockets: an ASGI app, and the engine behind it."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._engine: ScheduledEngine | None = None
        self._transcripts: Transcripts | None = None
        self._opened = AsyncExitStack()
        self._scheduler = Scheduler(settings.threads or None, settings.max_sessions or None)
        self.store = ObjectMediaStore.at(settings.audio)
        library = Library(self.store, settings.max_upload_bytes)
        self.asgi = FastAPI(title="transcribed", version=__version__, description=_DESCRIPTION)
        self._requests = HttpRequests()
        self.asgi.add_middleware(BoundedRequests, requests=self._requests)
        http_errors.install(self.asgi)
        self.asgi.include_router(recordings.router(library))
        self._relays = Relays()
        self.asgi.include_router(transcripts.router(self.transcripts))
        self.asgi.include_router(
            native.router(self.engine, library, self.transcripts, self._relays, settings.audio_timeout)
        )
        self.asgi.include_router(health.router(self.engine, lambda: self._scheduler.streams, __version__))

    def engine(self) -> ScheduledEngine:
        """The engine. Raises Unavailable until it is loaded, and Stopping at the end."""
        if self._relays.stopping.is_set():
            raise Stopping
        if self._engine is None:
            raise Unavailable("The model is being loaded. Try again in a moment.")
        return self._engine

    def transcripts(self) -> Transcripts:
        """The transcripts. Raises Unavailable until they are open, which they are before the engine is."""
        if self._transcripts is None:
            raise Unavailable("The transcripts are being opened. Try again in a moment.")
        return self._transcripts

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From start to stop; what is open at the end is told, and ended."""
        await self.store.sweep()
        async with self._opened, self._scheduler:
            yield

    async def say_goodbye(self) -> None:
        """Begin nothing new, let what runs come to its end within the grace, and tell all clients."""
        await self._relays.stop(self._settings.stop_grace)
        await self._requests.stop()

    async def load(self) -> str:
        """Open the transcripts and load the engine; returns where transcripts are kept.

        Until then the app answers that it is starting. Raises ConfigurationError.
        """
        settings = self._settings
        opening = asyncio.create_task(self._open_transcripts())
        try:
            loaded = await in_thread(load_engine, settings.engine, settings.for_engines())
        finally:
            place = await opening
        self._engine = self._scheduler.run(loaded)
        return place

    async def _open_transcripts(self) -> str:
        store, place = None, "nowhere"
        if self._settings.transcripts != _NO_TRANSCRIPTS:
            store = await open_transcripts(self._settings.transcripts)
            place = store.place
        kept = Transcripts(store, self._settings.keep_days)
        self._transcripts = await self._opened.enter_async_context(kept)
        return place


async def serve(settings: ServerSettings, ready: Callable[[str, str, str], None]) -> None:
    """Serve until SIGINT or SIGTERM. A second one ends the process at once.

    `ready` is called with the server's address and the places of the recordings and of the transcripts once
    recognition is possible. Raises ConfigurationError where the server cannot start.
    """
    application = Application(settings)
    server = Server(
        application.asgi,
        settings.host,
        settings.port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.auto,
        backlog=_CONNECTIONS,
        backpressure=_CONNECTIONS,
        log_enabled=False,
    )
    stopping = asyncio.Event()
    _set_by_signals(stopping)

    async def load() -> None:
        transcripts = await application.load()
        ready(_address(settings), application.store.place, transcripts)

    try:
        async with application.running(), asyncio.TaskGroup() as tasks:
            tasks.create_task(load())
            tasks.create_task(_listen(server, application, settings, stopping))
    except* TranscribedError as errors:
        raise errors.exceptions[0] from None


def _set_by_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        stopping.set()
        for number in numbers:
            loop.remove_signal_handler(number)
            # For SIGINT the loop would put back what raises KeyboardInterrupt, somewhere in its midst.
            signal.signal(number, signal.SIG_DFL)

    for number in numbers:
        loop.add_signal_handler(number, stop)


async def _listen(
    server: Server, application: Application, settings: ServerSettings, stopping: asyncio.Event
) -> None:
    _check_free(settings.host, settings.port)
    serving = asyncio.create_task(server.serve())
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            raise TranscribedError("The HTTP server ended by itself.") from serving.exception()
        await application.say_goodbye()
    finally:
        stop.cancel()
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({serving}, timeout=_LAST_TRANSFERS_SECONDS)
        if not serving.done():
            _log.warning("Some transfers stood still and are cut off.")


def _check_free(host: str, port: int) -> None:
    """Raise ConfigurationError for an address that cannot be listened on.

    Granian shares a port with whoever listens there already, and each would get some of the clients.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host} port {port}: {error.strerror}. "
            "Is another server running there? Choose another address with --host, or port with --port."
        ) from error


def _address(settings: ServerSettings) -> str:
    host = "localhost" if settings.host in {"127.0.0.1", "0.0.0.0", "::"} else settings.host  # noqa: S104
    return f"http://{host}:{settings.port}"
