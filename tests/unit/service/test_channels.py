"""The channels of a stream, each recognised on its own."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Engine
from transcribed.engines.testing.scripted import Script, ScriptedEngine
from transcribed.errors import EngineFailure, LimitExceeded
from transcribed.options import Capabilities, StreamOptions
from transcribed.scheduling.admission import AdmissionLimit, AdmittedEngine
from transcribed.scheduling.scheduler import Scheduler
from transcribed.service.channels import ChannelSession
from transcribed.transcript import Done, LiveEvent, Segment

pytestmark = pytest.mark.anyio
EVENTS = [{"at": 0.5, "text": "a", "final": True}, {"at": "end", "text": "b", "final": True}]


def silence(seconds: float) -> Samples:
    return np.zeros((2, round(seconds * SAMPLE_RATE)), np.float32)


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    async with Scheduler(2) as scheduler:
        yield scheduler


def engine(scheduler: Scheduler, *events: dict[str, object]) -> Engine:
    local = scheduler.run(ScriptedEngine(Script.model_validate({"events": events or EVENTS})))
    return AdmittedEngine(local, AdmissionLimit(2), lambda: local.capacity)


async def test_both_have_their_segments_on_one_timeline(scheduler: Scheduler) -> None:
    async with ChannelSession(engine(scheduler), StreamOptions(), 2) as session:
        assert len(scheduler.streams) == 2
        await session.send(silence(1.0))
        await session.finish()
        *segments, done = [event async for event in session.events()]
    assert isinstance(done, Done)
    assert done.audio_seconds == session.audio_seconds == 1.0
    found = [event for event in segments if isinstance(event, Segment)]
    assert len({segment.session for segment in found}) == 1
    assert sorted(segment.number for segment in found) == [0, 1, 2, 3]
    for channel in (0, 1):
        mine = [segment for segment in found if segment.channel == channel]
        assert [(s.text, s.start, s.end) for s in mine] == [("a", 0.0, 0.5), ("b", 0.5, 1.0)]
    assert not scheduler.streams


async def test_either_both_are_let_in_or_none(scheduler: Scheduler) -> None:
    shared = engine(scheduler)
    async with ChannelSession(shared, StreamOptions(), 2):
        with pytest.raises(LimitExceeded):
            async with ChannelSession(shared, StreamOptions(), 2):
                pass
        assert len(scheduler.streams) == 2
    stream = await shared.open(StreamOptions())
    with pytest.raises(LimitExceeded):
        async with ChannelSession(shared, StreamOptions(), 2):
            pass
    assert len(scheduler.streams) == 1
    await stream.aclose()


async def test_the_failure_of_one_is_the_session_s(scheduler: Scheduler) -> None:
    failing = engine(scheduler, {"at": 0.5, "text": "", "error": "broken"})
    async with ChannelSession(failing, StreamOptions(), 2) as session:
        await session.send(silence(1.0))
        heard: list[LiveEvent] = []
        with pytest.raises(EngineFailure, match="broken"):
            heard.extend([event async for event in session.events()])
    assert not scheduler.streams


def test_an_engine_is_all_it_needs() -> None:
    class Some:
        capabilities = Capabilities("some", ("en-US",))

    assert ChannelSession(Some(), StreamOptions(), 3).channels == 3  # type: ignore[arg-type]
