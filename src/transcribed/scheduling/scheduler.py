"""The owner of the inference threads.

All decisions are taken on the event loop's thread; a worker thread only runs `step()` of the one stream
it was given. So no stream is ever used by two threads, and there is nothing to lock.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Self

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import (
    Capabilities,
    Engine,
    Hypothesis,
    LocalEngine,
    LocalStream,
    RecognitionStream,
    StepKind,
    StreamOptions,
)
from transcribed.errors import EngineFailure, TranscribedError, Unavailable
from transcribed.scheduling.policy import Candidate, choose

BUFFERED_SECONDS = 5.0
"""Audio that one stream may hold before its sender waits."""
_UNREAD = 64
"""Hypotheses that one stream may hold unread before it computes no more."""

_log = logging.getLogger(__name__)


class Scheduler:
    """Runs the steps of all local streams on a fixed number of threads, one for each core by default.

    An async context manager; leaving it ends all streams with Unavailable and waits for the threads.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._idle_threads = threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._idle_threads, thread_name_prefix="inference")
        self._streams: set[_ScheduledStream] = set()
        self._candidates: dict[_ScheduledStream, Candidate[_ScheduledStream]] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        for stream in list(self._streams):
            stream.end(_stopping())
        await asyncio.to_thread(self._pool.shutdown)

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def run(self, engine: LocalEngine) -> Engine:
        """The engine, its streams run here."""
        return _ScheduledEngine(engine, self)

    def open(self, local: LocalStream, options: StreamOptions) -> RecognitionStream:
        """Run a stream's steps from now on."""
        if self._closed:
            raise _stopping()
        stream = _ScheduledStream(local, options, self)
        self._streams.add(stream)
        return stream

    def forget(self, stream: "_ScheduledStream") -> None:
        """A stream has ended: it takes no further step."""
        self._streams.discard(stream)
        self._candidates.pop(stream, None)

    def offer(self, candidate: Candidate["_ScheduledStream"]) -> None:
        """A stream has something to do."""
        # New audio does not send a stream that waits already back to the end of the queue.
        waiting = self._candidates.get(candidate.stream, candidate)
        self._candidates[candidate.stream] = replace(candidate, waiting_since=waiting.waiting_since)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._idle_threads and not self._closed:
            stream = choose(self._candidates.values())
            if stream is None:
                return
            del self._candidates[stream]
            self._idle_threads -= 1
            step = asyncio.get_running_loop().run_in_executor(self._pool, stream.begin_step())
            step.add_done_callback(partial(self._stepped, stream))

    def _stepped(self, stream: "_ScheduledStream", step: "asyncio.Future[Sequence[Hypothesis]]") -> None:
        self._idle_threads += 1
        stream.end_step(step)
        self._dispatch()


class _ScheduledEngine:
    """An Engine over a LocalEngine."""

    def __init__(self, engine: LocalEngine, scheduler: Scheduler) -> None:
        self._engine = engine
        self._scheduler = scheduler

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    async def open(self, options: StreamOptions) -> RecognitionStream:
        return self._scheduler.open(self._engine.open(options), options)


class _ScheduledStream:
    """A RecognitionStream over a LocalStream.

    What arrives while a step runs is held here, and handed over between steps.
    """

    def __init__(self, local: LocalStream, options: StreamOptions, scheduler: Scheduler) -> None:
        self._local = local
        self._pace = options.pace
        self._scheduler = scheduler
        self._arrived: deque[Samples] = deque()
        self._arrived_samples = 0
        self._finish_requested = False
        self._finish_given = False
        self._hypotheses: deque[Hypothesis] = deque()
        self._stepping = False
        self._ended = False
        self._failure: TranscribedError | None = None
        self._changed = asyncio.Event()

    # --- RecognitionStream

    async def send(self, samples: Samples) -> None:
        while not self._ended and self._held_seconds >= BUFFERED_SECONDS:
            await self._change()
        if self._failure is not None:
            raise self._failure
        if not self._ended:
            self._arrived.append(samples)
            self._arrived_samples += len(samples)
            self._proceed()

    async def finish(self) -> None:
        self._finish_requested = True
        self._proceed()

    async def __aiter__(self) -> AsyncIterator[Hypothesis]:
        while True:
            while self._hypotheses:
                yield self._hypotheses.popleft()
                self._proceed()
            if self._ended:
                break
            await self._change()
        if self._failure is not None:
            raise self._failure

    async def aclose(self) -> None:
        # A step under way cannot be stopped; it ends by itself, and its result is dropped.
        self.end(None)

    # --- For the scheduler

    def begin_step(self) -> Callable[[], Sequence[Hypothesis]]:
        """What to run, in any thread; until `end_step` the stream is left alone."""
        self._stepping = True
        return self._local.step

    def end_step(self, step: "asyncio.Future[Sequence[Hypothesis]]") -> None:
        """Take the result of the step that has just run."""
        self._stepping = False
        error = step.exception()
        if self._ended:
            return
        if error is None:
            self._hypotheses.extend(step.result())
            self._proceed()
            self._changed.set()
        else:
            self._fail(error)

    def end(self, failure: TranscribedError | None) -> None:
        """Nothing more happens here; whoever waits is told."""
        if not self._ended:
            self._ended = True
            self._failure = failure
            self._arrived.clear()
            self._scheduler.forget(self)
            self._changed.set()

    # ---

    @property
    def _held_seconds(self) -> float:
        return self._arrived_samples / SAMPLE_RATE + self._local.backlog

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, TranscribedError):
            _log.error("Recognition failed on one stream, which ends alone.", exc_info=error)
            error = EngineFailure("The recogniser failed on this audio; the server's log says how.")
        self.end(error)

    def _proceed(self) -> None:
        """Between steps: hand over what has arrived, and offer the next step."""
        if self._stepping or self._ended:
            return
        try:
            kind = self._hand_over()
        except Exception as error:  # noqa: BLE001 - whatever an engine raises, its reader must hear of it
            self._fail(error)
            return
        if kind is None:
            if self._finish_given:
                self.end(None)
        elif len(self._hypotheses) < _UNREAD:
            now = asyncio.get_running_loop().time()
            self._scheduler.offer(Candidate(self, self._pace, kind, now))

    def _hand_over(self) -> StepKind | None:
        while self._arrived:
            self._local.accept(self._arrived.popleft())
        self._arrived_samples = 0
        if self._finish_requested and not self._finish_given:
            self._finish_given = True
            self._local.finish()
        return self._local.next_step()


def _stopping() -> Unavailable:
    return Unavailable("The server is stopping. Try again in a moment.")
