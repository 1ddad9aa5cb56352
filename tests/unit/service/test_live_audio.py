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
from transcribing import transcribe_live

from transcribed.audio.formats import Encoding, InputFormat, Samples
from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine, Hypothesis
from transcribed.engines.testing.scripted import Script, ScriptedEngine
from transcribed.errors import BadRequest, EngineFailure, TranscribedError, UnreadableAudio
from transcribed.options import Capabilities, Pace, Stability, StreamOptions
from transcribed.scheduling.scheduler import Scheduler
from transcribed.transcript import Done, LiveEvent

TIMEOUT = 30
AUTO = InputFormat(Encoding.AUTO)
PCM = np.random.default_rng(0).integers(-9_999, 9_999, 48_000).astype("<i2").tobytes()
"""Three seconds."""
EVENTS = (
    {"at": 1.0, "text": "one", "final": True},
    {"at": 2.0, "text": "two", "final": True},
    {"at": "end", "text": "end", "final": True},
)
TIMED_OUT = "Your request timed out because no new audio was received for 15 seconds."


def _scripted(*events: dict[str, Any]) -> ScriptedEngine:
    return ScriptedEngine(Script.model_validate({"events": events or EVENTS}))


def _wav(rate: int = 16_000, width: int = 2) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as target:
        target.setparams((1, width, rate, 0, "NONE", ""))
        target.writeframes(PCM)
    return content.getvalue()


async def _chunks(
    data: bytes, size: int = 3_200, then: Callable[[], Coroutine[Any, Any, None]] | None = None
) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
    if then is not None:
        await then()


async def _silence() -> None:
    await asyncio.Event().wait()


async def _refused() -> None:
    raise BadRequest("too large")


class Live:
    """transcribe_live with the tests' decoders."""

    def __init__(self, decoders: Decoders) -> None:
        self._decoders = decoders

    def __call__(
        self,
        engine: Engine,
        chunks: AsyncIterator[bytes],
        form: InputFormat = InputFormat(),  # noqa: B008 - it is frozen
        idle_timeout: float | None = 15,
        options: StreamOptions = StreamOptions(),  # noqa: B008 - it is frozen
    ) -> Any:
        return transcribe_live(
            engine, chunks, form, options, decoders=self._decoders, idle_timeout=idle_timeout
        )


@pytest.fixture
def live(decoders: Decoders) -> Live:
    return Live(decoders)


async def _heard(events: AsyncIterator[LiveEvent]) -> tuple[list[str], float | TranscribedError]:
    """The texts, and the seconds of audio or the error that came instead."""
    texts: list[str] = []
    try:
        async for event in events:
            if isinstance(event, Done):
                return texts, event.audio_seconds
            texts.append(event.text)
    except TranscribedError as error:
        return texts, error
    raise AssertionError("no end")


def _tasks() -> set["asyncio.Task[Any]"]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    async with Scheduler(2) as scheduler:
        yield scheduler
        assert scheduler.streams == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("form", "data"),
    [(InputFormat(), PCM), (InputFormat(), _wav()), (AUTO, _wav()), (InputFormat(), PCM + b"\0")],
    ids=["pcm", "pcm with a header", "auto", "odd"],
)
@pytest.mark.parametrize("size", [1_000, 3_201, 1_000_000])
async def test_audio_is_heard_and_the_last_words_come_before_the_end(
    scheduler: Scheduler, form: InputFormat, data: bytes, size: int, live: Live
) -> None:
    events = live(scheduler.run(_scripted()), _chunks(data, size), form)
    assert await _heard(events) == (["one", "two", "end"], 3.0)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("content", "seconds"), [("jfk.mp3", 11), ("steamers.ogg", 15), ("trumpet.ogg", 5.3)]
)
async def test_a_container_is_heard_through_a_pipe(
    scheduler: Scheduler, data: Path, content: str, seconds: float, live: Live
) -> None:
    chunks = _chunks((data / content).read_bytes(), 1_000)
    texts, end = await _heard(live(scheduler.run(_scripted()), chunks, AUTO))
    assert texts == ["one", "two", "end"]
    assert end == pytest.approx(seconds, abs=0.3)


@pytest.mark.anyio
async def test_words_come_while_the_audio_does(scheduler: Scheduler, data: Path, live: Live) -> None:
    for form, content in ((InputFormat(), PCM), (AUTO, (data / "jfk.mp3").read_bytes())):
        heard = asyncio.Event()

        async def until_heard(heard: asyncio.Event = heard) -> None:
            await heard.wait()

        async with asyncio.timeout(TIMEOUT):
            events = live(scheduler.run(_scripted()), _chunks(content, 3_200, until_heard), form)
            assert (await anext(events)).text == "one"
            heard.set()
            texts, _ = await _heard(events)
        assert texts == ["two", "end"]


