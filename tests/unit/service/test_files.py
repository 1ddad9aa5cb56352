import asyncio
import gc
import io
import threading
import wave
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transcribed.audio.formats import Samples
from transcribed.audio.media import ByteSource
from transcribed.engines.base import Capabilities, Engine, Hypothesis, StreamOptions
from transcribed.engines.scripted import Script, ScriptedEngine
from transcribed.errors import EngineFailure, MediaChanged, Stopping, UnreadableAudio
from transcribed.recognition.stabilizer import Stability
from transcribed.scheduling.scheduler import Scheduler
from transcribed.service.files import FilePace, transcribe
from transcribed.transcript import Done, LiveEvent

TIMEOUT = 30


def _wav(seconds: float) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as target:
        target.setparams((1, 2, 16_000, 0, "NONE", ""))
        noise = np.random.default_rng(0).integers(-9_999, 9_999, round(seconds * 16_000))
        target.writeframes(noise.astype("<i2").tobytes())
    return content.getvalue()


class Source(io.BytesIO):
    """A file that calls back when it is read from some position on."""

    def __init__(
        self, seconds: float, at: float = float("inf"), then: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(_wav(seconds))
        self.reads = 0
        self._at = at * 32_000
        self._then = then

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.tell() >= self._at:
            self._then()
        return super().read(size)


def _scripted(*events: dict[str, Any]) -> ScriptedEngine:
    return ScriptedEngine(Script.model_validate({"events": events}))


def _texts(events: list[LiveEvent]) -> list[str]:
    return [event.text for event in events if not isinstance(event, Done)]


async def _note(events: AsyncIterator[LiveEvent], seen: list[LiveEvent]) -> None:
    async for event in events:
        seen.append(event)  # noqa: PERF401 - what comes before a failure counts


async def _heard(engine: Engine, source: ByteSource, pace: FilePace = FilePace.FAST) -> list[LiveEvent]:
    return [event async for event in transcribe(engine, source, pace)]


def _tasks() -> set["asyncio.Task[Any]"]:
    return asyncio.all_tasks() - {asyncio.current_task()}


# --- What comes back


@pytest.mark.anyio
async def test_the_events_of_a_recording_then_its_end(data: Path) -> None:
    engine = _scripted(
        {"at": 0.5, "text": "This is a"}, {"at": "end", "text": "This is a test.", "final": True}
    )
    async with Scheduler(2) as scheduler:
        with (data / "test.wav").open("rb") as source:
            events = await _heard(scheduler.run(engine), source)
        assert scheduler.streams == []
    assert _texts(events) == ["This is a", "This is a test."]
    assert isinstance(events[-1], Done)
    assert events[-1].audio_seconds == pytest.approx(1.149, abs=0.001)


@pytest.mark.anyio
@pytest.mark.parametrize("pace", list(FilePace))
async def test_what_is_no_recording_has_no_events(pace: FilePace) -> None:
    async with Scheduler(2) as scheduler:
        events = transcribe(scheduler.run(_scripted()), io.BytesIO(b"text" * 1_000), pace)
        with pytest.raises(UnreadableAudio):
            await anext(events)
        assert scheduler.streams == []


@pytest.mark.anyio
async def test_the_engine_is_told_what_is_asked_for() -> None:
    asked = []

    class Asked(ScriptedEngine):
        def open(self, options: StreamOptions) -> Any:
            asked.append((options.pace.value, options.stability))
            return super().open(options)

    async with Scheduler(1) as scheduler:
        engine = scheduler.run(Asked(_scripted().script))
        for pace, stability in ((FilePace.FAST, Stability.OFF), (FilePace.REALTIME, Stability.HIGH)):
            options = StreamOptions(stability=stability)
            async for _ in transcribe(engine, io.BytesIO(_wav(0.1)), pace, options):
                pass
    assert asked == [("fast", Stability.OFF), ("live", Stability.HIGH)]


# --- Pace


def _timed(
    pace: FilePace, events: list[dict[str, Any]]
) -> Coroutine[Any, Any, list[tuple[float, LiveEvent]]]:
    async def listen() -> list[tuple[float, LiveEvent]]:
        loop = asyncio.get_running_loop()
        async with Scheduler(1) as scheduler:
            engine = scheduler.run(_scripted(*events))
            return [
                (loop.time(), event) async for event in transcribe(engine, io.BytesIO(_wav(3.25)), pace)
            ]

    return listen()


def test_realtime_gives_each_word_when_it_has_been_spoken(
    in_virtual_time: Callable[[Coroutine[Any, Any, Any]], Any],
) -> None:
    script = [{"at": n / 4, "text": f"word {n}", "final": n % 4 == 0} for n in range(1, 13)]
    *heard, (ended, done) = in_virtual_time(_timed(FilePace.REALTIME, script))
    assert [event.text for _, event in heard] == [event["text"] for event in script]
    for (time, _), event in zip(heard, script, strict=True):
        assert event["at"] <= time + 1e-6 <= event["at"] + 0.1 + 1e-5, "within one chunk"
    assert isinstance(done, Done)
    assert ended == pytest.approx(3.25)


def test_fast_waits_for_nothing(in_virtual_time: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    script = [{"at": n / 4, "text": f"word {n}"} for n in range(1, 13)]
    heard = in_virtual_time(_timed(FilePace.FAST, script))
    assert len(heard) == 13
    assert {time for time, _ in heard} == {0.0}


# --- Failure


@pytest.mark.anyio
@pytest.mark.parametrize("length", [10.0, 60.0])
async def test_a_source_that_fails_gives_what_came_before_then_its_error(length: float) -> None:
    def fail() -> None:
        raise MediaChanged("replaced while it was read")

    engine = _scripted({"at": 1.0, "text": "a"}, {"at": "end", "text": "b", "final": True})
    seen: list[LiveEvent] = []
    async with Scheduler(1) as scheduler:
        with pytest.raises(MediaChanged, match="replaced"):
            await _note(transcribe(scheduler.run(engine), Source(length, length / 2, fail)), seen)
        assert scheduler.streams == []
    assert _texts(seen) == ["a", "b"]
    assert not any(isinstance(event, Done) for event in seen)


@pytest.mark.anyio
async def test_a_failing_engine_stops_the_reading_and_is_the_only_error() -> None:
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    engine = _scripted({"at": 1.0, "text": "a"}, {"at": 2.0, "error": "the recogniser fell over"})
    source = Source(60.0)
    others = _tasks()
    async with Scheduler(1) as scheduler:
        async with aclosing(transcribe(scheduler.run(engine), source)) as events:
            await anext(events)
            async with asyncio.timeout(TIMEOUT):
                # The reader meets the failure before the one who listens does.
                await asyncio.wait(_tasks() - others)
            with pytest.raises(EngineFailure, match="fell over"):
                await anext(events)
        assert scheduler.streams == []
    assert source.tell() < 30 * 32_000
    gc.collect()
    await asyncio.sleep(0)
    assert unhandled == []


# --- Ending early


@pytest.mark.anyio
async def test_cancelling_gives_everything_back_and_the_source_is_free() -> None:
    reached, release = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        assert release.wait(TIMEOUT)

    source = Source(60.0, 20.0, hold)
    before = _tasks()
    async with Scheduler(1) as scheduler:
        listening = asyncio.create_task(_heard(scheduler.run(_scripted({"at": 1.0, "text": "a"})), source))
        assert await asyncio.to_thread(reached.wait, TIMEOUT)
        listening.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not listening.done(), "the thread still reads, so the source may not be closed yet"
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await listening
        reads = source.reads
        source.close()
        assert scheduler.streams == []
        assert _tasks() == before
    assert source.reads == reads


@pytest.mark.anyio
async def test_leaving_the_events_early_gives_everything_back() -> None:
    source = Source(600.0)
    before = _tasks()
    async with Scheduler(1) as scheduler:
        engine = scheduler.run(_scripted({"at": 0.5, "text": "a"}, {"at": 1.0, "text": "b"}))
        async with aclosing(transcribe(engine, source)) as events:
            assert (await anext(events)) is not None
        source.close()
        assert scheduler.streams == []
        assert _tasks() == before


class _Slow:
    """An engine that is its own stream, and takes no more than two blocks."""

    capabilities = Capabilities("slow", ("en-US",))

    def __init__(self) -> None:
        self.full = asyncio.Event()
        self.taken = 0

    async def open(self, options: StreamOptions) -> "_Slow":
        return self

    async def send(self, samples: Samples) -> None:
        self.taken += 1
        if self.taken > 2:
            self.full.set()
            await asyncio.Event().wait()

    async def finish(self) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Hypothesis]:
        await asyncio.Event().wait()
        yield Hypothesis(0, 0, 0, "", final=True)

    async def aclose(self) -> None:
        pass


@pytest.mark.anyio
async def test_no_more_is_read_than_the_engine_takes() -> None:
    engine, source = _Slow(), Source(600.0)
    listening = asyncio.create_task(_heard(engine, source))
    async with asyncio.timeout(TIMEOUT):
        await engine.full.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert source.tell() < 10 * 32_000
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


# --- The stop


@pytest.mark.anyio
@pytest.mark.parametrize("pace", FilePace)
async def test_a_stop_ends_it_where_it_is_with_its_last_words(pace: FilePace) -> None:
    stopping = asyncio.Event()
    engine = _scripted(
        {"at": 0.5, "text": "one", "final": True}, {"at": "end", "text": "end", "final": True}
    )
    seen: list[LiveEvent] = []
    async with Scheduler(1) as scheduler, asyncio.timeout(TIMEOUT):
        # Ten minutes, of which nobody waits for the rest.
        events = transcribe(scheduler.run(engine), Source(600), pace, stopping=stopping)
        seen.append(await anext(events))
        stopping.set()
        with pytest.raises(Stopping):
            await _note(events, seen)
        assert scheduler.streams == []
    assert _texts(seen) == ["one", "end"]
    assert not any(isinstance(event, Done) for event in seen)
