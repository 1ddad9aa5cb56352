"""Limits how many streams an engine serves, and counts what happens to them."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Engine, Hypothesis, RecognitionStream, StreamEvent, StreamStatus
from transcribed.errors import LimitExceeded, TranscribedError
from transcribed.options import Capabilities, Pace, StreamOptions
from transcribed.request_context import principal
from transcribed.scheduling.accounts import Account, Accounts

_log = logging.getLogger(__name__)


CLIENT: ContextVar[str | None] = ContextVar("client", default=None)
"""The client address of streams that are opened in this context; None if the address has no limit."""

# A stream may be ended in favour of a new one if it has been open this long, and has received less than
# this many seconds of audio per second.
_EVICTION_SECONDS = 5.0
_EVICTION_RATE = 0.1
# The rate is measured over the last one to two periods of this length.
_RATE_PERIOD_SECONDS = 10.0
# A new stream may exceed three limits: those of its key, of its address, and of the server. For each of
# them another stream may be ended.
_EVICTIONS = 3


@dataclass(frozen=True, slots=True)
class StreamQuota:
    """The limit of concurrent streams of a key or an address. `name` is unique, and part of messages."""

    name: str
    limit: float


class _QuotaExceeded(LimitExceeded):
    """A quota does not permit another stream."""

    def __init__(
        self, message: str, client_message: str | None = None, *, quota: StreamQuota | None = None
    ) -> None:
        super().__init__(message, client_message)
        self.quota = quota


class AdmissionLimit:
    """Limits the live streams of all engines together to `most`; with None only the engines limit them.

    `client_share` is the part of them that one address may use. Accounts of keys have limits of their own.
    """

    def __init__(
        self, most: int | None = None, client_share: float = 1.0, accounts: Accounts | None = None
    ) -> None:
        self.most = most
        self.accounts = accounts or Accounts()
        self._client_share = client_share
        self._admitted = 0
        self._open_by_quota: Counter[str] = Counter()
        self.open: set[_AdmittedStream] = set()

    @property
    def full(self) -> bool:
        """Whether no engine can admit another live stream."""
        return self.most is not None and self._admitted >= self.most

    def quotas(self, account: Account, address: str | None, capacity: int) -> tuple[StreamQuota, ...]:
        """The quotas for a new stream of an engine that can serve `capacity` live streams."""
        found = []
        if account.key is not None:
            found.append(_key_quota(account))
        if address is not None:
            found.append(
                StreamQuota(f"live streams of {address}", client_limit(capacity, self._client_share))
            )
        return tuple(found)

    def open_streams(self, account: Account) -> int:
        """The number of open streams of the account's key."""
        return self._open_by_quota[_key_quota(account).name]

    def acquire(self, quotas: Sequence[StreamQuota], *, counted: bool) -> None:
        """Count a stream in each quota and, if `counted`, in the total limit. Raises LimitExceeded."""
        for quota in quotas:
            held = self._open_by_quota[quota.name]
            if held >= quota.limit:
                raise _QuotaExceeded(
                    f"{held} {quota.name} are being served, and there may be no more at once. Try again "
                    "when one of them has ended.",
                    quota=quota,
                )
        if counted and self.full:
            raise LimitExceeded(
                f"No more live streams can be served well: {self._admitted} are being served. "
                "Try again later."
            )
        self._open_by_quota.update(quota.name for quota in quotas)
        self._admitted += counted

    def release(self, quotas: Sequence[StreamQuota], *, counted: bool) -> None:
        """Undo an `acquire`."""
        self._admitted -= counted
        for quota in quotas:
            self._open_by_quota[quota.name] -= 1
            if not self._open_by_quota[quota.name]:
                del self._open_by_quota[quota.name]


def _key_quota(account: Account) -> StreamQuota:
    return StreamQuota(f"streams of the key {account.key}", account.streams)


def client_limit(capacity: int, share: float) -> int:
    """The part `share` of a capacity that one address may use: rounded up, and at least one."""
    return max(1, capacity - int(capacity * (1 - share) + 1e-9))


@dataclass(slots=True)
class Totals:
    """Counts of an engine's streams since the server started."""

    opened: int = 0
    refused: int = 0
    """Not opened, because a limit was reached."""
    failed: int = 0
    """Ended or not opened because of another error."""
    finals: Counter[str | None] = field(default_factory=Counter)
    """The number of finals by the model that made them; None if the engine does not name its models."""
    received: float = 0.0
    """Seconds of audio."""
    sent: float = 0.0
    """Seconds of audio sent to a remote service, for streams that have ended (see StreamStatus)."""


