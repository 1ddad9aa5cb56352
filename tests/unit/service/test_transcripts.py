import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from transcribing import persisted, transcript_of

from transcribed.audio.formats import silence
from transcribed.engines.testing.scripted import Script, ScriptedEngine
from transcribed.errors import EngineFailure, NotFound
from transcribed.options import StreamOptions
from transcribed.principal import NOBODY
from transcribed.scheduling.scheduler import Scheduler
from transcribed.service import transcripts
from transcribed.service.live import LiveSession
from transcribed.service.transcripts import Transcripts
from transcribed.storage.jobs import Bounds, Job, JobQuery, JobResult
from transcribed.storage.opening import open_stores, open_transcripts
from transcribed.storage.transcripts import (
    OwnersTranscripts,
    Query,
    TranscriptInfo,
    TranscriptSource,
    TranscriptStore,
)
from transcribed.transcript import Done, LiveEvent, Notice, Segment

pytestmark = pytest.mark.anyio

SHORT = 0.2
SOON = 10
FAILURE = "ServiceUnavailableException"
Keep = Callable[..., AsyncGenerator[LiveEvent, None]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "transcripts.db"


@pytest.fixture
async def whole(file: Path) -> AsyncIterator[TranscriptStore]:
    """For looking at what is kept: another than the one that is written through."""
    opened = await open_transcripts(str(file))
    yield opened
    await opened.aclose()


@pytest.fixture
def store(whole: TranscriptStore) -> OwnersTranscripts:
    """Of the owner of all transcripts that belong to none in particular."""
    return whole.of(NOBODY)


@pytest.fixture
async def kept(store: OwnersTranscripts, file: Path) -> AsyncIterator[Transcripts]:
    async with Transcripts(await open_transcripts(str(file))) as opened:
        yield opened


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process writes, and does not come to its end."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def final(number: int, text: str = "", session: str = "3f") -> Segment:
    return Segment(
        session,
        number,
        float(number),
        number + 1.0,
        text or f"final {number}",
        final=True,
        language="en-US",
    )


def partial(number: int, text: str) -> Segment:
    return Segment("3f", number, float(number), number + 0.5, text, final=False, language="en-US")


def done(seconds: float, session: str = "3f") -> Done:
    return Done(session, seconds, 0.1)


async def said(
    *events: LiveEvent | Exception | Callable[[], Awaitable[object]],
) -> AsyncGenerator[LiveEvent, None]:
    """A session's events. A call among them is made when its turn has come, an error is raised."""
    for event in events:
        if isinstance(event, Exception):
            raise event
        if isinstance(event, Segment | Done | Notice):
            yield event
        else:
            await event()


def live(kept: Transcripts, *events: Any) -> AsyncGenerator[LiveEvent, None]:
    return persisted(kept, said(*events))


async def heard(events: AsyncGenerator[LiveEvent, None]) -> list[LiveEvent]:
    async with aclosing(events):
        return [event async for event in events]


async def texts(store: OwnersTranscripts, transcript: str = "3f") -> list[str]:
    return [segment.text for segment in (await store.get(transcript)).segments]


async def count(store: OwnersTranscripts) -> int:
    return len((await store.page(Query())).found)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON):
        while not await condition():  # noqa: ASYNC110 - it is a database that changes
            await asyncio.sleep(0.01)


# --- What is kept


async def test_a_final_is_in_the_store_when_it_comes(kept: Transcripts, store: OwnersTranscripts) -> None:
    events = [partial(0, "fi"), final(0), partial(1, "fin"), final(1), done(2.5)]
    seen: list[LiveEvent] = []
    async for event in live(kept, *events):
        seen.append(event)
        finals = [each.text for each in seen if isinstance(each, Segment) and each.final]
        if finals:
            assert await texts(store) == finals
        else:
            assert await count(store) == 0
        if isinstance(event, Done):
            assert (await store.get("3f")).info.ended is not None
    assert seen == events


