"""Streams made of successive ones, on a clock that costs nothing."""

import asyncio
import gc
import logging
import math
import random
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, groupby, pairwise, repeat
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.engines.base import Effort, Hypothesis, RecognitionStream, StreamStatus
from transcribed.engines.failover.engine import FailoverEngine
from transcribed.engines.failover.rules import FailoverRules
from transcribed.engines.failover.stream import Counters, FailoverStream
from transcribed.engines.testing.levels import LevelEngine, LevelScript, level
from transcribed.errors import (
    AccessDenied,
    BadRequest,
    EngineFailure,
    LimitExceeded,
    Stopping,
    TranscribedError,
    Unavailable,
)
from transcribed.options import Capabilities, Pace, StreamOptions
from transcribed.scheduling.scheduler import Scheduler
from transcribed.transcript import Notice, SpeechEnded, SpeechStarted

Run = Callable[[Coroutine[Any, Any, Any]], Any]
How = Literal["breaks", "drains", "deaf", "stuck", "closes", "silent", "bug"]

FAILED_OVER, HANDED_BACK, TAKEN_OVER = "FailedOver", "HandedBack", "TakenOver"
LEVELS = ("one", "two", "three")
WITHIN = 1.5 / SAMPLE_RATE
LIVE, FAST = StreamOptions(pace=Pace.LIVE), StreamOptions(pace=Pace.FAST)
RULES = FailoverRules(lifetime=None)
NEVER = 10**12


@dataclass(frozen=True)
class Fate:
    """What becomes of a stream.

    It opens after `opening` seconds, or fails with `refusal`. What it says comes `lag` seconds after the
    audio. When it has had `after` samples it fails with `error`. breaks: at once, and what it had not said
    yet is lost; drains: what it had not said yet comes first; deaf: it takes no more, and its iteration
    does not end; stuck: it never takes this audio; closes: its iteration ends as if all had been said;
    silent: it takes more for a while, says nothing, and then breaks; bug: it raises what it should not.
    """

    refusal: Exception | None = None
    opening: float = 0.0
    lag: float = 0.0
    after: int = NEVER
    how: How = "breaks"
    error: TranscribedError = field(default_factory=lambda: Unavailable("The connection was lost."))
    closing: float = 0.0


WELL = Fate()


