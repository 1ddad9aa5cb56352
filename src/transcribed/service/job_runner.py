"""Running jobs: takes them from the queue, holds their leases, and stores their results.

A job's work is one task, and a second task renews its lease. What the work has found is stored in one
transaction at its end; before that, nothing is.
"""

import asyncio
import logging
import uuid
from asyncio import Task
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum

from transcribed.clock import utc_now
from transcribed.errors import (
    AccessDenied,
    LimitExceeded,
    Stopping,
    StorageFailure,
    TranscribedError,
    Unavailable,
)
from transcribed.principal import Principal, Role
from transcribed.request_context import REQUEST, RequestContext
from transcribed.service import trail
from transcribed.service.job_media import JobMedia
from transcribed.service.job_requests import JobRequest
from transcribed.service.live import Session
from transcribed.service.trail import Action, Outcome
from transcribed.service.transcription import Transcription
from transcribed.storage.jobs import Claim, Job, JobResult, JobState, JobStore
from transcribed.storage.transcripts import TranscriptInfo, TranscriptSource
from transcribed.transcript import Done, Notice, Segment

POLL_SECONDS = 2.0
"""The longest time until a server notices a job that was submitted to another server."""
MOST_ATTEMPTS = 3
"""How often a job is tried whose server is killed, or that fails for a reason that may be temporary."""
LEASE_PARTS = 6
"""A lease is renewed after this part of its duration."""
PAUSES = (10.0, 60.0)
"""Seconds before a job is tried again, after its first failed attempt and after later ones."""
LAST_TRIES = (1.0, 5.0, 15.0)
"""Seconds before each further attempt to store the end of a job."""
STOP_SECONDS = 3.0
"""Seconds for giving jobs back to the queue when the server stops."""

_MOST_WARNINGS = 20

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """Counts of jobs. `waiting` are those of all servers, the others those of this one since its start."""

    waiting: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0


class _Interruption(Enum):
    """Why a job's work was cancelled."""

    STOPPED = 1
    LOST = 2
    """The job was deleted, or another server has it."""
    REVOKED = 3
    """The key that submitted it was removed."""


@dataclass(eq=False, slots=True)
class _Run:
    """A job that runs here."""

    claim: Claim
    session: Session | None = None
    duration: float | None = None
    warnings: list[str] = field(default_factory=list)
    interruption: _Interruption | None = None
    work: Task[JobResult] | None = None

    @property
    def audio_seconds(self) -> float:
        return 0.0 if self.session is None else self.session.audio_seconds

    def interrupt(self, why: _Interruption) -> None:
        self.interruption = self.interruption or why
        if self.work is not None:
            self.work.cancel()


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """The settings of a JobRunner.

    `at_once` is the most jobs that run at once; 0 means none. `lease` is the time in seconds after which
    another server takes the job of a server that was killed.
    """

    at_once: int = 1
    lease: float = 60.0


