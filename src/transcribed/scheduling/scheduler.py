"""The scheduler, which runs the steps of local streams on worker threads.

All decisions are made on the event loop's thread. A worker thread only runs one step of the streams that it
is given, so no stream is ever used by two threads, and no locks are needed.
"""

import asyncio
import logging
import math
import os
from collections.abc import Sequence
from functools import partial
from typing import Self

from transcribed.engines.base import (
    Effort,
    LocalEngine,
    LocalStream,
    RecognitionEvent,
    RecognitionStream,
    StepDownEngine,
    StepKind,
    StreamStatus,
)
from transcribed.errors import LimitExceeded, Stopping
from transcribed.options import Capabilities, Pace, StreamOptions
from transcribed.scheduling.load import Load
from transcribed.scheduling.meter import Meter
from transcribed.scheduling.policy import (
    FULL_QUALITY_PART,
    Candidate,
    choose,
    others_to_batch,
)
from transcribed.scheduling.processors import Usage, read_usage, share_beside, used_by_others
from transcribed.scheduling.stream import Conditions, QueuedStep, ScheduledStream, StepResult, run_step
from transcribed.scheduling.workers import Workers

STEP_SECONDS = 20.0
"""Time limit of a step. Beyond it, the stream ends and its thread is replaced."""
_USAGE_SECONDS = 5.0
"""Seconds between measurements of the processors that other programs use."""

_log = logging.getLogger(__name__)


class Scheduler:
    """Runs the steps of all local streams on a fixed number of threads, by default one for each core.

    It admits no more live streams than the machine can serve, judged by their measured costs. Leaving this
    async context manager ends all streams with Stopping and waits for the threads.
    """

    def __init__(self, threads: int | None = None, step_seconds: float = STEP_SECONDS) -> None:
        self._workers = Workers(threads or os.cpu_count() or 1)
        self._step_seconds = step_seconds
        self._streams: set[ScheduledStream] = set()
        self._candidates: dict[ScheduledStream, Candidate[ScheduledStream]] = {}
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
        stream = ScheduledStream(engine, local, options.pace, self, meter)
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

    def remove(self, stream: "ScheduledStream") -> None:
        """Run no more steps of a stream that has ended."""
        self._streams.discard(stream)
        self._candidates.pop(stream, None)
        if stream.live:
            self.load.closed(stream.meter)

    def offer(self, candidate: QueuedStep) -> None:
        """Queue a stream's next step."""
        self._candidates[candidate.stream] = candidate
        self._dispatch()

    def waiting_since(self, stream: "ScheduledStream", now: float) -> float:
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
            step = self._workers.run(partial(run_step, streams, effort), self._step_seconds)
            conditions = Conditions(now, effort, self._workers.idle == 0, len(batch))
            step.add_done_callback(partial(self._stepped, batch, conditions))

    def _may_detach(self, stream: "ScheduledStream") -> bool:
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

    def _detach(self, stream: "ScheduledStream") -> None:
        del self._candidates[stream]
        if (recognise := stream.detach_final()) is None:
            return
        self._fast_steps += 1
        final = self._workers.run(partial(recognise, Effort.FULL), self._step_seconds)
        final.add_done_callback(partial(self._recognised, stream))
        stream.proceed()

    def _recognised(
        self, stream: "ScheduledStream", final: "asyncio.Future[Sequence[RecognitionEvent]]"
    ) -> None:
        self._fast_steps -= 1
        stream.end_detached(final.exception() or final.result())
        self._dispatch()

    def _effort_of(self, stream: "ScheduledStream") -> Effort:
        if len(self._streams) == 1:
            return Effort.ALONE
        return stream.effort(self._candidates[stream].kind)

    def _batch_of(self, chosen: QueuedStep, effort: Effort, now: float) -> list[QueuedStep]:
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
        batch: Sequence[QueuedStep],
        conditions: Conditions,
        step: "asyncio.Future[Sequence[StepResult | Exception]]",
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