class FatedStream:
    """A RecognitionStream whose words are those of the audio, until its fate comes."""

    def __init__(self, name: str, fate: Fate, options: StreamOptions) -> None:
        levels = [f"{word}{'' if name == 'first' else '-' + name}" for word in LEVELS]
        self._local = LevelEngine(LevelScript(levels=tuple(levels))).open(options)
        self._name = name
        self._fate = fate
        self._options = options
        self._said: deque[Hypothesis | Exception | None] = deque()
        self._underway: deque[Hypothesis | Exception | None] = deque()
        self._news = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._broken: Exception | None = None
        self._mute = False
        self.had = 0
        self.finished = self.closed = False

    async def send(self, samples: Samples) -> None:
        if self._broken is not None:
            raise self._broken
        assert not self.closed
        assert not self.finished
        room = self._fate.after - self.had
        self.had += len(samples)
        self._local.accept(samples[: max(0, room)])
        self._listen()
        if self.had > self._fate.after and not self._mute:
            await self._end()

    async def _end(self) -> None:
        fate = self._fate
        match fate.how:
            case "breaks":
                self._break(fate.error)
                raise fate.error
            case "drains":
                self._later(fate.error)
                raise fate.error
            case "deaf":
                raise fate.error
            case "stuck":
                await asyncio.Event().wait()
            case "closes":
                self._say(None)
                self._broken = Unavailable("It is closed.")
            case "silent":
                self._mute = True
                self._timers.append(asyncio.get_running_loop().call_later(15, self._break, fate.error))
            case "bug":
                self._break(ZeroDivisionError("a bug"))

    async def flush(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self.had <= self._fate.after:
            self._local.flush()
            self._listen()

    async def finish(self) -> None:
        if self._broken is not None:
            raise self._broken
        self.finished = True
        if self.had <= self._fate.after:
            self._local.finish()
            self._listen()
            self._later(None)

    async def __aiter__(self) -> AsyncIterator[Hypothesis | Notice]:
        while True:
            while self._said:
                said = self._said.popleft()
                if said is None:
                    return
                if isinstance(said, Exception):
                    raise said
                yield said
            self._news.clear()
            await self._news.wait()

    @property
    def status(self) -> StreamStatus:
        sent = self.had / SAMPLE_RATE if self._name == "first" else None
        return StreamStatus(self._options.pace, self.had / SAMPLE_RATE, self._fate.lag, sent)

    async def aclose(self) -> None:
        self.closed = True
        for timer in self._timers:
            timer.cancel()
        await asyncio.sleep(self._fate.closing)

    def _listen(self) -> None:
        while self._local.next_step() is not None:
            for hypothesis in self._local.step(Effort.ALONE):
                self._later(hypothesis)

    def _later(self, said: Hypothesis | Exception | None) -> None:
        if self._fate.lag:
            # Of timers for the same moment the order is not certain.
            self._underway.append(said)
            self._timers.append(asyncio.get_running_loop().call_later(self._fate.lag, self._arrive))
        else:
            self._say(said)

    def _arrive(self) -> None:
        self._say(self._underway.popleft())

    def _say(self, said: Hypothesis | Exception | None) -> None:
        if not self._mute and self._broken is None:
            self._said.append(said)
            self._news.set()

    def _break(self, error: Exception) -> None:
        self._mute = False
        self._say(error)
        self._broken = error


class FatedEngine:
    """An Engine whose streams have these fates, one after the other; those behind them are well."""

    def __init__(
        self,
        *fates: Fate,
        name: str = "first",
        forever: Fate = WELL,
        kind: type[FatedStream] = FatedStream,
    ) -> None:
        self._name = name
        self._kind = kind
        self._fates = chain(fates, repeat(forever))
        self.streams: list[FatedStream] = []
        self.options: list[StreamOptions] = []
        self.tries: list[float] = []

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(self._name, ("en-US",))

    async def open(self, options: StreamOptions) -> RecognitionStream:
        self.tries.append(asyncio.get_running_loop().time())
        self.options.append(options)
        fate = next(self._fates)
        await asyncio.sleep(fate.opening)
        if fate.refusal is not None:
            raise fate.refusal
        stream = self._kind(self._name, fate, options)
        self.streams.append(stream)
        return stream

    @property
    def all_closed(self) -> bool:
        return all(stream.closed for stream in self.streams)


@pytest.fixture(autouse=True)
def delays() -> None:
    """The same at each run."""
    random.seed(1)


def fallback(*fates: Fate, forever: Fate = WELL) -> FatedEngine:
    return FatedEngine(*fates, name="fallback", forever=forever)


def spoken(*spans: tuple[int, float]) -> Samples:
    """Levels and seconds."""
    parts = [level(number, seconds) for number, seconds in spans]
    return np.concatenate([silence(0), *parts])


SENTENCES = spoken(
    *((1, 0.4), (2, 0.4), (0, 0.6), (3, 0.8), (0, 0.6), (1, 0.3), (0, 0.1), (1, 0.3), (0, 1.0))
)
"""Of 4.5 s: "one two", "three", "one one"."""
SAID = [(0, "one two"), (1, "three"), (2, "one one")]


@asynccontextmanager
async def opened(engine: FailoverEngine, options: StreamOptions = LIVE) -> AsyncIterator[RecognitionStream]:
    """A stream, after which nothing is left."""
    before = asyncio.all_tasks()
    stream = await engine.open(options)
    try:
        yield stream
    finally:
        await stream.aclose()
        for inner in (engine.primary, engine.fallback):
            assert not isinstance(inner, FatedEngine) or inner.all_closed
        assert asyncio.all_tasks() == before


async def feed(
    stream: RecognitionStream,
    audio: Samples,
    chunk: float = 0.1,
    pace: float = 1.0,
    flushed: Collection[int] = (),
) -> None:
    """Audio as it is spoken, at so many times real time, flushed behind the chunks of these numbers."""
    size = round(chunk * SAMPLE_RATE)
    for number, start in enumerate(range(0, len(audio), size)):
        await stream.send(audio[start : start + size])
        if number in flushed:
            await stream.flush()
        await asyncio.sleep(chunk / pace)


async def listen(stream: RecognitionStream, into: list[Hypothesis | Notice]) -> None:
    async for said in stream:
        into.append(said)  # noqa: PERF401 - what came before an error counts


async def transcript(
    engine: FailoverEngine, audio: Samples, options: StreamOptions = LIVE, **feeding: Any
) -> list[Hypothesis | Notice]:
    said: list[Hypothesis | Notice] = []
    async with opened(engine, options) as stream:
        listening = asyncio.create_task(listen(stream, said))
        await feed(stream, audio, **feeding)
        await stream.finish()
        await listening
    return said


def hypotheses(said: Iterable[Hypothesis | Notice]) -> list[Hypothesis]:
    return [h for h in said if isinstance(h, Hypothesis)]


def notices(said: Iterable[Hypothesis | Notice]) -> list[str]:
    return [n.code for n in said if isinstance(n, Notice)]


def finals(said: Iterable[Hypothesis | Notice]) -> list[tuple[int, str]]:
    return [(h.segment, h.text) for h in hypotheses(said) if h.final]


def times(said: Iterable[Hypothesis | Notice]) -> list[float]:
    finals = [h for h in hypotheses(said) if h.final]
    words = [t for h in finals for w in h.words for t in (w.start, w.end) if t is not None]
    return words + [t for h in finals for t in (h.start, h.end)]


def undisturbed(audio: Samples, flushed: Collection[int] = ()) -> list[Hypothesis]:
    local = LevelEngine(LevelScript(levels=LEVELS)).open(LIVE)
    for start, end in pairwise(sorted({0, len(audio), *flushed})):
        local.accept(audio[start:end])
        if end in flushed:
            local.flush()
    local.finish()
    said: list[Hypothesis] = []
    while local.next_step() is not None:
        said += local.step(Effort.ALONE)
    return said


def check(said: Sequence[Hypothesis | Notice], audio: Samples, flushed: Collection[int] = ()) -> None:
    """No word is lost, none is doubled, and all are where they were said."""
    expected = undisturbed(audio, flushed)
    plain = [(number, text.replace("-fallback", "")) for number, text in finals(said)]
    assert plain == finals(expected)
    assert times(said) == pytest.approx(times(expected), abs=WITHIN)
    ended = 0
    for hypothesis in hypotheses(said):
        assert hypothesis.segment == ended
        ended += hypothesis.final
    assert not hypotheses(said) or hypotheses(said)[-1].final


# --- Nothing is lost, whatever happens


spans = st.lists(st.tuples(st.integers(0, 3), st.floats(0.001, 1.5)), min_size=1, max_size=12)
failures = st.sampled_from([Unavailable("Lost."), LimitExceeded("Full."), EngineFailure("It fell over.")])
fates = st.builds(
    Fate,
    refusal=st.one_of(st.none(), st.none(), failures),
    opening=st.sampled_from([0.0, 0.3, 100.0]),
    lag=st.sampled_from([0.0, 0.5, 2.0]),
    after=st.integers(0, 6 * SAMPLE_RATE),
    how=st.sampled_from(["breaks", "drains", "deaf", "stuck", "closes", "silent", "bug"]),
    error=failures,
    closing=st.sampled_from([0.0, 100.0]),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spans,
    st.lists(fates, max_size=4),
    st.lists(fates, max_size=1),
    st.booleans(),
    st.sampled_from([LIVE, FAST, replace(LIVE, partials=False)]),
    st.sampled_from([0.02, 0.1, 0.7]),
    st.sampled_from([1.0, 3.0]),
    st.sampled_from([None, 2.0]),
    st.sets(st.integers(0, 40)),
)
def test_no_word_is_lost_and_none_doubled(
    in_virtual_time: Run,
    spans: list[tuple[int, float]],
    of_first: list[Fate],
    of_fallback: list[Fate],
    with_fallback: bool,
    options: StreamOptions,
    chunk: float,
    pace: float,
    lifetime: float | None,
    flushed: set[int],
) -> None:
    first = FatedEngine(*of_first)
    second = fallback(*of_fallback) if with_fallback else None
    patience = {"patience": 1e6, "patience_opening": 1e6, "return_first": 3.0}
    engine = FailoverEngine(first, second, replace(RULES, lifetime=lifetime, boundary=5.0, **patience))
    audio = spoken(*spans)
    said = in_virtual_time(transcript(engine, audio, options, chunk=chunk, pace=pace, flushed=flushed))
    size = round(chunk * SAMPLE_RATE)
    check(
        said,
        audio,
        [min((number + 1) * size, len(audio)) for number in flushed if number * size < len(audio)],
    )
    assert options.partials or all(h.final for h in hypotheses(said))
    assert (FAILED_OVER in notices(said)) == (engine.counters.fail_overs > 0)


@pytest.mark.parametrize("how", ["breaks", "drains", "deaf", "stuck", "closes", "silent", "bug"])
@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.9, 1.3, 2.0, 4.4])
def test_a_stream_that_fails_is_followed_by_another(in_virtual_time: Run, how: How, seconds: float) -> None:
    fate = Fate(after=round(seconds * SAMPLE_RATE), how=how, lag=0.1)
    first = FatedEngine(fate)
    engine = FailoverEngine(first, rules=RULES)
    said = in_virtual_time(transcript(engine, SENTENCES))
    check(said, SENTENCES)
    assert finals(said) == SAID
    assert notices(said) == [TAKEN_OVER]
    assert len(first.streams) == 2
    assert engine.counters == Counters(recoveries=1, repeated_seconds=engine.counters.repeated_seconds)


