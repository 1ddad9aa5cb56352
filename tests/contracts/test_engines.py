"""What every engine owes, asked of all of them: of local ones through the scheduler."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import cycle, groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from amazon_environment import without_amazon
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from streaming_model import write_streaming_model

from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.audio.media import MediaReader
from transcribed.engines.amazon.engine import load as load_amazon
from transcribed.engines.amazon.opening import AmazonEngine
from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.engines.base import (
    Effort,
    Engine,
    Hypothesis,
    LocalEngine,
    LocalStream,
    RecognitionEvent,
    RecognitionStream,
    StepKind,
    StreamEvent,
)
from transcribed.engines.moonshine import engine as moonshine_engine
from transcribed.engines.moonshine_streaming.engine import load as load_library
from transcribed.engines.moonshine_streaming.library import package_file
from transcribed.engines.testing.levels import LevelEngine, LevelScript, level
from transcribed.engines.testing.scripted import Script, ScriptedEngine
from transcribed.options import Pace, Stability, StreamOptions
from transcribed.recognition.endpointing import EndpointingRules
from transcribed.scheduling.scheduler import Scheduler
from transcribed.transcript import SpeechEnded, SpeechStarted

if TYPE_CHECKING:
    from tests.conftest import Server

TIMEOUT = 60
OPTIONS = [
    StreamOptions(pace=Pace.FAST),
    StreamOptions(pace=Pace.LIVE),
    StreamOptions(pace=Pace.LIVE, stability=Stability.HIGH),
]

every_pace = pytest.mark.parametrize("options", OPTIONS, ids=lambda o: f"{o.pace.value}-{o.stability.name}")


_SCRIPT = {
    "events": [
        {"at": 0.4, "text": "This is"},
        {"at": 0.9, "text": "This is a"},
        {"at": 1.2, "text": "This is a test.", "final": True},
        {"at": 2.0, "text": "And"},
        {"at": 2.5, "text": "And so on.", "final": True},
        {"at": "end", "text": "The end.", "final": True},
    ]
}


_LEVELS = ("This", "is", "the", "end")


@dataclass(frozen=True)
class Spoken:
    """An engine, audio in which it finds several segments, and what it must find in them.

    Where it is flushed at `flushed_at` seconds, in a segment, it must find `finals_if_flushed`.
    """

    engine: Engine | LocalEngine
    audio: Samples
    finals: Sequence[str]
    flushed_at: float
    finals_if_flushed: Sequence[str]


@asynccontextmanager
async def _running(engine: Engine | LocalEngine) -> AsyncIterator[Engine]:
    """The engine; a local one is run by a scheduler, which must have no stream left at the end."""
    if isinstance(engine, AmazonEngine):
        yield engine
        return
    async with Scheduler(2) as scheduler:
        yield scheduler.run(engine)
        assert scheduler.streams == []


def _read(name: str) -> Samples:
    content = (Path(__file__).parents[1] / "data" / name).read_bytes()
    with MediaReader(io.BytesIO(content)) as media:
        return np.concatenate(list(media.blocks()))


@pytest.fixture(scope="module")
def scripted() -> Spoken:
    script = Script.model_validate(_SCRIPT)
    finals = ("This is a test", "And so on", "The end")
    return Spoken(ScriptedEngine(script), silence(3.0), finals, 1.0, ("This is a", *finals))


@pytest.fixture(scope="module")
def moonshine(environment: dict[str, str]) -> Spoken:
    engine = moonshine_engine.load(Path(environment["TRANSCRIBED_CACHE"]), EndpointingRules(), "tiny")
    audio = np.concatenate([_read("test.wav"), silence(1.0), _read("telephone.wav")])
    finals = ("This is a test", "The seventh chapter")
    return Spoken(engine, audio, finals, 3.1, ("This is a test", "The seven", "Chapter"))


@pytest.fixture(scope="module")
def library(moonshine: Spoken) -> Spoken:
    """The vendor's library, with the model of its package in the place of one that streams."""
    folder = package_file("assets/tiny-en")
    return replace(
        moonshine,
        engine=load_library(folder, "tiny-en", EndpointingRules(), "en-US"),
        finals_if_flushed=("This is a test", "The seventh", "Chapter"),
    )


