import asyncio
import gc
import io
import wave
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory_source import MemorySource
from transcribing import transcribe

from transcribed.audio.formats import Samples
from transcribed.audio.source import FileSource, Source
from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine, Hypothesis
from transcribed.engines.testing.scripted import Script, ScriptedEngine
from transcribed.errors import EngineFailure, MediaChanged, Stopping, UnreadableAudio
from transcribed.options import Capabilities, Stability, StreamOptions
from transcribed.scheduling.scheduler import Scheduler
from transcribed.service.files import FilePace
from transcribed.transcript import Done, LiveEvent

TIMEOUT = 30


def _wav(seconds: float) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as target:
        target.setparams((1, 2, 16_000, 0, "NONE", ""))
        noise = np.random.default_rng(0).integers(-9_999, 9_999, round(seconds * 16_000))
        target.writeframes(noise.astype("<i2").tobytes())
    return content.getvalue()


def _source(
    seconds: float, at: float | None = None, then: Callable[[], object] = lambda: None
) -> MemorySource:
    """So much audio; it calls back when it is read from some second on."""
    return MemorySource(_wav(seconds), None if at is None else round(at * 32_000), then)


def _scripted(*events: dict[str, Any]) -> ScriptedEngine:
    return ScriptedEngine(Script.model_validate({"events": events}))


def _texts(events: list[LiveEvent]) -> list[str]:
    return [event.text for event in events if not isinstance(event, Done)]


async def _note(events: AsyncIterator[LiveEvent], seen: list[LiveEvent]) -> None:
    async for event in events:
        seen.append(event)  # noqa: PERF401 - what comes before a failure counts


async def _heard(engine: Engine, source: Source, decoders: Decoders) -> list[LiveEvent]:
    return [event async for event in transcribe(engine, source, decoders=decoders)]


def _tasks() -> set["asyncio.Task[Any]"]:
    return asyncio.all_tasks() - {asyncio.current_task()}


# --- What comes back


@pytest.mark.anyio
async def test_the_events_of_a_recording_then_its_end(data: Path, decoders: Decoders) -> None:
    engine = _scripted(
        {"at": 0.5, "text": "This is a"}, {"at": "end", "text": "This is a test.", "final": True}
    )
    async with Scheduler(2) as scheduler:
        with FileSource((data / "test.wav").open("rb")) as source:
            events = await _heard(scheduler.run(engine), source, decoders)
        assert scheduler.streams == []
    assert _texts(events) == ["This is a", "This is a test."]
    assert isinstance(events[-1], Done)
    assert events[-1].audio_seconds == pytest.approx(1.149, abs=0.001)


@pytest.mark.anyio
@pytest.mark.parametrize("pace", list(FilePace))
async def test_what_is_no_recording_has_no_events(pace: FilePace, decoders: Decoders) -> None:
    async with Scheduler(2) as scheduler:
        events = transcribe(
            scheduler.run(_scripted()), MemorySource(b"text" * 1_000), pace, decoders=decoders
        )
        with pytest.raises(UnreadableAudio):
            await anext(events)
        assert scheduler.streams == []


@pytest.mark.anyio
async def test_the_engine_is_told_what_is_asked_for(decoders: Decoders) -> None:
    asked = []

    class Asked(ScriptedEngine):
        def open(self, options: StreamOptions) -> Any:
            asked.append((options.pace.value, options.stability))
            return super().open(options)

    async with Scheduler(1) as scheduler:
        engine = scheduler.run(Asked(_scripted().script))
        for pace, stability in ((FilePace.FAST, Stability.OFF), (FilePace.REALTIME, Stability.HIGH)):
            options = StreamOptions(stability=stability)
            async for _ in transcribe(engine, _source(0.1), pace, options, decoders=decoders):
                pass
    assert asked == [("fast", Stability.OFF), ("live", Stability.HIGH)]


# --- Pace


def _timed(
    pace: FilePace, events: list[dict[str, Any]], decoders: Decoders
) -> Coroutine[Any, Any, list[tuple[float, LiveEvent]]]:
    async def listen() -> list[tuple[float, LiveEvent]]:
        loop = asyncio.get_running_loop()
        async with Scheduler(1) as scheduler:
            engine = scheduler.run(_scripted(*events))
            said = transcribe(engine, _source(3.25), pace, decoders=decoders)
            return [(loop.time(), event) async for event in said]

    return listen()


def test_realtime_gives_each_word_when_it_has_been_spoken(
    in_virtual_time: Callable[[Coroutine[Any, Any, Any]], Any], decoders: Decoders
) -> None:
    script = [{"at": n / 4, "text": f"word {n}", "final": n % 4 == 0} for n in range(1, 13)]
    *heard, (ended, done) = in_virtual_time(_timed(FilePace.REALTIME, script, decoders))
    assert [event.text for _, event in heard] == [event["text"] for event in script]
    for (time, _), event in zip(heard, script, strict=True):
        assert event["at"] <= time + 1e-6 <= event["at"] + 0.1 + 1e-5, "within one chunk"
    assert isinstance(done, Done)
    assert ended == pytest.approx(3.25)


