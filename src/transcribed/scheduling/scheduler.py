"""The scheduler, which runs the steps of local streams on worker threads.

All decisions are made on the event loop's thread. A worker thread only runs one step of the streams that it
is given, so no stream is ever used by two threads, and no locks are needed.
"""

import asyncio
import logging
import math
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeAlias

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import (
    BatchingEngine,
    DetachingStream,
    Effort,
    LocalEngine,
    LocalStream,
    NextStep,
    RecognitionEvent,
    RecognitionStream,
    StepDownEngine,
    StepKind,
    StreamStatus,
)
from transcribed.errors import EngineFailure, LimitExceeded, Stopping, TranscribedError
from transcribed.event_queue import EventQueue
from transcribed.options import Capabilities, Pace, StreamOptions
from transcribed.scheduling.effort import StreamEffort
from transcribed.scheduling.load import Load
from transcribed.scheduling.meter import Meter, Step
from transcribed.scheduling.policy import (
    FULL_QUALITY_PART,
    Candidate,
    SenderClock,
    choose,
    others_to_batch,
)
from transcribed.scheduling.processors import Usage, read_usage, share_beside, used_by_others
from transcribed.scheduling.workers import Workers

BUFFERED_SECONDS = 5.0
"""Audio that a stream holds before `send` waits."""
STEP_SECONDS = 20.0
"""Time limit of a step. Beyond it, the stream ends and its thread is replaced."""
_MOST_HELD = 64
"""Events after a final that is being recognised, beyond which a stream makes no further steps."""
_USAGE_SECONDS = 5.0
"""Seconds between measurements of the processors that other programs use."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _StepResult:
    """The events of a step, and its CPU time in seconds.

    `heard` is the audio that was searched for speech, `recognised` the audio that was recognised for the
    first time, both in seconds.
    """

    events: Sequence[RecognitionEvent]
    cpu: float
    heard: float
    recognised: float


@dataclass(frozen=True, slots=True)
class _Conditions:
    """The conditions of a step: when it began, its effort, and whether all threads were busy then.

    `streams` is the number of streams in the batch.
    """

    began: float
    effort: Effort
    busy: bool
    streams: int


def _step(streams: Sequence["_ScheduledStream"], effort: Effort) -> Sequence[_StepResult | Exception]:
    """Do one step of each of these streams, which share an engine. Runs in a worker thread."""
    local = [stream.local for stream in streams]
    before = [(each.backlog, each.recognised) for each in local]
    began = time.thread_time()
    batching = streams[0].batching
    events: Sequence[Sequence[RecognitionEvent] | Exception]
    if len(local) == 1 or batching is None:
        events = [local[0].step(effort)]
    else:
        events = batching.step_together(local, effort)
    cpu = (time.thread_time() - began) / len(local)
    return [
        each
        if isinstance(each, Exception)
        else _StepResult(each, cpu, backlog - stream.backlog, max(0.0, stream.recognised - recognised))
        for each, stream, (backlog, recognised) in zip(events, local, before, strict=True)
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
        self.load = Load(self._workers.count)
        """The live streams of all engines, and the share of the threads' time available to them."""
        self._closed = False
        self._next_look: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._look_at_others(read_usage())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        if self._next_look is not None:
            self._next_look.cancel()
        for stream in list(self._streams):
            stream.end(Stopping())
        await self._workers.stop()

    def _look_at_others(self, earlier: Usage | None) -> None:
        """Measure how much other programs have used since `earlier`, and repeat it periodically."""
        if earlier is None or (now := read_usage()) is None:
            return
        others = used_by_others(earlier, now)
        if others is not None:
            self.load.beside(share_beside(others, self._workers.count, os.cpu_count() or 1))
        loop = asyncio.get_running_loop()
        self._next_look = loop.call_later(_USAGE_SECONDS, self._look_at_others, now)

    @property
    def streams(self) -> list[StreamStatus]:
        """The status of each open stream."""
        return [stream.status for stream in self._streams]

    def run(self, engine: LocalEngine, *, step_down: bool = True) -> "ScheduledEngine":
        """Wrap an engine so that this scheduler runs its streams.

        With `step_down`, streams that there is no room for get the engine's cheaper version, if it has one.
        """
        self.load.loaded(engine.costs.share)
        return ScheduledEngine(engine, self, step_down=step_down)

    def capacity(self, meter: Meter, part: float = 1.0) -> int:
        """How many live streams can be served at the costs that the meter has measured.

        `part` is the part of the available time that all live streams may use.
        """
        return self.load.capacity(meter, asyncio.get_running_loop().time(), part)

    def open(
        self,
        engine: LocalEngine,
        options: StreamOptions,
        meter: Meter,
        part: float = 1.0,
        local: LocalStream | None = None,
    ) -> RecognitionStream:
        """Open a stream and run its steps. Raises LimitExceeded if a live stream cannot be served well.

        `part` is the part of the available time that all live streams together may use. `local` is the
        engine's stream if it is open already.
        """
        self.check_room(options.pace, meter, part)
        local = engine.open(options) if local is None else local
        stream = _ScheduledStream(engine, local, options.pace, self, meter)
        self._streams.add(stream)
        if stream.live:
            self.load.opened(meter)
        return stream

    def check_room(self, pace: Pace, meter: Meter, part: float) -> None:
        """Raise LimitExceeded if one more stream of this pace cannot be served well."""
        if self._closed:
            raise Stopping
        now = asyncio.get_running_loop().time()
        if pace is Pace.LIVE and not self.load.admits(meter, now, part):
            raise LimitExceeded(
                f"No more live streams can be served well: {self.load.streams} are being served. "
                "Try again later."
            )

    def remove(self, stream: "_ScheduledStream") -> None:
        """Run no more steps of a stream that has ended."""
        self._streams.discard(stream)
        self._candidates.pop(stream, None)
        if stream.live:
            self.load.closed(stream.meter)

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
            if self._may_detach(stream):
                self._detach(stream)
                continue
            effort = self._effort_of(stream)
            batch = self._batch_of(self._candidates[stream], effort, now)
            for candidate in batch:
                del self._candidates[candidate.stream]
                candidate.stream.begin_step()
            self._fast_steps += not stream.live
            streams = [candidate.stream for candidate in batch]
            step = self._workers.run(partial(_step, streams, effort), self._step_seconds)
            conditions = _Conditions(now, effort, self._workers.idle == 0, len(batch))
            step.add_done_callback(partial(self._stepped, batch, conditions))

    def _may_detach(self, stream: "_ScheduledStream") -> bool:
        """Whether one thread recognises a stream's final while the stream goes on in another.

        Only streams at fast pace have audio to go on with, and they may not disturb live ones.
        """
        return (
            stream.detaching is not None
            and self._candidates[stream].kind is StepKind.FINAL
            and not stream.detached
            and not self.load.streams
            and self._workers.idle > 1
        )

    def _detach(self, stream: "_ScheduledStream") -> None:
        del self._candidates[stream]
        if (recognise := stream.detach_final()) is None:
            return
        self._fast_steps += 1
        final = self._workers.run(partial(recognise, Effort.FULL), self._step_seconds)
        final.add_done_callback(partial(self._recognised, stream))
        stream.proceed()

    def _recognised(
        self, stream: "_ScheduledStream", final: "asyncio.Future[Sequence[RecognitionEvent]]"
    ) -> None:
        self._fast_steps -= 1
        stream.end_detached(final.exception() or final.result())
        self._dispatch()

    def _effort_of(self, stream: "_ScheduledStream") -> Effort:
        if len(self._streams) == 1:
            return Effort.ALONE
        return stream.effort(self._candidates[stream].kind)

    def _batch_of(self, chosen: _Candidate, effort: Effort, now: float) -> list[_Candidate]:
        """The chosen candidate, and those to step in one batch with it."""
        engine = chosen.stream.batching
        if engine is None or (most := engine.batch(chosen.kind)) <= 1:
            return [chosen]
        same = (
            each
            for each in self._candidates.values()
            if each.stream.batching is engine and each.stream.effort(each.kind) is effort
        )
        others = others_to_batch(same, chosen, now, most - 1)
        # A batch takes longer than a step, so idle threads share the streams.
        share = math.ceil((1 + len(others)) / self._workers.idle)
        return [chosen, *others[: share - 1]]

    @property
    def _may_step_fast(self) -> bool:
        """Whether a stream at fast pace may step. Its long steps leave one thread free for live streams."""
        return (
            not self.load.streams or self._workers.count == 1 or self._fast_steps < self._workers.count - 1
        )

    def _stepped(
        self,
        batch: Sequence[_Candidate],
        conditions: _Conditions,
        step: "asyncio.Future[Sequence[_StepResult | Exception]]",
    ) -> None:
        self._fast_steps -= not batch[0].stream.live
        error = step.exception()
        outcomes = step.result() if error is None else [error] * len(batch)
        for candidate, outcome in zip(batch, outcomes, strict=True):
            candidate.stream.end_step(candidate, conditions, outcome)
        self._dispatch()


