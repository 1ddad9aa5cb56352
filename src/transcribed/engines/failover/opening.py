"""The opening of engine streams for one FailoverStream: which engine, when, and after which failures."""

import asyncio
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from transcribed.engines.base import Engine, RecognitionStream
from transcribed.engines.failover.rules import (
    CircuitBreaker,
    FailOver,
    FailoverRules,
    FailureKind,
    GiveUp,
    Outage,
    Retry,
    classify_failure,
    decide,
    for_fallback,
    with_general,
)
from transcribed.errors import EngineFailure, TranscribedError, Unavailable
from transcribed.options import StreamOptions, unsupported

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class EngineStream:
    """An open stream of one of the engines, when it was opened, and how many events it has yielded."""

    stream: RecognitionStream
    name: str
    is_fallback: bool
    opened_at: float
    events: int = 0


class StreamOpener:
    """Opens streams of the primary engine and of the fallback, and keeps track of the current outage."""

    def __init__(
        self,
        primary: Engine,
        fallback: Engine | None,
        options: StreamOptions,
        *,
        rules: FailoverRules,
        breaker: CircuitBreaker,
        general: StreamOptions,
    ) -> None:
        self.primary = primary
        self._fallback = fallback
        # Partials tell whether a segment is open, even if the client does not want to see them.
        self._primary_options = replace(options, partials=True)
        self._requested = with_general(self._primary_options, general)
        self._fallback_options: StreamOptions | None = None
        if fallback is not None:
            self._fallback_options = for_fallback(
                self._requested, primary.capabilities, fallback.capabilities
            )
        self._rules = rules
        self._breaker = breaker
        self._outage: Outage | None = None
        self._proven = False

    async def open_first(self) -> tuple[EngineStream, str]:
        """Open the first stream. Also return the error message that explains a use of the fallback.

        Raises the last error if no stream could be opened.
        """
        outage = self._new_outage(self._rules.patience_opening)
        if outage.fallback and now() < self._breaker.avoided_until:
            with suppress(TranscribedError):
                return await self.open(is_fallback=True), self._breaker.reason
        try:
            return await self.open(), ""
        except TranscribedError as error:
            opened = await self._retry(outage.failed(self._kind(error)), error)
            return opened, error.message

    async def open(self, *, is_fallback: bool = False) -> EngineStream:
        """Open a stream of the primary engine or of the fallback, once. Raises TranscribedError."""
        engine, options = self.primary, self._primary_options
        if is_fallback and self._fallback is not None and self._fallback_options is not None:
            engine, options = self._fallback, self._fallback_options
        name = engine.capabilities.name
        try:
            with translated_errors(name):
                async with asyncio.timeout(self._rules.opening):
                    stream = await engine.open(options)
        except TranscribedError as error:
            if not is_fallback and self._kind(error) is FailureKind.LOST:
                self._breaker.unreachable(error.message, self._rules, now())
            raise
        if not is_fallback:
            self._breaker.reached()
        return EngineStream(stream, name, is_fallback, opened_at=now())

    def record_failure(self, failed: EngineStream, failure: TranscribedError, *, in_segment: bool) -> None:
        """Record the failure of a stream, as part of the current outage or as the start of a new one."""
        outlived = now() - failed.opened_at > self._rules.settled and not in_segment
        outage = self._outage
        if is_new := outage is None or outlived:
            outage = self._new_outage(self._rules.patience)
        kind = self._kind(failure, is_fallback=failed.is_fallback)
        self._outage = (
            outage.fallback_failed(kind, for_now=is_new) if failed.is_fallback else outage.failed(kind)
        )

    async def reopen(self, error: TranscribedError) -> EngineStream:
        """Open the stream that follows a recorded failure. Raises the last error if nothing helps."""
        return await self._retry(self._outage or self._new_outage(self._rules.patience), error)

    def recognised(self, opened: EngineStream, *, final: bool) -> None:
        """Record that a stream has yielded a hypothesis: a final ends the outage."""
        self._proven |= not opened.is_fallback
        if final:
            self._outage = None

    def lost_options(self, opened: EngineStream) -> str:
        """Return the names of the requested options that the engine of a stream does not support."""
        if not opened.is_fallback or self._fallback is None:
            return ""
        return ", ".join(unsupported(self._requested, self._fallback.capabilities)).replace("_", " ")

    async def _retry(self, outage: Outage, error: TranscribedError) -> EngineStream:
        while True:
            self._outage = outage
            decision = decide(outage, self._rules, now(), jitter())
            _log.warning("A stream is interrupted, %s: %s", decision, error.message)
            if isinstance(decision, GiveUp):
                raise error
            if isinstance(decision, Retry):
                await asyncio.sleep(decision.delay)
            is_fallback = isinstance(decision, FailOver)
            try:
                return await self.open(is_fallback=is_fallback)
            except TranscribedError as failure:
                error = failure
                kind = self._kind(error, is_fallback=is_fallback)
                outage = outage.fallback_failed(kind) if is_fallback else outage.failed(kind)

    def _new_outage(self, patience: float) -> Outage:
        return Outage(now(), patience, fallback=self._fallback_options is not None)

    def _kind(self, error: TranscribedError, *, is_fallback: bool = False) -> FailureKind:
        return classify_failure(error, proven=self._proven or is_fallback)


@contextmanager
def translated_errors(name: str) -> Iterator[None]:
    """Turn any exception of the engine with this name into a TranscribedError."""
    try:
        yield
    except TranscribedError:
        raise
    except TimeoutError as error:
        raise Unavailable(f"{name} does not answer.") from error
    except Exception as error:
        _log.exception("A stream of %s failed.", name)
        raise EngineFailure(f"{name} failed on this audio; the server's log has the cause.") from error


def jitter() -> float:
    """Return a random number in [0, 1), which spreads the tries of streams that failed together."""
    return random.random()  # noqa: S311 - no secret


def now() -> float:
    """Return the time of the event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
