"""Jobs: transcriptions of recordings in the background, for every front end."""

import asyncio
import re
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Self

from transcribed.clock import utc_now
from transcribed.errors import BadRequest, LimitExceeded, NotFound, shown
from transcribed.principal import NOBODY
from transcribed.scheduling.admission import client_limit
from transcribed.service import trail
from transcribed.service.job_media import JobMedia
from transcribed.service.job_requests import JobRequest
from transcribed.service.job_runner import Counts, JobRunner
from transcribed.service.trail import Action
from transcribed.service.transcription import Transcription
from transcribed.storage.jobs import (
    LIBRARY,
    Bounds,
    Job,
    JobPage,
    JobQuery,
    JobState,
    JobStore,
    library_media,
    library_recording,
)

__all__ = [
    "LIBRARY",
    "Counts",
    "Job",
    "JobLimits",
    "JobPage",
    "JobQuery",
    "JobState",
    "Jobs",
    "NewJob",
    "library_media",
    "library_recording",
]

MOST_TAGS = 50
"""The most tags of a job, as in Amazon's API."""
LONGEST_TAG, LONGEST_TAG_VALUE = 128, 256
"""The most characters in the name and the value of a tag, as in Amazon's API."""
MOST_WATCHERS = 200
"""The most clients that follow the progress of jobs at once."""
LOOK_SECONDS = 0.5
"""The interval at which the state of a watched job is read."""

_NAME = re.compile(r"[0-9a-zA-Z._-]{1,200}")


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be submitted. Without a `name` it gets a new one. `key` is the id of the client's key."""

    media: str
    request: JobRequest
    name: str | None = None
    key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobLimits:
    """`most` is the most jobs that wait or run; `share` the part of them that one owner may have."""

    most: int
    share: float = 1.0

    def bounds(self, owner: str) -> Bounds:
        """The bounds for a new job of an owner. Without keys, all jobs are of one owner."""
        return Bounds(self.most, self.most if owner == NOBODY else client_limit(self.most, self.share))


class Jobs:
    """The jobs of this server in a store. To be closed.

    Methods raise what the store raises, and NotFound when there is no store.
    """

    def __init__(
        self,
        store: JobStore | None,
        runner: JobRunner | None,
        transcription: Transcription,
        media: JobMedia,
        limits: JobLimits,
    ) -> None:
        self._store = store
        self._runner = runner
        self._transcription = transcription
        self._media = media
        self._limits = limits
        self._watchers = 0
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self) -> None:
        """Start to run jobs, once engines are loaded."""
        if self._runner is not None and not self._stopping.is_set():
            self._runner.start()

    async def stop(self) -> None:
        """Give running jobs back to the queue, and end all watching. May be called twice."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.aclose()

    @property
    def counts(self) -> Counts:
        """Counts for metrics."""
        return Counts() if self._runner is None else self._runner.counts

    @property
    def _kept(self) -> JobStore:
        if self._store is None:
            raise NotFound(
                "This server keeps no jobs, which are stored with the transcripts: it was started with "
                "--transcripts none."
            )
        return self._store

    async def submit(self, owner: str, new: NewJob) -> Job:
        """Put a job into the queue. Returns it.

        Raises BadRequest for what cannot be served, InvalidName and NotFound for the recording, Conflict if
        the owner has a job of this name, LimitExceeded if the queue is full, and Unavailable until engines
        are loaded.
        """
        store = self._kept
        _check_tags(new.tags)
        job = Job(
            name=_valid_name(new.name) if new.name is not None else str(uuid.uuid4()),
            media=await self._media.found(owner, new.media),
            request=new.request.stored(),
            created=utc_now(),
            owner=owner,
            key=new.key,
            tags=dict(new.tags),
        )
        await self._transcription.check(new.request.transcription(owner))
        await store.of(owner).add(job, self._limits.bounds(owner))
        trail.record(Action.JOB_SUBMITTED, job.name, owner=owner, media=job.media)
        if self._runner is not None:
            self._runner.wake()
        return job

    async def get(self, owner: str, name: str) -> Job:
        """A job, as it is now. Raises NotFound."""
        job = await self._current(owner, name)
        trail.record(Action.JOB_READ, name, owner=owner)
        return job

    async def page(self, owner: str | None, query: JobQuery) -> JobPage:
        """The jobs of an owner, or with None of all owners, that meet the query, newest first."""
        page = await (self._kept if owner is None else self._kept.of(owner)).page(query)
        trail.record(Action.JOBS_LISTED, query.name_contains or "", owner=owner, found=len(page.jobs))
        if self._runner is None:
            return page
        return JobPage(tuple(map(self._runner.current, page.jobs)), page.next)

    async def delete(self, owner: str, name: str) -> None:
        """Delete a job; if it waits or runs, it is cancelled. Its transcript remains. Raises NotFound."""
        await self._kept.of(owner).delete(name)
        if self._runner is not None:
            self._runner.cancel(owner, name)
        trail.record(Action.JOB_DELETED, name, owner=owner)

    async def watch(self, owner: str, name: str) -> AsyncGenerator[Job | None, None]:
        """The job now, then whenever it has changed, up to its end; None after LOOK_SECONDS without change.

        Raises NotFound, also when it is deleted, and LimitExceeded if too many watch. Ends when the server
        stops.
        """
        if self._watchers >= MOST_WATCHERS:
            raise LimitExceeded(
                f"{MOST_WATCHERS} clients follow jobs already, and there may be no more. Ask for the job "
                "itself from time to time."
            )
        self._watchers += 1
        try:
            job = await self.get(owner, name)
            yield job
            while not job.state.is_final and not await self._stops_within(LOOK_SECONDS):
                seen, job = job, await self._current(owner, name)
                yield None if job == seen else job
        finally:
            self._watchers -= 1

    async def _current(self, owner: str, name: str) -> Job:
        job = await self._kept.of(owner).get(name)
        return job if self._runner is None else self._runner.current(job)

    async def _stops_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True


def _valid_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"{shown(name)} is not a valid name of a job. Use 1 to 200 letters, digits, '.', '_' and '-'."
        )
    return name


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > MOST_TAGS:
        raise BadRequest(f"A job has at most {MOST_TAGS} tags, not {len(tags)}.")
    for name, value in tags.items():
        if not 1 <= len(name) <= LONGEST_TAG or len(value) > LONGEST_TAG_VALUE:
            raise BadRequest(
                f"The tag {shown(name)} is not valid. A name has 1 to {LONGEST_TAG} characters, a value at "
                f"most {LONGEST_TAG_VALUE}."
            )
