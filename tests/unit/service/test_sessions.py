"""Sessions that are known by an id, and those that outlive a connection."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest

from transcribed.audio.formats import silence
from transcribed.engines.base import StreamOptions
from transcribed.engines.scripted import Script, ScriptedEngine
from transcribed.errors import BadRequest, Conflict, Disconnected, TranscribedError
from transcribed.scheduling.scheduler import ScheduledEngine, Scheduler
from transcribed.service import sessions
from transcribed.service.live import LiveSession, Session, Timeline
from transcribed.service.live_audio import Timely
from transcribed.service.sessions import Attendance, ResumableSession, Sessions
from transcribed.transcript import LiveEvent, Segment

pytestmark = pytest.mark.anyio
EVENTS = [
    {"at": 0.5, "text": "a", "final": True},
    {"at": 1.0, "text": "b", "final": True},
    {"at": "end", "text": "c", "final": True},
]


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    async with Scheduler(1) as scheduler:
        yield scheduler


@pytest.fixture
def engine(scheduler: Scheduler) -> ScheduledEngine:
    return scheduler.run(ScriptedEngine(Script.model_validate({"events": EVENTS})))


def resumable(engine: ScheduledEngine, patience: float = 20) -> ResumableSession:
    def start(timeline: Timeline) -> Session:
        return LiveSession(engine, StreamOptions(), timeline)

    session = ResumableSession(Timeline("s"), start, lambda events: events, patience)
    session.until = asyncio.get_running_loop().time() + 3600
    return session


class Client:
    """One connection, whose audio is said when a test wants it."""

    def __init__(self) -> None:
        self.audio: asyncio.Queue[float | Exception | None] = asyncio.Queue()
        self.taken = 0.0

    async def feed(self, session: Session) -> None:
        while (item := await self.audio.get()) is not None:
            if isinstance(item, Exception):
                raise item
            await session.send(silence(item))
            self.taken += item

    def say(self, *items: float | Exception | None) -> None:
        for item in items:
            self.audio.put_nowait(item)


async def heard(attendance: Attendance, client: Client, most: int = 1000) -> list[tuple[int, str, float]]:
    found: list[tuple[int, str, float]] = []
    async with aclosing(attendance.hear(client.feed)) as events:
        async for event in events:
            if isinstance(event, Segment) and event.final:
                found.append((event.number, event.text, event.start))
                if len(found) == most:
                    break
    return found


async def failing(
    attendance: Attendance, client: Client
) -> tuple[list[LiveEvent], TranscribedError | None]:
    found: list[LiveEvent] = []
    try:
        async with aclosing(attendance.hear(client.feed)) as events:
            async for event in events:
                found.append(event)  # noqa: PERF401 - kept when it raises
    except TranscribedError as error:
        return found, error
    return found, None


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is nothing to wait for but this
            await asyncio.sleep(0)


async def lost(attendance: Attendance, client: Client) -> list[LiveEvent]:
    found, error = await failing(attendance, client)
    assert isinstance(error, Disconnected)
    attendance.leave()
    return found


GONE = Disconnected("gone")


async def test_without_a_break_it_is_a_session_like_any_other(engine: ScheduledEngine) -> None:
    session, client = resumable(engine), Client()
    attendance = await session.open()
    client.say(0.6, 0.6, None)
    assert await heard(attendance, client) == [(0, "a", 0.0), (1, "b", 0.5), (2, "c", 1.0)]
    attendance.leave()
    assert session.timeline.seconds == pytest.approx(1.2)


async def test_the_stream_of_the_engine_goes_on_over_a_break(
    engine: ScheduledEngine, scheduler: Scheduler
) -> None:
    session, first, second = resumable(engine), Client(), Client()
    attendance = await session.open()
    first.say(0.3, GONE)
    assert await lost(attendance, first) == []
    assert len(scheduler.streams) == 1
    attendance = await session.open()
    assert len(scheduler.streams) == 1
    second.say(0.3, 0.6, None)
    assert await heard(attendance, second) == [(0, "a", 0.0), (1, "b", 0.5), (2, "c", 1.0)]
    attendance.leave()
    assert not scheduler.streams


@pytest.mark.parametrize("confirmed", [True, False])
async def test_what_a_client_may_have_missed_is_told_again(
    engine: ScheduledEngine, confirmed: bool
) -> None:
    session, first, second = resumable(engine), Client(), Client()
    attendance = await session.open()
    first.say(0.6)
    assert await heard(attendance, first, most=1) == [(0, "a", 0.0)]
    if confirmed:
        attendance.confirm()
    attendance.leave()
    attendance = await session.open()
    second.say(0.6, None)
    found = await heard(attendance, second)
    again = [(0, "a", 0.0)] if not confirmed else []
    # What was being told when the connection broke was told, or not: nobody knows.
    assert found in (
        [*again, (1, "b", 0.5), (2, "c", 1.0)],
        [(0, "a", 0.0), (1, "b", 0.5), (2, "c", 1.0)],
    )


async def test_a_client_that_stays_away_gives_its_place_back_and_misses_nothing(
    engine: ScheduledEngine, scheduler: Scheduler
) -> None:
    session, first, second = resumable(engine, patience=0), Client(), Client()
    attendance = await session.open()
    first.say(1.1, GONE)
    await lost(attendance, first)
    await until(lambda: not scheduler.streams)
    attendance = await session.open()
    second.say(0.6, None)
    found = await heard(attendance, second)
    assert found[-2:] == [(2, "c", 1.0), (3, "a", pytest.approx(1.1))]
    attendance.leave()


async def test_an_error_of_the_audio_ends_it_behind_the_last_words(engine: ScheduledEngine) -> None:
    session, client = resumable(engine), Client()
    attendance = await session.open()
    client.say(1.1, BadRequest("no"))
    found, error = await failing(attendance, client)
    assert isinstance(error, BadRequest)
    assert [event.text for event in found if isinstance(event, Segment)] == ["a", "b", "c"]
    attendance.leave()


async def test_whoever_comes_later_takes_it_over(engine: ScheduledEngine) -> None:
    session, first, second = resumable(engine), Client(), Client()
    older = await session.open()
    first.say(0.3)
    hearing = asyncio.create_task(heard(older, first))
    await until(lambda: first.taken)
    newer = await session.open()
    first.say(Conflict("taken"))
    with pytest.raises(Conflict):
        await hearing
    older.leave()
    second.say(0.3, None)
    assert await heard(newer, second) == [(0, "a", 0.0)]
    with pytest.raises(Conflict):
        await heard(older, first)


async def test_the_end_of_all_makes_last_words(engine: ScheduledEngine, scheduler: Scheduler) -> None:
    all_sessions, client = Sessions(), Client()
    session = all_sessions.resumable("key", 60, lambda: resumable(engine))
    attendance = await session.open()
    client.say(0.3, GONE)
    await lost(attendance, client)
    assert len(scheduler.streams) == 1
    await all_sessions.aclose()
    assert not scheduler.streams


async def test_a_session_can_be_gone_on_with_within_its_window(
    engine: ScheduledEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_RESUMABLE", 2)
    found = Sessions()
    one = found.resumable("one", 60, lambda: resumable(engine))
    assert found.resumable("one", 600, lambda: resumable(engine)) is one
    over = found.resumable("over", 0, lambda: resumable(engine))
    assert found.resumable("over", 0, lambda: resumable(engine)) is not over
    two = found.resumable("two", 90, lambda: resumable(engine))
    assert found.resumable("three", 90, lambda: resumable(engine)) is not one
    assert found.resumable("two", 90, lambda: resumable(engine)) is two
    assert found.resumable("one", 90, lambda: resumable(engine)) is not one


async def test_an_id_is_held_by_one_at_a_time() -> None:
    held = Sessions()
    order: list[str] = []

    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def older(begun: asyncio.Event) -> None:
        async with held.hold("id") as holding:
            chunks = Timely(never(), 60)
            holding.watch(chunks)
            begun.set()
            with pytest.raises(Conflict):
                await anext(aiter(chunks))
            chunks.close()
            order.append("older ended")

    begun = asyncio.Event()
    task = asyncio.create_task(older(begun))
    await begun.wait()
    async with held.hold("other") as other:
        assert not other.took_over
    async with held.hold("id") as newer:
        order.append("newer begins")
        assert newer.took_over
    await task
    assert order == ["older ended", "newer begins"]
    async with held.hold("id") as again:
        assert not again.took_over


async def test_an_id_that_was_taken_before_it_is_watched_is_taken_all_the_same() -> None:
    held = Sessions()

    async def some() -> AsyncIterator[bytes]:
        yield b"audio"

    async with held.hold("id") as older:
        older.end(Conflict("taken"))
        chunks = Timely(some(), 60)
        older.watch(chunks)
        with pytest.raises(Conflict):
            await anext(aiter(chunks))
        chunks.close()