class ScheduledEngine:
    """An Engine whose streams a scheduler runs step by step."""

    def __init__(self, engine: LocalEngine, scheduler: Scheduler, *, step_down: bool) -> None:
        self._engine = engine
        self._scheduler = scheduler
        reducible = isinstance(engine, StepDownEngine)
        self._meter = Meter(engine.costs, reduces=reducible)
        self._reduced = engine.reduced if step_down and isinstance(engine, StepDownEngine) else None
        self._reduced_meter = Meter((self._reduced or engine).costs)
        self._part = 1.0 if self._reduced is None else FULL_QUALITY_PART

    @property
    def capabilities(self) -> Capabilities:
        """What the engine supports."""
        return self._engine.capabilities

    @property
    def capacity(self) -> int:
        """How many live streams can be served with finals of full quality."""
        return self._scheduler.capacity(self._meter, self._part)

    async def open(self, options: StreamOptions) -> RecognitionStream:
        """Open a new stream, on the engine's cheaper version if there is no room for full quality.

        Raises LimitExceeded and Unavailable.
        """
        try:
            return await self._open(self._engine, options, self._meter, self._part)
        except LimitExceeded:
            if self._reduced is None:
                raise
        stream = await self._open(self._reduced, options, self._reduced_meter, 2.0 - self._part)
        _log.info("The machine is busy: all results of a new stream are of lower quality.")
        return stream

    async def _open(
        self, engine: LocalEngine, options: StreamOptions, meter: Meter, part: float
    ) -> RecognitionStream:
        local = None
        if options.phrases:
            self._scheduler.check_room(options.pace, meter, part)
            # The engine may compile the phrases, for which neither the event loop nor a step may wait.
            local = await asyncio.to_thread(engine.open, options)
        return self._scheduler.open(engine, options, meter, part, local)