@pytest.fixture(scope="module")
def streaming(moonshine: Spoken, tmp_path_factory: pytest.TempPathFactory) -> Spoken:
    """The vendor's library with a model that streams, whose words tell the level of the audio."""
    folder = tmp_path_factory.mktemp("streaming")
    write_streaming_model(folder, split=True)
    engine = load_library(folder, "tiny-streaming-en", EndpointingRules(), "en-US")
    return replace(
        moonshine,
        engine=engine,
        finals=("two two no", "no one one no"),
        finals_if_flushed=("two two no", "no one", "one no"),
    )


@pytest.fixture(scope="module")
def levels() -> Spoken:
    script = LevelScript(levels=_LEVELS)
    spans = [(0, 0.2), (1, 0.3), (2, 0.25), (0, 0.1), (2, 0.4), (0, 0.55), (3, 0.5), (0, 0.4), (4, 0.6)]
    audio = np.concatenate([level(number, seconds) for number, seconds in spans])
    finals = ("This is is", "the", "end")
    return Spoken(LevelEngine(script), audio, finals, 0.6, ("This is", "is is", "the", "end"))


@pytest.fixture(scope="module")
def amazon(
    levels: Spoken,
    run_server: Callable[..., AbstractContextManager["Server"]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Spoken]:
    """Amazon Transcribe, in whose place our own front hears what the engine `levels` hears."""
    folder = tmp_path_factory.mktemp("amazon")
    script = folder / "levels.json"
    script.write_text(json.dumps({"levels": _LEVELS}))
    with (
        pytest.MonkeyPatch.context() as patch,
        run_server("--engine", "scripted", "--script", str(script)) as server,
    ):
        without_amazon(patch, folder)
        patch.setenv("AWS_ACCESS_KEY_ID", "any")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "any")
        engine = load_amazon(AmazonSettings(region="us-east-1", endpoint_url=server.url, speed=100.0))
        yield replace(levels, engine=engine)


@dataclass(frozen=True)
class _Together(LevelEngine):
    """A BatchingEngine: whatever its streams wait for, three of them do it at once."""

    def batch(self, kind: StepKind) -> int:
        return 3

    def step_together(
        self, streams: Sequence[LocalStream], effort: Effort
    ) -> Sequence[Sequence[RecognitionEvent]]:
        return [stream.step(effort) for stream in streams]


@pytest.fixture(scope="module")
def together(levels: Spoken) -> Spoken:
    assert isinstance(levels.engine, LevelEngine)
    return replace(levels, engine=_Together(levels.engine.script))


@pytest.fixture(
    scope="module", params=["scripted", "levels", "together", "moonshine", "library", "streaming", "amazon"]
)
def spoken(request: pytest.FixtureRequest) -> Spoken:
    found: Spoken = request.getfixturevalue(request.param)
    return found


def _chunks(audio: Samples, sizes: Iterable[int]) -> Iterator[Samples]:
    start = 0
    for size in sizes:
        if start >= len(audio):
            return
        yield audio[start : start + size]
        start += size


async def _send(stream: RecognitionStream, audio: Samples, sizes: Iterable[int]) -> None:
    for chunk in _chunks(audio, sizes):
        await stream.send(chunk)
    await stream.finish()


async def _heard(
    engine: Engine, audio: Samples, options: StreamOptions, sizes: Iterable[int] = cycle([1_600])
) -> list[Hypothesis]:
    stream = await engine.open(options)
    sending = asyncio.create_task(_send(stream, audio, sizes))
    try:
        async with asyncio.timeout(TIMEOUT):
            return [hypothesis async for hypothesis in stream]
    finally:
        await sending
        await stream.aclose()