def _nothing() -> Mapping[str, float]:
    return {}


class AdmittedEngine:
    """Wraps an Engine to limit and count its streams.

    `capacity` returns how many streams the engine can serve. For a `remote` engine, it limits all streams,
    including those at fast pace, since the remote service counts them too; a local engine refuses streams
    itself. `counters` returns further totals of the engine, for metrics.
    """

    def __init__(
        self,
        engine: Engine,
        limit: AdmissionLimit,
        capacity: Callable[[], int],
        *,
        remote: bool = False,
        counters: Callable[[], Mapping[str, float]] = _nothing,
    ) -> None:
        self._engine = engine
        self._limit = limit
        self._capacity = capacity
        self._open: set[_AdmittedStream] = set()
        self._opening = 0
        self.remote = remote
        self.totals = Totals()
        self.counters = counters

    @property
    def name(self) -> str:
        """The name with which clients choose the engine."""
        return self.capabilities.name

    @property
    def capabilities(self) -> Capabilities:
        """What the engine supports."""
        return self._engine.capabilities

    @property
    def capacity(self) -> int:
        """How many streams can be served while no other engine has any."""
        own, most = self._capacity(), self._limit.most
        return own if most is None else min(own, most)

    @property
    def statuses(self) -> list[StreamStatus]:
        """The status of each open stream."""
        return [stream.status for stream in self._open]

    def statuses_by_owner(self, owner: str | None) -> list[tuple[str, StreamStatus]]:
        """The owner and status of each open stream of an owner, or with None of all owners."""
        return [
            (stream.owner, stream.status) for stream in self._open if owner is None or stream.owner == owner
        ]

    @property
    def sent(self) -> float:
        """Seconds of audio sent to a remote service, including that of open streams."""
        return self.totals.sent + sum(status.sent or 0.0 for status in self.statuses)

    async def open(self, options: StreamOptions) -> RecognitionStream:
        """Open a new stream. Raises LimitExceeded and what the engine raises."""
        counted = self.remote or options.pace is Pace.LIVE
        caller = principal()
        account = self._limit.accounts.account(caller)
        quotas = self._limit.quotas(account, CLIENT.get() if counted else None, self.capacity)
        try:
            if account.is_exhausted:
                raise self._limit.accounts.limit_error(account)
            stream = await self._admit(options, quotas, counted=counted)
        except LimitExceeded:
            self.totals.refused += 1
            account.refused += 1
            raise
        except TranscribedError:
            self.totals.failed += 1
            raise
        served = _AdmittedStream(stream, self, account, caller.owner, quotas, counted=counted)
        self._open.add(served)
        self._limit.open.add(served)
        self.totals.opened += 1
        account.day.opened += 1
        return served

    async def _admit(
        self, options: StreamOptions, quotas: tuple[StreamQuota, ...], *, counted: bool
    ) -> RecognitionStream:
        """Open a stream. If a limit is reached, end a stream that sends almost no audio instead, if any."""
        for _ in range(_EVICTIONS):
            try:
                return await self._try_admit(options, quotas, counted=counted)
            except LimitExceeded as error:
                idle = self._quietest(error.quota if isinstance(error, _QuotaExceeded) else None)
                if idle is None:
                    raise
            await idle.evict()
        return await self._try_admit(options, quotas, counted=counted)

    def _quietest(self, quota: StreamQuota | None) -> "_AdmittedStream | None":
        """The evictable stream, of a quota if given, that sends the least audio; None if there is none."""
        if quota is not None:
            streams = {stream for stream in self._limit.open if stream.counts_in(quota)}
        else:
            streams = self._open | (self._limit.open if self._limit.full else set())
        idle = [stream for stream in streams if stream.is_evictable]
        return min(idle, key=lambda stream: stream.recent_rate, default=None)

    async def _try_admit(
        self, options: StreamOptions, quotas: Sequence[StreamQuota], *, counted: bool
    ) -> RecognitionStream:
        self._limit.acquire(quotas, counted=counted)
        self._opening += 1
        try:
            busy = len(self._open) + self._opening - 1
            if self.remote and busy >= self._capacity():
                raise LimitExceeded(
                    f"{self.name} is given {busy} streams at once and no more, and all are running. "
                    "Try again later."
                )
            return await self._engine.open(options)
        except BaseException:
            self._limit.release(quotas, counted=counted)
            raise
        finally:
            self._opening -= 1

    def exhausted(self, account: Account) -> LimitExceeded:
        """The error for a stream whose key has used up its audio for today. Call it once a stream."""
        account.refused += 1
        return self._limit.accounts.limit_error(account)

    def ended(self, stream: "_AdmittedStream") -> None:
        """Record the end of a stream. Must be called once."""
        self._open.discard(stream)
        self._limit.open.discard(stream)
        self._limit.release(stream.quotas, counted=stream.counted)
        status = stream.status
        if status.sent is not None:
            self.totals.sent += status.sent
            _log.info(
                "A stream ended: %.1f s of audio were received, and %.1f s sent to %s.",
                status.received,
                status.sent,
                self.name,
            )