@pytest.mark.parametrize("how", ["breaks", "drains", "closes"])
@pytest.mark.parametrize("seconds", [0.2, 0.9, 1.3, 2.0])
def test_speech_that_goes_on_in_another_stream_starts_once(
    in_virtual_time: Run, how: How, seconds: float
) -> None:
    fate = Fate(after=round(seconds * SAMPLE_RATE), how=how)
    engine = FailoverEngine(FatedEngine(fate), fallback(), RULES)
    said = in_virtual_time(transcript(engine, SENTENCES, replace(LIVE, speech_events=True)))
    check(said, SENTENCES)
    events = [each for each in said if isinstance(each, SpeechStarted | SpeechEnded)]
    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded] * 3
    assert [event.at for event in events] == pytest.approx([0, 0.8, 1.4, 2.2, 2.8, 3.5], abs=WITHIN)


def test_an_open_segment_keeps_its_number(in_virtual_time: Run) -> None:
    audio = spoken((1, 0.5), (0, 0.5), (2, 0.5), (1, 0.5), (0, 0.5))
    engine = FailoverEngine(FatedEngine(Fate(after=22_000)), fallback(), RULES)
    said = in_virtual_time(transcript(engine, audio))
    assert [(s.segment, s.text, s.final) if isinstance(s, Hypothesis) else s.code for s in said] == [
        (0, "one", False),
        (0, "one", True),
        (1, "two", False),
        TAKEN_OVER,
        (1, "two", False),
        (1, "two one", False),
        (1, "two one", True),
    ]
    # From the end of "one", to what had been sent.
    assert engine.counters.repeated_seconds == pytest.approx(1.4 - 0.5)


