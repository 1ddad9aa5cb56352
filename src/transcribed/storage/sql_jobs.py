"""A JobStore in SQL, in the same database as the transcripts."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Row,
    Update,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from transcribed.errors import BadRequest, Conflict, LimitExceeded, NotFound, shown
from transcribed.storage.database import Database, write_deletion
from transcribed.storage.jobs import (
    LONGEST_JOB_PAGE,
    Bounds,
    Claim,
    Job,
    JobPage,
    JobQuery,
    JobResult,
    JobState,
    library_recording,
)
from transcribed.storage.rows import Fields, aware, check_texts, is_storable
from transcribed.storage.sql import SqlOwnersTranscripts
from transcribed.storage.tables import jobs

_CURSOR = re.compile(r"[0-9a-f]{1,15}")
_UNFINISHED = tuple(state.value for state in JobState if not state.is_final)

_IS_IT = (jobs.c.owner == bindparam("whose")) & (jobs.c.name == bindparam("job"))
_FIND = select(jobs).where(_IS_IT)
_DELETE = delete(jobs).where(_IS_IT).returning(jobs.c.number)
_INSERT = insert(jobs)
_COUNT_UNFINISHED = select(func.count()).select_from(jobs).where(jobs.c.state.in_(_UNFINISHED))
_COUNT_OF_OWNER = _COUNT_UNFINISHED.where(jobs.c.owner == bindparam("whose"))
_COUNT_WAITING = select(func.count()).select_from(jobs).where(jobs.c.state == JobState.QUEUED.value)

_IS_READY = and_(
    jobs.c.state == JobState.QUEUED.value,
    or_(jobs.c.not_before.is_(None), jobs.c.not_before <= bindparam("now")),
)
_IS_ABANDONED = and_(
    jobs.c.state == JobState.IN_PROGRESS.value,
    jobs.c.holder != bindparam("by"),
    or_(jobs.c.lease_until < bindparam("now"), jobs.c.lease_until > bindparam("latest")),
)
_OLD = (jobs.c.ended < bindparam("moment")) & jobs.c.state.not_in(_UNFINISHED)


def _claim(condition: ColumnElement[bool]) -> Update:
    """An update that takes the oldest job that meets a condition."""
    # SKIP LOCKED, so that two servers on PostgreSQL never take the same job. SQLite has a single writer.
    oldest = (
        select(jobs.c.number)
        .where(condition)
        .order_by(jobs.c.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return (
        update(jobs)
        .where(jobs.c.number == oldest.scalar_subquery())
        .values(
            state=JobState.IN_PROGRESS.value,
            holder=bindparam("by"),
            lease_until=bindparam("until"),
            attempt=jobs.c.attempt + 1,
            failed_attempts=jobs.c.failed_attempts
            + case((jobs.c.state == JobState.IN_PROGRESS.value, 1), else_=0),
            started=func.coalesce(jobs.c.started, bindparam("now", type_=jobs.c.started.type)),
            audio_seconds=0.0,
            not_before=None,
        )
        .returning(*jobs.c)
    )


_CLAIMS = _claim(_IS_ABANDONED), _claim(_IS_READY)
_IS_ANY = select(jobs.c.number).where(or_(_IS_ABANDONED, _IS_READY)).limit(1)

_IS_CLAIMED = and_(_IS_IT, jobs.c.holder == bindparam("by"), jobs.c.attempt == bindparam("the_attempt"))
_IS_HELD = _IS_CLAIMED & (jobs.c.state == JobState.IN_PROGRESS.value)
_HELD = select(jobs).where(_IS_HELD).with_for_update()
_CLAIMED = select(jobs.c.state).where(_IS_CLAIMED)
_CHANGE = update(jobs).where(_IS_HELD)


class _Tables:
    """Operations on the table, for one owner or for all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _pages(self, query: JobQuery, owner: str | None) -> JobPage:
        if not 1 <= query.limit <= LONGEST_JOB_PAGE:
            raise BadRequest(f"A page has 1 to {LONGEST_JOB_PAGE} jobs, not {query.limit}.")
        check_texts(owner, query.name_contains)
        statement = select(jobs).order_by(jobs.c.number.desc()).limit(query.limit + 1)
        if owner is not None:
            statement = statement.where(jobs.c.owner == owner)
        if query.state is not None:
            statement = statement.where(jobs.c.state == query.state.value)
        if query.name_contains:
            statement = statement.where(jobs.c.name.icontains(query.name_contains, autoescape=True))
        if query.before is not None:
            if not _CURSOR.fullmatch(query.before):
                raise BadRequest(f"No page gave {shown(query.before)} as its next. Begin without it.")
            statement = statement.where(jobs.c.number < int(query.before, 16))

        def run(connection: Connection) -> JobPage:
            rows = connection.execute(statement).all()
            found = tuple(map(_job, rows[: query.limit]))
            more = len(rows) > query.limit
            return JobPage(found, next=f"{rows[query.limit - 1].number:x}" if more else None)

        return await self._database.read(run)


