"""Storing transcripts while sessions run, and access to the stored ones."""

import asyncio
import logging
import time
from asyncio import Task
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self, TypeVar

from transcribed.clock import utc_now
from transcribed.errors import (
    BadRequest,
    NotFound,
    StorageFailure,
    StorageUnavailable,
    TranscribedError,
)
from transcribed.service import trail
from transcribed.service.clock_steps import WallClock
from transcribed.service.trail import Action
from transcribed.storage.jobs import JobStore
from transcribed.storage.names import valid_name
from transcribed.storage.transcripts import (
    Excerpt,
    FoundTranscript,
    OwnersTranscripts,
    Page,
    Query,
    StoredSegment,
    Transcript,
    TranscriptInfo,
    TranscriptSource,
    TranscriptStore,
)
from transcribed.transcript import Done, LiveEvent, Notice, Segment

__all__ = [
    "Excerpt",
    "FoundTranscript",
    "GrowingTranscript",
    "Query",
    "StoredSegment",
    "Transcript",
    "TranscriptInfo",
    "TranscriptSource",
    "Transcripts",
]

PATIENCE = 2.0
"""Seconds that a final segment waits to be stored before it is sent to the client anyway."""
UNSAVED = 500
"""Final segments of one transcript that may be queued while the store fails."""

LAST_TRIES = (0.0, 1.0, 5.0, 25.0)
"""Seconds before each attempt to store the queued segments of a session that has ended."""
STOP_SECONDS = 5.0
"""Seconds for storing queued segments when the server stops."""