# --- A stream that is old


def test_a_new_stream_takes_over_without_a_pause_at_the_end_of_a_segment(in_virtual_time: Run) -> None:
    first = FatedEngine(WELL, Fate(opening=0.5))
    engine = FailoverEngine(first, rules=replace(RULES, lifetime=2.6))
    said = in_virtual_time(transcript(engine, SENTENCES))
    check(said, SENTENCES)
    assert notices(said) == []
    assert engine.counters.takeovers == 1
    # It was opened while the last one still heard, and "one one" was left to that one.
    assert first.tries == [0, pytest.approx(2.6)]
    assert first.streams[0].had / SAMPLE_RATE == pytest.approx(3.8, abs=0.11)
    assert engine.counters.repeated_seconds == pytest.approx(0.3, abs=0.11)


def test_a_segment_that_does_not_end_is_gone_on_with(in_virtual_time: Run) -> None:
    first = FatedEngine()
    engine = FailoverEngine(first, rules=replace(RULES, lifetime=10.0, boundary=5.0))
    audio = spoken(*[(1, 1.0), (2, 1.0)] * 10)
    said = in_virtual_time(transcript(engine, audio))
    check(said, audio)
    assert first.streams[0].had / SAMPLE_RATE == pytest.approx(15, abs=0.11)


def test_an_old_stream_stays_while_there_is_no_new_one(in_virtual_time: Run) -> None:
    first = FatedEngine(WELL, Fate(refusal=LimitExceeded("Full.")), Fate(refusal=AccessDenied("No.")))
    engine = FailoverEngine(first, rules=replace(RULES, lifetime=10.0))
    audio = spoken(*[(1, 1.0), (0, 1.0)] * 90)
    said = in_virtual_time(transcript(engine, audio))
    check(said, audio)
    assert notices(said) == []
    assert engine.counters.takeovers == len(first.streams) - 1 >= 1
    assert all(45 <= later - sooner <= 75 for sooner, later in pairwise(first.tries[1:4]))


def test_a_stream_that_waits_follows_at_once_where_the_old_one_fails(in_virtual_time: Run) -> None:
    first = FatedEngine(Fate(after=12 * SAMPLE_RATE), WELL, Fate(refusal=Unavailable("Not again.")))
    engine = FailoverEngine(first, rules=replace(RULES, lifetime=10.0, tries=0))
    audio = spoken((1, 20.0))
    said = in_virtual_time(transcript(engine, audio))
    check(said, audio)
    assert notices(said) == [TAKEN_OVER]
    assert len(first.streams) == 2


# --- Another engine


