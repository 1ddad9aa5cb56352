import uuid
from collections.abc import AsyncIterator
from typing import Any, Self

import pytest

from transcribed.audio.formats import Samples, silence
from transcribed.engines.base import Engine, Hypothesis
from transcribed.engines.testing.scripted import Script, ScriptedEngine
from transcribed.errors import EngineFailure, Unavailable
from transcribed.options import Capabilities, StreamOptions
from transcribed.scheduling.scheduler import Scheduler
from transcribed.service.live import LiveSession, SessionTimeline
from transcribed.transcript import Done, Entity, LiveEvent, Notice, Segment, Word

pytestmark = pytest.mark.anyio


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    async with Scheduler(2) as scheduler:
        yield scheduler


def _engine(scheduler: Scheduler, *events: dict[str, Any], language: str = "en-US") -> Engine:
    return scheduler.run(ScriptedEngine(Script.model_validate({"language": language, "events": events})))


async def _events(session: LiveSession, *seconds: float) -> list[LiveEvent]:
    for length in seconds:
        await session.send(silence(length))
    await session.finish()
    return [event async for event in session.events()]


async def test_hypotheses_become_segments_of_the_session(scheduler: Scheduler) -> None:
    engine = _engine(
        scheduler,
        {"at": 0.5, "text": "Das ist"},
        {"at": 1.0, "text": "Das ist so gut.", "final": True},
        {"at": "end", "text": "Ja.", "final": True},
        language="de-DE",
    )
    async with LiveSession(engine, StreamOptions()) as session:
        *segments, done = await _events(session, 1.0, 0.25)

    def words(text: str, start: float = 0.0) -> tuple[Word, ...]:
        return tuple(
            Word(word, start + number / 4, start + (number + 1) / 4, confidence=1.0)
            for number, word in enumerate(text.split())
        )

    assert segments == [
        Segment(session.id, 0, 0.0, 0.5, "Das ist", False, "de-DE", words("Das ist")),
        Segment(session.id, 0, 0.0, 1.0, "Das ist so gut.", True, "de-DE", words("Das ist so gut.")),
        Segment(session.id, 1, 1.0, 1.25, "Ja.", True, "de-DE", words("Ja.", 1.0)),
    ]
    assert isinstance(done, Done)
    assert (done.session_id, done.audio_seconds) == (session.id, 1.25)
    assert 0 <= done.processing_seconds < 30


class _Remote:
    """An engine that is asked for German, finds out otherwise, and has something to tell."""

    capabilities = Capabilities("remote", ("en-US", "de-DE"))

    async def open(self, options: StreamOptions) -> Self:
        assert options.language == "de-DE"
        return self

    async def send(self, samples: Samples) -> None:
        pass

    async def finish(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Hypothesis | Notice]:
        yield Hypothesis(
            0,
            0.5,
            1.0,
            "Oui.",
            final=True,
            language="fr-FR",
            entities=(Entity("x", 0.5, 1.0),),
            model="large",
        )
        yield Notice("FailedOver", "Something else goes on.")
        yield Hypothesis(1, 1.0, 1.5, "Ja.", final=True)


async def test_a_remote_engine_may_find_the_language_out_and_tell_more_than_words() -> None:
    timeline = SessionTimeline()
    timeline.seconds = 10.0
    async with LiveSession(_Remote(), StreamOptions(language="de-DE"), timeline) as session:
        yes, notice, no, _ = await _events(session)
    assert isinstance(yes, Segment)
    assert isinstance(no, Segment)
    assert (yes.language, no.language) == ("fr-FR", "de-DE")
    assert (yes.model, no.model) == ("large", None)
    assert yes.entities == (Entity("x", 10.5, 11.0),)
    assert notice == Notice("FailedOver", "Something else goes on.")


async def test_a_session_without_audio_is_done_at_once(scheduler: Scheduler) -> None:
    async with LiveSession(_engine(scheduler), StreamOptions()) as session:
        (done,) = await _events(session)
    assert isinstance(done, Done)
    assert done.audio_seconds == 0


async def test_each_session_has_an_id_of_its_own(scheduler: Scheduler) -> None:
    engine = _engine(scheduler)
    ids = {LiveSession(engine, StreamOptions()).id for _ in range(10)}
    assert len(ids) == 10
    assert all(str(uuid.UUID(session_id)) == session_id for session_id in ids)


async def test_a_failure_of_the_engine_is_raised_behind_what_came_before_it(scheduler: Scheduler) -> None:
    engine = _engine(
        scheduler, {"at": 0.5, "text": "Das"}, {"at": 0.5, "error": "the recogniser fell over"}
    )
    seen: list[LiveEvent] = []

    async def listen() -> None:
        async with LiveSession(engine, StreamOptions()) as session:
            await session.send(silence(1.0))
            async for event in session.events():
                seen.append(event)  # noqa: PERF401 - what comes before a failure counts

    with pytest.raises(EngineFailure, match="fell over"):
        await listen()
    assert [getattr(event, "text", None) for event in seen] == ["Das"]
    assert scheduler.streams == []


async def test_leaving_gives_the_stream_back_whatever_happened(scheduler: Scheduler) -> None:
    engine = _engine(scheduler, {"at": 0.5, "text": "Das"})

    async def stumble() -> None:
        async with LiveSession(engine, StreamOptions()) as session:
            await session.send(silence(1.0))
            assert len(scheduler.streams) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stumble()
    assert scheduler.streams == []


async def test_where_no_stream_can_be_opened_nothing_is_left_to_close(scheduler: Scheduler) -> None:
    engine = _engine(scheduler)
    async with scheduler:
        pass
    with pytest.raises(Unavailable):
        async with LiveSession(engine, StreamOptions()):
            pytest.fail("a session without a stream")
