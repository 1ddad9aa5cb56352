"""The scheduler, which runs the steps of local streams on worker threads.

All decisions are made on the event loop's thread. A worker thread only runs one step of the streams that it
is given, so no stream is ever used by two threads, and no locks are needed.
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
    Effort,
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
from transcribed.scheduling.policy import Candidate, SenderClock, admits, capacity, choose, others_to_batch
from transcribed.scheduling.workers import Workers

BUFFERED_SECONDS = 5.0
"""Audio that a stream holds before `send` waits."""
STEP_SECONDS = 20.0
"""Time limit of a step. Beyond it, the stream ends and its thread is replaced."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _StepResult:
    """The events of a step, the seconds it took, and the seconds of audio that it searched for speech."""

    events: Sequence[RecognitionEvent]
    seconds: float
    heard: float


def _step(streams: Sequence["_ScheduledStream"], effort: Effort) -> Sequence[_StepResult | Exception]:
    """Do one step of each of these streams, which share an engine. Runs in a worker thread."""
    local = [stream.local for stream in streams]
    began, backlogs = time.perf_counter(), [each.backlog for each in local]
    batching = streams[0].batching
    events: Sequence[Sequence[RecognitionEvent] | Exception]
    if len(local) == 1 or batching is None:
        events = [local[0].step(effort)]
    else:
        events = batching.step_together(local, effort)
    seconds = (time.perf_counter() - began) / len(local)
    return [
        each if isinstance(each, Exception) else _StepResult(each, seconds, backlog - stream.backlog)
        for each, stream, backlog in zip(events, local, backlogs, strict=True)
    ]


_Candidate: TypeAlias = "Candidate[_ScheduledStream]"