@pytest.mark.anyio
@pytest.mark.parametrize("form", [InputFormat(), AUTO], ids=str)
async def test_no_audio_at_all_is_an_empty_stream(
    scheduler: Scheduler, form: InputFormat, live: Live
) -> None:
    for chunks in (_chunks(b""), _chunks(_wav()[:44])):
        assert await _heard(live(scheduler.run(_scripted()), chunks, form)) == ([], 0.0)


@pytest.mark.anyio
async def test_the_engine_is_told_what_is_asked_for(live: Live) -> None:
    asked = []

    class Asked(ScriptedEngine):
        def open(self, options: StreamOptions) -> Any:
            asked.append(options)
            return super().open(options)

    options = StreamOptions(Pace.LIVE, Stability.HIGH)
    async with Scheduler(1) as scheduler:
        engine = scheduler.run(Asked(_scripted().script))
        async for _ in live(engine, _chunks(PCM), options=options):
            pass
    assert asked == [options]


# --- Time-outs


def test_a_client_that_sends_nothing_for_long_is_given_up_behind_its_last_words(
    in_virtual_time: Callable[[Coroutine[Any, Any, Any]], Any],
    live: Live,
) -> None:
    async def listen() -> tuple[list[str], Any, float]:
        async with Scheduler(1) as scheduler:
            events = live(scheduler.run(_scripted()), _chunks(PCM, 3_200, _silence))
            texts, end = await _heard(events)
            assert scheduler.streams == []
        return texts, end, asyncio.get_running_loop().time()

    texts, end, time = in_virtual_time(listen())
    assert texts == ["one", "two", "end"]
    assert isinstance(end, BadRequest)
    assert (end.message, time) == (TIMED_OUT, pytest.approx(15))


@pytest.mark.parametrize(("pause", "patience"), [(14, 15), (3_600, None)])
def test_a_client_that_sends_now_and_then_is_not(
    in_virtual_time: Callable[[Coroutine[Any, Any, Any]], Any],
    pause: float,
    patience: float | None,
    live: Live,
) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        for start in range(0, len(PCM), 3_200):
            await asyncio.sleep(pause)
            yield PCM[start : start + 3_200]

    async def listen() -> tuple[Any, float]:
        async with Scheduler(1) as scheduler:
            heard = await _heard(live(scheduler.run(_scripted()), slowly(), idle_timeout=patience))
        return heard, asyncio.get_running_loop().time()

    (_, end), time = in_virtual_time(listen())
    assert (end, time) == (3.0, pytest.approx(pause * 30))


def test_time_in_which_the_engine_is_busy_does_not_count(
    in_virtual_time: Callable[[Coroutine[Any, Any, Any]], Any],
    live: Live,
) -> None:
    class Busy(_Slow):
        async def send(self, samples: Samples) -> None:
            await asyncio.sleep(100)

    async def listen() -> tuple[list[str], float | TranscribedError]:
        return await _heard(live(Busy(), _chunks(PCM)))

    assert in_virtual_time(listen()) == ([], 3.0)


@pytest.mark.anyio
@pytest.mark.parametrize("sent", [b"", b"RIFF", _wav()], ids=["nothing", "the start of a header", "audio"])
async def test_a_container_that_stays_away_is_given_up_too(
    scheduler: Scheduler, sent: bytes, live: Live
) -> None:
    events = live(scheduler.run(_scripted()), _chunks(sent, 3_200, _silence), AUTO, 0.1)
    texts, end = await _heard(events)
    assert texts == (["one", "two", "end"] if len(sent) > 4 else [])
    assert isinstance(end, BadRequest)
    assert end.message == TIMED_OUT.replace("15", "0.1")


@pytest.mark.anyio
@pytest.mark.parametrize("sent", [b"I", b"ID3"])
async def test_a_container_that_stays_away_before_it_can_be_read_is_the_one_error(
    scheduler: Scheduler, sent: bytes, live: Live
) -> None:
    _, end = await _heard(live(scheduler.run(_scripted()), _chunks(sent, 3_200, _silence), AUTO, 0.1))
    assert isinstance(end, BadRequest)
    assert "timed out" in end.message


# --- Errors


