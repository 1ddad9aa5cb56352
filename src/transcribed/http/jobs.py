"""Jobs over HTTP: submit, list, read, follow, delete."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from transcribed.errors import BadRequest, TranscribedError, UnknownClient
from transcribed.http.access import Reader, Transcriber, authorize
from transcribed.http.body import small_body
from transcribed.http.errors import with_request_id
from transcribed.http.owners import ABOUT_OWNER, OwnerParameter, owner_of_item, owner_of_list, shows_owner
from transcribed.http.problems import parsed
from transcribed.http.recordings import Problem
from transcribed.http.shape import Shape
from transcribed.options import FilterMethod, TranscriptForm
from transcribed.principal import Principal, Role
from transcribed.service.access_keys import Access
from transcribed.service.job_requests import JobRequest
from transcribed.service.jobs import (
    LOOK_SECONDS,
    Job,
    JobQuery,
    Jobs,
    JobState,
    NewJob,
    library_media,
    library_recording,
)

LONGEST_PAGE = 200
"""The most jobs in a page."""
BODY_BYTES = 64 * 1024
"""The largest body of a new job, in bytes."""
QUIET_SECONDS = 15.0
"""The longest time without a line in a stream of events, so that proxies do not take it for dead."""

_NAME = "monday-meeting"


class Wishes(Shape):
    """What a job is asked to do."""

    engine: str | None = Field(None, description="One of the loaded engines; null is the default one.")
    model: str | None = Field(None, description="One of the engine's models; null is its default.")
    language_code: str | None = Field(None, description="Null is the engine's default.", examples=["en-US"])
    track: int | None = Field(None, ge=1, description="The audio track, from 1; null is the default one.")
    transcript_format: TranscriptForm | None = Field(
        None, description="Numbers in digits or as words; null is as the engine writes them."
    )
    vocabularies: tuple[str, ...] = Field((), description="Names of vocabularies to favour.")
    vocabulary_filters: tuple[str, ...] = Field((), description="Names of vocabulary filters.")
    vocabulary_filter_method: FilterMethod = Field(
        FilterMethod.MASK, description="What happens to filtered words."
    )


class Submission(Wishes):
    """A new job: a recording by its name in the library, or by its address, and what to do with it."""

    model_config = ConfigDict(extra="forbid")

    recording: str | None = Field(None, description="A recording's name.", examples=["meeting.mp3"])
    media: str | None = Field(None, description="Or its address: audio://NAME.")
    name: str | None = Field(
        None,
        description="The job's name, unique among the owner's jobs; null is a new one.",
        examples=[_NAME],
    )
    tags: dict[str, str] = Field({}, description="Up to 50 tags, which are returned with the job.")

    def job(self, principal: Principal) -> NewJob:
        """The job of a principal. Raises BadRequest unless it names one recording."""
        media = self.media if self.recording is None else library_media(self.recording)
        if media is None or None not in {self.media, self.recording}:
            raise BadRequest(
                'Name one recording: {"Recording": "meeting.mp3"}, or {"Media": "audio://meeting.mp3"}.'
            )
        return NewJob(
            media=media,
            request=JobRequest(
                engine=self.engine,
                model=self.model,
                language=self.language_code,
                track=self.track,
                transcript_form=self.transcript_format,
                vocabularies=self.vocabularies,
                vocabulary_filters=self.vocabulary_filters,
                filter_method=self.vocabulary_filter_method,
            ),
            name=self.name,
            key=principal.key,
            tags=self.tags,
        )


class JobStatus(Shape):
    """A job as it is now, without what it is asked to do."""

    name: str = Field(examples=[_NAME])
    status: JobState = Field(examples=["COMPLETED"])
    media: str = Field(description="The recording's address.", examples=["audio://meeting.mp3"])
    recording: str | None = Field(
        description="The recording's name, if it is in the library.", examples=["meeting.mp3"]
    )
    created: datetime = Field(examples=["2026-11-28T09:30:00.125000Z"])
    started: datetime | None = Field(description="Null while it waits for its first start.")
    ended: datetime | None = Field(description="Null until it is COMPLETED or FAILED.")
    audio_seconds: float = Field(description="Seconds of audio that were read so far.", examples=[1800.0])
    duration: float | None = Field(
        description="Seconds of audio in all; null while unknown.", examples=[1800.0]
    )
    transcript: str | None = Field(
        description="The id of the transcript, for GET /transcripts/{transcript}; null until the job is "
        "COMPLETED, and if nobody speaks.",
        examples=["103076a7-c6f0-4294-9bce-fcdcc249a801"],
    )
    failure: str | None = Field(description="Why it FAILED.")
    warnings: tuple[str, ...] = Field(description="Parts of the recording that could not be read.")
    tags: dict[str, str]
    key: str | None = Field(None, description="The id of the access key that submitted it.")
    owner: str | None = Field(None, description="The owner, if the server uses keys.", examples=["anna"])


class JobDescription(Wishes, JobStatus):
    """A job as it is now."""


class JobsPage(Shape):
    """Jobs, the last submitted first."""

    jobs: list[JobDescription]
    next: str | None = Field(
        description="The value of `before` for the next page; null on the last page.", examples=[None]
    )


class JobsQuery(BaseModel):
    """The query parameters of /jobs."""

    model_config = ConfigDict(extra="forbid")

    status: JobState | None = Field(None, description="Only jobs in this state.")
    name: str | None = Field(
        None, max_length=200, description="Only jobs whose name contains this, in any case."
    )
    limit: int = Field(50, ge=1, le=LONGEST_PAGE, description="The number of jobs in a page.")
    before: str | None = Field(None, description="`Next` of the previous page.")
    owner: str | None = Field(None, description=ABOUT_OWNER)


Name = Annotated[str, Path(description="The job's name.", examples=[_NAME])]
LastEvent = Annotated[
    str | None, Header(alias="Last-Event-ID", description="The id of the last event, from a browser.")
]

_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": Submission.model_json_schema(ref_template="#/components/schemas/{model}"),
            "example": {"Recording": "meeting.mp3", "Name": _NAME},
        }
    },
}
_HOW = 'Send the job as JSON, for example {"Recording": "meeting.mp3"}'
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `job`, each with the job as JSON, up to its end.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    204: {"description": "The client has seen the end already."},
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    # With "default" FastAPI does not document a 422, which is never sent.
    described: tuple[int | str, ...] = (*statuses, 404, 503, "default")
    return {status: {"model": Problem} for status in described}


def router(jobs: Callable[[], Jobs]) -> APIRouter:
    """Routes under /jobs; `jobs` raises Unavailable until the database is open."""
    routes = APIRouter(prefix="/jobs", tags=["jobs"])

    @routes.post(
        "",
        status_code=201,
        summary="Submit a job",
        responses=_problems(400, 409, 413, 429),
        response_model_exclude_unset=True,
        openapi_extra={"requestBody": _BODY},
    )
    async def submit(
        request: Request, response: Response, principal: Transcriber, owner: OwnerParameter = None
    ) -> JobDescription:
        """Transcribes a recording of the library in the background. Returns the job, which waits.

        `curl -d '{"Recording": "meeting.mp3"}' http://localhost:3000/jobs`. Live streams go first: a job
        uses what they leave.
        """
        submission = parsed(Submission, await small_body(request, BODY_BYTES), _HOW)
        job = await jobs().submit(owner_of_item(principal, owner), submission.job(principal))
        response.headers["Location"] = f"/jobs/{job.name}"
        return _described(job, principal)

    @routes.get("", summary="List the jobs", responses=_problems(400), response_model_exclude_unset=True)
    async def page(query: Annotated[JobsQuery, Query()], principal: Reader) -> JobsPage:
        """Jobs in pages, the last submitted first."""
        wanted = JobQuery(query.status, query.name, query.limit, query.before)
        found = await jobs().page(owner_of_list(principal, query.owner), wanted)
        return JobsPage(jobs=[_described(each, principal) for each in found.jobs], next=found.next)

    @routes.get("/{name}", summary="Read a job", responses=_problems(), response_model_exclude_unset=True)
    async def read(name: Name, principal: Reader, owner: OwnerParameter = None) -> JobDescription:
        """The job as it is now, with its progress."""
        return _described(await jobs().get(owner_of_item(principal, owner), name), principal)

    @routes.get(
        "/{name}/events",
        summary="Follow a job",
        response_class=StreamingResponse,
        responses=_problems(429) | _EVENTS,
    )
    async def follow(
        name: Name,
        request: Request,
        principal: Reader,
        last_event: LastEvent = None,
        owner: OwnerParameter = None,
    ) -> Response:
        """The job, now and whenever it changes, as server-sent events up to its end.

        An event `error` tells why the stream ends before that, for example because the job was deleted.
        `curl -N http://localhost:3000/jobs/monday-meeting/events` shows them.
        """
        if last_event is not None and last_event in {state.value for state in JobState if state.is_final}:
            return Response(status_code=204)
        access = authorize(request, Role.READ)
        watched = jobs().watch(owner_of_item(principal, owner), name)
        # Before the response begins, so that an unknown job is a status.
        first = await anext(watched)
        events = _events(watched, first, access)
        headers = {
            "X-Accel-Buffering": "no"
        }  # For proxies that collect responses before they pass them on.
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")

    @routes.delete("/{name}", status_code=204, summary="Delete a job", responses=_problems())
    async def delete(name: Name, principal: Transcriber, owner: OwnerParameter = None) -> None:
        """Deletes the job; if it waits or runs, it is cancelled. A completed job's transcript remains."""
        await jobs().delete(owner_of_item(principal, owner), name)

    return routes