class SqlJobStore(_Tables):
    """A JobStore in a Database, which the caller closes."""

    @property
    def place(self) -> str:
        """The path or address, without passwords."""
        return self._database.place

    def of(self, owner: str) -> "SqlOwnersJobs":
        """The jobs of one owner."""
        return SqlOwnersJobs(self._database, owner)

    async def page(self, query: JobQuery) -> JobPage:
        """The jobs of all owners, the last submitted first."""
        return await self._pages(query, None)

    async def waiting(self) -> int:
        """The number of jobs that wait."""
        return await self._database.read(lambda connection: connection.execute(_COUNT_WAITING).scalar_one())

    async def claim(self, holder: str, now: datetime, lease: timedelta) -> Claim | None:
        """Take the oldest job that waits, or one whose lease is over."""
        values = {"by": holder, "now": aware(now), "latest": now + 2 * lease}
        # Reads cost much less than writes, for which live transcripts wait.
        if not await self._database.read(lambda connection: connection.execute(_IS_ANY, values).first()):
            return None
        values["until"] = now + lease

        def run(connection: Connection) -> Claim | None:
            for statement in _CLAIMS:
                row = connection.execute(statement, values).first()
                if row is not None:
                    return Claim(_job(row), holder, row.attempt, row.failed_attempts)
            return None

        return await self._database.write(run)

    async def renew(
        self, claim: Claim, now: datetime, lease: timedelta, audio_seconds: float, duration: float | None
    ) -> bool:
        """Extend a lease and note the progress."""
        return await self._change(
            claim, lease_until=aware(now) + lease, audio_seconds=audio_seconds, duration=duration
        )

    async def release(self, claim: Claim, not_before: datetime, *, failed: bool) -> bool:
        """Let the job wait again until a moment."""
        return await self._change(
            claim,
            state=JobState.QUEUED.value,
            lease_until=None,
            not_before=aware(not_before),
            failed_attempts=jobs.c.failed_attempts + int(failed),
        )

    async def complete(self, claim: Claim, ended: datetime, result: JobResult) -> bool:
        """End a job and store its transcript."""
        warnings = _dumped(list(result.warnings)) if result.warnings else None
        check_texts(warnings)
        values: Fields = {
            "state": JobState.COMPLETED.value,
            "ended": aware(ended),
            "lease_until": None,
            "audio_seconds": result.audio_seconds,
            "duration": result.audio_seconds,
            "transcript": None if result.info is None else result.info.id,
            "warnings": warnings,
        }

        def run(connection: Connection) -> bool:
            row = connection.execute(_HELD, _identity(claim)).first()
            if row is None:
                return _ended_so(connection, claim, JobState.COMPLETED)
            if result.info is not None:
                # The recording may have been renamed while the job ran.
                info = replace(result.info, recording=library_recording(row.media))
                transcripts = SqlOwnersTranscripts(self._database, claim.job.owner)
                transcripts.add_whole(connection, info, result.segments)
            connection.execute(_CHANGE.values(values), _identity(claim))
            return True

        return await self._database.write(run)

    async def fail(self, claim: Claim, ended: datetime, failure: str) -> bool:
        """End a job as FAILED."""
        check_texts(failure)
        return await self._change(
            claim,
            JobState.FAILED,
            state=JobState.FAILED.value,
            ended=aware(ended),
            lease_until=None,
            failure=failure,
        )

    async def delete_before(
        self, moment: datetime, deleted: Callable[[str, str], None] = lambda *_: None
    ) -> int:
        """Delete the jobs that ended before a moment; returns how many."""
        old = _OLD.params(moment=aware(moment))
        wanted = select(jobs.c.owner, jobs.c.name).where(old)
        found = await self._database.read(lambda connection: connection.execute(wanted).all())
        count = 0
        for owner, name in found:
            one = _DELETE.where(old)
            known = {"whose": owner, "job": name}
            if await write_deletion(self._database, partial(_count, one, known)):
                count += 1
                deleted(owner, name)
        return count

    async def _change(self, claim: Claim, wanted: JobState | None = None, **values: Any) -> bool:
        """Change a claimed job; `wanted` is the state that an earlier try may have set already."""
        statement = _CHANGE.values(values).returning(jobs.c.number)

        def run(connection: Connection) -> bool:
            if connection.execute(statement, _identity(claim)).first() is not None:
                return True
            return wanted is not None and _ended_so(connection, claim, wanted)

        return await self._database.write(run)


