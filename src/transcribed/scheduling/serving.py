"""Engines as they are served: how many streams are let in, and what has become of them."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import (
    Capabilities,
    Engine,
    Hypothesis,
    Pace,
    RecognitionStream,
    StreamOptions,
    StreamStatus,
)
from transcribed.errors import LimitExceeded, TranscribedError
from transcribed.transcript import Notice

_log = logging.getLogger(__name__)


class Places:
    """Live streams of all engines together, of which `most` are let in; None leaves it to the engines."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self._taken = 0

    def take(self) -> None:
        """Raises LimitExceeded where none is left."""
        if self.most is not None and self._taken >= self.most:
            raise LimitExceeded(
                f"No more live streams can be served well: {self._taken} are being served. Try again later."
            )
        self._taken += 1

    def give_back(self) -> None:
        """One that was taken."""
        self._taken -= 1


@dataclass(slots=True)
class Totals:
    """What has become of an engine's streams since the start; `received` and `sent` in seconds of audio.

    `refused` are those for which there was no place, `failed` those that ended with another error, be it at
    their opening. `sent` is of those that have ended (see StreamStatus).
    """

    opened: int = 0
    refused: int = 0
    failed: int = 0
    finals: int = 0
    received: float = 0.0
    sent: float = 0.0


def _nothing() -> Mapping[str, float]:
    return {}


class ServedEngine:
    """An Engine over another: with a limit for its streams, and an account of them.

    `capacity` says how many streams it has room for. Where `elsewhere`, what recognises is not in this
    process: then all streams are held to that, recordings too, since whoever recognises counts them. An
    engine that is here refuses by itself what it has no room for. `counters` are totals of its own.
    """

    def __init__(
        self,
        engine: Engine,
        places: Places,
        capacity: Callable[[], int],
        *,
        elsewhere: bool = False,
        counters: Callable[[], Mapping[str, float]] = _nothing,
    ) -> None:
        self._engine = engine
        self._places = places
        self._capacity = capacity
        self._open: set[_ServedStream] = set()
        self._opening = 0
        self.elsewhere = elsewhere
        self.totals = Totals()
        self.counters = counters

    @property
    def name(self) -> str:
        """By which it is asked for."""
        return self.capabilities.name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self._engine.capabilities

    @property
    def places(self) -> int:
        """How many streams there is room for, if no other engine had any."""
        places, most = self._capacity(), self._places.most
        return places if most is None else min(places, most)

    @property
    def statuses(self) -> list[StreamStatus]:
        """Of all streams that are open."""
        return [stream.status for stream in self._open]

    @property
    def sent(self) -> float:
        """Seconds of audio that went to somebody else's service."""
        return self.totals.sent + sum(status.sent or 0.0 for status in self.statuses)

    async def open(self, options: StreamOptions) -> RecognitionStream:
        """A new stream. Raises LimitExceeded and what the engine raises."""
        counted = self.elsewhere or options.pace is Pace.LIVE
        try:
            stream = await self._let_in(options) if counted else await self._engine.open(options)
        except LimitExceeded:
            self.totals.refused += 1
            raise
        except TranscribedError:
            self.totals.failed += 1
            raise
        served = _ServedStream(stream, self, counted=counted)
        self._open.add(served)
        self.totals.opened += 1
        return served

    async def _let_in(self, options: StreamOptions) -> RecognitionStream:
        busy = len(self._open) + self._opening
        if self.elsewhere and busy >= self._capacity():
            raise LimitExceeded(
                f"{self.name} is given {busy} streams at once and no more, and all are running. "
                "Try again later."
            )
        self._places.take()
        self._opening += 1
        try:
            return await self._engine.open(options)
        except BaseException:
            self._places.give_back()
            raise
        finally:
            self._opening -= 1

    def ended(self, stream: "_ServedStream", *, counted: bool) -> None:
        """A stream is over; to be called once."""
        self._open.discard(stream)
        if counted:
            self._places.give_back()
        status = stream.status
        if status.sent is not None:
            self.totals.sent += status.sent
            _log.info(
                "A stream ended: %.1f s of audio were received, and %.1f s sent to %s.",
                status.received,
                status.sent,
                self.name,
            )


class _ServedStream:
    """A RecognitionStream over another."""

    def __init__(self, stream: RecognitionStream, engine: ServedEngine, *, counted: bool) -> None:
        self._stream = stream
        self._engine = engine
        self._counted = counted
        self._over = False

    async def send(self, samples: Samples) -> None:
        await self._stream.send(samples)
        self._engine.totals.received += len(samples) / SAMPLE_RATE

    async def finish(self) -> None:
        await self._stream.finish()

    async def __aiter__(self) -> AsyncIterator[Hypothesis | Notice]:
        totals = self._engine.totals
        try:
            async for said in self._stream:
                totals.finals += isinstance(said, Hypothesis) and said.final
                yield said
        except TranscribedError:
            totals.failed += 1
            raise
        finally:
            # Before its reader knows, who may at once ask for another.
            self._end()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._engine.ended(self, counted=self._counted)

    @property
    def status(self) -> StreamStatus:
        return self._stream.status

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._end()
