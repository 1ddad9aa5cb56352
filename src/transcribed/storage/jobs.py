"""The JobStore protocol and the values that it takes and returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

from transcribed.principal import NOBODY
from transcribed.storage.transcripts import TranscriptInfo
from transcribed.transcript import Segment

LIBRARY = "audio://"
"""The beginning of the address of a recording in the library; its name follows."""

LONGEST_JOB_PAGE = 1000
"""The most jobs on a page."""


class JobState(Enum):
    """The state of a job, with Amazon's names."""

    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state has ended."""
        return self in {JobState.COMPLETED, JobState.FAILED}


@dataclass(frozen=True, slots=True)
class Job:
    """The transcription of one recording, done in the background.

    - `name`: unique among its owner's jobs.
    - `media`: the address of the recording, such as "audio://talk.wav".
    - `request`: what is asked for, as text that the store does not read.
    - `key`: the id of the access key that submitted it; None without keys.
    - `started`: the first start; `ended` is None until the job is COMPLETED or FAILED.
    - `audio_seconds`: seconds of audio that have been sent to the engine; `duration` is the length of the
      recording, None while it is unknown.
    - `failure`: a sentence about why it FAILED.
    - `warnings`: sentences about parts of the recording that could not be read.
    - `transcript`: the id of the stored transcript of a COMPLETED job; None if there was no speech.

    Datetimes are in UTC.
    """

    name: str
    media: str
    request: str
    created: datetime
    owner: str = NOBODY
    key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    state: JobState = JobState.QUEUED
    started: datetime | None = None
    ended: datetime | None = None
    audio_seconds: float = 0.0
    duration: float | None = None
    failure: str | None = None
    transcript: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a runner holds under a lease.

    `holder` and `attempt` together are unique among all claims of a job, so that a runner that has lost its
    lease changes nothing. `failed_attempts` is the number of earlier attempts that broke off, because a
    server was killed or for a reason that may be temporary.
    """

    job: Job
    holder: str
    attempt: int
    failed_attempts: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most jobs that have not ended: of all owners together, and of one owner."""

    most: int
    of_owner: int


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Conditions on jobs; None means any.

    `name_contains` ignores the case of ASCII letters. `limit` is 1 to LONGEST_JOB_PAGE. `before` is the
    `next` of the previous page.
    """

    state: JobState | None = None
    name_contains: str | None = None
    limit: int = 50
    before: str | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, the last submitted first; `next` is None on the last page."""

    jobs: tuple[Job, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job has found: seconds of audio, its whole transcript, and warnings about the recording.

    `info` has the transcript's end; None if there is no speech. The segments are final.
    """

    audio_seconds: float
    info: TranscriptInfo | None = None
    segments: Sequence[Segment] = ()
    warnings: Sequence[str] = ()


class OwnersJobs(Protocol):
    """The jobs of one owner in a JobStore; those of other owners do not exist here.

    Methods raise StorageFull and StorageFailure, and end within half a minute.
    """

    async def add(self, job: Job, bounds: Bounds) -> None:
        """Store a new job; `job.owner` is not read.

        Raises Conflict if the owner has one of this name, LimitExceeded beyond the bounds, and BadRequest
        for text that cannot be stored.
        """
        ...

    async def get(self, name: str) -> Job:
        """A job. Raises NotFound."""
        ...

    async def page(self, query: JobQuery) -> JobPage:
        """The owner's jobs that meet the query. Raises BadRequest for an invalid `before`."""
        ...

    async def delete(self, name: str) -> None:
        """Delete a job in any state. Its transcript remains. Raises NotFound."""
        ...


class JobStore(Protocol):
    """Durable storage of all owners' jobs, and the queue of those that wait.

    Several servers may share it. A runner `claim`s a job for the time of a lease, which it must `renew`.
    Once the lease is over, any other runner can claim the job; whatever the first then does to it has no
    effect. `now` is the caller's wall clock. Methods raise as those of OwnersJobs.
    """

    @property
    def place(self) -> str:
        """The path or address, without passwords, for messages."""
        ...

    def of(self, owner: str) -> OwnersJobs:
        """The jobs of one owner, who need not have any yet. Usable until the store is closed."""
        ...

    async def page(self, query: JobQuery) -> JobPage:
        """The jobs of all owners that meet the query. Raises BadRequest for an invalid `before`."""
        ...

    async def waiting(self) -> int:
        """The number of jobs that wait."""
        ...

    async def claim(self, holder: str, now: datetime, lease: timedelta) -> Claim | None:
        """Take the oldest job that waits, or one whose lease is over; None if there is none.

        The lease of a job that `holder` itself holds is never over for it. A lease that ends later than
        any can was made before the clock was set back, and is over too.
        """
        ...

    async def renew(
        self, claim: Claim, now: datetime, lease: timedelta, audio_seconds: float, duration: float | None
    ) -> bool:
        """Extend a lease and note the progress. Returns whether the claim is still valid."""
        ...

    async def release(self, claim: Claim, not_before: datetime, *, failed: bool) -> bool:
        """Let the job wait again until a moment; `failed` counts the attempt.

        Returns whether the claim was still valid.
        """
        ...

    async def complete(self, claim: Claim, ended: datetime, result: JobResult) -> bool:
        """End a job and store its transcript, both or neither.

        The transcript gets the name that the recording has now. Returns whether the claim was still valid;
        if it was not, nothing is stored. A call that raised StorageFailure can be repeated.
        """
        ...

    async def fail(self, claim: Claim, ended: datetime, failure: str) -> bool:
        """End a job as FAILED. Returns whether the claim was still valid. Can be repeated."""
        ...

    async def delete_before(
        self, moment: datetime, deleted: Callable[[str, str], None] = lambda *_: None
    ) -> int:
        """Delete the jobs that ended before a moment; returns how many.

        Calls `deleted` with the owner and the name of each as soon as it is gone.
        """
        ...


def library_media(recording: str) -> str:
    """The address of a recording in the library."""
    return LIBRARY + recording


def library_recording(media: str) -> str | None:
    """The name of the recording in the library with this address; None for other addresses."""
    return media.removeprefix(LIBRARY) if media.startswith(LIBRARY) else None