async def test_a_session_of_an_engine_is_kept_under_its_id(
    kept: Transcripts, store: OwnersTranscripts
) -> None:
    script = [
        {"at": 0.5, "text": "Das ist"},
        {"at": 1.0, "text": "Das ist gut.", "final": True},
        {"at": "end", "text": "Größe, 你好.", "final": True},
    ]

    async def feed(session: LiveSession) -> None:
        await session.send(silence(1.25))

    before = datetime.now(UTC)  # noqa: TID251 - as what is kept
    async with Scheduler(1) as scheduler:
        engine = scheduler.run(
            ScriptedEngine(Script.model_validate({"language": "de-DE", "events": script}))
        )
        growing = kept.growing(NOBODY, TranscriptSource.FILE, "scripted", "größe.wav")
        seen = await heard(transcript_of(LiveSession(engine, StreamOptions()), feed, growing))
    (*segments, end) = seen
    assert isinstance(end, Done)
    transcript = await store.get(end.session_id)
    assert [stored.segment for stored in transcript.segments] == [
        each for each in segments if isinstance(each, Segment) and each.final
    ]
    info = transcript.info
    assert (info.source, info.recording, info.engine, info.language) == (
        TranscriptSource.FILE,
        "größe.wav",
        "scripted",
        "de-DE",
    )
    assert info.ended is not None
    after = datetime.now(UTC)  # noqa: TID251 - as what is kept
    assert before - timedelta(milliseconds=1) <= info.started <= info.ended <= after
    assert info.audio_seconds == 1.25


async def test_where_nothing_was_said_nothing_is_kept(kept: Transcripts, store: OwnersTranscripts) -> None:
    withdrawn = Segment("3f", 0, 0.0, 0.7, "", final=True, language="en-US")
    events = [partial(0, "uh"), withdrawn, done(3.0)]
    assert await heard(live(kept, *events)) == events
    assert await count(store) == 0


async def test_a_final_without_words_leaves_a_hole_in_the_numbers(
    kept: Transcripts, store: OwnersTranscripts
) -> None:
    withdrawn = Segment("3f", 1, 1.0, 1.7, "", final=True, language="en-US")
    await heard(live(kept, final(0), withdrawn, final(2), done(3.0)))
    assert [stored.number for stored in (await store.get("3f")).segments] == [0, 2]


@pytest.mark.parametrize("way", ["closed", "cancelled", "failed"])
async def test_what_breaks_off_is_kept_and_has_an_end(
    kept: Transcripts, store: OwnersTranscripts, way: str
) -> None:
    last = EngineFailure("it fell over") if way == "failed" else asyncio.Event().wait

    async def listen() -> None:
        events = live(kept, final(0), final(1), last)
        async with aclosing(events):
            async for event in events:
                if way == "closed" and event == final(1):
                    return

    listening = asyncio.create_task(listen())
    if way == "cancelled":
        await eventually(lambda: _has(store, 2))
        listening.cancel()
    await asyncio.wait({listening})
    await eventually(lambda: _ended(store))
    assert listening.cancelled() == (way == "cancelled")
    if way == "failed":
        assert isinstance(listening.exception(), EngineFailure)
    transcript = await store.get("3f")
    assert await texts(store) == ["final 0", "final 1"]
    assert transcript.info.audio_seconds == 2.0


async def _has(store: OwnersTranscripts, number: int) -> bool:
    return bool(await count(store)) and len(await texts(store)) == number


async def _ended(store: OwnersTranscripts) -> bool:
    return (await store.get("3f")).info.ended is not None


async def test_many_sessions_at_once_keep_to_themselves(
    kept: Transcripts, store: OwnersTranscripts
) -> None:
    def session(name: str) -> AsyncGenerator[LiveEvent, None]:
        finals = [final(number, f"{name} {number}", name) for number in range(10)]
        return live(kept, *finals, done(10.0, name))

    names = [f"session-{number}" for number in range(20)]
    await asyncio.gather(*(heard(session(name)) for name in names))
    for name in names:
        assert await texts(store, name) == [f"{name} {number}" for number in range(10)]


async def test_without_a_store_all_passes_and_nothing_can_be_read() -> None:
    async with Transcripts(None, keep_days=1) as nothing:
        events = [partial(0, "fi"), final(0), done(1.0)]
        assert await heard(live(nothing, *events)) == events
        with pytest.raises(NotFound, match="--transcripts none"):
            await nothing.page(None, Query())


# --- A store that fails


