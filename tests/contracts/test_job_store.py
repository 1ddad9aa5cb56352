"""What every JobStore owes, asked of SQLite and of a real PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from transcribed.errors import BadRequest, Conflict, LimitExceeded, NotFound
from transcribed.storage.jobs import (
    Bounds,
    Claim,
    Job,
    JobQuery,
    JobResult,
    JobState,
    JobStore,
    OwnersJobs,
    library_media,
)
from transcribed.storage.opening import Stores, open_stores
from transcribed.storage.transcripts import Query, TranscriptInfo, TranscriptSource
from transcribed.transcript import Segment, Word

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = 60 * SECOND
MANY = Bounds(1000, 1000)


@pytest.fixture
async def servers(place: str) -> AsyncIterator[list[Stores]]:
    """The stores of two servers."""
    opened = [await open_stores(place) for _ in range(2)]
    yield opened
    for each in opened:
        await each.aclose()


@pytest.fixture
def store(servers: list[Stores]) -> JobStore:
    return servers[0].jobs


@pytest.fixture
def annas(store: JobStore) -> OwnersJobs:
    return store.of("anna")


def job(name: str, **more: object) -> Job:
    made = Job(name, library_media(f"{name}.wav"), '{"language":"en-US"}', NOW, "anna")
    return replace(made, **more)  # type: ignore[arg-type]


def result(transcript: str, *texts: str) -> JobResult:
    info = TranscriptInfo(
        transcript, TranscriptSource.JOB, "moonshine", "en-US", NOW, "old name.wav", NOW + SECOND, 12.5
    )
    return JobResult(
        12.5,
        info,
        [
            Segment(
                transcript,
                number,
                number * 2.0,
                number * 2.0 + 1,
                text,
                final=True,
                language="en-US",
                words=(Word(text, 0.5, 0.75, 0.875),),
                channel=1,
                model="tiny-en",
            )
            for number, text in enumerate(texts)
        ],
    )


async def claimed(store: JobStore, holder: str = "one", after: float = 0.0) -> Claim:
    claim = await store.claim(holder, NOW + after * SECOND, LEASE)
    assert claim is not None
    return claim


async def names(jobs: OwnersJobs | JobStore, **query: object) -> list[str]:
    return [each.name for each in (await jobs.page(JobQuery(**query))).jobs]  # type: ignore[arg-type]


async def test_a_job_comes_back_as_it_was_submitted(annas: OwnersJobs, store: JobStore) -> None:
    submitted = job("one", key="phone", tags={"Größe": "5'; --", "b": ""})
    await annas.add(submitted, MANY)
    assert await annas.get("one") == submitted
    assert (await annas.page(JobQuery())).jobs == (submitted,)
    assert (await store.page(JobQuery())).jobs == (submitted,)


async def test_a_name_is_unique_among_an_owners_jobs(store: JobStore) -> None:
    anna, bert = store.of("anna"), store.of("bert")
    await anna.add(job("one"), MANY)
    with pytest.raises(Conflict, match="one"):
        await anna.add(job("one"), MANY)
    await bert.add(job("one", request="other"), MANY)
    assert (await bert.get("one")).request == "other"
    assert (await bert.get("one")).owner == "bert"
    await bert.delete("one")
    assert (await anna.get("one")).request != "other"
    for unknown in ("one", "two", "", "\0", "\ud800"):
        for ask in (bert.get, bert.delete):
            with pytest.raises(NotFound):
                await ask(unknown)
    with pytest.raises(BadRequest):
        await bert.add(job("bad", request="\0"), MANY)


async def test_of_many_that_add_one_name_at_once_one_succeeds(servers: list[Stores]) -> None:
    outcomes = await asyncio.gather(
        *(servers[number % 2].jobs.of("anna").add(job("one"), MANY) for number in range(8)),
        return_exceptions=True,
    )
    assert Counter(type(each) for each in outcomes) == {type(None): 1, Conflict: 7}


async def test_pages_go_from_the_last_submitted_to_the_first(store: JobStore, annas: OwnersJobs) -> None:
    for number in range(7):
        await annas.add(job(f"Talk-{number}" if number % 2 else f"film_{number}"), MANY)
    await store.of("bert").add(job("talk-9"), MANY)
    found, before = [], None
    while True:
        page = await annas.page(JobQuery(limit=3, before=before))
        found += [each.name for each in page.jobs]
        before = page.next
        if before is None:
            break
    assert found == ["film_6", "Talk-5", "film_4", "Talk-3", "film_2", "Talk-1", "film_0"]
    assert await names(annas, name_contains="talk") == ["Talk-5", "Talk-3", "Talk-1"]
    assert await names(store, name_contains="talk", limit=2) == ["talk-9", "Talk-5"]
    assert await names(annas, name_contains="%") == []
    assert await names(annas, name_contains="m_4") == ["film_4"]
    await claimed(store)
    assert await names(annas, state=JobState.IN_PROGRESS) == ["film_0"]
    assert await names(annas, state=JobState.QUEUED, limit=2) == ["film_6", "Talk-5"]
    for query in (JobQuery(before="Ä"), JobQuery(limit=0), JobQuery(limit=1001), JobQuery(before="")):
        with pytest.raises(BadRequest):
            await annas.page(query)


async def test_the_queue_is_bounded_for_each_owner_and_for_all(store: JobStore) -> None:
    anna, bert = store.of("anna"), store.of("bert")
    bounds = Bounds(3, 2)
    await anna.add(job("one"), bounds)
    await anna.add(job("two"), bounds)
    with pytest.raises(LimitExceeded, match="2 of your jobs"):
        await anna.add(job("three"), bounds)
    await bert.add(job("one"), bounds)
    with pytest.raises(LimitExceeded):
        await bert.add(job("two"), bounds)
    assert await store.fail(await claimed(store), NOW, "No.")
    await bert.add(job("two"), bounds)
    assert await store.waiting() == 3


async def test_jobs_are_claimed_once_and_in_order(store: JobStore, annas: OwnersJobs) -> None:
    assert await store.claim("one", NOW, LEASE) is None
    for name in ("a", "b"):
        await annas.add(job(name), MANY)
    first = await claimed(store)
    assert (first.job.name, first.attempt, first.failed_attempts) == ("a", 1, 0)
    assert (first.job.state, first.job.started) == (JobState.IN_PROGRESS, NOW)
    assert (await claimed(store, "two")).job.name == "b"
    assert await store.claim("one", NOW, LEASE) is None


async def test_of_many_that_claim_at_once_each_gets_another_job(servers: list[Stores]) -> None:
    for number in range(12):
        await servers[0].jobs.of("anna").add(job(f"{number}"), MANY)
    claims = await asyncio.gather(
        *(servers[number % 2].jobs.claim(f"{number}", NOW, LEASE) for number in range(20))
    )
    taken = [claim.job.name for claim in claims if claim is not None]
    # A server may find a job locked that another one is just taking; it asks again later.
    while (claim := await servers[0].jobs.claim("last", NOW, LEASE)) is not None:
        taken.append(claim.job.name)
    assert sorted(taken, key=int) == [f"{number}" for number in range(12)]


async def test_a_lease_that_is_over_is_anothers_to_take(servers: list[Stores]) -> None:
    one, two = (each.jobs for each in servers)
    await one.of("anna").add(job("a"), MANY)
    lost = await claimed(one)
    assert await one.renew(lost, NOW + 50 * SECOND, LEASE, 7.5, 30.0)
    held = await one.of("anna").get("a")
    assert (held.audio_seconds, held.duration) == (7.5, 30.0)
    assert await two.claim("two", NOW + 109 * SECOND, LEASE) is None
    assert await one.claim("one", NOW + 1000 * SECOND, LEASE) is None, "its own lease is never over"
    taken = await claimed(two, "two", after=111)
    assert (taken.attempt, taken.failed_attempts, taken.job.audio_seconds) == (2, 1, 0.0)
    assert taken.job.started == NOW
    for late in (
        one.renew(lost, NOW, LEASE, 9.0, None),
        one.release(lost, NOW, failed=True),
        one.fail(lost, NOW, "No."),
        one.complete(lost, NOW, result("lost", "twice")),
    ):
        assert await late is False
    assert await two.of("anna").get("a") == taken.job
    assert not await servers[0].transcripts.of("anna").has("lost")
    assert await two.complete(taken, NOW + SECOND, result("kept", "once"))
    assert await servers[0].transcripts.of("anna").has("kept")


async def test_a_lease_from_before_the_clock_was_set_back_is_over(
    store: JobStore, annas: OwnersJobs
) -> None:
    await annas.add(job("a"), MANY)
    await claimed(store, "one", after=86_400)
    assert (await claimed(store, "two")).job.name == "a"


async def test_a_holder_takes_again_what_it_gave_back(store: JobStore, annas: OwnersJobs) -> None:
    await annas.add(job("a"), MANY)
    first = await claimed(store)
    assert await store.release(first, NOW + 10 * SECOND, failed=False)
    assert (await annas.get("a")).state is JobState.QUEUED
    assert await store.claim("one", NOW + 9 * SECOND, LEASE) is None
    second = await claimed(store, after=10)
    assert (second.attempt, second.failed_attempts) == (2, 0)
    assert not await store.renew(first, NOW, LEASE, 1.0, None)
    assert await store.release(second, NOW, failed=True)
    assert (await claimed(store)).failed_attempts == 1


async def test_a_result_is_there_whole_and_once(servers: list[Stores]) -> None:
    jobs, transcripts = servers[0].jobs, servers[1].transcripts.of("anna")
    await jobs.of("anna").add(job("a"), MANY)
    claim = await claimed(jobs)
    made = result("text", "This", "is", "whole.")
    assert await jobs.complete(claim, NOW + SECOND, made)
    assert await jobs.complete(claim, NOW + SECOND, made), "its answer may have been lost"
    assert await jobs.fail(claim, NOW, "No.") is False
    done = await jobs.of("anna").get("a")
    assert (done.state, done.transcript, done.ended) == (JobState.COMPLETED, "text", NOW + SECOND)
    assert (done.audio_seconds, done.duration, done.failure) == (12.5, 12.5, None)
    kept = await transcripts.get("text")
    assert made.info is not None
    assert kept.info == replace(made.info, recording="a.wav")
    assert [each.segment for each in kept.segments] == list(made.segments)
    found = await transcripts.page(Query(words="whole"))
    assert [each.info.id for each in found.found] == ["text"]
    assert await jobs.claim("two", NOW + 1000 * SECOND, LEASE) is None


async def test_a_result_that_cannot_be_stored_leaves_nothing(servers: list[Stores]) -> None:
    jobs = servers[0].jobs
    await jobs.of("anna").add(job("a"), MANY)
    claim = await claimed(jobs)
    with pytest.raises(BadRequest):
        await jobs.complete(claim, NOW, result("text", "good", "NUL \0"))
    assert not await servers[0].transcripts.of("anna").has("text")
    assert (await jobs.of("anna").get("a")).state is JobState.IN_PROGRESS
    assert await jobs.fail(claim, NOW, "It has a NUL.")
    assert await jobs.fail(claim, NOW, "It has a NUL."), "its answer may have been lost"
    failed = await jobs.of("anna").get("a")
    assert (failed.state, failed.failure, failed.ended) == (JobState.FAILED, "It has a NUL.", NOW)


async def test_a_recording_without_speech_has_no_transcript(servers: list[Stores]) -> None:
    jobs = servers[0].jobs
    await jobs.of("anna").add(job("a"), MANY)
    warnings = ("A part is damaged: Ä.", "Another.")
    assert await jobs.complete(await claimed(jobs), NOW, JobResult(7.5, warnings=warnings))
    done = await jobs.of("anna").get("a")
    assert (done.state, done.transcript, done.warnings) == (JobState.COMPLETED, None, warnings)
    assert (done.audio_seconds, done.duration) == (7.5, 7.5)


async def test_a_deleted_job_has_no_result(servers: list[Stores]) -> None:
    jobs = servers[0].jobs
    await jobs.of("anna").add(job("a"), MANY)
    claim = await claimed(jobs)
    await servers[1].jobs.of("anna").delete("a")
    assert not await jobs.renew(claim, NOW, LEASE, 1.0, None)
    assert not await jobs.complete(claim, NOW, result("text", "said"))
    assert not await servers[0].transcripts.of("anna").has("text")


async def test_jobs_follow_the_name_of_their_recording(servers: list[Stores]) -> None:
    jobs, transcripts = servers[0].jobs, servers[0].transcripts
    for owner in ("anna", "bert"):
        await jobs.of(owner).add(job("a"), MANY)
    claim = await claimed(jobs)
    await transcripts.of("anna").rename_recording("a.wav", "b.wav")
    assert (await jobs.of("anna").get("a")).media == library_media("b.wav")
    assert (await jobs.of("bert").get("a")).media == library_media("a.wav")
    assert await jobs.complete(claim, NOW, result("text", "said"))
    assert (await transcripts.of("anna").get("text")).info.recording == "b.wav"


async def test_old_jobs_are_deleted_once_they_have_ended(store: JobStore, annas: OwnersJobs) -> None:
    for name in ("old", "young", "waits"):
        await annas.add(job(name), MANY)
    assert await store.complete(await claimed(store), NOW, JobResult(1.0))
    assert await store.fail(await claimed(store), NOW + 10 * SECOND, "No.")
    gone: list[tuple[str, str]] = []
    assert await store.delete_before(NOW + SECOND, lambda *which: gone.append(which)) == 1
    assert gone == [("anna", "old")]
    assert await names(annas) == ["waits", "young"]


# SQLite explains its plans in one word; PostgreSQL's depend on its statistics.
@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("store")
async def test_lists_of_ten_thousand_jobs_use_the_indexes(place: str) -> None:
    from sqlalchemy import select, text  # noqa: PLC0415 - slow to import
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415

    from transcribed.storage.sqlite import SqliteDatabase  # noqa: PLC0415
    from transcribed.storage.tables import jobs  # noqa: PLC0415

    database = SqliteDatabase(place)
    newest = select(jobs.c.number).order_by(jobs.c.number.desc()).limit(50)
    for statement in (
        newest,
        newest.where(jobs.c.owner == "anna"),
        newest.where(jobs.c.owner == "anna", jobs.c.state == "QUEUED"),
        newest.where(jobs.c.state == "QUEUED"),
    ):
        told = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
        plan = await database.read(
            lambda connection, told=told: str(connection.execute(text(f"EXPLAIN QUERY PLAN {told}")).all())
        )
        assert "INDEX" in plan or statement is newest, plan
        assert "TEMP B-TREE" not in plan, plan
    await database.aclose()