def _finals(hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
    return [hypothesis for hypothesis in hypotheses if hypothesis.final]


def _said(hypotheses: Sequence[Hypothesis]) -> list[str]:
    """The final texts, without the mark at their ends, of which a recogniser is seldom sure."""
    return [final.text.rstrip(".,") for final in _finals(hypotheses)]


def _spans(hypotheses: Sequence[Hypothesis]) -> list[tuple[int, float, float]]:
    return [(final.segment, final.start, final.end) for final in _finals(hypotheses)]


def _shown(hypothesis: Hypothesis) -> tuple[str, list[bool | None]]:
    return hypothesis.text, [word.stable for word in hypothesis.words]


# --- What is said


@every_pace
@pytest.mark.anyio
async def test_hypotheses_are_the_growing_segments_in_order(spoken: Spoken, options: StreamOptions) -> None:
    async with _running(spoken.engine) as engine:
        heard = await _heard(engine, spoken.audio, options)
    assert _said(heard) == list(spoken.finals)
    assert [h.segment for h in heard] == sorted(h.segment for h in heard)
    for _, group in groupby(heard, key=lambda h: h.segment):
        segment = list(group)
        assert [h.final for h in segment] == [False] * (len(segment) - 1) + [True]
        assert len({h.start for h in segment}) == 1
        for one, following in pairwise(segment):
            assert following.final or _shown(one) != _shown(following), (
                "a partial repeats the one before it"
            )


@every_pace
@pytest.mark.anyio
async def test_times_lie_inside_the_audio_and_segments_do_not_overlap(
    spoken: Spoken, options: StreamOptions
) -> None:
    async with _running(spoken.engine) as engine:
        heard = await _heard(engine, spoken.audio, options)
    for hypothesis in heard:
        assert 0 <= hypothesis.start < hypothesis.end <= len(spoken.audio) / SAMPLE_RATE
    for one, following in pairwise(_finals(heard)):
        assert one.end <= following.start


@every_pace
@pytest.mark.anyio
async def test_words_are_the_text(spoken: Spoken, options: StreamOptions) -> None:
    async with _running(spoken.engine) as engine:
        heard = await _heard(engine, spoken.audio, options)
    for hypothesis in heard:
        assert " ".join(word.text for word in hypothesis.words) == hypothesis.text
        assert all(word.text and word.text == word.text.strip() for word in hypothesis.words)
        assert all(word.confidence is None or 0 <= word.confidence <= 1 for word in hypothesis.words)
    for segment in {h.segment for h in heard}:
        said = [h.words for h in heard if h.segment == segment]
        for words, following in pairwise(said):
            stable = [word.text for word in words if word.stable]
            assert [word.text for word in following[: len(stable)] if word.stable] == stable
    marks = {word.stable for hypothesis in heard for word in hypothesis.words}
    assert marks == ({None} if options.stability is Stability.OFF else {False, True})
    assert all(word.stable is not False for final in _finals(heard) for word in final.words)


@every_pace
@pytest.mark.anyio
async def test_words_have_times_in_order_inside_their_segment(
    spoken: Spoken, options: StreamOptions
) -> None:
    async with _running(spoken.engine) as engine:
        heard = await _heard(engine, spoken.audio, options)
    for hypothesis in heard:
        times = [time for word in hypothesis.words for time in (word.start, word.end)]
        assert None not in times
        assert times == sorted(times)
        assert all(hypothesis.start <= time <= hypothesis.end for time in times)
        assert all(word.start != word.end for word in hypothesis.words)
    for segment in {h.segment for h in heard}:
        said = [h.words for h in heard if h.segment == segment]
        for words, following in pairwise(said):
            for word, later in zip(words, following, strict=False):
                assert not word.stable or (word.start, word.end) == (later.start, later.end)


@pytest.mark.anyio
async def test_capabilities_name_the_engine_and_its_languages(spoken: Spoken) -> None:
    assert spoken.engine.capabilities.name
    assert "en-US" in spoken.engine.capabilities.languages


@pytest.mark.parametrize("pace", list(Pace))
@pytest.mark.anyio
async def test_who_asks_for_no_partials_gets_the_same_finals(spoken: Spoken, pace: Pace) -> None:
    async with _running(spoken.engine) as engine:
        heard = await _heard(engine, spoken.audio, StreamOptions(pace=pace))
        finals = await _heard(engine, spoken.audio, StreamOptions(pace=pace, partials=False))
    assert all(hypothesis.final for hypothesis in finals)
    assert _said(finals) == _said(heard)
    assert _spans(finals) == _spans(heard)


# --- Any split, any company


@pytest.mark.parametrize("pace", list(Pace))
@settings(max_examples=8, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(sizes=st.lists(st.integers(1, 20_000), min_size=1, max_size=30))
def test_how_the_audio_is_cut_changes_nothing(spoken: Spoken, pace: Pace, sizes: list[int]) -> None:
    async def heard(sizes: Sequence[int]) -> list[Hypothesis]:
        async with _running(spoken.engine) as engine:
            return await _heard(engine, spoken.audio, StreamOptions(pace=pace), cycle(sizes))

    async def compare() -> None:
        whole, cut = await heard([len(spoken.audio)]), await heard(sizes)
        assert _said(cut) == list(spoken.finals)
        assert _spans(cut) == _spans(whole)
        # Those of a service come when it is ready, and so one more or fewer.
        if pace is Pace.FAST and not isinstance(spoken.engine, AmazonEngine):
            assert [h.text for h in cut] == [h.text for h in whole], (
                "partials too depend on the audio alone"
            )

    asyncio.run(compare())


@every_pace
@pytest.mark.anyio
async def test_streams_do_not_disturb_each_other(spoken: Spoken, options: StreamOptions) -> None:
    first = round(1.6 * SAMPLE_RATE)
    audios = [spoken.audio, spoken.audio[first:], spoken.audio[:first]]
    async with _running(spoken.engine) as engine:
        alone = [await _heard(engine, audio, options) for audio in audios]
        together = await asyncio.gather(*(_heard(engine, audio, options) for audio in audios * 2))
    assert [_said(heard) for heard in together] == [_said(heard) for heard in alone] * 2
    assert [_spans(heard) for heard in together] == [_spans(heard) for heard in alone] * 2


# --- Ending


@every_pace
@pytest.mark.anyio
async def test_an_end_without_audio_ends_without_events(spoken: Spoken, options: StreamOptions) -> None:
    async with _running(_nothing_due(spoken)) as engine:
        stream = await engine.open(options)
        await stream.finish()
        async with asyncio.timeout(TIMEOUT):
            assert [hypothesis async for hypothesis in stream] == []


@every_pace
@pytest.mark.parametrize("samples", [1, 100, 511, 512, 513, 5_000])
@pytest.mark.anyio
async def test_a_moment_of_silence_ends_without_events(
    spoken: Spoken, options: StreamOptions, samples: int
) -> None:
    async with _running(_nothing_due(spoken)) as engine:
        assert await _heard(engine, silence(samples / SAMPLE_RATE), options) == []


def _nothing_due(spoken: Spoken) -> Engine | LocalEngine:
    """The engine; a script says what it says at the end whatever it has heard, so it gets an empty one."""
    return ScriptedEngine(Script(events=())) if isinstance(spoken.engine, ScriptedEngine) else spoken.engine


@every_pace
@pytest.mark.parametrize("sent", [0.0, 0.1, 1.0, 2.5])
@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.anyio
async def test_a_stream_may_be_closed_at_any_time_and_twice(
    spoken: Spoken, options: StreamOptions, sent: float, finished: bool
) -> None:
    async with _running(spoken.engine) as engine:
        stream = await engine.open(options)
        reading = asyncio.create_task(_drain(stream))
        await stream.send(spoken.audio[: round(sent * SAMPLE_RATE)])
        if finished:
            await stream.finish()
        await asyncio.sleep(0)
        await stream.aclose()
        await stream.aclose()
        async with asyncio.timeout(TIMEOUT):
            await reading
            await stream.send(spoken.audio)  # A sender who does not know yet is not held up.


async def _drain(stream: RecognitionStream) -> None:
    async for _ in stream:
        pass


@every_pace
@pytest.mark.anyio
async def test_a_stream_may_be_closed_in_the_middle_of_its_events(
    spoken: Spoken, options: StreamOptions
) -> None:
    async with _running(spoken.engine) as engine:
        stream = await engine.open(options)
        await stream.send(spoken.audio[: 2 * SAMPLE_RATE])
        async with asyncio.timeout(TIMEOUT):
            assert (await anext(aiter(stream))).text
        await stream.aclose()
        # What computed for it is free for the next.
        assert _said(await _heard(engine, spoken.audio, options)) == list(spoken.finals)


# --- Moonshine's own


@every_pace
@pytest.mark.anyio
async def test_moonshine_shows_each_final_text_as_a_partial_first(
    moonshine: Spoken, options: StreamOptions
) -> None:
    async with _running(moonshine.engine) as engine:
        heard = await _heard(engine, moonshine.audio, options)
    for before, following in pairwise(heard):
        if following.final:
            assert (before.segment, before.text, before.final) == (following.segment, following.text, False)
    assert not heard[0].final


# --- Closing a segment before its time


async def _heard_in_parts(
    engine: Engine, parts: Sequence[Samples], options: StreamOptions
) -> list[StreamEvent]:
    """All that is said of audio that is flushed behind each of its parts."""

    async def send(stream: RecognitionStream) -> None:
        for part in parts:
            for chunk in _chunks(part, cycle([1_600])):
                await stream.send(chunk)
            await stream.flush()
        await stream.finish()

    stream = await engine.open(options)
    sending = asyncio.create_task(send(stream))
    try:
        async with asyncio.timeout(TIMEOUT):
            return [said async for said in stream]
    finally:
        await sending
        await stream.aclose()


def _hypotheses(said: Iterable[StreamEvent]) -> list[Hypothesis]:
    return [each for each in said if isinstance(each, Hypothesis)]


@every_pace
@pytest.mark.anyio
async def test_a_flush_closes_the_open_segment_and_the_words_of_both_parts_come(
    spoken: Spoken, options: StreamOptions
) -> None:
    at = round(spoken.flushed_at * SAMPLE_RATE)
    async with _running(spoken.engine) as engine:
        heard = _hypotheses(await _heard_in_parts(engine, [spoken.audio[:at], spoken.audio[at:]], options))
    assert _said(heard) == list(spoken.finals_if_flushed)
    for one, following in pairwise(_finals(heard)):
        assert one.end <= following.start
    assert any(0 <= at / SAMPLE_RATE - final.end < 0.3 for final in _finals(heard))


@every_pace
@pytest.mark.anyio
async def test_flushes_where_nothing_is_open_change_nothing(spoken: Spoken, options: StreamOptions) -> None:
    async with _running(_nothing_due(spoken)) as engine:
        assert await _heard_in_parts(engine, [silence(0.3), silence(0.0), silence(0.3)], options) == []


# --- When speech starts and ends


@every_pace
@pytest.mark.anyio
async def test_speech_starts_before_its_segments_and_ends_before_their_last_final(
    spoken: Spoken, options: StreamOptions
) -> None:
    async with _running(spoken.engine) as engine:
        said = await _heard_in_parts(engine, [spoken.audio], replace(options, speech_events=True))
    events = [each for each in said if isinstance(each, SpeechStarted | SpeechEnded)]
    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded] * (len(events) // 2)
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert all(0 <= event.at <= len(spoken.audio) / SAMPLE_RATE for event in events)
    speaking, ended = False, False
    for each in said:
        if isinstance(each, Hypothesis):
            assert speaking or ended
            assert ended or not each.final, "the speech of a final has ended"
            ended = ended and not each.final
        else:
            speaking = isinstance(each, SpeechStarted)
            ended = not speaking
    assert len(_finals(_hypotheses(said))) == len(spoken.finals)


@pytest.mark.anyio
async def test_who_does_not_ask_is_not_told_of_speech(spoken: Spoken) -> None:
    async with _running(spoken.engine) as engine:
        said = await _heard_in_parts(engine, [spoken.audio], StreamOptions())
    assert _hypotheses(said) == said


# --- When silence ends a segment


@pytest.mark.anyio
async def test_a_stream_chooses_the_silence_that_ends_its_segments(spoken: Spoken) -> None:
    if not spoken.engine.capabilities.endpoint_silence:
        return
    async with _running(spoken.engine) as engine:
        heard = await _heard(engine, spoken.audio, StreamOptions(endpoint_silence=5.0))
    assert len(_finals(heard)) == 1