async def test_captions_go_on_while_the_database_is_locked_and_all_is_kept_afterwards(
    kept: Transcripts,
    store: OwnersTranscripts,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(transcripts, "PATIENCE", SHORT)
    events = live(kept, *map(final, range(6)), done(6.0))
    assert await anext(events) == final(0)
    with locked(file):
        begun = asyncio.get_running_loop().time()
        notice = await anext(events)
        assert isinstance(notice, Notice)
        assert notice.code == FAILURE
        assert "Captions go on" in notice.message
        assert [await anext(events) for _ in range(4)] == [final(number) for number in range(1, 5)]
        assert asyncio.get_running_loop().time() - begun < 4 * SHORT
        assert await texts(store) == ["final 0"]
    assert await anext(events) == final(5)
    assert await heard(events) == [done(6.0)]
    await eventually(lambda: _ended(store))
    assert await texts(store) == [f"final {number}" for number in range(6)]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_once_the_store_answers_again_finals_wait_for_it_again(
    kept: Transcripts, store: OwnersTranscripts, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "PATIENCE", SHORT)
    events = live(kept, *map(final, range(4)), done(4.0))
    with locked(file):
        assert isinstance(await anext(events), Notice)
        assert await anext(events) == final(0)
    await eventually(lambda: _has(store, 1))
    # The next one still has little patience; how long a write takes is the machine's affair.
    monkeypatch.setattr(transcripts, "PATIENCE", 30.0)
    assert await anext(events) == final(1)
    await eventually(lambda: _has(store, 2))
    for number in range(2, 4):
        assert await anext(events) == final(number)
        assert len(await texts(store)) == number + 1


async def test_what_was_said_while_the_database_was_locked_is_kept_after_the_end(
    kept: Transcripts, store: OwnersTranscripts, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "PATIENCE", SHORT)
    with locked(file):
        seen = await heard(live(kept, final(0), final(1), done(2.0)))
        assert [type(event) for event in seen] == [Notice, Segment, Segment, Done]
    await eventually(lambda: _has(store, 2))
    await eventually(lambda: _ended(store))


async def test_leaving_writes_what_waits(
    store: OwnersTranscripts, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "PATIENCE", SHORT)
    async with Transcripts(await open_transcripts(str(file))) as kept:
        with locked(file):
            await heard(live(kept, final(0), done(1.0)))
    assert await texts(store) == ["final 0"]


async def test_leaving_a_store_that_does_not_answer_takes_no_longer_than_it_may(
    store: OwnersTranscripts, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(transcripts, "PATIENCE", SHORT)
    monkeypatch.setattr(transcripts, "STOP_SECONDS", SHORT)
    kept = Transcripts(await open_transcripts(str(file)))
    with locked(file):
        async with kept:
            await heard(live(kept, final(0), final(1), done(1.0)))
    assert await count(store) == 0
    assert "2 finals of the transcript 3f are lost." in caplog.messages


async def test_of_finals_that_wait_there_is_a_bound(
    kept: Transcripts,
    store: OwnersTranscripts,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(transcripts, "PATIENCE", SHORT)
    monkeypatch.setattr(transcripts, "UNSAVED", 3)
    with locked(file):
        await heard(live(kept, *map(final, range(5)), done(5.0)))
    await eventually(lambda: _has(store, 3))
    await eventually(lambda: _ended(store))
    assert "2 finals of the transcript 3f are lost." in caplog.messages


async def test_a_transcript_that_is_deleted_while_it_is_written_stays_deleted(
    kept: Transcripts, store: OwnersTranscripts, caplog: pytest.LogCaptureFixture
) -> None:
    seen = await heard(
        live(kept, final(0), lambda: store.delete("3f"), final(1), final(2), partial(3, "fi"), done(4.0))
    )
    notice = Notice(
        "NotFoundException",
        "The transcript was deleted while it was written. Nothing more of it is kept.",
    )
    assert seen == [final(0), notice, final(1), final(2), partial(3, "fi"), done(4.0)]
    assert await count(store) == 0
    assert caplog.records == []


async def test_a_transcript_that_is_deleted_before_its_end_has_none(
    kept: Transcripts, store: OwnersTranscripts
) -> None:
    seen = await heard(live(kept, final(0), lambda: store.delete("3f"), done(1.0)))
    assert [type(event) for event in seen] == [Segment, Notice, Done]
    assert await count(store) == 0


async def test_a_text_that_no_store_takes_does_not_hold_up_the_others(
    kept: Transcripts, store: OwnersTranscripts
) -> None:
    long, next_ = final(1, "very " * 10_000), final(2)
    seen = await heard(live(kept, final(0), long, next_, done(3.0)))
    assert [type(event) for event in seen] == [Segment, Notice, Segment, Segment, Done]
    assert await texts(store) == ["final 0", "final 2"]
    assert await _ended(store)


async def test_whatever_a_store_raises_captions_go_on(
    kept: Transcripts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Segment) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(transcripts, "LAST_TRIES", (0.0,))
    growing = kept.growing(NOBODY, TranscriptSource.LIVE, "scripted")
    assert growing is not None
    monkeypatch.setattr(growing._store, "append", fail)
    monkeypatch.setattr(kept, "growing", lambda *_: growing)
    seen = await heard(live(kept, final(0), final(1), done(2.0)))
    assert seen[1:] == [final(0), final(1), done(2.0)]
    assert isinstance(seen[0], Notice)
    assert seen[0].code == "InternalFailureException"
    assert "log" in seen[0].message
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.levelno == logging.ERROR


# --- Days


async def test_what_is_older_than_some_days_is_deleted_at_the_start(
    whole: TranscriptStore, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "transcribed.trail")
    now = datetime.now(UTC)  # noqa: TID251 - as what is kept
    for days in (0, 1, 29, 31, 400):
        store = whole.of("anna" if days % 2 else NOBODY)
        started = now - timedelta(days=days)
        await store.add(TranscriptInfo(f"{days} days", TranscriptSource.LIVE, "scripted", "en-US", started))
        await store.append(final(0, session=f"{days} days"))
        if days != 31:
            await store.end(f"{days} days", started, 1.0)

    async def listed() -> list[str]:
        return [found.info.id for found in (await whole.page(Query())).found]

    async with Transcripts(await open_transcripts(str(file))):
        pass
    assert len(await listed()) == 5
    async with Transcripts(await open_transcripts(str(file)), keep_days=30):
        await eventually(lambda: _are(listed, ["0 days", "1 days", "29 days"]))
    assert sorted(message for message in caplog.messages if "deleted '" in message) == [
        "transcript.deleted '31 days' of anna by the server: ok",
        "transcript.deleted '400 days' by the server: ok",
    ]


async def test_old_jobs_are_deleted_with_the_transcripts(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "transcribed.trail")
    now = datetime.now(UTC)  # noqa: TID251 - as what is kept
    stores = await open_stores(str(file))
    annas = stores.jobs.of("anna")
    for days in (31, 1):
        await annas.add(Job(f"{days} days", "audio://talk.wav", "{}", now), Bounds(10, 10))
        claim = await stores.jobs.claim("here", now, timedelta(seconds=60))
        assert claim is not None
        await stores.jobs.complete(claim, now - timedelta(days=days), JobResult(1.0))

    async def names() -> list[str]:
        return [job.name for job in (await annas.page(JobQuery())).jobs]

    async with Transcripts(stores.transcripts, keep_days=30, jobs=stores.jobs):
        await eventually(lambda: _are(names, ["1 days"]))
    assert [message for message in caplog.messages if "deleted" in message] == [
        "job.deleted '31 days' of anna by the server: ok"
    ]


async def test_a_clock_that_has_jumped_deletes_nothing(
    store: OwnersTranscripts, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start, after years; while it runs; and not before the clock has stood an hour."""
    now = datetime.now(UTC)  # noqa: TID251 - as what is kept
    ended = now - timedelta(days=2)
    await store.add(TranscriptInfo("last", TranscriptSource.LIVE, "scripted", "en-US", ended))
    await store.end("last", ended, 1.0)
    pauses: asyncio.Queue[float] = asyncio.Queue()
    passed = 0.0
    go_on = asyncio.Event()

    class Asyncio:
        """asyncio, but for the sleep of what deletes."""

        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

        async def sleep(self, seconds: float) -> None:
            nonlocal passed
            pauses.put_nowait(seconds)
            await go_on.wait()
            go_on.clear()
            passed += seconds

    moment = now
    begun = time.monotonic()
    monkeypatch.setattr(transcripts, "asyncio", Asyncio())
    monkeypatch.setattr(transcripts, "utc_now", lambda: moment + timedelta(seconds=passed))
    monkeypatch.setattr(transcripts, "_monotonic", lambda: timedelta(seconds=begun + passed))
    moment = now + timedelta(days=4000)
    async with Transcripts(await open_transcripts(str(file)), keep_days=30):
        assert await pauses.get() == 3600
        assert "4002.0 days later" in caplog.text
        assert await store.has("last")
        moment = now
        go_on.set()
        assert await pauses.get() == 3600, "it is another clock again"
        go_on.set()
        assert await pauses.get() == 24 * 3600
        assert await store.has("last")
        moment = now + timedelta(days=100)
        go_on.set()
        assert await pauses.get() == 3600
        assert await store.has("last")
        go_on.set()
        assert await pauses.get() == 24 * 3600
        assert not await store.has("last"), "an hour later it is a hundred days old"


async def _are(listed: Callable[[], Awaitable[list[str]]], expected: list[str]) -> bool:
    return await listed() == expected
