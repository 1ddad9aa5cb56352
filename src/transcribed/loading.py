"""Loads the engines that the settings select, for the server and for the terminal commands."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import MeasurableEngine
from transcribed.engines.failover.engine import FailoverEngine
from transcribed.engines.failover.rules import FailoverRules
from transcribed.engines.registry import LOCAL, REMOTE
from transcribed.errors import BadRequest, ConfigurationError, Unavailable, shown
from transcribed.options import Phrase, one_of
from transcribed.scheduling.admission import AdmissionLimit, AdmittedEngine
from transcribed.scheduling.scheduler import ScheduledEngine, Scheduler
from transcribed.service.threads import in_thread
from transcribed.service.transcription import Transcription
from transcribed.service.vocabularies import phrases_in
from transcribed.settings import RecognitionSettings
from transcribed.wire.amazon_parameters import general_options


@dataclass(frozen=True, slots=True)
class Recognition:
    """A loaded engine and what is needed to transcribe with it."""

    engine: AdmittedEngine
    decoders: Decoders
    transcription: Transcription


@asynccontextmanager
async def recognition(settings: RecognitionSettings) -> AsyncIterator[Recognition]:
    """Load the default engine and start its inference threads and decoding processes, for a command."""
    with Decoders() as decoders:
        async with Scheduler(settings.threads or None) as scheduler:
            engines = Engines(settings, scheduler, AdmissionLimit())
            phrases = await in_thread(favoured_phrases, settings)
            engines.publish(await engines.load())
            transcription = Transcription(engines.get, decoders, phrases=phrases)
            yield Recognition(engines.get(None), decoders, transcription)


def favoured_phrases(settings: RecognitionSettings) -> tuple[Phrase, ...]:
    """Return the phrases that all streams favour. Blocks; raises ConfigurationError."""
    return () if settings.vocabulary is None else phrases_in(settings.vocabulary)


class Engines:
    """The loaded engines by name. The first one is the default."""

    def __init__(self, settings: RecognitionSettings, scheduler: Scheduler, limit: AdmissionLimit) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._limit = limit
        self._local: dict[str, ScheduledEngine] = {}
        self._loaded: Mapping[str, AdmittedEngine] = {}
        self._beside: asyncio.Future[Any] | None = None

    @property
    def all(self) -> list[AdmittedEngine]:
        """The engines in the order in which they were requested; none before `publish`."""
        return list(self._loaded.values())

    def get(self, name: str | None) -> AdmittedEngine:
        """Return the engine of this name, or the default for None.

        Raises BadRequest for an unknown name, and Unavailable before `publish`.
        """
        if not self._loaded:
            raise Unavailable("The model is being loaded. Try again in a moment.")
        found = self._loaded.get(name or next(iter(self._loaded)))
        if found is None:
            raise BadRequest(
                f"There is no engine {shown(name)} here. Ask for {one_of(list(self._loaded))}, or for none."
            )
        return found

    async def load(
        self, others: Iterable[str] = (), beside: "asyncio.Future[Any] | None" = None
    ) -> Mapping[str, AdmittedEngine]:
        """Load the default engine, others by name, and the fallback. Raises ConfigurationError.

        The costs of local engines are measured when `beside` is done, which computes at the same time.
        """
        self._beside = beside
        names, fallback = [self._settings.engine, *others], self._settings.fallback
        if fallback in LOCAL:
            if not REMOTE.keys() & set(names):
                raise ConfigurationError(
                    f"--fallback {fallback} takes over where a remote engine fails, and there is none: "
                    f"add --engine {' or '.join(REMOTE)}, or leave --fallback out."
                )
            names.append(fallback)
        loaded = {name: await self._admitted(name) for name in dict.fromkeys(names)}
        if self._settings.vocabulary and not any(each.capabilities.phrases for each in loaded.values()):
            raise ConfigurationError(
                f"--vocabulary has no effect on the engine {self._settings.engine} with this model. Leave "
                "it out. Streams can name vocabularies that the engine has itself."
            )
        return loaded

    def publish(self, loaded: Mapping[str, AdmittedEngine]) -> None:
        """Make loaded engines available."""
        self._loaded = loaded

    async def _admitted(self, name: str) -> AdmittedEngine:
        if name in REMOTE:
            return await self._admitted_remote(name)
        scheduled = await self._scheduled(name)
        return AdmittedEngine(scheduled, self._limit, lambda: scheduled.capacity)

    async def _admitted_remote(self, name: str) -> AdmittedEngine:
        settings = self._settings
        primary = await in_thread(REMOTE[name], settings, settings.model_of(name))
        fallback = await self._scheduled(settings.fallback) if settings.fallback in LOCAL else None
        rules = FailoverRules(lifetime=settings.amazon_longest_stream)
        engine = FailoverEngine(
            primary, fallback, rules, general=general_options(settings.for_amazon().default_parameters)
        )
        return AdmittedEngine(
            engine,
            self._limit,
            lambda: settings.amazon_streams,
            remote=True,
            counters=lambda: asdict(engine.counters),
        )

    async def _scheduled(self, name: str) -> ScheduledEngine:
        # A local engine may be both requested and the fallback.
        if name not in self._local:
            loaded = await in_thread(LOCAL[name], self._settings, self._settings.model_of(name))
            if isinstance(loaded, MeasurableEngine):
                if self._beside is not None:
                    await asyncio.wait([self._beside])
                loaded = await in_thread(loaded.measured)
            self._local[name] = self._scheduler.run(loaded, step_down=self._settings.step_down)
        return self._local[name]