class JobRunner:
    """Runs the jobs of a store. To be closed.

    `principal` returns the principal of an access key, by whose limits its jobs are bound; None if there is
    no such key.
    """

    def __init__(
        self,
        store: JobStore,
        transcription: Transcription,
        media: JobMedia,
        principal: Callable[[str], Principal | None],
        settings: RunnerSettings,
    ) -> None:
        self._store = store
        self._transcription = transcription
        self._media = media
        self._principal = principal
        self._settings = settings
        self._lease = timedelta(seconds=settings.lease)
        self._holder = str(uuid.uuid4())
        self._woken = asyncio.Event()
        self._runs: dict[tuple[str, str], _Run] = {}
        self._tasks: set[Task[None]] = set()
        self._unreleased: list[Claim] = []
        self._loop: Task[None] | None = None
        self._failing = False
        self.counts = Counts()

    def start(self) -> None:
        """Start to take jobs."""
        self._loop = asyncio.create_task(self._take_jobs(), name="jobs")

    def wake(self) -> None:
        """Look for jobs now."""
        self._woken.set()

    def current(self, job: Job) -> Job:
        """The job with its progress as of now, if it runs here."""
        run = self._runs.get((job.owner, job.name))
        if run is None or job.state is not JobState.IN_PROGRESS:
            return job
        return replace(job, audio_seconds=run.audio_seconds, duration=run.duration)

    def cancel(self, owner: str, name: str) -> None:
        """End the work of a job that was deleted."""
        run = self._runs.get((owner, name))
        if run is not None:
            run.interrupt(_Interruption.LOST)

    async def aclose(self) -> None:
        """Stop running jobs, and give them back to the queue."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait({self._loop}, timeout=STOP_SECONDS)
        for run in list(self._runs.values()):
            run.interrupt(_Interruption.STOPPED)
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --- The queue

    async def _take_jobs(self) -> None:
        while True:
            self._woken.clear()
            try:
                await self._release_late()
                while len(self._runs) < self._settings.at_once and await self._take():
                    pass
                self.counts.waiting = await self._store.waiting()
                self._failing = False
            except TranscribedError as error:
                if not self._failing:
                    _log.error("The queue of jobs cannot be read: %s", error.message)
                self._failing = True
            except Exception:  # noqa: BLE001 - no error ends the queue
                _log.exception("The queue of jobs failed.")
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _take(self) -> bool:
        claiming = asyncio.create_task(self._store.claim(self._holder, utc_now(), self._lease))
        try:
            claim = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The database goes on, and a claimed job would wait for the end of its lease.
            if (claim := await claiming) is not None:
                await self._store.release(claim, utc_now(), failed=False)
            raise
        if claim is None:
            return False
        run = self._runs[claim.job.owner, claim.job.name] = _Run(claim)
        self.counts.running = len(self._runs)
        task = asyncio.create_task(self._run(run), name=f"job {claim.job.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _release_late(self) -> None:
        """Give jobs back whose release failed before, since their leases never end for this server."""
        while self._unreleased:
            await self._store.release(self._unreleased[-1], utc_now(), failed=True)
            self._unreleased.pop()

    # --- One job

    async def _run(self, run: _Run) -> None:
        claim = run.claim
        try:
            REQUEST.set(RequestContext(principal=self._principal_of(claim.job)))
            trail.record(Action.JOB_STARTED, claim.job.name, owner=claim.job.owner, attempt=claim.attempt)
            await self._end(run, await self._outcome(run))
        except Exception:  # noqa: BLE001 - a job's failure is its own
            _log.exception("The job %r of %r could not be ended.", claim.job.name, claim.job.owner)
            self._unreleased.append(claim)
        finally:
            self._runs.pop((claim.job.owner, claim.job.name), None)
            self.counts.running = len(self._runs)
            self._woken.set()

    def _principal_of(self, job: Job) -> Principal:
        found = None if job.key is None else self._principal(job.key)
        return replace(found or Principal(job.owner, Role.TRANSCRIBE, job.key), owner=job.owner)

    def _is_revoked(self, job: Job) -> bool:
        return job.key is not None and self._principal(job.key) is None

    async def _outcome(self, run: _Run) -> JobResult | BaseException:
        """Do the work while renewing the lease. Returns the result, or the error that ended the work."""
        run.work = asyncio.create_task(self._transcribed(run))
        if run.interruption is not None:
            run.work.cancel()
        try:
            pause = self._settings.lease / LEASE_PARTS
            while not (await asyncio.wait({run.work}, timeout=pause))[0]:
                if not await self._renewed(run):
                    run.interrupt(_Interruption.LOST)
                elif self._is_revoked(run.claim.job):
                    run.interrupt(_Interruption.REVOKED)
        finally:
            run.work.cancel()
            await asyncio.wait({run.work})
        if run.work.cancelled():
            return asyncio.CancelledError()
        return run.work.exception() or run.work.result()

    async def _renewed(self, run: _Run) -> bool:
        try:
            return await self._store.renew(
                run.claim, utc_now(), self._lease, run.audio_seconds, run.duration
            )
        except StorageFailure as error:
            # If another server takes the job meanwhile, the end of this attempt has no effect.
            _log.warning("The lease of the job %r was not renewed: %s", run.claim.job.name, error.message)
            return True

    async def _transcribed(self, run: _Run) -> JobResult:
        claim, job = run.claim, run.claim.job
        if claim.failed_attempts >= MOST_ATTEMPTS:
            raise TranscribedError(
                f"The server ended {claim.failed_attempts} times while it ran the job, perhaps because of "
                "it. See the server's log."
            )
        if self._is_revoked(job):
            raise _revoked(job)
        request = JobRequest.read(job.request).transcription(job.owner)
        engine = self._transcription.capabilities(request.engine).name
        began = utc_now()
        said: list[Segment] = []
        heard = 0.0

        def opened(session: Session) -> None:
            run.session = session

        async with self._media.opened(job.owner, job.media) as media:
            run.duration = media.duration
            events = self._transcription.transcribe_unkept(media.source, request, media.recording, opened)
            async with aclosing(events):
                async for event in events:
                    match event:
                        case Segment(final=True) if event.text:
                            said.append(event)
                        case Notice() if len(run.warnings) < _MOST_WARNINGS:
                            run.warnings.append(event.message)
                        case Done():
                            heard = event.audio_seconds
        run.duration = heard
        warnings = tuple(run.warnings)
        if not said:
            return JobResult(heard, warnings=warnings)
        info = TranscriptInfo(
            id=said[0].session,
            source=TranscriptSource.JOB,
            engine=engine,
            language=said[0].language,
            started=began,
            recording=media.recording,
            ended=utc_now(),
            audio_seconds=heard,
        )
        return JobResult(heard, info, said, warnings)

    # --- Its end

    async def _end(self, run: _Run, outcome: JobResult | BaseException) -> None:
        claim = run.claim
        match outcome:
            case asyncio.CancelledError() if run.interruption is _Interruption.LOST:
                self._record(run, Outcome.FAILED, "it was deleted, or another server has it")
            case asyncio.CancelledError() if run.interruption is _Interruption.REVOKED:
                await self._end(run, _revoked(claim.job))
            case asyncio.CancelledError() | Stopping():
                await self._store.release(claim, utc_now(), failed=False)
                self._record(run, Outcome.FAILED, "the server stops; it waits again")
            case LimitExceeded() if run.session is None:
                await self._again(run, outcome, float(outcome.retry_after), failed=False)
            case Unavailable() | StorageFailure() | LimitExceeded():
                if claim.failed_attempts + 1 >= MOST_ATTEMPTS:
                    await self._fail(
                        run, f"{outcome.client_message} It was tried {MOST_ATTEMPTS} times.", outcome
                    )
                    return
                pause = PAUSES[min(claim.failed_attempts, len(PAUSES) - 1)]
                if isinstance(outcome, LimitExceeded):
                    pause = max(pause, float(outcome.retry_after))
                await self._again(run, outcome, pause, failed=True)
            case TranscribedError():
                await self._fail(run, outcome.client_message, outcome)
            case BaseException():
                _log.error("The job %r of %r failed.", claim.job.name, claim.job.owner, exc_info=outcome)
                await self._fail(run, "The server failed on this job; its log has the cause.", outcome)
            case _:
                await self._complete(run, outcome)

    async def _again(self, run: _Run, error: TranscribedError, pause: float, *, failed: bool) -> None:
        await self._store.release(run.claim, utc_now() + timedelta(seconds=pause), failed=failed)
        if failed:
            _log.warning(
                "The job %r is tried again in %.0f s: %s", run.claim.job.name, pause, error.message
            )
        self._record(run, Outcome.FAILED, f"{error.code}; it waits again")

    async def _fail(self, run: _Run, sentence: str, error: BaseException) -> None:
        ended = utc_now()
        if await self._stored(lambda: self._store.fail(run.claim, ended, sentence)):
            self.counts.failed += 1
        code = error.code if isinstance(error, TranscribedError) else TranscribedError.code
        self._record(run, Outcome.FAILED, code)

    async def _complete(self, run: _Run, result: JobResult) -> None:
        ended = utc_now()
        try:
            done = await self._stored(lambda: self._store.complete(run.claim, ended, result))
        except StorageFailure as error:
            await self._end(run, error)
        except TranscribedError as error:
            await self._fail(run, error.client_message, error)
        else:
            self.counts.completed += done
            self._record(run, Outcome.OK if done else Outcome.FAILED, None if done else "it was taken over")

    async def _stored(self, store: Callable[[], Awaitable[bool]]) -> bool:
        """Store the end of a job, again when the store fails. Returns whether the claim was valid."""
        for pause in LAST_TRIES:
            try:
                return await store()
            except StorageFailure as error:
                _log.warning("The end of a job was not stored, and is tried again: %s", error.message)
            await asyncio.sleep(pause)
        return await store()

    def _record(self, run: _Run, outcome: Outcome, error: str | None) -> None:
        trail.record(
            Action.JOB_ENDED,
            run.claim.job.name,
            owner=run.claim.job.owner,
            outcome=outcome,
            seconds=round(run.audio_seconds, 3),
            error=error,
        )


def _revoked(job: Job) -> AccessDenied:
    return AccessDenied(
        f"The key {job.key} that submitted the job was removed. Submit it with another key."
    )