def test_the_fallback_takes_over_and_hands_back_at_the_end_of_a_segment(in_virtual_time: Run) -> None:
    second, lost = fallback(), Fate(refusal=Unavailable("Not there."))
    first = FatedEngine(Fate(after=30_000), lost, lost, lost, lost, WELL)
    engine = FailoverEngine(first, second, replace(RULES, return_first=2.0, boundary=5.0))
    audio = spoken((1, 1.0), (0, 0.5), *[(2, 0.5), (3, 1.0), (0, 0.5)] * 10)
    said = in_virtual_time(transcript(engine, audio))
    check(said, audio)
    assert notices(said) == [FAILED_OVER, HANDED_BACK]
    messages = [n.message for n in said if isinstance(n, Notice)]
    assert messages[0] == "From 1.0 s on, fallback listens. The connection was lost."
    assert re.fullmatch(r"From \d+\.0 s on, first listens\.", messages[1])
    texts = [text for _, text in finals(said)]
    assert [text for text, _ in groupby(texts)] == ["one", "two-fallback three-fallback", "two three"]
    # No segment was begun by one engine and ended by the other, but the one that the failure cut.
    handed_back = said.index(next(n for n in said if isinstance(n, Notice) and n.code == HANDED_BACK))
    assert isinstance(before := said[handed_back - 1], Hypothesis)
    assert before.final
    counters = engine.counters
    assert (counters.fail_overs, counters.hand_backs, counters.recoveries) == (1, 1, 0)
    assert counters.fallback_seconds == pytest.approx(second.streams[0].had / SAMPLE_RATE)


def test_what_is_refused_is_not_tried_again(in_virtual_time: Run) -> None:
    denied = Fate(refusal=AccessDenied("No credentials."))
    first = FatedEngine(forever=denied)
    engine = FailoverEngine(first, fallback(), RULES)
    said = in_virtual_time(transcript(engine, SENTENCES))
    check(said, SENTENCES)
    assert said[0] == Notice(FAILED_OVER, "From 0.0 s on, fallback listens. No credentials.")
    assert first.tries == [0]


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (AccessDenied("No."), {1}),
        (BadRequest("What?"), {1}),
        (Stopping(), {1}),
        (Unavailable("Not there."), range(3, 10)),
        (LimitExceeded("Full."), range(2, 10)),
    ],
)
def test_without_another_engine_the_error_is_that_of_the_first(
    in_virtual_time: Run, error: TranscribedError, tries: Collection[int]
) -> None:
    first = FatedEngine(forever=Fate(refusal=error))

    async def refused() -> None:
        with pytest.raises(type(error), match=error.message):
            await FailoverEngine(first, rules=RULES).open(LIVE)
        assert asyncio.get_running_loop().time() <= RULES.patience_opening

    in_virtual_time(refused())
    assert len(first.tries) in tries


def test_a_bad_request_is_not_hidden_behind_the_fallback(in_virtual_time: Run) -> None:
    first, second = FatedEngine(Fate(refusal=BadRequest("No such vocabulary."))), fallback()

    async def refused() -> None:
        with pytest.raises(BadRequest, match=r"No such vocabulary\."):
            await FailoverEngine(first, second, RULES).open(LIVE)

    in_virtual_time(refused())
    assert second.tries == []


def test_a_bad_request_of_a_stream_that_was_good_is_an_end_like_others(in_virtual_time: Run) -> None:
    first = FatedEngine(Fate(after=30_000, error=BadRequest("No audio for 15 s.")))
    said = in_virtual_time(transcript(FailoverEngine(first, rules=RULES), SENTENCES))
    check(said, SENTENCES)
    assert notices(said) == [TAKEN_OVER]


def test_a_fallback_without_room_leaves_more_tries_to_the_first(in_virtual_time: Run) -> None:
    lost = Fate(refusal=Unavailable("Not there."))
    first = FatedEngine(Fate(after=30_000), *[lost] * 6)
    second = fallback(forever=Fate(refusal=LimitExceeded("No place.")))
    engine = FailoverEngine(first, second, RULES)
    said = in_virtual_time(transcript(engine, SENTENCES))
    check(said, SENTENCES)
    assert len(second.tries) == 1
    assert notices(said) == [TAKEN_OVER]


def test_where_nothing_helps_all_that_was_said_comes_before_the_last_error(in_virtual_time: Run) -> None:
    first = FatedEngine(Fate(after=30_000), forever=Fate(refusal=AccessDenied("No more.")))
    engine = FailoverEngine(first, fallback(Fate(refusal=LimitExceeded("No place."))), RULES)
    said: list[Hypothesis | Notice] = []

    async def failing() -> None:
        async with opened(engine) as stream:
            listening = asyncio.create_task(listen(stream, said))
            with pytest.raises(LimitExceeded, match="No place"):
                await feed(stream, SENTENCES)
            with pytest.raises(LimitExceeded, match="No place"):
                await listening

    in_virtual_time(failing())
    assert finals(said) == SAID[:1]


