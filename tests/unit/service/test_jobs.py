"""Jobs from their submission to their end, with a real store, real recordings and a scripted engine."""

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from transcribed.clock import utc_now
from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine, RecognitionStream
from transcribed.engines.testing.scripted import Script, ScriptedEngine
from transcribed.errors import (
    BadRequest,
    Conflict,
    EngineFailure,
    LimitExceeded,
    NotFound,
    StorageUnavailable,
    TranscribedError,
    UpstreamLost,
)
from transcribed.options import Capabilities, StreamOptions, TranscriptForm
from transcribed.principal import NOBODY, Principal, Role
from transcribed.request_context import principal
from transcribed.scheduling.scheduler import Scheduler
from transcribed.service import job_runner
from transcribed.service.job_media import JobMedia
from transcribed.service.job_requests import JobRequest
from transcribed.service.job_runner import MOST_ATTEMPTS, JobRunner, RunnerSettings
from transcribed.service.jobs import Job, JobLimits, JobQuery, Jobs, JobState, NewJob
from transcribed.service.library import Library
from transcribed.service.transcription import Transcription
from transcribed.storage.folder import FolderMediaStore
from transcribed.storage.jobs import Bounds
from transcribed.storage.opening import Stores, open_stores
from transcribed.storage.transcripts import Query

pytestmark = pytest.mark.anyio

SCRIPT = {
    "language": "en-US",
    "events": [
        {"at": 0.5, "text": "I owe", "final": True},
        {"at": "end", "text": "5 dollars.", "final": True},
    ],
}
ANNAS = Principal("anna", Role.TRANSCRIBE, "phone", streams=3)
MEDIA = "audio://talk.wav"
WAIT = 10.0


def wav(seconds: float = 1.0) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as target:
        target.setparams((1, 2, 16_000, 0, "NONE", ""))
        target.writeframes(bytes(round(seconds * 16_000) * 2))
    return content.getvalue()


async def once(content: bytes) -> AsyncIterator[bytes]:
    yield content


class Gate:
    """An engine that raises the errors it is given, one at each opening, and waits while it is closed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.errors: list[TranscribedError] = []
        self.open_now = asyncio.Event()
        self.open_now.set()
        self.opened: list[Principal] = []
        self.reached = asyncio.Event()

    def use(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    async def open(self, options: StreamOptions) -> RecognitionStream:
        self.opened.append(principal())
        self.reached.set()
        await self.open_now.wait()
        if self.errors:
            raise self.errors.pop(0)
        return await self._engine.open(options)


@dataclass
class Service:
    """One server's jobs."""

    stores: Stores
    gate: Gate
    library: Library
    keys: dict[str, Principal]
    make: Callable[..., Jobs]
    jobs: Jobs

    async def submit(self, name: str, owner: str = NOBODY, **more: Any) -> Job:
        return await self.jobs.submit(owner, NewJob(MEDIA, JobRequest(), name, **more))

    async def ended(self, name: str, owner: str = NOBODY) -> Job:
        return await self.until(name, lambda job: job.state.is_final, owner)

    async def until(self, name: str, holds: Callable[[Job], bool], owner: str = NOBODY) -> Job:
        async with asyncio.timeout(WAIT):
            while not holds(job := await self.jobs.get(owner, name)):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        return job

    async def texts(self, job: Job, owner: str = NOBODY) -> list[str]:
        assert job.transcript is not None
        found = await self.stores.transcripts.of(owner).get(job.transcript)
        assert found.info.ended is not None
        return [segment.text for segment in found.segments]


