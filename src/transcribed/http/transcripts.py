"""Transcripts over HTTP: list, search, read, correct, delete."""

import asyncio
import json
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_pascal

from transcribed.errors import BadRequest, shown
from transcribed.http.access import Reader, Transcriber
from transcribed.http.body import small_body
from transcribed.http.content_negotiation import negotiate
from transcribed.http.owners import ABOUT_OWNER, Asked, is_told, owner_of_list, owner_of_one
from transcribed.http.recordings import Problem
from transcribed.principal import Principal
from transcribed.service import transcripts as service
from transcribed.service.corrections import as_corrected
from transcribed.service.threads import in_thread
from transcribed.service.transcripts import (
    Excerpt,
    FoundTranscript,
    StoredSegment,
    Transcript,
    TranscriptInfo,
    Transcripts,
    TranscriptSource,
)
from transcribed.transcript import Segment, Word
from transcribed.wire import voices
from transcribed.wire.results import result
from transcribed.wire.subtitles import srt, vtt

LONGEST_PAGE = 200
LONGEST_SEARCH = 1000
"""Characters."""
CORRECTION_BYTES = 64 * 1024
"""The most of the body of a correction."""

_ID = "103076a7-c6f0-4294-9bce-fcdcc249a801"


class Shape(BaseModel):
    """JSON with Amazon's way of writing names."""

    model_config = ConfigDict(alias_generator=to_pascal, populate_by_name=True)


class Head(Shape):
    """What is known of a transcript without its text."""

    session_id: str = Field(description="Names the transcript; Done says it.", examples=[_ID])
    source: TranscriptSource = Field(examples=["file"])
    recording: str | None = Field(description="Of a file: its name.", examples=["test.wav"])
    engine: str = Field(examples=["moonshine"])
    language_code: str = Field(examples=["en-US"])
    started: datetime = Field(examples=["2026-11-25T09:30:00.125000Z"])
    ended: datetime | None = Field(
        description="Null while it grows, and where the server was killed.",
        examples=["2026-11-25T09:30:00.209000Z"],
    )
    audio_seconds: float = Field(examples=[1.149])


class Piece(Shape):
    """Some characters of an excerpt."""

    text: str
    hit: bool = Field(description="True for words that were searched.")


class ListedExcerpt(Shape):
    """A place of a transcript, in pieces that joined are its text."""

    segment: int = Field(description="The number of the segment.", examples=[0])
    start_time: float = Field(description="That of the segment.", examples=[0.0])
    pieces: list[Piece] = Field(
        examples=[[{"Text": "This is a ", "Hit": False}, {"Text": "test", "Hit": True}]]
    )


class Listed(Head):
    """A transcript of a page: where words were searched its first hits, else its first words."""

    excerpts: list[ListedExcerpt]
    owner: str | None = Field(None, description="Whose it is; said where keys are used.", examples=["anna"])


class Page(Shape):
    """Transcripts, newest first."""

    transcripts: list[Listed]
    next: str | None = Field(
        description="Ask for the following page with before=…; null on the last.", examples=[None]
    )


class Wanted(BaseModel):
    """The query of /transcripts."""

    model_config = ConfigDict(extra="forbid")

    q: str | None = Field(
        None,
        max_length=LONGEST_SEARCH,
        description='Words that one segment has, in any order; "words in quotes" one behind the other.',
        examples=["test"],
    )
    source: TranscriptSource | None = Field(None, description="Recordings or live audio alone.")
    recording: str | None = Field(None, description="Those of this recording.", examples=["test.wav"])
    since: str | None = Field(
        None,
        alias="from",
        description="What started then or later: a date (from its beginning, UTC) or a moment.",
        examples=["2026-11-25"],
    )
    until: str | None = Field(
        None,
        alias="to",
        description="What started before: a date (to its end, UTC) or a moment.",
        examples=["2026-11-25T12:00:00Z"],
    )
    limit: int = Field(50, ge=1, le=LONGEST_PAGE, description="The most transcripts on the page.")
    before: str | None = Field(None, description="Next of the page before.")
    owner: str | None = Field(None, description=ABOUT_OWNER)

    def query(self) -> service.Query:
        """The query for the store of transcripts. Raises BadRequest."""
        return service.Query(
            words=self.q if self.q and self.q.strip() else None,
            source=self.source,
            recording=self.recording,
            since=None if self.since is None else _moment("from", self.since, timedelta()),
            until=None if self.until is None else _moment("to", self.until, timedelta(days=1)),
            limit=self.limit,
            before=self.before,
        )


