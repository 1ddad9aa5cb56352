"""The owner of the inference threads.

All decisions are taken on the event loop's thread; a worker thread only runs `step()` of the one stream
it was given. So no stream is ever used by two threads, and there is nothing to lock.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeAlias

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import (
    BatchingEngine,
    LocalEngine,
    NextStep,
    RecognitionEvent,
    RecognitionStream,
    StreamStatus,
)
from transcribed.errors import EngineFailure, LimitExceeded, Stopping, TranscribedError
from transcribed.event_queue import EventQueue
from transcribed.options import Capabilities, Pace, StreamOptions
from transcribed.scheduling.meter import Meter
from transcribed.scheduling.policy import Candidate, SenderClock, admits, capacity, choose, companions
from transcribed.scheduling.workers import Workers

BUFFERED_SECONDS = 5.0
"""Audio that one stream may hold before its sender waits."""
STEP_SECONDS = 20.0
"""A step that takes longer hangs: its stream ends, and another thread takes over."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Stepped:
    """What a step said, the seconds it took, and the seconds of audio that it listened to."""

    said: Sequence[RecognitionEvent]
    seconds: float
    heard: float


def _step(streams: Sequence["_ScheduledStream"], *, alone: bool) -> Sequence[_Stepped | Exception]:
    """One step of each of these streams of one engine, in any thread."""
    local = [stream.local for stream in streams]
    began, backlogs = time.perf_counter(), [each.backlog for each in local]
    batching = streams[0].batching
    said: Sequence[Sequence[RecognitionEvent] | Exception]
    if len(local) == 1 or batching is None:
        said = [local[0].step(alone=alone)]
    else:
        said = batching.step_together(local)
    seconds = (time.perf_counter() - began) / len(local)
    return [
        each if isinstance(each, Exception) else _Stepped(each, seconds, backlog - stream.backlog)
        for each, stream, backlog in zip(said, local, backlogs, strict=True)
    ]


_Candidate: TypeAlias = "Candidate[_ScheduledStream]"


