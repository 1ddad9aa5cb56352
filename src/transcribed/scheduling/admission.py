"""Limits how many streams an engine serves, and counts what happens to them."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Engine, Hypothesis, RecognitionStream, StreamEvent, StreamStatus
from transcribed.errors import LimitExceeded, TranscribedError
from transcribed.options import Capabilities, Pace, StreamOptions
from transcribed.request_context import principal
from transcribed.scheduling.accounts import Account, Accounts

_log = logging.getLogger(__name__)


CLIENT: ContextVar[str | None] = ContextVar("client", default=None)
"""The client address for which streams are opened in this context; None if its share is not limited."""

# A stream gives way to a new one if it is open this long and its audio covers less than this part of the
# time.
_GIVE_WAY_SECONDS = 5.0
_GIVE_WAY_PART = 0.1
# Only audio of the last one to two periods of this length counts.
_LATELY_SECONDS = 10.0
# A new stream may need a place in three limits: that of its key, of its address, and of the server.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Share:
    """A limit of concurrent streams of one key or address. `of` names both, and is unique."""

    of: str
    most: float


class _ShareTaken(LimitExceeded):
    """A share is used up."""

    def __init__(self, message: str, share: Share | None = None) -> None:
        super().__init__(message)
        self.share = share


class AdmissionLimit:
    """Limits the live streams of all engines together to `most`; with None only the engines limit them.

    `share` is the part of them that one address may have. The account of an access key has its own limit.
    """

    def __init__(
        self, most: int | None = None, share: float = 1.0, accounts: Accounts | None = None
    ) -> None:
        self.most = most
        self.accounts = accounts or Accounts()
        self._share = share
        self._taken = 0
        self._held: Counter[str] = Counter()
        self.open: set[_AdmittedStream] = set()

    @property
    def full(self) -> bool:
        """Whether no engine can admit another live stream."""
        return self.most is not None and self._taken >= self.most

    def shares(self, account: Account, address: str | None, capacity: int) -> tuple[Share, ...]:
        """The shares that a new stream counts in, for an engine that can serve `capacity` live streams."""
        found = []
        if account.key is not None:
            found.append(_of_key(account))
        if address is not None:
            found.append(Share(f"live streams of {address}", shared(capacity, self._share)))
        return tuple(found)

    def held(self, account: Account) -> int:
        """How many streams of the account's key are open."""
        return self._held[_of_key(account).of]

    def take(self, shares: Sequence[Share], *, counted: bool) -> None:
        """Take a place in each share and, if `counted`, in the total limit. Raises LimitExceeded."""
        for share in shares:
            held = self._held[share.of]
            if held >= share.most:
                raise _ShareTaken(
                    f"{held} {share.of} are being served, and there may be no more at once. Try again when "
                    "one of them has ended.",
                    share,
                )
        if counted and self.full:
            raise LimitExceeded(
                f"No more live streams can be served well: {self._taken} are being served. Try again later."
            )
        self._held.update(share.of for share in shares)
        self._taken += counted

    def give_back(self, shares: Sequence[Share], *, counted: bool) -> None:
        """Return the places that `take` took."""
        self._taken -= counted
        for share in shares:
            self._held[share.of] -= 1
            if not self._held[share.of]:
                del self._held[share.of]


def _of_key(account: Account) -> Share:
    return Share(f"streams of the key {account.key}", account.streams)


def shared(capacity: int, share: float) -> int:
    """How many of `capacity` streams one address may have: at least one, and else `share`, rounded up."""
    return max(1, capacity - int(capacity * (1 - share) + 1e-9))


