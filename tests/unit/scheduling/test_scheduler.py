import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.engines.base import (
    Costs,
    Effort,
    Hypothesis,
    LocalEngine,
    LocalStream,
    NextStep,
    RecognitionEvent,
    RecognitionStream,
    StepKind,
)
from transcribed.engines.testing.scripted import Script, ScriptedEngine
from transcribed.errors import EngineFailure, LimitExceeded, Stopping, TranscribedError, Unavailable
from transcribed.options import Capabilities, Pace, Phrase, StreamOptions
from transcribed.scheduling.meter import Meter, Step
from transcribed.scheduling.policy import PROMISED_INTERVAL
from transcribed.scheduling.scheduler import Scheduler
from transcribed.scheduling.stream import BUFFERED_SECONDS

pytestmark = pytest.mark.anyio

LIVE, FAST = StreamOptions(pace=Pace.LIVE), StreamOptions(pace=Pace.FAST)
HALF_SECOND = silence(0.5)
TIMEOUT = 30
UNREAD = 64


class Listener:
    """A LocalStream that listens to half a second a step, and says how many steps it has taken.

    `before_step` runs in the worker's thread. Two threads that use it at once make it fail.
    """

    kind = StepKind.LISTEN

    def __init__(self, before_step: Callable[[], object] = lambda: None) -> None:
        self.steps = self.accepted = self.finishes = 0
        self.flushed_at: list[int] = []
        self._before_step = before_step
        self._waiting = 0
        self._in_use = threading.Lock()

    def accept(self, samples: Samples) -> None:
        with self._alone():
            self.accepted += len(samples)
            self._waiting += len(samples)

    def flush(self) -> None:
        with self._alone():
            self.flushed_at.append(self.accepted)

    def finish(self) -> None:
        with self._alone():
            self.finishes += 1

    @property
    def backlog(self) -> float:
        return self._waiting / SAMPLE_RATE

    @property
    def recognised(self) -> float:
        return (self.accepted - self._waiting) / SAMPLE_RATE

    def next_step(self) -> NextStep | None:
        with self._alone():
            return NextStep(self.kind, self.recognised) if self._waiting else None

    def step(self, effort: Effort) -> Sequence[Hypothesis]:
        with self._alone():
            self._before_step()
            self._waiting = max(0, self._waiting - len(HALF_SECOND))
            self.steps += 1
            return (Hypothesis(0, 0.0, 0.5 * self.steps, str(self.steps), final=False),)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        assert self._in_use.acquire(blocking=False), "two threads use one stream"
        try:
            yield
        finally:
            self._in_use.release()


class Talker(Listener):
    """A LocalStream that has something to say for ever, once it has heard anything."""

    kind = StepKind.PARTIAL

    @property
    def backlog(self) -> float:
        return 0.0

    def step(self, effort: Effort) -> Sequence[Hypothesis]:
        said = super().step(effort)
        self._waiting = 1
        return said


@dataclass(frozen=True)
class SingleStreamEngine:
    """A LocalEngine of which only this stream can be opened."""

    stream: LocalStream

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("one", ("en-US",))

    @property
    def costs(self) -> Costs:
        return Costs(1e-3, 1e-3)

    def open(self, options: StreamOptions) -> LocalStream:
        return self.stream


def _open(
    scheduler: Scheduler, stream: LocalStream, options: StreamOptions, meter: Meter | None = None
) -> RecognitionStream:
    engine = SingleStreamEngine(stream)
    return scheduler.open(engine, options, meter or Meter(engine.costs))


