"""Who is let in, and what has become of streams."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.engines.base import (
    Capabilities,
    Hypothesis,
    Pace,
    RecognitionStream,
    StreamOptions,
    StreamStatus,
)
from transcribed.engines.scripted import Script, ScriptedEngine
from transcribed.errors import EngineFailure, LimitExceeded, UpstreamLost
from transcribed.scheduling.scheduler import Scheduler
from transcribed.scheduling.serving import Places, ServedEngine
from transcribed.transcript import Notice

pytestmark = pytest.mark.anyio


class _Stream:
    """Says what it is given at its end; it sends all audio elsewhere, twice."""

    def __init__(self, options: StreamOptions, *said: Hypothesis | Notice | Exception) -> None:
        self._pace = options.pace
        self._said = said
        self._seconds = 0.0
        self._finished = asyncio.Event()
        self.closed = 0

    async def send(self, samples: Samples) -> None:
        self._seconds += len(samples) / SAMPLE_RATE

    async def finish(self) -> None:
        self._finished.set()

    async def __aiter__(self) -> AsyncIterator[Hypothesis | Notice]:
        await self._finished.wait()
        for each in self._said:
            if isinstance(each, Exception):
                raise each
            yield each

    @property
    def status(self) -> StreamStatus:
        return StreamStatus(self._pace, self._seconds, 0.5, sent=2 * self._seconds)

    async def aclose(self) -> None:
        self.closed += 1


class _Elsewhere:
    capabilities = Capabilities("elsewhere", ("en-US",))

    def __init__(self, *said: Hypothesis | Notice | Exception) -> None:
        self._said = said
        self.refusal: Exception | None = None
        self.door = asyncio.Event()
        self.door.set()
        self.streams: list[_Stream] = []

    async def open(self, options: StreamOptions) -> RecognitionStream:
        await self.door.wait()
        if self.refusal is not None:
            raise self.refusal
        self.streams.append(_Stream(options, *self._said))
        return self.streams[-1]


FAST, LIVE = StreamOptions(Pace.FAST), StreamOptions(Pace.LIVE)


def served(engine: _Elsewhere, most: int | None = None, capacity: int = 2) -> ServedEngine:
    return ServedEngine(engine, Places(most), lambda: capacity, elsewhere=True)


async def test_what_is_elsewhere_is_given_so_many_streams_recordings_too() -> None:
    engine = served(_Elsewhere())
    first, second = await engine.open(LIVE), await engine.open(FAST)
    for options in (FAST, LIVE):
        with pytest.raises(LimitExceeded, match="elsewhere is given 2 streams at once and no more"):
            await engine.open(options)
    await first.aclose()
    await first.aclose()
    third = await engine.open(FAST)
    with pytest.raises(LimitExceeded):
        await engine.open(FAST)
    assert (engine.totals.opened, engine.totals.refused, len(engine.statuses)) == (3, 3, 2)
    await second.aclose()
    await third.aclose()
    assert engine.statuses == []


async def test_a_stream_takes_its_place_while_it_is_being_opened() -> None:
    elsewhere = _Elsewhere()
    engine = served(elsewhere, capacity=1)
    elsewhere.door.clear()
    opening = asyncio.create_task(engine.open(LIVE))
    await asyncio.sleep(0)
    with pytest.raises(LimitExceeded):
        await engine.open(LIVE)
    opening.cancel()
    await asyncio.wait({opening})
    elsewhere.door.set()
    await (await engine.open(LIVE)).aclose()


async def test_what_is_refused_elsewhere_takes_no_place() -> None:
    elsewhere = _Elsewhere()
    engine = served(elsewhere, most=1, capacity=1)
    for refusal in (UpstreamLost("gone"), LimitExceeded("full")):
        elsewhere.refusal = refusal
        with pytest.raises(type(refusal)):
            await engine.open(LIVE)
    assert (engine.totals.failed, engine.totals.refused) == (1, 1)
    elsewhere.refusal = None
    await (await engine.open(LIVE)).aclose()


async def test_live_streams_of_all_engines_have_one_limit() -> None:
    places = Places(2)
    async with Scheduler(1) as scheduler:
        local = scheduler.run(ScriptedEngine(Script(events=())))
        engines = [
            ServedEngine(local, places, lambda: local.places),
            ServedEngine(_Elsewhere(), places, lambda: 25, elsewhere=True),
        ]
        assert [engine.places for engine in engines] == [2, 2]
        streams = [await engine.open(LIVE) for engine in engines]
        for engine in engines:
            with pytest.raises(LimitExceeded, match="2 are being served"):
                await engine.open(LIVE)
        streams.append(await engines[0].open(FAST))
        for stream in streams:
            await stream.aclose()
        assert not scheduler.streams


async def test_a_place_is_free_when_the_last_word_is_out() -> None:
    elsewhere = _Elsewhere(Hypothesis(0, 0.0, 1.0, "a", False), Hypothesis(0, 0.0, 1.0, "a", True))
    engine = served(elsewhere, capacity=1)
    stream = await engine.open(LIVE)
    await stream.send(silence(1.0))
    assert engine.statuses == [StreamStatus(Pace.LIVE, 1.0, 0.5, 2.0)]
    await stream.finish()
    assert [said async for said in stream] == [
        Hypothesis(0, 0.0, 1.0, "a", False),
        Hypothesis(0, 0.0, 1.0, "a", True),
    ]
    await (await engine.open(LIVE)).aclose()
    await stream.aclose()
    assert elsewhere.streams[0].closed == 1
    assert (engine.totals.finals, engine.totals.received, engine.totals.failed) == (1, 1.0, 0)


async def test_what_was_sent_elsewhere_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    engine = served(_Elsewhere(Notice("Told", "so"), EngineFailure("fell over")))
    with caplog.at_level(logging.INFO):
        stream = await engine.open(FAST)
        await stream.send(silence(1.5))
        assert engine.sent == 3.0
        await stream.finish()
        with pytest.raises(EngineFailure):
            [said async for said in stream]
        await stream.aclose()
    assert engine.sent == 3.0
    assert (engine.totals.failed, engine.totals.finals) == (1, 0)
    assert [record.message for record in caplog.records] == [
        "A stream ended: 1.5 s of audio were received, and 3.0 s sent to elsewhere."
    ]