_LITTLE_PATIENCE = 0.05
_HOUR = 3600.0
_DAY = 24 * _HOUR
_NO_ANSWER = f"The store of transcripts has not answered for {PATIENCE:g} seconds."

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Transcripts:
    """The transcripts of this server in a store; without a store nothing is kept.

    An async context manager: leaving it stores what is queued and closes the store. Transcripts and `jobs`
    that ended more than `keep_days` days ago are deleted, at the start and once a day; 0 keeps them for
    ever. `on_deleted(owner, transcript)` is called when somebody has deleted a transcript; its session may
    still be running. Methods raise what the store raises, and NotFound when there is no store.
    """

    def __init__(
        self,
        store: TranscriptStore | None,
        keep_days: int = 0,
        on_deleted: Callable[[str, str], None] = lambda _owner, _transcript: None,
        jobs: JobStore | None = None,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._keep_days = keep_days
        self._on_deleted = on_deleted
        self._cleaning: Task[None] | None = None
        self._tasks: set[Task[Any]] = set()

    async def __aenter__(self) -> Self:
        if self._store is not None and self._keep_days:
            age = timedelta(days=self._keep_days)
            self._cleaning = asyncio.create_task(_delete_old(self._store, self._jobs, age))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._store is None:
            return
        if self._cleaning is not None:
            self._cleaning.cancel()
            await asyncio.wait({self._cleaning})
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=STOP_SECONDS)
        late = set(self._tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._store.aclose()

    @property
    def _kept(self) -> TranscriptStore:
        if self._store is None:
            raise NotFound("This server keeps no transcripts: it was started with --transcripts none.")
        return self._store

    async def page(self, owner: str | None, query: Query) -> Page:
        """The transcripts of an owner, or with None of all owners, that meet the query, newest first."""
        if query.recording is not None:
            query = replace(query, recording=valid_name(query.recording))
        page = await (self._kept if owner is None else self._kept.of(owner)).page(query)
        trail.record(
            Action.TRANSCRIPTS_SEARCHED,
            query.recording or "",
            owner=owner,
            found=len(page.found),
            by_words=query.words is not None,
        )
        return page

    async def get(self, owner: str, transcript: str) -> Transcript:
        """A whole transcript."""
        found = await self._kept.of(owner).get(transcript)
        trail.record(Action.TRANSCRIPT_READ, transcript, owner=owner)
        return found

    async def version(self, owner: str, transcript: str) -> str:
        """The version of a transcript, which is different after each change; reads no text."""
        return await self._kept.of(owner).version(transcript)

    async def correct(self, owner: str, transcript: str, number: int, text: str | None) -> StoredSegment:
        """Set or, with None, remove the correction of a segment's text. Returns the changed segment."""
        segment = await self._kept.of(owner).correct(transcript, number, text)
        trail.record(Action.TRANSCRIPT_CORRECTED, transcript, owner=owner, segment=number)
        return segment

    async def rename_recording(self, owner: str, name: str, new: str) -> None:
        """Let an owner's transcripts and jobs of a recording follow its new name."""
        if self._store is not None:
            await self._store.of(owner).rename_recording(name, new)

    async def delete(self, owner: str, transcript: str) -> None:
        """Delete a transcript."""
        await self._kept.of(owner).delete(transcript)
        self._on_deleted(owner, transcript)
        trail.record(Action.TRANSCRIPT_DELETED, transcript, owner=owner)

    async def has(self, owner: str, transcript: str) -> bool:
        """Whether an owner has a transcript with this id; True if the store fails to tell."""
        if self._store is None:
            return False
        try:
            return await self._store.of(owner).has(transcript)
        except TranscribedError:
            return True

    def growing(
        self, owner: str, source: TranscriptSource, engine: str, recording: str | None = None
    ) -> "GrowingTranscript | None":
        """A transcript for an owner's session that begins; None if there is no store."""
        if self._store is None:
            return None
        return GrowingTranscript(self._store.of(owner), self._run, source, engine, recording)

    def _run(self, work: Coroutine[Any, Any, T]) -> Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class GrowingTranscript:
    """The transcript of a running session, which stores final segments one by one. To be closed.

    A task writes the queued segments, so that a store that does not answer delays the session only briefly.
    """

    def __init__(
        self,
        store: OwnersTranscripts,
        run: Callable[[Coroutine[Any, Any, Exception | None]], Task[Exception | None]],
        source: TranscriptSource,
        engine: str,
        recording: str | None,
    ) -> None:
        self._store = store
        self._run = run
        self._info_of = partial(
            TranscriptInfo, source=source, engine=engine, recording=recording, started=utc_now()
        )
        self._info: TranscriptInfo | None = None
        self._begun = False
        self._waiting: deque[Segment] = deque()
        self._heard = 0.0
        self._ended: datetime | None = None
        self._complete = False
        self._lost = 0
        self._writing: Task[Exception | None] | None = None
        self._patience = PATIENCE
        self._told = False

    async def keep(self, event: LiveEvent) -> Notice | None:
        """Store a final segment, or the end of the session, before the event is sent to the client.

        Returns a notice to send before the event if storing fails, once per session.
        """
        if isinstance(event, Segment) and event.final and event.text and not self._complete:
            if self._info is None:
                self._info = self._info_of(id=event.session, language=event.language)
            self._heard = event.end
            if len(self._waiting) < UNSAVED:
                self._waiting.append(event)
            else:
                self._lost += 1
        elif isinstance(event, Done) and self._info is not None and not self._complete:
            self._ended, self._heard = utc_now(), event.audio_seconds
        else:
            return None
        return await self._written()

    def close(self) -> None:
        """End the transcript. Queued segments are stored in the background."""
        if self._info is not None:
            self._ended = self._ended or utc_now()
            self._run(self._finish(self._info))

    async def _written(self) -> Notice | None:
        begun = time.monotonic()
        writing = self._write()
        await asyncio.wait({writing}, timeout=self._patience)
        _log.debug("Waited %.2f ms for the store of transcripts.", (time.monotonic() - begun) * 1e3)
        error = writing.result() if writing.done() else StorageUnavailable(_NO_ANSWER)
        self._patience = _LITTLE_PATIENCE if self._waiting else PATIENCE
        return None if error is None or self._told else self._notice(error)

    def _write(self) -> Task[Exception | None]:
        """The task that stores all queued segments; it returns the error that stopped it."""
        if self._writing is None or self._writing.done():
            assert self._info is not None  # noqa: S101 - set with the first final segment
            self._writing = self._run(self._write_all(self._info))
        return self._writing

    async def _write_all(self, info: TranscriptInfo) -> Exception | None:
        refused = None
        try:
            if not self._begun:
                await self._store.add(info)
                self._begun = True
            while self._waiting:
                try:
                    await self._store.append(self._waiting[0])
                except BadRequest as error:  # This segment can never be stored; later ones can.
                    refused = error
                self._waiting.popleft()
            if self._ended is not None:
                await self._store.end(info.id, self._ended, self._heard)
                self._complete = True
        except NotFound as error:
            self._waiting.clear()
            self._lost = 0
            self._complete = True
            return error
        except Exception as error:  # noqa: BLE001 - no error of a store ends the session
            return error
        return refused

    def _notice(self, error: Exception) -> Notice:
        self._told = True
        if isinstance(error, NotFound):
            return Notice(
                error.code, "The transcript was deleted while it was written. Nothing more of it is kept."
            )
        if isinstance(error, TranscribedError):
            _log.warning("A transcript cannot be kept: %s", error.message)
            code, cause = error.code, error.client_message
        else:
            _log.error("A transcript cannot be kept.", exc_info=error)
            code, cause = StorageFailure.code, "The server's log says why."
        return Notice(
            code, f"Not all that is said can be kept. {cause} Captions go on, and keeping is tried again."
        )

    async def _finish(self, info: TranscriptInfo) -> None:
        try:
            for pause in LAST_TRIES:
                if self._complete:
                    break
                await asyncio.sleep(pause)
                await asyncio.wait({self._write()})
        finally:
            lost = self._lost + len(self._waiting)
            if lost:
                _log.error("%d finals of the transcript %s are lost.", lost, info.id)


async def _delete_old(store: TranscriptStore, jobs: JobStore | None, age: timedelta) -> None:
    clock: WallClock | None = None
    while True:
        try:
            if clock is None:
                clock = WallClock(await _newest(store))
            pause = await _delete_if_believed(store, jobs, age, clock)
        except TranscribedError as error:
            _log.error("Old transcripts could not be deleted: %s", error.message)
            pause = _HOUR
        await asyncio.sleep(pause)


async def _newest(store: TranscriptStore) -> datetime | None:
    """When the newest transcript ended, or last grew."""
    page = await store.page(Query(limit=1))
    if not page.found:
        return None
    info = page.found[0].info
    return info.ended or info.started + timedelta(seconds=info.audio_seconds)


async def _delete_if_believed(
    store: TranscriptStore, jobs: JobStore | None, age: timedelta, clock: WallClock
) -> float:
    """Delete old transcripts and jobs unless the wall clock is in doubt.

    Returns the seconds until the next call.
    """
    now = utc_now()
    step = clock.look(now, _monotonic())
    if step is not None:
        if step.new:
            _log.warning(
                "The clock says %s, which is %.1f days %s than the newest transcript or this machine's "
                "other clock lets expect. No old transcripts are deleted until it has stood for an hour. "
                "Set the clock if it is wrong.",
                now.isoformat(timespec="seconds"),
                abs(step.by) / timedelta(days=1),
                "later" if step.by > timedelta() else "earlier",
            )
        return step.wait.total_seconds()
    deleted = await store.delete_before(
        now - age,
        lambda owner, transcript: trail.record(Action.TRANSCRIPT_DELETED, transcript, owner=owner),
    )
    if deleted:
        _log.info("%d transcripts older than %d days were deleted.", deleted, age.days)
    if jobs is not None:
        await jobs.delete_before(
            now - age, lambda owner, job: trail.record(Action.JOB_DELETED, job, owner=owner)
        )
    return _DAY


def _monotonic() -> timedelta:
    return timedelta(seconds=time.monotonic())
