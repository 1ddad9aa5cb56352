"""Engines, loaded as the settings ask for them: what the server and the commands in the terminal share."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from transcribed.decoding.decoders import Decoders
from transcribed.engines.failover.engine import FailoverEngine
from transcribed.engines.failover.rules import FailoverRules
from transcribed.engines.registry import LOCAL, REMOTE
from transcribed.errors import BadRequest, ConfigurationError, Unavailable, shown
from transcribed.options import one_of
from transcribed.scheduling.admission import AdmissionLimit, AdmittedEngine
from transcribed.scheduling.scheduler import ScheduledEngine, Scheduler
from transcribed.service.threads import in_thread
from transcribed.service.transcription import Transcription
from transcribed.settings import RecognitionSettings
from transcribed.wire.amazon_parameters import general_options


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