class _AdmittedStream:
    """A RecognitionStream that is limited and counted."""

    def __init__(
        self,
        stream: RecognitionStream,
        engine: AdmittedEngine,
        account: Account,
        owner: str,
        quotas: tuple[StreamQuota, ...],
        *,
        counted: bool,
    ) -> None:
        self._stream = stream
        self.owner = owner
        self._engine = engine
        self._account = account
        self.quotas = quotas
        self.counted = counted
        self._over = False
        self._eviction: LimitExceeded | None = None
        self._partial_model: str | None = None
        self._final_model: str | None = None
        self._finishing = False
        self._received = 0.0
        # The start of the last period and of the one before: time, and seconds of audio received until
        # then.
        self._earlier = self._later = (asyncio.get_running_loop().time(), 0.0)

    async def send(self, samples: Samples) -> None:
        """Send audio. Raises LimitExceeded when the key has used up its audio for today."""
        if self._account.is_exhausted:
            raise self._engine.exhausted(self._account)
        await self._stream.send(samples)
        seconds = len(samples) / SAMPLE_RATE
        self._engine.totals.received += seconds
        self._account.day.seconds += seconds
        self._received += seconds
        now = asyncio.get_running_loop().time()
        if now - self._later[0] > _RATE_PERIOD_SECONDS:
            self._earlier, self._later = self._later, (now, self._received)

    async def flush(self) -> None:
        await self._stream.flush()

    async def finish(self) -> None:
        self._finishing = True
        await self._stream.finish()

    async def __aiter__(self) -> AsyncIterator[StreamEvent]:
        totals = self._engine.totals
        try:
            async for event in self._stream:
                if isinstance(event, Hypothesis):
                    self._count(event)
                yield event
            if self._eviction is not None:
                raise self._eviction
        except TranscribedError:
            totals.failed += 1
            raise
        finally:
            # The limits are released before the reader learns of the end, because it may then open another
            # stream at once.
            self._end()

    def _count(self, hypothesis: Hypothesis) -> None:
        if hypothesis.final:
            self._final_model = hypothesis.model
            self._engine.totals.finals[hypothesis.model] += 1
        else:
            self._partial_model = hypothesis.model

    def counts_in(self, quota: StreamQuota) -> bool:
        """Whether the stream counts in a quota."""
        return any(each.name == quota.name for each in self.quotas)

    @property
    def recent_rate(self) -> float:
        """The seconds of audio received per second recently."""
        since, before = self._earlier
        return (self._received - before) / max(asyncio.get_running_loop().time() - since, 1e-9)

    @property
    def is_evictable(self) -> bool:
        """Whether the stream may be ended in favour of another, because it has sent almost no audio."""
        old = asyncio.get_running_loop().time() - self._earlier[0] >= _EVICTION_SECONDS
        return self.counted and old and not self._finishing and self.recent_rate < _EVICTION_RATE

    async def evict(self) -> None:
        """End the stream in favour of another."""
        self._eviction = LimitExceeded(
            "The server has no capacity left, and this stream sent almost no audio: another has its place. "
            "Open a new stream when there is speech."
        )
        await self.aclose()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._engine.ended(self)

    @property
    def status(self) -> StreamStatus:
        return replace(
            self._stream.status, partial_model=self._partial_model, final_model=self._final_model
        )

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._end()