class Gate:
    """Holds a worker's thread until the test lets it go."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def __call__(self) -> None:
        self._reached.set()
        assert self._open.wait(TIMEOUT)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, TIMEOUT)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


async def _settle() -> None:
    """Let the event loop do all that needs no thread and no clock."""
    for _ in range(20):
        await asyncio.sleep(0)


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 - what it asks for sets no event
            await asyncio.sleep(0.001)


async def _note(stream: RecognitionStream, said: list[str]) -> None:
    async with asyncio.timeout(TIMEOUT):
        async for hypothesis in stream:
            said.append(hypothesis.text)  # noqa: PERF401 - what comes before a failure counts


async def _texts(stream: RecognitionStream) -> list[str]:
    said: list[str] = []
    await _note(stream, said)
    return said


async def _send(stream: RecognitionStream, count: int) -> None:
    for _ in range(count):
        await stream.send(HALF_SECOND)
    await stream.finish()


async def _occupy(scheduler: Scheduler, gate: Gate) -> RecognitionStream:
    """A stream that keeps a thread until the gate opens, and then has said all."""
    stream = _open(scheduler, Listener(gate), LIVE)
    await stream.send(HALF_SECOND)
    await gate.reached()
    return stream


def _inference_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("inference")]


# --- One stream


async def test_what_is_sent_is_heard_in_order_and_the_end_ends_it() -> None:
    listener = Listener()
    async with Scheduler(1) as scheduler:
        stream = _open(scheduler, listener, LIVE)
        await _send(stream, 4)
        assert await _texts(stream) == ["1", "2", "3", "4"]
        assert scheduler.streams == []
    assert (listener.accepted, listener.finishes) == (4 * len(HALF_SECOND), 1)


async def test_an_end_without_audio_ends_without_events() -> None:
    listener = Listener()
    async with Scheduler(1) as scheduler:
        stream = _open(scheduler, listener, LIVE)
        await stream.finish()
        await stream.finish()
        assert await _texts(stream) == []
    assert (listener.steps, listener.finishes) == (0, 1)


async def test_a_flush_keeps_its_place_in_the_audio(gate: Gate) -> None:
    listener = Listener(gate)
    async with Scheduler(1) as scheduler:
        stream = _open(scheduler, listener, LIVE)
        await stream.flush()
        await stream.send(HALF_SECOND)
        await gate.reached()
        await stream.send(HALF_SECOND)
        await stream.flush()
        await stream.flush()
        await stream.send(HALF_SECOND)
        gate.open()
        await stream.finish()
        await _texts(stream)
        await stream.flush()
    assert listener.flushed_at == [0, 2 * len(HALF_SECOND)]


async def test_what_arrives_during_a_step_is_handed_over_after_it(gate: Gate) -> None:
    listener = Listener(gate)
    async with Scheduler(1) as scheduler:
        stream = _open(scheduler, listener, LIVE)
        await stream.send(HALF_SECOND)
        await gate.reached()
        await stream.send(HALF_SECOND)
        await stream.finish()
        assert (listener.accepted, listener.finishes) == (len(HALF_SECOND), 0)
        gate.open()
        assert await _texts(stream) == ["1", "2"]


async def test_no_stream_is_used_by_two_threads() -> None:
    async def converse(listener: Listener) -> list[str]:
        stream = _open(scheduler, listener, LIVE)
        sending = asyncio.create_task(_send(stream, 60))
        texts = await _texts(stream)
        await sending
        return texts

    async with Scheduler(4) as scheduler:
        said = await asyncio.gather(*(converse(Listener()) for _ in range(6)))
    assert said == [[str(number) for number in range(1, 61)]] * 6


# --- Bounds


async def test_a_sender_waits_while_the_stream_holds_as_much_as_it_may(gate: Gate) -> None:
    async with Scheduler(1) as scheduler:
        stream = _open(scheduler, Listener(gate), LIVE)
        async with asyncio.timeout(TIMEOUT):
            for _ in range(round(BUFFERED_SECONDS / 0.5)):
                await stream.send(HALF_SECOND)
        await gate.reached()
        waiting = asyncio.create_task(stream.send(HALF_SECOND))
        await _settle()
        assert not waiting.done()
        gate.open()
        async with asyncio.timeout(TIMEOUT):
            await waiting


async def test_a_waiting_sender_is_let_go_when_the_stream_is_closed(gate: Gate) -> None:
    async with Scheduler(1) as scheduler:
        stream = _open(scheduler, Listener(gate), LIVE)
        await stream.send(silence(BUFFERED_SECONDS))
        waiting = asyncio.create_task(stream.send(HALF_SECOND))
        await _settle()
        assert not waiting.done()
        await stream.aclose()
        async with asyncio.timeout(TIMEOUT):
            await waiting
        gate.open()


async def test_nothing_is_computed_ahead_of_a_reader_who_does_not_read() -> None:
    spoken = threading.Semaphore(0)
    talker = Talker(spoken.release)
    async with Scheduler(1) as scheduler:
        unread = _open(scheduler, talker, FAST)
        await unread.send(HALF_SECOND)
        for _ in range(UNREAD):
            assert await asyncio.to_thread(spoken.acquire, timeout=TIMEOUT)
        # The only thread is free for others, and stays so.
        other = _open(scheduler, Listener(), LIVE)
        await _send(other, 5)
        assert len(await _texts(other)) == 5
        assert talker.steps == UNREAD

        hypotheses = aiter(unread)
        assert [(await anext(hypotheses)).text for _ in range(2)] == ["1", "2"]
        assert await asyncio.to_thread(spoken.acquire, timeout=TIMEOUT)
        await unread.aclose()


# --- Failure


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (EngineFailure("the recogniser fell over"), "the recogniser fell over"),
        (RuntimeError("a secret of the server"), "the server's log has the cause"),
    ],
)
async def test_a_failing_step_ends_its_stream_alone(
    error: Exception, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        if failing.steps == 2:
            raise error

    failing, sound = Listener(fail), Listener()
    async with Scheduler(1) as scheduler:
        streams = [_open(scheduler, local, FAST) for local in (failing, sound)]
        for stream in streams:
            await _send(stream, 5)
        said: list[str] = []
        with pytest.raises(EngineFailure, match=message) as raised:
            await _note(streams[0], said)
        assert said == ["1", "2"], "what came before the failure is not lost"
        assert "secret" not in raised.value.message
        with pytest.raises(EngineFailure, match=message):
            await streams[0].send(HALF_SECOND)
        assert await _texts(streams[1]) == ["1", "2", "3", "4", "5"]
        assert scheduler.streams == []
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(logged) == (0 if isinstance(error, TranscribedError) else 1)


# --- Closing


async def test_closing_during_a_step_drops_its_result(gate: Gate) -> None:
    listener = Listener(gate)
    async with Scheduler(1) as scheduler:
        stream = _open(scheduler, listener, LIVE)
        await stream.send(silence(2.0))
        reading = asyncio.create_task(_texts(stream))
        await gate.reached()
        await stream.aclose()
        await stream.aclose()
        assert scheduler.streams == []
        assert await reading == []
        gate.open()

        # The thread is given back, and takes no further step of the closed stream.
        other = _open(scheduler, Listener(), LIVE)
        await _send(other, 1)
        assert await _texts(other) == ["1"]
        assert listener.steps == 1
        assert await _texts(stream) == []


async def test_closing_a_stream_that_waits_its_turn_takes_it_out_of_the_queue(gate: Gate) -> None:
    waiting = Listener()
    async with Scheduler(1) as scheduler:
        busy = await _occupy(scheduler, gate)
        stream = _open(scheduler, waiting, LIVE)
        await stream.send(HALF_SECOND)
        await stream.aclose()
        gate.open()
        await busy.finish()
        assert await _texts(busy) == ["1"]
    assert waiting.steps == 0


async def test_leaving_ends_all_streams_and_their_threads(gate: Gate) -> None:
    stepping, waiting, idle = Listener(gate), Listener(), Listener()
    async with Scheduler(1) as scheduler:
        streams = [_open(scheduler, local, LIVE) for local in (stepping, waiting, idle)]
        await streams[0].send(silence(BUFFERED_SECONDS))
        await gate.reached()
        await streams[1].send(HALF_SECOND)
        reading = [asyncio.create_task(_texts(stream)) for stream in streams]
        sending = asyncio.create_task(streams[0].send(HALF_SECOND))
        await _settle()
        assert _inference_threads()
        asyncio.get_running_loop().call_later(0.01, gate.open)
    for told in (*reading, sending):
        with pytest.raises(Unavailable):
            await told
    assert _inference_threads() == []
    assert waiting.steps == 0
    with pytest.raises(Unavailable):
        _open(scheduler, Listener(), LIVE)


async def test_leaving_without_ever_stepping_leaves_nothing() -> None:
    async with Scheduler() as scheduler:
        assert scheduler.streams == []
    assert _inference_threads() == []


# --- Who steps next


def _noting(order: list[str], name: str, kind: StepKind = StepKind.LISTEN) -> Listener:
    listener = Listener(lambda: order.append(name))
    listener.kind = kind
    return listener


async def test_live_streams_go_before_fast_ones(gate: Gate) -> None:
    order: list[str] = []
    async with Scheduler(1) as scheduler:
        await _occupy(scheduler, gate)
        fast = _open(scheduler, _noting(order, "fast"), FAST)
        live = _open(scheduler, _noting(order, "live"), LIVE)
        for stream in (fast, live):
            await _send(stream, 3)
        gate.open()
        await asyncio.gather(_texts(fast), _texts(live))
    assert order == ["live"] * 3 + ["fast"] * 3


async def test_streams_of_one_kind_take_turns(gate: Gate) -> None:
    order: list[str] = []
    async with Scheduler(1) as scheduler:
        await _occupy(scheduler, gate)
        streams = [_open(scheduler, _noting(order, name), LIVE) for name in "abc"]
        for stream in streams:
            await _send(stream, 3)
        gate.open()
        await asyncio.gather(*map(_texts, streams))
    assert [sorted(order[i : i + 3]) for i in (0, 3, 6)] == [["a", "b", "c"]] * 3


async def test_new_audio_does_not_send_a_stream_back_to_the_end_of_the_queue(gate: Gate) -> None:
    order: list[str] = []
    async with Scheduler(1) as scheduler:
        await _occupy(scheduler, gate)
        chatty = _open(scheduler, _noting(order, "chatty"), LIVE)
        quiet = _open(scheduler, _noting(order, "quiet"), LIVE)
        await chatty.send(HALF_SECOND)
        await quiet.send(HALF_SECOND)
        await _send(chatty, 1)
        gate.open()
        assert await _texts(chatty) == ["1", "2"]
    assert order == ["chatty", "quiet", "chatty"]


async def test_a_recording_with_a_partial_due_gets_its_turn_beside_one_that_is_only_listened_to() -> None:
    # A partial of a recording is not left out: its stream can do nothing else until it is made.
    endless = Talker()
    endless.kind = StepKind.LISTEN
    partial = Listener()
    partial.kind = StepKind.PARTIAL
    async with Scheduler(1) as scheduler:
        long = _open(scheduler, endless, FAST)
        await long.send(HALF_SECOND)
        reading = asyncio.create_task(_texts(long))
        stream = _open(scheduler, partial, FAST)
        await _send(stream, 1)
        try:
            assert await _texts(stream) == ["1"]
        finally:
            await long.aclose()
        await reading


async def test_what_a_client_sends_in_a_burst_waits_for_what_others_say_now(gate: Gate) -> None:
    order: list[str] = []
    async with Scheduler(1) as scheduler:
        await _occupy(scheduler, gate)
        burst = _open(scheduler, _noting(order, "burst"), LIVE)
        await _send(burst, 8)
        speakers = [_open(scheduler, _noting(order, name, StepKind.PARTIAL), LIVE) for name in "ab"]
        for speaker in speakers:
            await _send(speaker, 2)
        gate.open()
        await asyncio.gather(*map(_texts, (burst, *speakers)))
    # It is ahead of its time from its third half second on.
    assert max(order.index("a"), order.index("b")) < len(order) - 1 - order[::-1].index("burst")
    assert order[-5:] == ["burst"] * 5


async def test_recordings_leave_a_thread_to_live_streams_while_there_are_any(gate: Gate) -> None:
    stepping = threading.Semaphore(0)

    def step() -> None:
        stepping.release()
        gate()

    async with Scheduler(3) as scheduler:
        live = _open(scheduler, Listener(), LIVE)
        recordings = [_open(scheduler, Listener(step), FAST) for _ in range(3)]
        for recording in recordings:
            await _send(recording, 1)
        for _ in range(2):
            assert await asyncio.to_thread(stepping.acquire, timeout=TIMEOUT)
        # The third thread is free, and serves the live stream although all recordings wait for longer.
        await _send(live, 3)
        assert await _texts(live) == ["1", "2", "3"]
        # Nobody is live any more.
        assert await asyncio.to_thread(stepping.acquire, timeout=TIMEOUT)
        gate.open()
        assert await asyncio.gather(*map(_texts, recordings)) == [["1"]] * 3


# --- A step that hangs


STUCK = "got stuck"
A_MOMENT = 0.1


async def test_a_step_that_hangs_ends_its_stream_alone(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    hanging, sound = Listener(gate), Listener()
    async with Scheduler(1, step_seconds=A_MOMENT) as scheduler:
        stream = _open(scheduler, hanging, LIVE)
        await stream.send(silence(BUFFERED_SECONDS))
        await gate.reached()
        sending = asyncio.create_task(stream.send(HALF_SECOND))
        other = _open(scheduler, sound, LIVE)
        await _send(other, 3)
        # The one thread hangs; another takes its place.
        assert await _texts(other) == ["1", "2", "3"]
        with pytest.raises(EngineFailure, match=STUCK):
            await _texts(stream)
        with pytest.raises(EngineFailure, match=STUCK):
            await sending
        assert scheduler.streams == []
        logged = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(logged) == 1
        assert "hangs" in logged[0]
        gate.open()
    assert hanging.steps <= 1


async def test_recordings_have_their_threads_back_from_one_that_hangs(gate: Gate) -> None:
    async with Scheduler(2, step_seconds=A_MOMENT) as scheduler:
        _open(scheduler, Listener(), LIVE)
        for _ in range(3):
            hanging = _open(scheduler, Listener(gate), FAST)
            await hanging.send(HALF_SECOND)
            with pytest.raises(EngineFailure, match=STUCK):
                await _texts(hanging)
        sound = _open(scheduler, Listener(), FAST)
        await _send(sound, 3)
        assert await _texts(sound) == ["1", "2", "3"]
        gate.open()


async def test_a_stream_that_was_closed_while_its_step_hangs_is_no_error(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    async with Scheduler(1, step_seconds=A_MOMENT) as scheduler:
        stream = _open(scheduler, Listener(gate), LIVE)
        await stream.send(HALF_SECOND)
        await gate.reached()
        await stream.aclose()
        other = _open(scheduler, Listener(), LIVE)
        await _send(other, 1)
        assert await _texts(other) == ["1"]
        gate.open()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# --- Steps of several streams at once


class BatchingListeners:
    """A BatchingEngine whose streams are Listeners; it remembers which stepped at once."""

    capabilities = Capabilities("batching", ("en-US",))
    costs = Costs(1e-3, 1e-3)

    def __init__(self, most: int, before_step: Callable[[], object] = lambda: None) -> None:
        self.opened: list[Listener] = []
        self.together: list[list[LocalStream]] = []
        self._most = most
        self._before_step = before_step

    def open(self, options: StreamOptions) -> LocalStream:
        self.opened.append(Listener(self._before_step if not self.opened else lambda: None))
        return self.opened[-1]

    def batch(self, kind: StepKind) -> int:
        return self._most if kind is StepKind.LISTEN else 1

    def step_together(
        self, streams: Sequence[LocalStream], effort: Effort
    ) -> Sequence[Sequence[RecognitionEvent] | Exception]:
        self.together.append(list(streams))
        return [stream.step(effort) for stream in streams]


async def _waiting_together(engine: BatchingListeners, gate: Gate, count: int) -> list[list[str]]:
    """What streams say that all wait for the one thread, which the first of them keeps for a while."""
    async with Scheduler(1) as scheduler:
        scheduled = scheduler.run(engine)
        first, *streams = [await scheduled.open(LIVE) for _ in range(count + 1)]
        await first.send(HALF_SECOND)
        await gate.reached()
        for stream in streams:
            await stream.send(HALF_SECOND)
            await stream.finish()
        gate.open()
        outcomes = await asyncio.gather(*map(_texts, streams), return_exceptions=True)
        await first.aclose()
    return [outcome if isinstance(outcome, list) else [str(outcome)] for outcome in outcomes]


async def test_streams_that_wait_for_the_same_step_make_it_together(gate: Gate) -> None:
    engine = BatchingListeners(3, gate)
    assert await _waiting_together(engine, gate, 5) == [["1"]] * 5
    assert engine.together == [engine.opened[1:4], engine.opened[4:6]]


async def test_a_kind_of_step_that_an_engine_does_not_batch_is_made_alone(gate: Gate) -> None:
    engine = BatchingListeners(1, gate)
    assert await _waiting_together(engine, gate, 3) == [["1"]] * 3
    assert engine.together == []


async def test_a_stream_that_fails_among_others_ends_alone(gate: Gate) -> None:
    class SecondFails(BatchingListeners):
        def step_together(
            self, streams: Sequence[LocalStream], effort: Effort
        ) -> Sequence[Sequence[RecognitionEvent] | Exception]:
            one, _, *others = super().step_together(streams, effort)
            return [one, EngineFailure("It fell over."), *others]

    assert await _waiting_together(SecondFails(3, gate), gate, 3) == [["1"], ["It fell over."], ["1"]]


async def test_a_step_that_fails_as_a_whole_ends_all_that_made_it(gate: Gate) -> None:
    class Fails(BatchingListeners):
        def step_together(
            self, streams: Sequence[LocalStream], effort: Effort
        ) -> Sequence[Sequence[RecognitionEvent] | Exception]:
            raise EngineFailure("They fell over.")

    assert await _waiting_together(Fails(2, gate), gate, 3) == [["They fell over."]] * 2 + [["1"]]


# --- Finals beside their stream


class Closer(Listener):
    """A DetachingStream: every third step is a final, which any thread can recognise."""

    def __init__(self, recognise: Callable[[], object]) -> None:
        super().__init__()
        self._recognise = recognise
        self.detached: list[threading.Thread] = []

    @property
    def kind(self) -> StepKind:  # type: ignore[override]
        return StepKind.FINAL if self.steps % 3 == 2 else StepKind.LISTEN

    def detach_final(self) -> Callable[[Effort], Sequence[RecognitionEvent]]:
        with self._alone():
            self._waiting = max(0, self._waiting - len(HALF_SECOND))
            self.steps += 1
            number = self.steps

        def recognise(effort: Effort) -> Sequence[RecognitionEvent]:
            self.detached.append(threading.current_thread())
            self._recognise()
            return (Hypothesis(0, 0.0, 0.5 * number, str(number), final=True),)

        return recognise


async def test_a_recording_goes_on_while_another_thread_recognises_a_final_and_keeps_the_order(
    gate: Gate,
) -> None:
    closer = Closer(gate)
    async with Scheduler(2) as scheduler:
        stream = _open(scheduler, closer, FAST)
        await _send(stream, 9)
        await gate.reached()
        await _until(lambda: closer.steps == 9)
        said: list[str] = []
        reading = asyncio.create_task(_note(stream, said))
        await _settle()
        assert said == ["1", "2"], "what was said later waits for the final"
        gate.open()
        await reading
    assert said == [str(number) for number in range(1, 10)]
    assert len(closer.detached) == 1, "finals of one stream are not detached while one is"


@pytest.mark.parametrize(("threads", "options"), [(1, FAST), (2, LIVE)])
async def test_a_final_is_an_ordinary_step_on_one_thread_and_of_a_live_stream(
    threads: int, options: StreamOptions
) -> None:
    closer = Closer(lambda: None)
    async with Scheduler(threads) as scheduler:
        stream = _open(scheduler, closer, options)
        await _send(stream, 4)
        assert (await _texts(stream))[-1] == "4"
    assert closer.detached == []


async def test_a_final_of_a_recording_is_an_ordinary_step_while_others_speak() -> None:
    closer = Closer(lambda: None)
    async with Scheduler(2) as scheduler:
        live = _open(scheduler, Listener(), LIVE)
        stream = _open(scheduler, closer, FAST)
        await _send(stream, 4)
        assert await _texts(stream) == ["1", "2", "3", "4"]
        await live.aclose()
    assert closer.detached == []


async def test_a_final_that_fails_beside_its_stream_ends_it() -> None:
    def fails() -> None:
        raise EngineFailure("It fell over.")

    async with Scheduler(2) as scheduler:
        stream = _open(scheduler, Closer(fails), FAST)
        await _send(stream, 6)
        said: list[str] = []
        with pytest.raises(EngineFailure, match="fell over"):
            await _note(stream, said)
    assert said[:2] == ["1", "2"]
    assert "3" not in said


async def test_a_final_that_hangs_beside_its_stream_ends_it_alone(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    async with Scheduler(2, step_seconds=A_MOMENT) as scheduler:
        stream = _open(scheduler, Closer(gate), FAST)
        await _send(stream, 6)
        with pytest.raises(EngineFailure, match="stuck"):
            await _texts(stream)
        other = _open(scheduler, Closer(lambda: None), FAST)
        await _send(other, 4)
        await other.finish()
        assert await _texts(other) == ["1", "2", "3", "4"]
        gate.open()
    assert "hangs" in caplog.text


async def test_a_recording_that_is_closed_while_a_final_is_recognised_leaves_nothing_behind(
    gate: Gate,
) -> None:
    async with Scheduler(2) as scheduler:
        stream = _open(scheduler, Closer(gate), FAST)
        await _send(stream, 6)
        await gate.reached()
        await stream.aclose()
        assert scheduler.streams == []
        gate.open()


# --- Who is let in


def _one_place() -> Meter:
    """Live streams cost so much that one thread serves one of them."""
    return Meter(Costs(steady=9.0, partial=9.0))


FULL = "No more live streams can be served well: 2 are being served. Try again later."


async def test_live_streams_are_let_in_as_far_as_there_are_places() -> None:
    async with Scheduler(1) as scheduler:
        meter = Meter(Costs(steady=0.15, partial=0.12))
        assert scheduler.capacity(meter) == 2
        for _ in range(2):
            _open(scheduler, Listener(), LIVE, meter)
        with pytest.raises(LimitExceeded) as refused:
            _open(scheduler, Listener(), LIVE, meter)
        assert refused.value.message == FULL
        assert len(scheduler.streams) == 2


async def test_recordings_are_always_let_in() -> None:
    async with Scheduler(1) as scheduler:
        _open(scheduler, Listener(), LIVE, _one_place())
        recordings = [_open(scheduler, Listener(), FAST) for _ in range(10)]
        with pytest.raises(LimitExceeded):
            _open(scheduler, Listener(), LIVE, _one_place())
        for recording in recordings:
            await _send(recording, 1)
        assert await asyncio.gather(*map(_texts, recordings)) == [["1"]] * 10


async def test_nobody_is_let_in_while_partials_come_seldom() -> None:
    async with Scheduler(1) as scheduler:
        meter = Meter(Costs(steady=1e-3, partial=1e-3))
        _open(scheduler, Listener(), LIVE, meter)
        now = asyncio.get_running_loop().time()
        for _ in range(60):
            partial = Step(
                StepKind.PARTIAL, Effort.FULL, cpu=1e-3, taken=1e-3, waited=1.3 * PROMISED_INTERVAL
            )
            scheduler.load.record(now, partial, busy=False)
        with pytest.raises(LimitExceeded, match="1 are being served"):
            _open(scheduler, Listener(), LIVE, meter)
        for _ in range(60):
            scheduler.load.record(now, replace(partial, waited=0.2), busy=False)
        _open(scheduler, Listener(), LIVE, meter)


def test_a_client_that_sends_seldom_does_not_keep_others_out(
    in_virtual_time: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    """What waits for it to send does not wait for this machine, which has nothing else to do."""

    class Recogniser(Listener):
        kind = StepKind.PARTIAL

    async def converse() -> None:
        async with Scheduler(1) as scheduler:
            meter = Meter(Costs(steady=1e-3, partial=1e-3))
            stream = _open(scheduler, Recogniser(), LIVE, meter)
            for _ in range(100):
                await asyncio.sleep(2.0)
                for _ in range(4):
                    await stream.send(HALF_SECOND)
            await _settle()
            assert scheduler.load.wait(asyncio.get_running_loop().time()) < 0.1
            _open(scheduler, Listener(), LIVE, meter)

    in_virtual_time(converse())


async def test_what_steps_cost_decides_how_many_places_there_are() -> None:
    class Final(Listener):
        kind = StepKind.FINAL

        def step(self, effort: Effort) -> Sequence[Hypothesis]:
            super().step(effort)
            # Each computes for some milliseconds, for a tenth of a second of audio.
            began = time.thread_time()
            while time.thread_time() - began < 0.005:
                pass
            return (Hypothesis(0, 0.0, 0.1, "said", final=True),)

    async with Scheduler(1) as scheduler:
        meter = Meter(Costs(steady=1e-4, partial=1e-4))
        before = scheduler.capacity(meter)
        stream, _ = (_open(scheduler, each, LIVE, meter) for each in (Final(), Listener()))
        await _send(stream, 10)
        await _texts(stream)
        assert scheduler.capacity(meter) < before / 1.5


async def test_what_waits_for_a_core_costs_nothing() -> None:
    class Final(Listener):
        kind = StepKind.FINAL

        def step(self, effort: Effort) -> Sequence[Hypothesis]:
            super().step(effort)
            threading.Event().wait(0.05)
            return (Hypothesis(0, 0.0, 0.1, "said", final=True),)

    async with Scheduler(1) as scheduler:
        meter = Meter(Costs(steady=0.02, partial=0.02))
        before = scheduler.capacity(meter)
        stream, _ = (_open(scheduler, each, LIVE, meter) for each in (Final(), Listener()))
        await _send(stream, 6)
        await _texts(stream)
        assert meter.costs(asyncio.get_running_loop().time()).steady < 0.025
        assert scheduler.capacity(meter) < before, "but there is less time for streams"


class Finisher(Listener):
    """A LocalStream whose segments are recognised ahead, and then end or go on."""

    def __init__(self, kinds: Sequence[StepKind]) -> None:
        super().__init__()
        self._kinds = kinds

    @property
    def kind(self) -> StepKind:  # type: ignore[override]
        return self._kinds[min(self.steps, len(self._kinds) - 1)]

    def step(self, effort: Effort) -> Sequence[Hypothesis]:
        kind = self.kind
        super().step(effort)
        began = time.thread_time()
        while kind is StepKind.AHEAD and time.thread_time() - began < 0.02:
            pass
        return (Hypothesis(0, 0.0, 1.0, "said", final=True),) if kind is StepKind.FINAL else ()


@pytest.mark.parametrize(
    ("kinds", "costs"),
    [
        ([StepKind.AHEAD, StepKind.FINAL], 0.02),
        ([StepKind.AHEAD, StepKind.LISTEN, StepKind.FINAL], 0.02),
        ([StepKind.AHEAD, StepKind.PARTIAL, StepKind.FINAL], 0.0),
        ([StepKind.AHEAD, StepKind.PARTIAL, StepKind.AHEAD, StepKind.FINAL], 0.02),
    ],
)
async def test_work_ahead_counts_where_a_final_uses_it(kinds: Sequence[StepKind], costs: float) -> None:
    async with Scheduler(1) as scheduler:
        meter = Meter(Costs(steady=0.0, partial=0.02))
        stream, _ = (_open(scheduler, each, LIVE, meter) for each in (Finisher(kinds), Listener()))
        await _send(stream, len(kinds))
        await _texts(stream)
        # The final's second counts beside the thirty that are assumed.
        measured = 31 * meter.costs(asyncio.get_running_loop().time()).steady
        assert measured == pytest.approx(costs, abs=0.008)


@dataclass(frozen=True)
class SteppingDownEngine(SingleStreamEngine):
    """A StepDownEngine whose streams need a fifth of a thread, and those of the reduced one a tenth."""

    reduced: LocalEngine

    @property
    def costs(self) -> Costs:
        return Costs(steady=0.2, partial=0.0)


@dataclass(frozen=True)
class CheapEngine(SingleStreamEngine):
    @property
    def costs(self) -> Costs:
        return Costs(steady=0.05, partial=0.0)


async def test_where_the_better_finals_do_not_fit_new_streams_step_down() -> None:
    better, cheaper = Listener(), Listener()
    async with Scheduler(1) as scheduler:
        engine = scheduler.run(SteppingDownEngine(better, CheapEngine(cheaper)))
        assert engine.capacity == 4
        streams = [await engine.open(LIVE) for _ in range(5)]
        await streams[3].send(HALF_SECOND)
        await streams[4].send(HALF_SECOND)
        await _settle()
        assert (better.accepted, cheaper.accepted) == (len(HALF_SECOND), len(HALF_SECOND))
        with pytest.raises(LimitExceeded, match="5 are being served"):
            await engine.open(LIVE)
        assert engine.capacity <= 4
        for stream in streams:
            await stream.aclose()
        await engine.open(LIVE)
        recordings = [await engine.open(FAST) for _ in range(9)]
        await recordings[8].send(HALF_SECOND)
        await _settle()
        assert cheaper.accepted == len(HALF_SECOND), (
            "recordings have the better finals, however many there are"
        )


async def test_without_step_down_streams_that_do_not_fit_are_refused() -> None:
    async with Scheduler(1) as scheduler:
        engine = scheduler.run(SteppingDownEngine(Listener(), CheapEngine(Listener())), step_down=False)
        assert engine.capacity == 4
        for _ in range(4):
            await engine.open(LIVE)
        with pytest.raises(LimitExceeded, match="4 are being served"):
            await engine.open(LIVE)


@pytest.mark.parametrize("way", ["closed", "ended", "failed", "hung"])
async def test_a_place_is_free_again_whatever_way_its_stream_goes(gate: Gate, way: str) -> None:
    def fail() -> None:
        raise EngineFailure("the recogniser fell over")

    async with Scheduler(1, step_seconds=A_MOMENT if way == "hung" else TIMEOUT) as scheduler:
        meter = _one_place()
        for _ in range(3):
            before_step = {"failed": fail, "hung": gate}.get(way, lambda: None)
            stream = _open(scheduler, Listener(before_step), LIVE, meter)
            await stream.send(HALF_SECOND)
            with pytest.raises(LimitExceeded):
                _open(scheduler, Listener(), LIVE, meter)
            if way == "closed":
                await stream.aclose()
            elif way == "ended":
                await stream.finish()
                await _texts(stream)
            else:
                with pytest.raises(EngineFailure):
                    await _texts(stream)
            await stream.aclose()
            await stream.aclose()
            assert scheduler.streams == []
        gate.open()


# --- What is not read in time


class Sayer(Listener):
    """A LocalStream that says one thing of its script for each half second."""

    def __init__(self, script: Sequence[tuple[str, bool]]) -> None:
        super().__init__()
        self._script = script

    def step(self, effort: Effort) -> Sequence[Hypothesis]:
        super().step(effort)
        text, final = self._script[self.steps - 1]
        return (Hypothesis(0, 0.0, 0.5 * self.steps, text, final=final),)


SAID = [
    ("a", False),
    ("ab", False),
    ("abc", True),
    ("d", False),
    ("de", False),
    ("def", True),
    ("g", False),
]


@pytest.mark.parametrize(
    ("options", "expected"),
    [(LIVE, ["ab", "abc", "de", "def", "g"]), (FAST, [text for text, _ in SAID])],
    ids=["live", "fast"],
)
async def test_a_late_reader_of_a_live_stream_misses_partials_and_no_final(
    options: StreamOptions, expected: list[str]
) -> None:
    async with Scheduler(1) as scheduler:
        sayer = Sayer(SAID)
        stream = _open(scheduler, sayer, options)
        await _send(stream, len(SAID))
        await _until(lambda: not scheduler.streams)
        assert await _texts(stream) == expected


async def test_finals_that_nobody_reads_hold_their_stream_up() -> None:
    finals = [(str(number), True) for number in range(UNREAD + 10)]
    async with Scheduler(1) as scheduler:
        sayer = Sayer(finals)
        stream = _open(scheduler, sayer, LIVE)
        sending = asyncio.create_task(_send(stream, len(finals)))
        await _until(lambda: sayer.steps == UNREAD)
        await _settle()
        assert sayer.steps == UNREAD
        assert await _texts(stream) == [text for text, _ in finals]
        await sending


# --- What can be seen


async def test_the_lag_is_what_was_received_and_is_not_recognised(gate: Gate) -> None:
    async with Scheduler(1) as scheduler:
        stream = _open(scheduler, Listener(gate), LIVE)
        other = _open(scheduler, Listener(), FAST)
        for _ in range(3):
            await stream.send(HALF_SECOND)
        await other.send(HALF_SECOND)
        await gate.reached()
        assert {(s.pace, s.received, s.lag) for s in scheduler.streams} == {
            (Pace.LIVE, 1.5, 1.5),
            (Pace.FAST, 0.5, 0.5),
        }
        gate.open()
        await _until(lambda: not any(status.lag for status in scheduler.streams))
        assert sorted(status.received for status in scheduler.streams) == [0.5, 1.5]


# --- Over an engine


async def test_an_engine_is_run_with_its_capabilities() -> None:
    script = Script.model_validate(
        {
            "language": "de-DE",
            "events": [{"at": 0.5, "text": "Das"}, {"at": "end", "text": "Das ist", "final": True}],
        }
    )
    async with Scheduler(1) as scheduler:
        engine = scheduler.run(ScriptedEngine(script))
        assert (engine.capabilities.name, engine.capabilities.languages) == ("scripted", ("de-DE",))
        stream = await engine.open(FAST)
        assert len(scheduler.streams) == 1
        await _send(stream, 2)
        assert await _texts(stream) == ["Das", "Das ist"]


@dataclass(frozen=True)
class CompilingEngine(SingleStreamEngine):
    """A LocalEngine that takes long to open a stream with phrases."""

    compile: Callable[[], object]

    def open(self, options: StreamOptions) -> LocalStream:
        if options.phrases:
            self.compile()
        return self.stream


async def test_a_stream_with_phrases_is_opened_while_others_are_recognised(gate: Gate) -> None:
    async with Scheduler(1) as scheduler:
        other = _open(scheduler, Listener(), LIVE)
        engine = scheduler.run(CompilingEngine(Listener(), gate))
        opening = asyncio.create_task(engine.open(StreamOptions(phrases=(Phrase("Siobhan"),))))
        await gate.reached()
        await _send(other, 2)
        assert await _texts(other) == ["1", "2"]
        assert not opening.done()
        gate.open()
        stream = await opening
        await _send(stream, 1)
        assert await _texts(stream) == ["1"]


async def test_a_stream_that_is_being_opened_at_the_end_is_refused(gate: Gate) -> None:
    async with Scheduler(1) as scheduler:
        engine = scheduler.run(CompilingEngine(Listener(), gate))
        opening = asyncio.create_task(engine.open(StreamOptions(phrases=(Phrase("Siobhan"),))))
        await gate.reached()
    gate.open()
    with pytest.raises(Stopping):
        await opening