@dataclass(slots=True)
class Totals:
    """Counts of an engine's streams since the server started."""

    opened: int = 0
    refused: int = 0
    """Not opened, because a limit was reached."""
    failed: int = 0
    """Ended or not opened because of another error."""
    finals: int = 0
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
        who = principal()
        account = self._limit.accounts.of(who)
        shares = self._limit.shares(account, CLIENT.get() if counted else None, self.capacity)
        try:
            if account.spent:
                raise self._limit.accounts.refusal(account)
            stream = await self._admit(options, shares, counted=counted)
        except LimitExceeded:
            self.totals.refused += 1
            account.refused += 1
            raise
        except TranscribedError:
            self.totals.failed += 1
            raise
        served = _AdmittedStream(stream, self, account, who.owner, shares, counted=counted)
        self._open.add(served)
        self._limit.open.add(served)
        self.totals.opened += 1
        account.day.begun += 1
        return served

    async def _admit(
        self, options: StreamOptions, shares: tuple[Share, ...], *, counted: bool
    ) -> RecognitionStream:
        """Open a stream. Nearly silent streams are ended where they use up the places."""
        for _ in range(_TRIES):
            try:
                return await self._try_admit(options, shares, counted=counted)
            except LimitExceeded as error:
                idle = self._idlest(error.share if isinstance(error, _ShareTaken) else None)
                if idle is None:
                    raise
            await idle.give_way()
        return await self._try_admit(options, shares, counted=counted)

    def _idlest(self, share: Share | None) -> "_AdmittedStream | None":
        """Of the streams that may give way, in this share if given, the one that sends the least audio."""
        if share is not None:
            streams = {stream for stream in self._limit.open if stream.counts_in(share)}
        else:
            streams = self._open | (self._limit.open if self._limit.full else set())
        idle = [stream for stream in streams if stream.gives_way]
        return min(idle, key=lambda stream: stream.part_of_late, default=None)

    async def _try_admit(
        self, options: StreamOptions, shares: Sequence[Share], *, counted: bool
    ) -> RecognitionStream:
        self._limit.take(shares, counted=counted)
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
            self._limit.give_back(shares, counted=counted)
            raise
        finally:
            self._opening -= 1

    def broken_off(self, account: Account) -> LimitExceeded:
        """The error for a stream whose key has used up its audio for today. Call it once for a stream."""
        account.refused += 1
        return self._limit.accounts.refusal(account)

    def ended(self, stream: "_AdmittedStream") -> None:
        """Record the end of a stream. Must be called once."""
        self._open.discard(stream)
        self._limit.open.discard(stream)
        self._limit.give_back(stream.shares, counted=stream.counted)
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
        shares: tuple[Share, ...],
        *,
        counted: bool,
    ) -> None:
        self._stream = stream
        self.owner = owner
        self._engine = engine
        self._account = account
        self.shares = shares
        self.counted = counted
        self._over = False
        self._gave_way: LimitExceeded | None = None
        self._finishing = False
        self._received = 0.0
        # The start of the last period and of the one before: time, and seconds of audio received until
        # then.
        self._earlier = self._later = (asyncio.get_running_loop().time(), 0.0)

    async def send(self, samples: Samples) -> None:
        """Give audio. Raises LimitExceeded once the audio that its key has for today is used up."""
        if self._account.spent:
            raise self._engine.broken_off(self._account)
        await self._stream.send(samples)
        seconds = len(samples) / SAMPLE_RATE
        self._engine.totals.received += seconds
        self._account.day.heard += seconds
        self._received += seconds
        now = asyncio.get_running_loop().time()
        if now - self._later[0] > _LATELY_SECONDS:
            self._earlier, self._later = self._later, (now, self._received)

    async def flush(self) -> None:
        await self._stream.flush()

    async def finish(self) -> None:
        self._finishing = True
        await self._stream.finish()

    async def __aiter__(self) -> AsyncIterator[StreamEvent]:
        totals = self._engine.totals
        try:
            async for said in self._stream:
                totals.finals += isinstance(said, Hypothesis) and said.final
                yield said
            if self._gave_way is not None:
                raise self._gave_way
        except TranscribedError:
            totals.failed += 1
            raise
        finally:
            # The place is returned before the reader learns of the end, since it may open another stream at
            # once.
            self._end()

    def counts_in(self, share: Share) -> bool:
        """Whether the stream counts in this share."""
        return any(each.of == share.of for each in self.shares)

    @property
    def part_of_late(self) -> float:
        """Seconds of audio received per second, recently."""
        since, before = self._earlier
        return (self._received - before) / max(asyncio.get_running_loop().time() - since, 1e-9)

    @property
    def gives_way(self) -> bool:
        """Whether the stream may be ended for another: it occupies a place, but sends hardly any audio."""
        old = asyncio.get_running_loop().time() - self._earlier[0] >= _GIVE_WAY_SECONDS
        return self.counted and old and not self._finishing and self.part_of_late < _GIVE_WAY_PART

    async def give_way(self) -> None:
        """End the stream, to give its place to another."""
        self._gave_way = LimitExceeded(
            "All places are taken, and this stream sent next to no audio: another has its place. "
            "Begin a new one when there is something to hear."
        )
        await self.aclose()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._engine.ended(self)

    @property
    def status(self) -> StreamStatus:
        return self._stream.status

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._end()