@pytest.fixture
async def service(
    decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    monkeypatch.setattr(job_runner, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(job_runner, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(job_runner, "LAST_TRIES", (0.0, 0.0))
    async with AsyncExitStack() as stack:
        scheduler = await stack.enter_async_context(Scheduler(1))
        gate = Gate(scheduler.run(ScriptedEngine(Script.model_validate(SCRIPT))))
        library = Library(FolderMediaStore(tmp_path / "audio"), decoders, 1 << 30)
        await stack.enter_async_context(aclosing(library))
        stores = await open_stores(str(tmp_path / "transcripts.db"))
        stack.push_async_callback(stores.aclose)
        for owner in (NOBODY, "anna"):
            await library.add(owner, "talk.wav", once(wav()))
        keys: dict[str, Principal] = {"phone": ANNAS}
        transcription = Transcription(lambda _: gate, decoders, library=library)
        media = JobMedia(library, decoders)

        def make(at_once: int = 1, lease: float = 60.0, limits: JobLimits | None = None) -> Jobs:
            runner = JobRunner(stores.jobs, transcription, media, keys.get, RunnerSettings(at_once, lease))
            jobs = Jobs(stores.jobs, runner, transcription, media, limits or JobLimits(100))
            stack.push_async_callback(jobs.stop)
            return jobs

        yield Service(stores, gate, library, keys, make, make())


async def test_a_job_ends_with_its_transcript(service: Service) -> None:
    service.jobs.start()
    submitted = await service.submit("one", tags={"a": "b"})
    assert (submitted.state, submitted.media, submitted.tags) == (JobState.QUEUED, MEDIA, {"a": "b"})
    job = await service.ended("one")
    assert job.state is JobState.COMPLETED
    assert (job.audio_seconds, job.duration, job.failure) == (1.0, 1.0, None)
    assert await service.texts(job) == ["I owe", "5 dollars."]
    page = await service.stores.transcripts.of(NOBODY).page(Query())
    assert [(each.info.id, each.info.recording, each.info.source.value) for each in page.found] == [
        (job.transcript, "talk.wav", "job")
    ]
    assert service.jobs.counts.completed == 1


async def test_the_options_are_those_of_the_request(service: Service) -> None:
    service.jobs.start()
    request = JobRequest(language="EN-us", transcript_form=TranscriptForm.SPOKEN)
    await service.jobs.submit(NOBODY, NewJob(MEDIA, request, "spoken"))
    assert await service.texts(await service.ended("spoken")) == ["I owe", "Five dollars."]


async def test_what_cannot_be_served_is_refused_at_once(service: Service) -> None:
    await service.submit("taken")
    for new, kind in (
        (NewJob("audio://nothing.wav", JobRequest()), NotFound),
        (NewJob("audio://a/b.wav", JobRequest()), BadRequest),
        (NewJob("s3://bucket/key", JobRequest()), BadRequest),
        (NewJob("talk.wav", JobRequest()), BadRequest),
        (NewJob(MEDIA, JobRequest(language="xx-XX")), BadRequest),
        (NewJob(MEDIA, JobRequest(model="none")), BadRequest),
        (NewJob(MEDIA, JobRequest(vocabulary_filters=("none",))), BadRequest),
        (NewJob(MEDIA, JobRequest(), "a b"), BadRequest),
        (NewJob(MEDIA, JobRequest(), "x" * 201), BadRequest),
        (NewJob(MEDIA, JobRequest(), "taken"), Conflict),
        (NewJob(MEDIA, JobRequest(), tags={f"{number}": "" for number in range(51)}), BadRequest),
        (NewJob(MEDIA, JobRequest(), tags={"a": "x" * 257}), BadRequest),
        (NewJob(MEDIA, JobRequest(), tags={"": "x"}), BadRequest),
    ):
        with pytest.raises(kind):
            await service.jobs.submit(NOBODY, new)
    assert [job.name for job in (await service.jobs.page(None, JobQuery())).jobs] == ["taken"]


async def test_an_owner_cannot_fill_the_queue(service: Service) -> None:
    jobs = service.make(limits=JobLimits(4, 0.5))
    new = NewJob(MEDIA, JobRequest())
    for _ in range(2):
        await jobs.submit("anna", new)
    with pytest.raises(LimitExceeded):
        await jobs.submit("anna", new)
    for _ in range(2):
        await jobs.submit(NOBODY, new)
    with pytest.raises(LimitExceeded):
        await jobs.submit(NOBODY, new)


async def test_at_most_as_many_run_at_once_as_are_set(service: Service) -> None:
    service.gate.open_now.clear()
    jobs = service.make(at_once=2)
    for name in ("a", "b", "c"):
        await service.submit(name)
    jobs.start()
    await service.until("b", lambda job: job.state is JobState.IN_PROGRESS)
    await asyncio.sleep(0.1)
    assert (await service.jobs.get(NOBODY, "c")).state is JobState.QUEUED
    assert (jobs.counts.running, jobs.counts.waiting) == (2, 1)
    service.gate.open_now.set()
    for name in ("a", "b", "c"):
        assert (await service.ended(name)).state is JobState.COMPLETED


async def test_a_server_without_jobs_of_its_own_runs_none(service: Service) -> None:
    none, some = service.make(at_once=0), service.jobs
    await none.submit(NOBODY, NewJob(MEDIA, JobRequest(), "one"))
    none.start()
    await asyncio.sleep(0.1)
    assert (await none.get(NOBODY, "one")).state is JobState.QUEUED
    some.start()
    assert (await service.ended("one")).state is JobState.COMPLETED


async def test_a_server_without_a_store_says_why_it_has_no_jobs(service: Service) -> None:
    library = service.library
    media = JobMedia(library, Decoders())
    jobs = Jobs(None, None, Transcription(lambda _: service.gate, Decoders()), media, JobLimits(1))
    jobs.start()
    for ask in (
        jobs.submit(NOBODY, NewJob(MEDIA, JobRequest())),
        jobs.get(NOBODY, "a"),
        jobs.delete("", ""),
    ):
        with pytest.raises(NotFound, match="--transcripts none"):
            await ask
    await jobs.stop()


@pytest.mark.parametrize(
    ("error", "tries"),
    [(EngineFailure("It broke."), 1), (UpstreamLost("It is away."), MOST_ATTEMPTS)],
)
async def test_a_failure_that_may_be_temporary_is_tried_again(
    service: Service, error: TranscribedError, tries: int
) -> None:
    service.gate.errors = [error] * MOST_ATTEMPTS
    service.jobs.start()
    await service.submit("one")
    job = await service.ended("one")
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.startswith(error.client_message)
    assert len(service.gate.opened) == tries
    assert service.jobs.counts.failed == 1
    assert (await service.stores.transcripts.page(Query())).found == ()


async def test_a_job_waits_for_room_without_losing_attempts(service: Service) -> None:
    service.gate.errors = [LimitExceeded("Full.", retry_after=0) for _ in range(3 * MOST_ATTEMPTS)]
    service.jobs.start()
    await service.submit("one")
    assert (await service.ended("one")).state is JobState.COMPLETED
    assert len(service.gate.opened) == 3 * MOST_ATTEMPTS + 1


async def test_a_recording_that_is_gone_fails_its_job(service: Service) -> None:
    await service.submit("one")
    await service.library.delete(NOBODY, "talk.wav")
    service.jobs.start()
    job = await service.ended("one")
    assert (job.state, job.failure) == (
        JobState.FAILED,
        "There is no recording 'talk.wav'. Upload it first: POST /audio, field `file`.",
    )


async def test_a_job_runs_with_the_limits_of_its_key(service: Service) -> None:
    service.jobs.start()
    await service.submit("one", "anna", key="phone")
    assert (await service.ended("one", "anna")).state is JobState.COMPLETED
    assert service.gate.opened == [ANNAS]
    del service.keys["phone"]
    await service.submit("two", "anna", key="phone")
    job = await service.ended("two", "anna")
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert "key phone" in job.failure


async def test_a_running_job_ends_when_its_key_is_removed(service: Service) -> None:
    jobs = service.make(lease=0.1)
    service.gate.open_now.clear()
    jobs.start()
    await service.submit("one", "anna", key="phone")
    await service.gate.reached.wait()
    del service.keys["phone"]
    job = await service.ended("one", "anna")
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert "key phone" in job.failure


async def test_a_recording_without_speech_completes_without_a_transcript(service: Service) -> None:
    script = Script.model_validate({"events": []})
    async with Scheduler(1) as scheduler:
        service.gate.use(scheduler.run(ScriptedEngine(script)))
        service.jobs.start()
        await service.submit("one")
        job = await service.ended("one")
    assert (job.state, job.transcript, job.audio_seconds) == (JobState.COMPLETED, None, 1.0)


async def test_a_job_that_is_claimed_while_the_server_stops_is_given_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, claiming, go_on = service.stores.jobs.claim, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        claiming.set()
        await go_on.wait()
        return await claim(*arguments)

    monkeypatch.setattr(service.stores.jobs, "claim", slow)
    await service.submit("one")
    service.jobs.start()
    await claiming.wait()
    stopping = asyncio.create_task(service.jobs.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert service.gate.opened == []
    job = await service.jobs.get(NOBODY, "one")
    assert (job.state, job.started is None) == (JobState.QUEUED, False)


async def test_a_deleted_job_stops_and_leaves_nothing(service: Service) -> None:
    service.gate.open_now.clear()
    service.jobs.start()
    await service.submit("one")
    await service.gate.reached.wait()
    await service.jobs.delete(NOBODY, "one")
    await _until(lambda: service.jobs.counts.running == 0)
    service.gate.open_now.set()
    with pytest.raises(NotFound):
        await service.jobs.get(NOBODY, "one")
    await service.submit("one")
    assert (await service.ended("one")).state is JobState.COMPLETED
    assert len((await service.stores.transcripts.page(Query())).found) == 1


async def test_a_job_that_another_server_deletes_stops(service: Service) -> None:
    jobs = service.make(lease=0.2)
    service.gate.open_now.clear()
    jobs.start()
    await service.submit("one")
    await service.gate.reached.wait()
    await service.stores.jobs.of(NOBODY).delete("one")
    await _until(lambda: jobs.counts.running == 0)
    assert (await service.stores.transcripts.page(Query())).found == ()


async def test_a_server_that_stops_gives_its_jobs_back(service: Service) -> None:
    service.gate.open_now.clear()
    service.jobs.start()
    await service.submit("one")
    await service.gate.reached.wait()
    await service.jobs.stop()
    assert (await service.jobs.get(NOBODY, "one")).state is JobState.QUEUED
    claim = await service.stores.jobs.claim("other", utc_now(), timedelta(seconds=60))
    assert claim is not None
    assert claim.failed_attempts == 0


async def test_a_lease_is_renewed_while_a_job_runs(service: Service) -> None:
    jobs = service.make(lease=0.3)
    service.gate.open_now.clear()
    jobs.start()
    await service.submit("one")
    await service.gate.reached.wait()
    end = asyncio.get_running_loop().time() + 0.9
    while asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.02)
        assert await service.stores.jobs.claim("other", utc_now(), timedelta(seconds=1)) is None
    service.gate.open_now.set()
    assert (await service.ended("one")).state is JobState.COMPLETED


@pytest.mark.parametrize(
    ("killed", "state"), [(MOST_ATTEMPTS - 1, JobState.COMPLETED), (MOST_ATTEMPTS, JobState.FAILED)]
)
async def test_a_job_whose_server_is_killed_is_tried_again_but_not_for_ever(
    service: Service, killed: int, state: JobState
) -> None:
    await service.submit("one")
    hour_ago, lease = utc_now() - timedelta(hours=1), timedelta(seconds=1)
    for number in range(killed):
        assert (
            await service.stores.jobs.claim(f"{number}", hour_ago + number * 5 * lease, lease) is not None
        )
    service.jobs.start()
    job = await service.ended("one")
    assert job.state is state
    assert (job.failure or "").startswith("The server ended 3 times" if state is JobState.FAILED else "")


async def test_a_result_that_the_store_refuses_for_a_while_is_stored_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete, failures = service.stores.jobs.complete, [1, 1]

    async def failing(*arguments: Any) -> bool:
        done = await complete(*arguments)  # Stored, but the answer is lost.
        if failures:
            failures.pop()
            raise StorageUnavailable("The database is away.")
        return done

    monkeypatch.setattr(service.stores.jobs, "complete", failing)
    service.jobs.start()
    await service.submit("one")
    job = await service.ended("one")
    await _until(lambda: service.jobs.counts.completed == 1)
    assert await service.texts(job) == ["I owe", "5 dollars."]
    assert len((await service.stores.transcripts.page(Query())).found) == 1


async def test_a_job_whose_release_fails_is_given_back_later(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, failures = service.stores.jobs.release, [1]

    async def failing(*arguments: Any, **more: Any) -> bool:
        if failures:
            failures.pop()
            raise StorageUnavailable("The database is away.")
        return await release(*arguments, **more)

    monkeypatch.setattr(service.stores.jobs, "release", failing)
    service.gate.errors = [LimitExceeded("Full.", retry_after=0)]
    service.jobs.start()
    await service.submit("one")
    assert (await service.ended("one")).state is JobState.COMPLETED


async def test_a_request_of_a_later_version_is_not_run_in_part(service: Service) -> None:
    job = Job("one", MEDIA, '{"summary":true}', utc_now())
    await service.stores.jobs.of(NOBODY).add(job, Bounds(1, 1))
    service.jobs.start()
    ended = await service.ended("one")
    assert ended.failure is not None
    assert "newer version" in ended.failure


async def test_a_watched_job_is_told_up_to_its_end(service: Service) -> None:
    service.gate.open_now.clear()
    service.jobs.start()
    await service.submit("one")
    seen = []
    async with asyncio.timeout(WAIT), aclosing(service.jobs.watch(NOBODY, "one")) as watched:
        async for job in watched:
            if job is None:
                service.gate.open_now.set()
            else:
                seen.append(job.state)
    assert seen[-1] is JobState.COMPLETED
    assert JobState.IN_PROGRESS in seen
    with pytest.raises(NotFound):
        await anext(service.jobs.watch("anna", "one"))


async def test_watching_ends_with_the_server_and_with_the_job(service: Service) -> None:
    for name in ("one", "two"):
        await service.submit(name)
    watched = [service.jobs.watch(NOBODY, name) for name in ("one", "two")]
    for each in watched:
        assert await anext(each) is not None
    await service.jobs.delete(NOBODY, "two")
    with pytest.raises(NotFound):
        await anext(watched[1])
    await service.jobs.stop()
    assert [job async for job in watched[0]] == []


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