def test_a_fallback_that_fails_after_it_has_served_is_asked_again(in_virtual_time: Run) -> None:
    first = FatedEngine(Fate(after=3_200), forever=Fate(refusal=AccessDenied("No.")))
    second = fallback(Fate(after=40_000, error=EngineFailure("It fell over.")))
    engine = FailoverEngine(first, second, RULES)
    said = in_virtual_time(transcript(engine, SENTENCES))
    check(said, SENTENCES)
    assert len(second.streams) == 2
    assert notices(said) == [FAILED_OVER, TAKEN_OVER]


def test_the_end_of_the_server_is_nothing_to_recover_from(in_virtual_time: Run) -> None:
    first, second = FatedEngine(Fate(after=30_000, error=Stopping())), fallback()

    async def stopping() -> None:
        async with opened(FailoverEngine(first, second, RULES)) as stream:
            with pytest.raises(Stopping):
                await feed(stream, SENTENCES)

    in_virtual_time(stopping())
    assert len(first.tries) + len(second.tries) == 1


def test_a_fallback_that_does_not_know_the_language_is_none(in_virtual_time: Run) -> None:
    first = FatedEngine(forever=Fate(refusal=AccessDenied("No.")))

    @dataclass
    class French(FatedEngine):
        @property
        def capabilities(self) -> Capabilities:
            return Capabilities("french", ("fr-FR",))

    async def refused() -> None:
        with pytest.raises(AccessDenied):
            await FailoverEngine(first, French(), RULES).open(LIVE)

    in_virtual_time(refused())


def test_the_fallback_is_asked_for_what_it_can_do_and_the_client_told_what_it_cannot(
    in_virtual_time: Run,
) -> None:
    first, second = FatedEngine(forever=Fate(refusal=AccessDenied("No."))), fallback()
    options = replace(LIVE, partials=False, language="en-GB", speaker_labels=True)
    said = in_virtual_time(transcript(FailoverEngine(first, second, RULES), SENTENCES, options))
    assert second.options == [replace(LIVE, language="en-US")]
    assert said[0] == Notice(FAILED_OVER, "From 0.0 s on, fallback listens, without speaker labels. No.")


def test_those_who_watch_see_what_waits_and_what_was_sent(in_virtual_time: Run) -> None:
    first = FatedEngine(Fate(after=16_000, lag=0.25), Fate(opening=5.0, lag=0.5))
    audio = spoken((1, 0.5), (0, 4.5))

    async def watched() -> list[tuple[float, float, float | None]]:
        statuses = []
        async with opened(FailoverEngine(first, fallback(), RULES)) as stream:
            for start in (0, 1, 2, 3, 9):
                if start < 9:
                    await stream.send(audio[start * SAMPLE_RATE : (start + 1) * SAMPLE_RATE])
                await asyncio.sleep(0.9 if start < 3 else 9)
                status = stream.status
                statuses.append((status.received, status.lag, status.sent))
        status = stream.status
        return [*statuses, (status.received, status.lag, status.sent)]

    assert in_virtual_time(watched()) == [
        (1, 0.25, 1.0),
        (2, 0.5, 1.5),
        (3, 1.5, 1.5),
        (4, 0.5, 5.0),
        (4, 0.5, 5.0),
        (4, 0.0, 5.0),
    ]


def test_streams_spare_one_another_the_wait_for_an_engine_that_is_not_there(in_virtual_time: Run) -> None:
    hanging = Fate(opening=100.0)
    first, second = FatedEngine(hanging, hanging, hanging), fallback()
    engine = FailoverEngine(first, second, replace(RULES, return_first=60.0))
    waits = []

    async def one_after_the_other() -> None:
        for pause in (0, 10, 60, 10):
            await asyncio.sleep(pause)
            began = asyncio.get_running_loop().time()
            async with opened(engine):
                waits.append(asyncio.get_running_loop().time() - began)

    in_virtual_time(one_after_the_other())
    assert [round(wait, 1) > 0 for wait in waits] == [True, False, True, False]
    assert len(first.tries) == 2
    assert len(second.tries) == 4


def test_an_engine_that_was_reached_is_there_for_all(in_virtual_time: Run) -> None:
    first, second = FatedEngine(Fate(refusal=Unavailable("Not there."))), fallback()
    engine = FailoverEngine(first, second, RULES)

    async def one_after_the_other() -> None:
        for _ in range(2):
            async with opened(engine):
                pass

    in_virtual_time(one_after_the_other())
    assert len(first.tries) == 3
    assert second.tries == []