@pytest.mark.anyio
async def test_a_header_that_contradicts_is_told(scheduler: Scheduler, live: Live) -> None:
    texts, end = await _heard(live(scheduler.run(_scripted()), _chunks(_wav(22_050))))
    assert texts == []
    assert isinstance(end, UnreadableAudio)
    assert "sample_rate=22050" in end.message


@pytest.mark.anyio
async def test_noise_as_a_container_is_told_while_the_client_waits(
    scheduler: Scheduler, live: Live
) -> None:
    noise = np.random.default_rng(3).bytes(200_000)
    async with asyncio.timeout(TIMEOUT):
        texts, end = await _heard(
            live(scheduler.run(_scripted()), _chunks(noise, 3_200, _silence), AUTO, 1_000)
        )
    assert texts == []
    assert isinstance(end, UnreadableAudio)
    assert end.message.startswith("The stream is not in a format")


@pytest.mark.anyio
@pytest.mark.parametrize("form", [InputFormat(), AUTO], ids=str)
async def test_an_error_among_the_chunks_comes_behind_what_was_said_before(
    scheduler: Scheduler, data: Path, form: InputFormat, live: Live
) -> None:
    content = PCM if form is not AUTO else (data / "jfk.mp3").read_bytes()
    texts, end = await _heard(live(scheduler.run(_scripted()), _chunks(content, 3_200, _refused), form))
    assert texts == ["one", "two", "end"]
    assert isinstance(end, BadRequest)
    assert end.message == "too large"


@pytest.mark.anyio
@pytest.mark.parametrize("form", [InputFormat(), AUTO], ids=str)
async def test_a_failing_engine_is_the_only_error(
    scheduler: Scheduler, data: Path, form: InputFormat, live: Live
) -> None:
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    content = PCM if form is not AUTO else (data / "jfk.mp3").read_bytes()
    engine = scheduler.run(
        _scripted({"at": 1.0, "text": "one"}, {"at": 2.0, "error": "the recogniser fell over"})
    )
    texts, end = await _heard(live(engine, _chunks(content, 3_200, _silence), form))
    assert texts == ["one"]
    assert isinstance(end, EngineFailure)
    gc.collect()
    await asyncio.sleep(0)
    assert unhandled == []


# --- Ending early, and back-pressure


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["close", "cancel"])
async def test_leaving_early_gives_everything_back(
    scheduler: Scheduler, data: Path, way: str, live: Live
) -> None:
    """While a thread waits for the client."""
    before = _tasks()
    for form, content in ((InputFormat(), PCM), (AUTO, (data / "jfk.mp3").read_bytes())):
        events = live(scheduler.run(_scripted()), _chunks(content, 3_200, _silence), form)
        async with asyncio.timeout(TIMEOUT):
            if way == "close":
                async with aclosing(events):
                    assert (await anext(events)).text == "one"
            else:
                heard = asyncio.Event()

                async def note(events: Any = events, heard: asyncio.Event = heard) -> None:
                    async for _ in events:
                        heard.set()

                listening = asyncio.create_task(note())
                await heard.wait()
                listening.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await listening
        assert scheduler.streams == []
        assert _tasks() == before


class _Slow:
    """An engine that is its own stream, and takes nothing after the first piece."""

    capabilities = Capabilities("slow", ("en-US",))

    def __init__(self) -> None:
        self.full = asyncio.Event()
        self.longest = 0
        self._finished = asyncio.Event()

    async def open(self, options: StreamOptions) -> "_Slow":
        return self

    async def send(self, samples: Samples) -> None:
        self.longest = max(self.longest, len(samples))
        self.full.set()
        await asyncio.Event().wait()

    async def finish(self) -> None:
        self._finished.set()

    async def __aiter__(self) -> AsyncIterator[Hypothesis]:
        await self._finished.wait()
        return
        yield

    async def aclose(self) -> None:
        pass


@pytest.mark.anyio
@pytest.mark.parametrize("form", [InputFormat(), AUTO], ids=str)
async def test_no_more_is_taken_than_the_engine_takes(data: Path, form: InputFormat, live: Live) -> None:
    taken = 0
    content = PCM if form is not AUTO else (data / "steamers.ogg").read_bytes()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            for chunk in [content[:50_000], *[content[50_000:] or content] * 50]:
                taken += len(chunk)
                yield chunk

    engine = _Slow()
    listening = asyncio.create_task(_heard(live(engine, endless(), form)))
    async with asyncio.timeout(TIMEOUT):
        await engine.full.wait()
    for _ in range(100):
        await asyncio.sleep(0)
    assert taken < 400_000
    assert engine.longest <= 8_000, "in pieces"
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