async def _events(
    watched: AsyncGenerator[Job | None, None], first: Job | None, access: Access
) -> AsyncGenerator[str, None]:
    """The events of a watched job, and comments while it does not change."""
    quiet = 0.0
    async with aclosing(watched):
        if first is not None:
            yield _event(first, access.principal)
        try:
            async for job in watched:
                _check(access)
                if job is not None:
                    quiet = 0.0
                    yield _event(job, access.principal)
                elif (quiet := quiet + LOOK_SECONDS) >= QUIET_SECONDS:
                    quiet = 0.0
                    yield ":\n\n"
        except TranscribedError as error:
            told = Problem(detail=with_request_id(error).client_message)
            yield f"event: error\ndata: {told.model_dump_json()}\n\n"


def _check(access: Access) -> None:
    """Raise an error if the client's credentials are no longer valid."""
    access.check()
    if access.revoked.is_set():
        raise UnknownClient("The key was removed or changed. Follow the job with a valid one.")


def _event(job: Job, principal: Principal) -> str:
    described = _described(job, principal).model_dump_json(by_alias=True, exclude_unset=True)
    return f"event: job\nid: {job.state.value}\ndata: {described}\n\n"


def _described(job: Job, principal: Principal) -> JobDescription:
    try:
        asked = JobRequest.read(job.request)
    except BadRequest:  # A later version's, of which only the rest can be shown.
        asked = JobRequest()
    described = JobDescription(
        name=job.name,
        status=job.state,
        media=job.media,
        recording=library_recording(job.media),
        created=job.created,
        started=job.started,
        ended=job.ended,
        audio_seconds=round(job.audio_seconds, 3),
        duration=None if job.duration is None else round(job.duration, 3),
        transcript=job.transcript,
        failure=job.failure,
        warnings=job.warnings,
        tags=dict(job.tags),
        key=job.key,
        engine=asked.engine,
        model=asked.model,
        language_code=asked.language,
        track=asked.track,
        transcript_format=asked.transcript_form,
        vocabularies=asked.vocabularies,
        vocabulary_filters=asked.vocabulary_filters,
        vocabulary_filter_method=asked.filter_method,
    )
    if shows_owner(principal, job.owner):
        described.owner = job.owner
    return described