class _ScheduledStream:
    """A RecognitionStream over a LocalStream.

    Audio that arrives during a step is held here, and handed to the LocalStream before the next one.
    """

    def __init__(
        self,
        engine: LocalEngine,
        local: LocalStream,
        pace: Pace,
        scheduler: Scheduler,
        meter: Meter,
    ) -> None:
        self.batching = engine if isinstance(engine, BatchingEngine) else None
        self.local = local
        self._pace = pace
        self.live = pace is Pace.LIVE
        self.detaching: DetachingStream | None = None
        if not self.live and isinstance(local, DetachingStream):
            self.detaching = local
        self.detached = False
        """Whether a final is being recognised while the stream goes on."""
        self._held: list[RecognitionEvent] = []
        self._scheduler = scheduler
        self.meter = meter
        self._load = scheduler.load
        self._effort = StreamEffort()
        self._ahead = 0.0
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
            latest_partial=self.live, on_room=self.proceed
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
            self.proceed()

    async def flush(self) -> None:
        if not self._events.ended and not (self._incoming and self._incoming[-1] is None):
            self._incoming.append(None)
            self.proceed()

    async def finish(self) -> None:
        self._finish_requested = True
        self.proceed()

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

    def effort(self, kind: StepKind) -> Effort:
        """The effort of a step of this kind while other streams are open."""
        return self._effort.of(kind, self._load.rule) if self.live else Effort.FULL

    def begin_step(self) -> None:
        """Leave the LocalStream to a worker thread until `end_step`."""
        self._stepping = True

    def end_step(
        self, candidate: _Candidate, conditions: _Conditions, outcome: _StepResult | BaseException
    ) -> None:
        """Process the result of the step that has just run."""
        self._stepping = False
        if self._events.ended:
            return
        if isinstance(outcome, BaseException):
            self._fail(outcome)
            return
        if self.live:
            self._record(candidate, conditions, outcome)
        if self.detached:
            self._held += outcome.events
        else:
            self._put(outcome.events)
        self.proceed()
        self._has_room.set()

    def detach_final(self) -> Callable[[Effort], Sequence[RecognitionEvent]] | None:
        """Return the recognition of the closed segment; `end_detached` takes its outcome.

        If that fails, the stream ends, and None is returned.
        """
        assert self.detaching is not None  # noqa: S101 - checked by the scheduler
        try:
            final = self.detaching.detach_final()
        except Exception as error:  # noqa: BLE001 - the reader must learn of any error of the engine
            self._fail(error)
            return None
        self.detached = True
        return final

    def end_detached(self, outcome: Sequence[RecognitionEvent] | BaseException) -> None:
        """Process the outcome of a recognition that `detach_final` has returned."""
        self.detached = False
        if self._events.ended:
            return
        if isinstance(outcome, BaseException):
            self._fail(outcome)
            return
        held, self._held = self._held, []
        self._put([*outcome, *held])
        self.proceed()

    def _put(self, events: Sequence[RecognitionEvent]) -> None:
        for event in events:
            self._events.put(event)

    def _record(self, candidate: _Candidate, conditions: _Conditions, result: _StepResult) -> None:
        now = asyncio.get_running_loop().time()
        ahead = self._ahead if candidate.kind is StepKind.FINAL else 0.0
        if candidate.kind is StepKind.AHEAD:
            self._ahead = result.cpu
        elif candidate.kind is not StepKind.LISTEN:
            # After a partial it does not count: speech went on. A busy machine does no steps ahead.
            self._ahead = 0.0
        step = Step(
            candidate.kind,
            conditions.effort,
            result.cpu,
            (now - conditions.began) / conditions.streams,
            result.heard,
            result.recognised,
            # Time before the audio arrived is the client's delay, not ours.
            now - max(candidate.due, self._arrival),
            result.events,
            ahead,
        )
        self.meter.record(now, step)
        self._load.record(now, step, busy=conditions.busy)

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
        if isinstance(error, TimeoutError):
            _log.error("A step of recognition hangs. Its stream ends alone; another thread takes over.")
            error = EngineFailure("The recogniser got stuck on this audio; the server's log says so.")
        elif not isinstance(error, TranscribedError):
            _log.error("Recognition failed on one stream, which ends alone.", exc_info=error)
            error = EngineFailure("The recogniser failed on this audio; the server's log has the cause.")
        self.end(error)

    def proceed(self) -> None:
        """Unless a step is running, hand over what has arrived, and queue the next step."""
        if self._stepping or self._events.ended:
            return
        try:
            step = self._hand_over()
        except Exception as error:  # noqa: BLE001 - the reader must learn of any error of the engine
            self._fail(error)
            return
        if step is None:
            if self._finish_handed_over and not self.detached:
                self.end(None)
        elif not self._events.full and len(self._held) < _MOST_HELD:
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