def test_fast_waits_for_nothing(
    in_virtual_time: Callable[[Coroutine[Any, Any, Any]], Any], decoders: Decoders
) -> None:
    script = [{"at": n / 4, "text": f"word {n}"} for n in range(1, 13)]
    heard = in_virtual_time(_timed(FilePace.FAST, script, decoders))
    assert len(heard) == 13
    assert {time for time, _ in heard} == {0.0}


# --- Failure


@pytest.mark.anyio
@pytest.mark.parametrize("length", [10.0, 60.0])
async def test_a_source_that_fails_gives_what_came_before_then_its_error(
    length: float, decoders: Decoders
) -> None:
    def fail() -> None:
        raise MediaChanged("replaced while it was read")

    engine = _scripted({"at": 1.0, "text": "a"}, {"at": "end", "text": "b", "final": True})
    seen: list[LiveEvent] = []
    async with Scheduler(1) as scheduler:
        source = _source(length, length / 2, fail)
        with pytest.raises(MediaChanged, match="replaced"):
            await _note(transcribe(scheduler.run(engine), source, decoders=decoders), seen)
        assert scheduler.streams == []
    assert _texts(seen) == ["a", "b"]
    assert not any(isinstance(event, Done) for event in seen)


@pytest.mark.anyio
async def test_a_failing_engine_stops_the_reading_and_is_the_only_error(decoders: Decoders) -> None:
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    engine = _scripted({"at": 1.0, "text": "a"}, {"at": 2.0, "error": "the recogniser fell over"})
    source = _source(60.0)
    others = _tasks()
    async with Scheduler(1) as scheduler:
        async with aclosing(transcribe(scheduler.run(engine), source, decoders=decoders)) as events:
            await anext(events)
            async with asyncio.timeout(TIMEOUT):
                # The reader meets the failure before the one who listens does.
                await asyncio.wait(_tasks() - others)
            with pytest.raises(EngineFailure, match="fell over"):
                await anext(events)
        assert scheduler.streams == []
    assert source.furthest < 45 * 32_000
    gc.collect()
    await asyncio.sleep(0)
    assert unhandled == []


# --- Ending early


@pytest.mark.anyio
async def test_cancelling_gives_everything_back_and_the_source_is_free(decoders: Decoders) -> None:
    reached = asyncio.Event()
    source = _source(60.0, 20.0, reached.set)
    before = _tasks()
    async with Scheduler(1) as scheduler:
        engine = scheduler.run(_scripted({"at": 1.0, "text": "a"}))
        listening = asyncio.create_task(_heard(engine, source, decoders))
        async with asyncio.timeout(TIMEOUT):
            await reached.wait()
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        source.close()
        assert scheduler.streams == []
        assert _tasks() == before


@pytest.mark.anyio
async def test_leaving_the_events_early_gives_everything_back(decoders: Decoders) -> None:
    source = _source(600.0)
    before = _tasks()
    async with Scheduler(1) as scheduler:
        engine = scheduler.run(_scripted({"at": 0.5, "text": "a"}, {"at": 1.0, "text": "b"}))
        async with aclosing(transcribe(engine, source, decoders=decoders)) as events:
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
async def test_no_more_is_read_than_the_engine_takes(decoders: Decoders) -> None:
    engine, source = _Slow(), _source(600.0)
    listening = asyncio.create_task(_heard(engine, source, decoders))
    async with asyncio.timeout(TIMEOUT):
        await engine.full.wait()
    reads = 0
    while source.reads > reads:  # Until the process has nothing more to put anywhere.
        reads = source.reads
        await asyncio.sleep(0.2)
    assert source.furthest < 60 * 32_000
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


# --- The stop


@pytest.mark.anyio
@pytest.mark.parametrize("pace", FilePace)
async def test_a_stop_ends_it_where_it_is_with_its_last_words(pace: FilePace, decoders: Decoders) -> None:
    stopping = asyncio.Event()
    engine = _scripted(
        {"at": 0.5, "text": "one", "final": True}, {"at": "end", "text": "end", "final": True}
    )
    seen: list[LiveEvent] = []
    async with Scheduler(1) as scheduler, asyncio.timeout(TIMEOUT):
        # Ten minutes, of which nobody waits for the rest.
        events = transcribe(scheduler.run(engine), _source(600), pace, decoders=decoders, stopping=stopping)
        seen.append(await anext(events))
        stopping.set()
        with pytest.raises(Stopping):
            await _note(events, seen)
        assert scheduler.streams == []
    assert _texts(seen) == ["one", "end"]
    assert not any(isinstance(event, Done) for event in seen)