class Scheduler:
    """Runs the steps of all local streams on a fixed number of threads, one for each core by default.

    Of live streams it takes no more than the machine can serve, by what they turn out to cost. An async
    context manager; leaving it ends all streams with Stopping and waits for the threads.
    """

    def __init__(self, threads: int | None = None, step_seconds: float = STEP_SECONDS) -> None:
        self._workers = Workers(threads or os.cpu_count() or 1)
        self._step_seconds = step_seconds
        self._streams: set[_ScheduledStream] = set()
        self._candidates: dict[_ScheduledStream, Candidate[_ScheduledStream]] = {}
        self._fast_steps = 0
        self._live = 0
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        for stream in list(self._streams):
            stream.end(Stopping())
        await self._workers.stop()

    @property
    def streams(self) -> list[StreamStatus]:
        """All that are open."""
        return [stream.status for stream in self._streams]

    def run(self, engine: LocalEngine) -> "ScheduledEngine":
        """The engine, its streams run here."""
        return ScheduledEngine(engine, self)

    def capacity(self, meter: Meter) -> int:
        """How many live streams there is room for, if they cost what the meter says."""
        return capacity(meter.costs, self._workers.count)

    def open(self, engine: LocalEngine, options: StreamOptions, meter: Meter) -> RecognitionStream:
        """Run a stream's steps from now on. Raises LimitExceeded for a live one that has no place."""
        if self._closed:
            raise Stopping
        live = options.pace is Pace.LIVE
        if live and not admits(self._live, self.capacity(meter), meter.interval):
            raise LimitExceeded(
                f"No more live streams can be served well: {self._live} are being served. Try again later."
            )
        stream = _ScheduledStream(engine, options, self, meter)
        self._streams.add(stream)
        self._live += live
        return stream

    def forget(self, stream: "_ScheduledStream") -> None:
        """A stream has ended: it takes no further step."""
        self._streams.discard(stream)
        self._candidates.pop(stream, None)
        self._live -= stream.live

    def offer(self, candidate: _Candidate) -> None:
        """A stream has something to do."""
        self._candidates[candidate.stream] = candidate
        self._dispatch()

    def waiting_since(self, stream: "_ScheduledStream", now: float) -> float:
        """When a stream that is not stepping was first offered."""
        waiting = self._candidates.get(stream)
        return now if waiting is None else waiting.due

    def _dispatch(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._workers.idle and self._candidates and not self._closed:
            stream = choose(self._candidates.values(), now, only_live=not self._may_step_fast)
            if stream is None:
                return
            together = self._together(self._candidates[stream], now)
            for candidate in together:
                del self._candidates[candidate.stream]
                candidate.stream.begin_step()
            self._fast_steps += not stream.live
            alone = len(self._streams) == 1
            streams = [candidate.stream for candidate in together]
            step = self._workers.run(partial(_step, streams, alone=alone), self._step_seconds)
            step.add_done_callback(partial(self._stepped, together))

    def _together(self, chosen: _Candidate, now: float) -> list[_Candidate]:
        """The chosen one, and those that its engine steps together with it."""
        engine = chosen.stream.batching
        if engine is None or (most := engine.batch(chosen.kind)) <= 1:
            return [chosen]
        same = (each for each in self._candidates.values() if each.stream.batching is engine)
        return [chosen, *companions(same, chosen, now, most - 1)]

    @property
    def _may_step_fast(self) -> bool:
        """The long steps of recordings leave a thread to live streams while there are any."""
        return not self._live or self._workers.count == 1 or self._fast_steps < self._workers.count - 1

    def _stepped(
        self, together: Sequence[_Candidate], step: "asyncio.Future[Sequence[_Stepped | Exception]]"
    ) -> None:
        self._fast_steps -= not together[0].stream.live
        error = step.exception()
        outcomes = step.result() if error is None else [error] * len(together)
        for candidate, outcome in zip(together, outcomes, strict=True):
            candidate.stream.end_step(candidate, outcome)
        self._dispatch()


class ScheduledEngine:
    """An Engine over a LocalEngine."""

    def __init__(self, engine: LocalEngine, scheduler: Scheduler) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._meter = Meter(engine.costs)

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self._engine.capabilities

    @property
    def capacity(self) -> int:
        """How many live streams there is room for."""
        return self._scheduler.capacity(self._meter)

    async def open(self, options: StreamOptions) -> RecognitionStream:
        """A new stream. Raises LimitExceeded and Unavailable."""
        return self._scheduler.open(self._engine, options, self._meter)


class _ScheduledStream:
    """A RecognitionStream over a LocalStream.

    What arrives while a step runs is held here, and handed over between steps.
    """

    def __init__(
        self, engine: LocalEngine, options: StreamOptions, scheduler: Scheduler, meter: Meter
    ) -> None:
        self.batching = engine if isinstance(engine, BatchingEngine) else None
        self.local = engine.open(options)
        self._pace = options.pace
        self.live = options.pace is Pace.LIVE
        self._scheduler = scheduler
        self._meter = meter
        # Audio, and None where the open segment is to be closed.
        self._arrived: deque[Samples | None] = deque()
        self._arrived_samples = 0
        self._received = 0.0
        self._backlog = 0.0
        self._recognised = 0.0
        self._sender = SenderClock()
        self._came = 0.0
        self._finish_requested = False
        self._finish_given = False
        self._said: EventQueue[RecognitionEvent] = EventQueue(
            latest_partial=self.live, on_room=self._proceed
        )
        self._stepping = False
        self._taken = asyncio.Event()

    # --- RecognitionStream

    async def send(self, samples: Samples) -> None:
        while not self._said.ended and self._held_seconds >= BUFFERED_SECONDS:
            self._taken.clear()
            await self._taken.wait()
        if self._said.failure is not None:
            raise self._said.failure
        if not self._said.ended:
            self._arrived.append(samples)
            self._arrived_samples += len(samples)
            self._received += len(samples) / SAMPLE_RATE
            self._sender.received(asyncio.get_running_loop().time(), self._received)
            self._proceed()

    async def flush(self) -> None:
        if not self._said.ended and not (self._arrived and self._arrived[-1] is None):
            self._arrived.append(None)
            self._proceed()

    async def finish(self) -> None:
        self._finish_requested = True
        self._proceed()

    def __aiter__(self) -> AsyncIterator[RecognitionEvent]:
        return aiter(self._said)

    async def aclose(self) -> None:
        # A step under way cannot be stopped; it ends by itself, and its result is dropped.
        self.end(None)

    # --- For the scheduler

    @property
    def status(self) -> StreamStatus:
        """For those who watch."""
        return StreamStatus(self._pace, self._received, max(0.0, self._received - self._recognised))

    def begin_step(self) -> None:
        """Until `end_step` the stream is left to `step` alone."""
        self._stepping = True

    def end_step(self, candidate: _Candidate, outcome: _Stepped | BaseException) -> None:
        """Take the result of the step that has just run."""
        self._stepping = False
        if self._said.ended:
            return
        if isinstance(outcome, TimeoutError):
            _log.error("A step of recognition hangs. Its stream ends alone; another thread takes over.")
            self.end(EngineFailure("The recogniser got stuck on this audio; the server's log says so."))
        elif isinstance(outcome, BaseException):
            self._fail(outcome)
        else:
            if self.live:
                # What the client was late with has not waited here.
                waited = asyncio.get_running_loop().time() - max(candidate.due, self._came)
                self._meter.step(candidate.kind, outcome.seconds, outcome.heard, waited, outcome.said)
            for said in outcome.said:
                self._said.put(said)
            self._proceed()
            self._taken.set()

    def end(self, failure: TranscribedError | None) -> None:
        """Nothing more happens here; whoever waits is told."""
        if not self._said.ended:
            self._said.end(failure)
            self._arrived.clear()
            self._scheduler.forget(self)
            self._taken.set()

    # ---

    @property
    def _held_seconds(self) -> float:
        return self._arrived_samples / SAMPLE_RATE + self._backlog

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, TranscribedError):
            _log.error("Recognition failed on one stream, which ends alone.", exc_info=error)
            error = EngineFailure("The recogniser failed on this audio; the server's log says how.")
        self.end(error)

    def _proceed(self) -> None:
        """Between steps: hand over what has arrived, and offer the next step."""
        if self._stepping or self._said.ended:
            return
        try:
            step = self._hand_over()
        except Exception as error:  # noqa: BLE001 - whatever an engine raises, its reader must hear of it
            self._fail(error)
            return
        if step is None:
            if self._finish_given:
                self.end(None)
        elif not self._said.full:
            self._scheduler.offer(Candidate(self, self._pace, step.kind, self._due(step)))

    def _hand_over(self) -> NextStep | None:
        while self._arrived:
            if (samples := self._arrived.popleft()) is None:
                self.local.flush()
            else:
                self.local.accept(samples)
        self._arrived_samples = 0
        if self._finish_requested and not self._finish_given:
            self._finish_given = True
            self.local.finish()
        step = self.local.next_step()
        self._backlog, self._recognised = self.local.backlog, self.local.recognised
        return step

    def _due(self, step: NextStep) -> float:
        if self.live:
            self._came = self._sender.came(step.since)
            return self._sender.spoken(step.since)
        return self._scheduler.waiting_since(self, asyncio.get_running_loop().time())