def test_a_stream_goes_on_with_the_engine_that_computes_here(in_virtual_time: Run) -> None:
    here = LevelEngine(LevelScript(levels=LEVELS))

    async def both() -> list[Hypothesis | Notice]:
        first = FatedEngine(Fate(after=30_000), forever=Fate(refusal=AccessDenied("No.")))
        async with Scheduler(1) as scheduler:
            engine = FailoverEngine(first, scheduler.run(here), RULES)
            said = await transcript(engine, SENTENCES)
            stream = await engine.open(LIVE)
            await feed(stream, SENTENCES)
        with pytest.raises(Stopping):
            await listen(stream, said)
        await stream.aclose()
        return said

    said = in_virtual_time(both())
    assert notices(said) == [FAILED_OVER, FAILED_OVER]
    check(said[: said.index(next(n for n in reversed(said) if isinstance(n, Notice)))], SENTENCES)


# --- Waits


async def _outage(
    options: StreamOptions = LIVE, ready: float = 40.0
) -> tuple[list[Hypothesis | Notice], float]:
    """All audio comes, or waits, while nothing answers; how long its sender was held up."""
    first = FatedEngine(Fate(after=20_000), *[Fate(opening=ready / 4)] * 4)
    rules = replace(RULES, opening=ready / 4 - 0.1)
    said: list[Hypothesis | Notice] = []
    async with opened(FailoverEngine(first, rules=rules), options) as stream:
        listening = asyncio.create_task(listen(stream, said))
        await feed(stream, np.concatenate([SENTENCES, SENTENCES]))
        await stream.finish()
        fed = asyncio.get_running_loop().time()
        await listening
    return said, fed


def test_a_sender_waits_where_seconds_wait_to_be_sent(in_virtual_time: Run) -> None:
    said, fed = in_virtual_time(_outage())
    check(said, np.concatenate([SENTENCES, SENTENCES]))
    assert fed > 40


def test_the_end_may_come_in_an_outage(in_virtual_time: Run) -> None:
    audio = SENTENCES[: 4 * SAMPLE_RATE]
    first = FatedEngine(Fate(after=20_000), *[Fate(opening=9.0)], Fate(opening=30))
    engine = FailoverEngine(first, fallback(), RULES)
    said = in_virtual_time(transcript(engine, audio))
    check(said, audio)


def test_at_the_end_nothing_is_opened_for_what_is_final(in_virtual_time: Run) -> None:
    """A stream breaks when it has said everything, and before it could say that this was all."""
    first, audio = FatedEngine(Fate(after=SAMPLE_RATE)), spoken((1, 1.0))

    async def ended() -> list[Hypothesis | Notice]:
        said: list[Hypothesis | Notice] = []
        async with opened(FailoverEngine(first, rules=RULES)) as stream:
            await stream.send(audio)
            await asyncio.sleep(1)
            inner = first.streams[0]
            inner._say(Hypothesis(0, 0.0, 1.0, "one", final=True))
            inner._break(Unavailable("Lost."))
            await stream.finish()
            await listen(stream, said)
        return said

    assert finals(in_virtual_time(ended())) == [(0, "one")]
    assert len(first.tries) == 1


def test_a_reader_who_is_late_misses_partials_alone(in_virtual_time: Run) -> None:
    audio = spoken(*[(1, 0.2), (2, 0.2), (0, 0.5)] * 100)
    first = FatedEngine(Fate(after=40 * SAMPLE_RATE, how="drains"))

    async def late() -> list[Hypothesis | Notice]:
        said: list[Hypothesis | Notice] = []
        async with opened(FailoverEngine(first, rules=RULES)) as stream:
            feeding = asyncio.create_task(feed(stream, audio))
            await asyncio.sleep(200)
            assert not feeding.done()
            listening = asyncio.create_task(listen(stream, said))
            await feeding
            await stream.finish()
            await listening
        return said

    said = in_virtual_time(late())
    check(said, audio)
    assert len(hypotheses(said)) < 300


def test_a_stream_whose_last_words_are_not_read_is_not_lost(in_virtual_time: Run) -> None:
    audio = spoken(*[(1, 0.2), (0, 0.5)] * 100)
    engine = FailoverEngine(FatedEngine(), rules=RULES)

    async def late() -> list[Hypothesis | Notice]:
        said: list[Hypothesis | Notice] = []
        async with opened(engine) as stream:
            await feed(stream, audio)
            await stream.finish()
            await asyncio.sleep(1_000)
            assert isinstance(stream, FailoverStream)
            assert stream._events.full
            await listen(stream, said)
        return said

    check(in_virtual_time(late()), audio)
    assert engine.counters == Counters()


