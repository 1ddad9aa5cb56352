"""One stream on the scheduler: the audio that waits for its next step, and the events of its steps.

Everything but `run_step` is called on the event loop's thread.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import (
    BatchingEngine,
    DetachingStream,
    Effort,
    LocalEngine,
    LocalStream,
    NextStep,
    RecognitionEvent,
    StepKind,
    StreamStatus,
)
from transcribed.errors import EngineFailure, TranscribedError
from transcribed.event_queue import EventQueue
from transcribed.options import Pace
from transcribed.scheduling.effort import StreamEffort
from transcribed.scheduling.load import Load
from transcribed.scheduling.meter import Meter, Step
from transcribed.scheduling.policy import Candidate, SenderClock

BUFFERED_SECONDS = 5.0
"""Audio that a stream holds before `send` waits."""
_MOST_HELD = 64
"""Events after a final that is being recognised, beyond which a stream makes no further steps."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepResult:
    """The events of a step, and its CPU time in seconds.

    `heard` is the audio that was searched for speech, `recognised` the audio that was recognised for the
    first time, both in seconds.
    """

    events: Sequence[RecognitionEvent]
    cpu: float
    heard: float
    recognised: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a step: when it began, its effort, and whether all threads were busy then.

    `streams` is the number of streams in the batch.
    """

    began: float
    effort: Effort
    busy: bool
    streams: int


def run_step(streams: Sequence["ScheduledStream"], effort: Effort) -> Sequence[StepResult | Exception]:
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
        else StepResult(each, cpu, backlog - stream.backlog, max(0.0, stream.recognised - recognised))
        for each, stream, (backlog, recognised) in zip(events, local, before, strict=True)
    ]


QueuedStep: TypeAlias = "Candidate[ScheduledStream]"


class StepQueue(Protocol):
    """What a stream needs of the scheduler."""

    @property
    def load(self) -> Load:
        """The live streams of all engines."""
        ...

    def offer(self, candidate: "QueuedStep") -> None:
        """Queue a stream's next step."""
        ...

    def remove(self, stream: "ScheduledStream") -> None:
        """Run no more steps of a stream that has ended."""
        ...

    def waiting_since(self, stream: "ScheduledStream", now: float) -> float:
        """When a stream's queued step became due; `now` if none is queued."""
        ...


class ScheduledStream:
    """A RecognitionStream over a LocalStream.

    Audio that arrives during a step is held here, and handed to the LocalStream before the next one.
    """

    def __init__(
        self,
        engine: LocalEngine,
        local: LocalStream,
        pace: Pace,
        scheduler: StepQueue,
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
        """Send audio; waits while BUFFERED_SECONDS of it are waiting. Raises the stream's failure."""
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
        """Close the open segment after the audio so far."""
        if not self._events.ended and not (self._incoming and self._incoming[-1] is None):
            self._incoming.append(None)
            self.proceed()

    async def finish(self) -> None:
        """End the audio."""
        self._finish_requested = True
        self.proceed()

    def __aiter__(self) -> AsyncIterator[RecognitionEvent]:
        return aiter(self._events)

    async def aclose(self) -> None:
        """End the stream at once."""
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
        self, candidate: QueuedStep, conditions: Conditions, outcome: StepResult | BaseException
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

    def _record(self, candidate: QueuedStep, conditions: Conditions, result: StepResult) -> None:
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