class Scheduler:
    """Runs the steps of all local streams on a fixed number of threads, by default one for each core.

    It admits no more live streams than the machine can serve, judged by their measured costs. Leaving this
    async context manager ends all streams with Stopping and waits for the threads.
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
        """The status of each open stream."""
        return [stream.status for stream in self._streams]

    def run(self, engine: LocalEngine) -> "ScheduledEngine":
        """Wrap an engine so that this scheduler runs its streams."""
        return ScheduledEngine(engine, self)

    def capacity(self, meter: Meter) -> int:
        """How many live streams can be served at the costs that the meter has measured."""
        return capacity(meter.costs, self._workers.count)

    def open(self, engine: LocalEngine, options: StreamOptions, meter: Meter) -> RecognitionStream:
        """Open a stream and run its steps. Raises LimitExceeded if a live stream cannot be served well."""
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

    def remove(self, stream: "_ScheduledStream") -> None:
        """Run no more steps of a stream that has ended."""
        self._streams.discard(stream)
        self._candidates.pop(stream, None)
        self._live -= stream.live

    def offer(self, candidate: _Candidate) -> None:
        """Queue a stream's next step."""
        self._candidates[candidate.stream] = candidate
        self._dispatch()

    def waiting_since(self, stream: "_ScheduledStream", now: float) -> float:
        """When a stream's queued step became due; `now` if none is queued."""
        waiting = self._candidates.get(stream)
        return now if waiting is None else waiting.due

    def _dispatch(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._workers.idle and self._candidates and not self._closed:
            stream = choose(self._candidates.values(), now, only_live=not self._may_step_fast)
            if stream is None:
                return
            batch = self._batch_of(self._candidates[stream], now)
            for candidate in batch:
                del self._candidates[candidate.stream]
                candidate.stream.begin_step()
            self._fast_steps += not stream.live
            effort = Effort.ALONE if len(self._streams) == 1 else Effort.FULL
            streams = [candidate.stream for candidate in batch]
            step = self._workers.run(partial(_step, streams, effort), self._step_seconds)
            step.add_done_callback(partial(self._stepped, batch))

    def _batch_of(self, chosen: _Candidate, now: float) -> list[_Candidate]:
        """The chosen candidate, and those to step in one batch with it."""
        engine = chosen.stream.batching
        if engine is None or (most := engine.batch(chosen.kind)) <= 1:
            return [chosen]
        same = (each for each in self._candidates.values() if each.stream.batching is engine)
        return [chosen, *others_to_batch(same, chosen, now, most - 1)]

    @property
    def _may_step_fast(self) -> bool:
        """Whether a stream at fast pace may step. Its long steps leave one thread free for live streams."""
        return not self._live or self._workers.count == 1 or self._fast_steps < self._workers.count - 1

    def _stepped(
        self, batch: Sequence[_Candidate], step: "asyncio.Future[Sequence[_StepResult | Exception]]"
    ) -> None:
        self._fast_steps -= not batch[0].stream.live
        error = step.exception()
        outcomes = step.result() if error is None else [error] * len(batch)
        for candidate, outcome in zip(batch, outcomes, strict=True):
            candidate.stream.end_step(candidate, outcome)
        self._dispatch()


class ScheduledEngine:
    """An Engine whose streams a scheduler runs step by step."""

    def __init__(self, engine: LocalEngine, scheduler: Scheduler) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._meter = Meter(engine.costs)

    @property
    def capabilities(self) -> Capabilities:
        """What the engine supports."""
        return self._engine.capabilities

    @property
    def capacity(self) -> int:
        """How many live streams can be served."""
        return self._scheduler.capacity(self._meter)

    async def open(self, options: StreamOptions) -> RecognitionStream:
        """Open a new stream. Raises LimitExceeded and Unavailable."""
        return self._scheduler.open(self._engine, options, self._meter)


class _ScheduledStream:
    """A RecognitionStream over a LocalStream.

    Audio that arrives during a step is held here, and handed to the LocalStream before the next one.
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
        # Samples, and None for each flush.
        self._incoming: deque[Samples | None] = deque()
        self._incoming_samples = 0
        self._received = 0.0
        self._backlog = 0.0
        self._recognised = 0.0
        self._sender = SenderClock()
        self._arrival = 0.0
        self._finish_requested = False
        self._finish_handed_over = False
        self._events: EventQueue[RecognitionEvent] = EventQueue(
            latest_partial=self.live, on_room=self._proceed
        )
        self._stepping = False
        self._has_room = asyncio.Event()

    # --- RecognitionStream

    async def send(self, samples: Samples) -> None:
        while not self._events.ended and self._held_seconds >= BUFFERED_SECONDS:
            self._has_room.clear()
            await self._has_room.wait()
        if self._events.failure is not None:
            raise self._events.failure
        if not self._events.ended:
            self._incoming.append(samples)
            self._incoming_samples += len(samples)
            self._received += len(samples) / SAMPLE_RATE
            self._sender.received(asyncio.get_running_loop().time(), self._received)
            self._proceed()

    async def flush(self) -> None:
        if not self._events.ended and not (self._incoming and self._incoming[-1] is None):
            self._incoming.append(None)
            self._proceed()

    async def finish(self) -> None:
        self._finish_requested = True
        self._proceed()

    def __aiter__(self) -> AsyncIterator[RecognitionEvent]:
        return aiter(self._events)

    async def aclose(self) -> None:
        # A running step cannot be stopped; its result will be discarded.
        self.end(None)

    # --- For the scheduler

    @property
    def status(self) -> StreamStatus:
        """The current state, for monitoring."""
        return StreamStatus(self._pace, self._received, max(0.0, self._received - self._recognised))

    def begin_step(self) -> None:
        """Leave the LocalStream to a worker thread until `end_step`."""
        self._stepping = True

    def end_step(self, candidate: _Candidate, outcome: _StepResult | BaseException) -> None:
        """Process the result of the step that has just run."""
        self._stepping = False
        if self._events.ended:
            return
        if isinstance(outcome, TimeoutError):
            _log.error("A step of recognition hangs. Its stream ends alone; another thread takes over.")
            self.end(EngineFailure("The recogniser got stuck on this audio; the server's log says so."))
        elif isinstance(outcome, BaseException):
            self._fail(outcome)
        else:
            if self.live:
                # Time before the audio arrived is the client's delay, not ours.
                waited = asyncio.get_running_loop().time() - max(candidate.due, self._arrival)
                self._meter.record(candidate.kind, outcome.seconds, outcome.heard, waited, outcome.events)
            for event in outcome.events:
                self._events.put(event)
            self._proceed()
            self._has_room.set()

    def end(self, failure: TranscribedError | None) -> None:
        """End the stream, and wake those who wait for it."""
        if not self._events.ended:
            self._events.end(failure)
            self._incoming.clear()
            self._scheduler.remove(self)
            self._has_room.set()

    # ---

    @property
    def _held_seconds(self) -> float:
        return self._incoming_samples / SAMPLE_RATE + self._backlog

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, TranscribedError):
            _log.error("Recognition failed on one stream, which ends alone.", exc_info=error)
            error = EngineFailure("The recogniser failed on this audio; the server's log has the cause.")
        self.end(error)

    def _proceed(self) -> None:
        """Unless a step is running, hand over what has arrived, and queue the next step."""
        if self._stepping or self._events.ended:
            return
        try:
            step = self._hand_over()
        except Exception as error:  # noqa: BLE001 - the reader must learn of any error of the engine
            self._fail(error)
            return
        if step is None:
            if self._finish_handed_over:
                self.end(None)
        elif not self._events.full:
            self._scheduler.offer(Candidate(self, self._pace, step.kind, self._due(step)))

    def _hand_over(self) -> NextStep | None:
        while self._incoming:
            if (samples := self._incoming.popleft()) is None:
                self.local.flush()
            else:
                self.local.accept(samples)
        self._incoming_samples = 0
        if self._finish_requested and not self._finish_handed_over:
            self._finish_handed_over = True
            self.local.finish()
        step = self.local.next_step()
        self._backlog, self._recognised = self.local.backlog, self.local.recognised
        return step

    def _due(self, step: NextStep) -> float:
        if self.live:
            self._arrival = self._sender.arrived_at(step.since)
            return self._sender.spoken_at(step.since)
        return self._scheduler.waiting_since(self, asyncio.get_running_loop().time())