class Correction(BaseModel):
    """What a segment says; null for what the machine understood."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(examples=["This is a test."])


@dataclass(frozen=True, slots=True)
class Form:
    """A way to write a transcript."""

    media_type: str
    write: Callable[[Transcript], str]

    def encoded(self, transcript: Transcript) -> bytes:
        """In UTF-8."""
        return self.write(transcript).encode()


def _json(transcript: Transcript) -> str:
    head = Head(**_head(transcript.info)).model_dump(mode="json", by_alias=True)
    # Result by result: one call for all would keep the event loop waiting for as long as it takes.
    results = ",".join(_dumped(_result(segment)) for segment in transcript.segments)
    return f'{_dumped(head)[:-1]},"Transcript":{{"Results":[{results}]}}}}'


FORMS = {
    "json": Form("application/json", _json),
    "txt": Form("text/plain", lambda transcript: voices.text(map(as_corrected, transcript.segments))),
    "srt": Form("application/x-subrip", lambda transcript: srt(map(as_corrected, transcript.segments))),
    "vtt": Form("text/vtt", lambda transcript: vtt(map(as_corrected, transcript.segments))),
}
"""By the suffix that asks for them, the first where nothing does."""

_SAID = [
    Word("This", 0.064, 0.232, 0.9966),
    Word("is", 0.232, 0.376, 0.9921),
    Word("a", 0.376, 0.496, 0.9927),
    Word("test.", 0.496, 1.024, 0.999),
]
_CORRECTED = StoredSegment(
    Segment(_ID, 0, 0.0, 1.149, "This is a test.", final=True, language="en-US", words=tuple(_SAID)),
    correction="This was a test.",
)
_EXAMPLE = Transcript(
    TranscriptInfo(
        id=_ID,
        source=TranscriptSource.FILE,
        engine="moonshine",
        language="en-US",
        started=datetime(2026, 11, 25, 9, 30, 0, 125_000, UTC),
        recording="test.wav",
        ended=datetime(2026, 11, 25, 9, 30, 0, 209_000, UTC),
        audio_seconds=1.149,
    ),
    (_CORRECTED,),
)

Id = Annotated[str, Path(description="SessionId of Done.", examples=[_ID])]
Number = Annotated[int, Path(ge=0, description="What stands at the end of its ResultId.", examples=[0])]
Suffix = Annotated[str, Path(json_schema_extra={"enum": list(FORMS)}, examples=["txt"])]
Accept = Annotated[str | None, Header(description="The form.", examples=["text/plain"])]

_CORRECTION: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": Correction.model_json_schema()}},
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    # "default", so that FastAPI does not describe a 422, which is never sent.
    described: tuple[int | str, ...] = (*statuses, 404, 503, "default")
    return {status: {"model": Problem} for status in described}


def router(transcripts: Callable[[], Transcripts]) -> APIRouter:
    """Routes under /transcripts; `transcripts` raises Unavailable until they can be read."""
    routes = APIRouter(prefix="/transcripts", tags=["transcripts"])
    document: dict[str, Any] = {
        "description": "The transcript.",
        "content": {form.media_type: {"example": _example(form)} for form in FORMS.values()},
    }
    corrected: dict[str, Any] = {"content": {"application/json": {"example": _result(_CORRECTED)}}}
    # Threads are few, and a day of speech takes seconds to write.
    one_at_a_time = asyncio.Lock()

    async def answer(owner: str, transcript: str, form: Form) -> Response:
        found = await transcripts().get(owner, transcript)
        async with one_at_a_time:
            body = await in_thread(form.encoded, found)
        return Response(body, media_type=form.media_type, headers={"X-Content-Type-Options": "nosniff"})

    @routes.get(
        "",
        summary="List and search the transcripts",
        responses=_problems(400),
        response_model_exclude_unset=True,
    )
    async def page(wanted: Annotated[Wanted, Query()], who: Reader) -> Page:
        """What was said here, newest first, a page at a time."""
        found = await transcripts().page(owner_of_list(who, wanted.owner), wanted.query())
        return Page(transcripts=[_listed(each, who) for each in found.found], next=found.next)

    @routes.get(
        "/{transcript}.{form}",
        summary="Read a transcript in a form",
        response_class=Response,
        responses=_problems(400) | {200: document},
    )
    async def read_in(transcript: Id, form: Suffix, who: Reader, owner: Asked = None) -> Response:
        """The whole transcript in the form that the suffix names."""
        if form not in FORMS:
            suffixes = _alternatives(f".{suffix}" for suffix in FORMS)
            raise BadRequest(f"A transcript is not there as {shown(form)}. Ask for {suffixes}.")
        return await answer(owner_of_one(who, owner), transcript, FORMS[form])

    @routes.get(
        "/{transcript}",
        summary="Read a transcript",
        response_class=Response,
        responses=_problems(406) | {200: document},
    )
    async def read(transcript: Id, who: Reader, accept: Accept = None, owner: Asked = None) -> Response:
        """The whole transcript in the form that the header Accept names, as JSON where it names none."""
        kinds = {form.media_type: form for form in FORMS.values()}
        kind = negotiate(accept, list(kinds))
        if kind is None:
            raise HTTPException(
                406, f"A transcript is there as {_alternatives(kinds)}. Accept one of them."
            )
        answered = await answer(owner_of_one(who, owner), transcript, kinds[kind])
        answered.headers["Vary"] = "Accept"
        return answered

    @routes.patch(
        "/{transcript}/segments/{number}",
        summary="Correct a segment",
        response_class=Response,
        responses=_problems(400, 413) | {200: corrected},
        openapi_extra={"requestBody": _CORRECTION},
    )
    async def correct(
        transcript: Id, number: Number, request: Request, who: Transcriber, owner: Asked = None
    ) -> Response:
        """Puts a text in place of what was recognised; `{"text": null}` takes that again.

        What was recognised is kept. The answer is the segment as the transcript has it now: the correction
        is its first alternative, what was recognised the second.
        """
        text = _correction(await small_body(request, CORRECTION_BYTES))
        stored = await transcripts().correct(owner_of_one(who, owner), transcript, number, text)
        async with one_at_a_time:
            body = await in_thread(lambda: _dumped(_result(stored)).encode())
        return Response(body, media_type="application/json")

    @routes.delete("/{transcript}", status_code=204, summary="Delete a transcript", responses=_problems())
    async def delete(transcript: Id, who: Transcriber, owner: Asked = None) -> None:
        """Removes the transcript for good. If its session still runs, the rest of it is not kept either."""
        await transcripts().delete(owner_of_one(who, owner), transcript)

    return routes


def _example(form: Form) -> Any:
    written = form.write(_EXAMPLE)
    return json.loads(written) if form is FORMS["json"] else written


def _correction(body: bytes) -> str | None:
    try:
        text = Correction.model_validate_json(body).text
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()
        )
        raise BadRequest(
            'Send the text as JSON, for example {"text": "This is a test."}, or {"text": null} for what '
            f"was recognised ({problems})."
        ) from error
    if text is None:
        return None
    text = " ".join(text.split())
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise BadRequest("The text has control characters. Send it without.")
    return text


def _moment(name: str, text: str, day: timedelta) -> datetime:
    """A date, or rather the moment that lies `day` behind its beginning, or a moment."""
    try:
        try:
            return datetime.combine(date.fromisoformat(text), time(), UTC) + day
        except ValueError:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadRequest(
            f"{name} is {shown(text)}. Give a date, 2026-11-25, or a moment, 2026-11-25T09:30:00Z "
            "(a + in it is written %2B)."
        ) from error


def _head(info: TranscriptInfo) -> dict[str, Any]:
    return {
        "session_id": info.id,
        "source": info.source,
        "recording": info.recording,
        "engine": info.engine,
        "language_code": info.language,
        "started": info.started,
        "ended": info.ended,
        "audio_seconds": round(info.audio_seconds, 3),
    }


def _listed(found: FoundTranscript, who: Principal) -> Listed:
    listed = Listed(**_head(found.info), excerpts=list(map(_listed_excerpt, found.excerpts)))
    if is_told(who, found.owner):
        listed.owner = found.owner
    return listed


def _listed_excerpt(excerpt: Excerpt) -> ListedExcerpt:
    pieces = [Piece(text=text, hit=hit) for text, hit in excerpt.pieces]
    return ListedExcerpt(segment=excerpt.number, start_time=round(excerpt.start, 3), pieces=pieces)


def _result(stored: StoredSegment) -> dict[str, Any]:
    recognised = () if stored.correction is None else (stored.segment,)
    return result(as_corrected(stored), *recognised)


def _dumped(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _alternatives(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