class SqlOwnersJobs(_Tables):
    """The OwnersJobs in a SqlJobStore."""

    def __init__(self, database: Database, owner: str) -> None:
        super().__init__(database)
        self._owner = owner

    async def add(self, job: Job, bounds: Bounds) -> None:
        """Store a new job."""
        row = _row(self._owner, job)

        def run(connection: Connection) -> None:
            if connection.execute(_FIND, self._known(job.name)).first() is not None:
                raise _taken(job.name)
            of_all = connection.execute(_COUNT_UNFINISHED).scalar_one()
            of_owner = connection.execute(_COUNT_OF_OWNER, {"whose": self._owner}).scalar_one()
            if of_all >= bounds.most or of_owner >= bounds.of_owner:
                raise LimitExceeded(
                    f"{of_owner} of your jobs and {of_all} of all are waiting or running, and there may be "
                    f"no more than {bounds.of_owner} and {bounds.most}. Try again when some have ended."
                )
            try:
                connection.execute(_INSERT, row)
            except IntegrityError as error:
                raise _taken(job.name) from error

        await self._database.write(run)

    async def get(self, name: str) -> Job:
        """A job."""
        known = self._known(name)
        row = await self._database.read(lambda connection: connection.execute(_FIND, known).first())
        if row is None:
            raise _no_job(name)
        return _job(row)

    async def page(self, query: JobQuery) -> JobPage:
        """The owner's jobs, the last submitted first."""
        return await self._pages(query, self._owner)

    async def delete(self, name: str) -> None:
        """Delete a job in any state."""
        known = self._known(name)
        if not await write_deletion(self._database, partial(_count, _DELETE, known)):
            raise _no_job(name)
        self._database.forget()

    def _known(self, name: str) -> Fields:
        if not is_storable(self._owner) or not is_storable(name):
            raise _no_job(name)
        return {"whose": self._owner, "job": name}


def _count(statement: Executable, values: Fields, connection: Connection) -> int:
    """Execute a statement, and return the number of rows that it returns."""
    return len(connection.execute(statement, values).all())


def _identity(claim: Claim) -> Fields:
    return {
        "whose": claim.job.owner,
        "job": claim.job.name,
        "by": claim.holder,
        "the_attempt": claim.attempt,
    }


def _ended_so(connection: Connection, claim: Claim, state: JobState) -> bool:
    """Whether this claim has ended the job in a state: an earlier try whose answer was lost."""
    found: str | None = connection.execute(_CLAIMED, _identity(claim)).scalar()
    return found == state.value


def _row(owner: str, job: Job) -> Fields:
    tags = _dumped(dict(job.tags))
    check_texts(owner, job.name, job.media, job.request, job.key, tags)
    return {
        "owner": owner,
        "name": job.name,
        "state": JobState.QUEUED.value,
        "media": job.media,
        "request": job.request,
        "tags": tags,
        "key": job.key,
        "created": aware(job.created),
        "audio_seconds": 0.0,
        "duration": job.duration,
        "attempt": 0,
        "failed_attempts": 0,
    }


def _job(row: Row[Any]) -> Job:
    return Job(
        name=row.name,
        media=row.media,
        request=row.request,
        created=row.created,
        owner=row.owner,
        key=row.key,
        tags=json.loads(row.tags),
        state=JobState(row.state),
        started=row.started,
        ended=row.ended,
        audio_seconds=row.audio_seconds,
        duration=row.duration,
        failure=row.failure,
        transcript=row.transcript,
        warnings=tuple(json.loads(row.warnings)) if row.warnings else (),
    )


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a job {shown(name)} already. Name another, or delete that one.")


def _no_job(name: str) -> NotFound:
    return NotFound(f"There is no job {shown(name)}. GET /jobs lists what there is.")