def test_a_segment_that_nobody_has_read_of_is_held(in_virtual_time: Run) -> None:
    audio = spoken(*[(1, 0.2), (0, 0.5)] * 80, (2, 50.0))
    first = FatedEngine(Fate(after=100 * SAMPLE_RATE))

    async def late() -> list[Hypothesis | Notice]:
        said: list[Hypothesis | Notice] = []
        async with opened(FailoverEngine(first, rules=RULES)) as stream:
            feeding = asyncio.create_task(feed(stream, audio))
            await asyncio.sleep(200)
            listening = asyncio.create_task(listen(stream, said))
            await feeding
            await stream.finish()
            await listening
        return said

    check(in_virtual_time(late()), audio)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(fates, max_size=3), st.booleans(), st.floats(0, 30), st.integers(1, 3))
def test_it_may_be_closed_at_any_moment(
    in_virtual_time: Run, of_first: list[Fate], with_fallback: bool, moment: float, times: int
) -> None:
    first, second = FatedEngine(*of_first), fallback() if with_fallback else None
    engine = FailoverEngine(first, second, replace(RULES, lifetime=5.0, return_first=3.0))

    async def closed() -> None:
        try:
            async with opened(engine) as stream:
                said: list[Hypothesis | Notice] = []
                listening = asyncio.create_task(listen(stream, said))
                feeding = asyncio.create_task(feed(stream, np.concatenate([SENTENCES] * 5)))
                await asyncio.sleep(moment)
                await asyncio.gather(*(stream.aclose() for _ in range(times)))
                await asyncio.gather(listening, feeding, return_exceptions=True)
        except TranscribedError:
            pass

    in_virtual_time(closed())


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(fates, max_size=3), st.floats(0, 30))
def test_opening_may_be_given_up_at_any_moment(
    in_virtual_time: Run, of_first: list[Fate], moment: float
) -> None:
    first = FatedEngine(*of_first)

    async def given_up() -> None:
        opening = asyncio.create_task(FailoverEngine(first, fallback(), RULES).open(LIVE))
        await asyncio.wait({opening}, timeout=moment)
        if opening.cancel():
            await asyncio.wait({opening})
            assert first.all_closed
        elif not opening.exception():
            await opening.result().aclose()
        assert len(asyncio.all_tasks()) == 1

    in_virtual_time(given_up())


# --- A long time


class Seconds(FatedStream):
    """One that is soon done: a second whose first sample is not silent is a segment."""

    def _listen(self) -> None:
        pass

    async def send(self, samples: Samples) -> None:
        assert len(samples) == SAMPLE_RATE // 2
        second, half = divmod(self.had // len(samples), 2)
        self._said_something = samples[0] != 0 if half == 0 else self._said_something
        self.had += len(samples)
        if self._said_something:
            text, final = str(round(samples[0] * 128)), half == 1
            self._say(Hypothesis(self._number, second, second + (half + 1) / 2, text, final))
            self._number += final
        if self.had > self._fate.after:
            self._break(Unavailable("The connection was lost."))  # A new one: errors collect tracebacks.

    _number, _said_something = 0, False


def test_a_day_of_failures_leaves_nothing_behind(
    in_virtual_time: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """Streams that break after 75 s or are left after 60."""
    hours, every = 24, 17
    first = FatedEngine(forever=Fate(after=75 * SAMPLE_RATE), kind=Seconds)
    engine = FailoverEngine(first, rules=replace(RULES, lifetime=60.0))
    heard, held = 0, []

    async def reading(stream: RecognitionStream) -> None:
        nonlocal heard
        async for said in stream:
            if isinstance(said, Hypothesis) and said.final:
                assert said == Hypothesis(
                    heard, heard * every, heard * every + 1, str(heard % 100 + 1), True
                )
                heard += 1

    async def a_day() -> None:
        async with opened(engine) as stream:
            listening = asyncio.create_task(reading(stream))
            for second in range(hours * 3600):
                number, rest = divmod(second, every)
                await stream.send(np.full(SAMPLE_RATE, 0 if rest else (number % 100 + 1) / 128, np.float32))
                await asyncio.sleep(1)
                if second % 7200 == 7199:
                    del first.streams[:-1], first.options[:], first.tries[:]
                    gc.collect()
                    held.append((len(gc.get_objects()), stream._splice._audio._array.nbytes))
            await stream.finish()
            await listening

    with caplog.at_level(logging.ERROR):
        in_virtual_time(a_day())
    assert heard == math.ceil(hours * 3600 / every)
    assert engine.counters.takeovers > 500
    assert engine.counters.recoveries > 50
    objects, array_bytes = zip(*held, strict=True)
    assert max(objects[1:]) - objects[0] < 500
    assert max(array_bytes) < 4 * 30 * SAMPLE_RATE * 2
