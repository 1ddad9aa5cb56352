"""Transcripts over HTTP: list, search, read, correct, delete."""

import asyncio
import json
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from transcribed import __version__
from transcribed.errors import BadRequest, shown
from transcribed.http.access import Reader, Transcriber
from transcribed.http.body import small_body
from transcribed.http.content_negotiation import negotiate
from transcribed.http.owners import ABOUT_OWNER, OwnerParameter, owner_of_item, owner_of_list, shows_owner
from transcribed.http.problems import parsed
from transcribed.http.ranges import is_known
from transcribed.http.recordings import Problem
from transcribed.http.shape import Shape
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
from transcribed.wire.native import result
from transcribed.wire.subtitles import srt, vtt

LONGEST_PAGE = 200
LONGEST_SEARCH = 1000
"""The longest search text, in characters."""
CORRECTION_BYTES = 64 * 1024
"""The largest body of a correction, in bytes."""

_HOW_TO_CORRECT = (
    'Send the text as JSON, for example {"text": "This is a test."}, or {"text": null} to restore the '
    "recognised text"
)
_ID = "103076a7-c6f0-4294-9bce-fcdcc249a801"


class Head(Shape):
    """The metadata of a transcript."""

    session_id: str = Field(description="The transcript's id, as in Done.", examples=[_ID])
    source: TranscriptSource = Field(examples=["file"])
    recording: str | None = Field(
        description="The recording's name; null for live audio.", examples=["test.wav"]
    )
    engine: str = Field(examples=["moonshine"])
    language_code: str = Field(examples=["en-US"])
    started: datetime = Field(examples=["2026-11-25T09:30:00.125000Z"])
    ended: datetime | None = Field(
        description="Null while the session runs, and if the server was killed before its end.",
        examples=["2026-11-25T09:30:00.209000Z"],
    )
    audio_seconds: float = Field(examples=[1.149])


class Piece(Shape):
    """A part of an excerpt."""

    text: str
    hit: bool = Field(description="Whether the search found this part.")


class ListedExcerpt(Shape):
    """A part of a transcript's text: the concatenated texts of its pieces."""

    segment: int = Field(description="The number of the segment.", examples=[0])
    start_time: float = Field(description="The segment's start, in seconds.", examples=[0.0])
    pieces: list[Piece] = Field(
        examples=[[{"Text": "This is a ", "Hit": False}, {"Text": "test", "Hit": True}]]
    )


class Listed(Head):
    """A transcript in a page, with the first matches of the search or else its beginning."""

    excerpts: list[ListedExcerpt]
    owner: str | None = Field(None, description="The owner, if the server uses keys.", examples=["anna"])


class Page(Shape):
    """Transcripts, newest first."""

    transcripts: list[Listed]
    next: str | None = Field(
        description="The value of `before` for the next page; null on the last page.", examples=[None]
    )


class PageQuery(BaseModel):
    """The query parameters of /transcripts."""

    model_config = ConfigDict(extra="forbid")

    q: str | None = Field(
        None,
        max_length=LONGEST_SEARCH,
        description='Words that occur in one segment, in any order; "words in quotes" follow one another.',
        examples=["test"],
    )
    source: TranscriptSource | None = Field(
        None, description="Only recordings, only live audio, or only OpenAI's API."
    )
    recording: str | None = Field(
        None, description="Only transcripts of this recording.", examples=["test.wav"]
    )
    since: str | None = Field(
        None,
        alias="from",
        description="Only those that started then or later: a date (from its beginning, UTC) or a time.",
        examples=["2026-11-25"],
    )
    until: str | None = Field(
        None,
        alias="to",
        description="Only those that started before: a date (to its end, UTC) or a time.",
        examples=["2026-11-25T12:00:00Z"],
    )
    limit: int = Field(50, ge=1, le=LONGEST_PAGE, description="The number of transcripts in a page.")
    before: str | None = Field(None, description="`Next` of the previous page.")
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
    """The text of a segment; null restores the recognised text."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(examples=["This is a test."])


@dataclass(frozen=True, slots=True)
class Form:
    """A format of transcripts: its media type, and the function that writes it as text."""

    media_type: str
    write: Callable[[Transcript], str]

    def encoded(self, transcript: Transcript) -> bytes:
        """A transcript in this format, in UTF-8."""
        return self.write(transcript).encode()


def _json(transcript: Transcript) -> str:
    head = Head(**_head(transcript.info)).model_dump(mode="json", by_alias=True)
    # Each result is encoded separately: one call for all would block the event loop for its duration.
    results = ",".join(_dumped(_result(segment)) for segment in transcript.segments)
    return f'{_dumped(head)[:-1]},"Transcript":{{"Results":[{results}]}}}}'


FORMS = {
    "json": Form("application/json", _json),
    "txt": Form("text/plain", lambda transcript: voices.text(map(as_corrected, transcript.segments))),
    "srt": Form("application/x-subrip", lambda transcript: srt(map(as_corrected, transcript.segments))),
    "vtt": Form("text/vtt", lambda transcript: vtt(map(as_corrected, transcript.segments))),
}
"""The formats by their suffixes; the first is the default."""

_WORDS = [
    Word("This", 0.064, 0.232, 0.9966),
    Word("is", 0.232, 0.376, 0.9921),
    Word("a", 0.376, 0.496, 0.9927),
    Word("test.", 0.496, 1.024, 0.999),
]
_CORRECTED = StoredSegment(
    Segment(
        _ID,
        0,
        0.0,
        1.149,
        "This is a test.",
        final=True,
        language="en-US",
        words=tuple(_WORDS),
        model="tiny-en",
    ),
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

Id = Annotated[str, Path(description="The SessionId in Done.", examples=[_ID])]
Number = Annotated[int, Path(ge=0, description="The last part of the segment's ResultId.", examples=[0])]
Suffix = Annotated[str, Path(json_schema_extra={"enum": list(FORMS)}, examples=["txt"])]
Accept = Annotated[str | None, Header(description="The format.", examples=["text/plain"])]
IfNoneMatch = Annotated[
    str | None, Header(description="ETags; if one matches, the response is 304.", examples=['"a1b2-json"'])
]

_CORRECTION: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": Correction.model_json_schema()}},
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    # With "default" FastAPI does not document a 422, which is never sent.
    described: tuple[int | str, ...] = (*statuses, 404, 503, "default")
    return {status: {"model": Problem} for status in described}


def router(transcripts: Callable[[], Transcripts]) -> APIRouter:
    """Routes under /transcripts; `transcripts` raises Unavailable until the database is open."""
    routes = APIRouter(prefix="/transcripts", tags=["transcripts"])
    unchanged = {304: {"description": "The transcript has not changed."}}
    document: dict[str, Any] = {
        "description": "The transcript.",
        "content": {form.media_type: {"example": _example(form)} for form in FORMS.values()},
    }
    corrected: dict[str, Any] = {"content": {"application/json": {"example": _result(_CORRECTED)}}}
    # There are few threads, and a transcript of a day of speech takes seconds to write.
    one_at_a_time = asyncio.Lock()

    async def answer(owner: str, transcript: str, suffix: str, if_none_match: str | None) -> Response:
        form = FORMS[suffix]
        if if_none_match is not None:
            tag = _tag(await transcripts().version(owner, transcript), suffix)
            if is_known(if_none_match, tag):
                return Response(status_code=304, headers={"ETag": tag})
        found = await transcripts().get(owner, transcript)
        async with one_at_a_time:
            body = await in_thread(form.encoded, found)
        headers = {"ETag": _tag(found.version, suffix), "X-Content-Type-Options": "nosniff"}
        return Response(body, media_type=form.media_type, headers=headers)

    @routes.get(
        "",
        summary="List and search the transcripts",
        responses=_problems(400),
        response_model_exclude_unset=True,
    )
    async def page(query: Annotated[PageQuery, Query()], principal: Reader) -> Page:
        """Transcripts in pages, newest first."""
        found = await transcripts().page(owner_of_list(principal, query.owner), query.query())
        return Page(transcripts=[_listed(each, principal) for each in found.found], next=found.next)

    @routes.get(
        "/{transcript}.{form}",
        summary="Read a transcript in a format",
        response_class=Response,
        responses=_problems(400) | unchanged | {200: document},
    )
    async def read_in(
        transcript: Id,
        form: Suffix,
        principal: Reader,
        if_none_match: IfNoneMatch = None,
        owner: OwnerParameter = None,
    ) -> Response:
        """The whole transcript in the format that the suffix names."""
        if form not in FORMS:
            suffixes = _alternatives(f".{suffix}" for suffix in FORMS)
            raise BadRequest(f"There is no format {shown(form)} of transcripts. Use {suffixes}.")
        return await answer(owner_of_item(principal, owner), transcript, form, if_none_match)

    @routes.get(
        "/{transcript}",
        summary="Read a transcript",
        response_class=Response,
        responses=_problems(406) | unchanged | {200: document},
    )
    async def read(
        transcript: Id,
        principal: Reader,
        accept: Accept = None,
        if_none_match: IfNoneMatch = None,
        owner: OwnerParameter = None,
    ) -> Response:
        """The whole transcript in the format that the header Accept names, by default JSON."""
        kinds = {form.media_type: suffix for suffix, form in FORMS.items()}
        kind = negotiate(accept, list(kinds))
        if kind is None:
            raise HTTPException(
                406, f"Transcripts are available as {_alternatives(kinds)}. Accept one of them."
            )
        answered = await answer(owner_of_item(principal, owner), transcript, kinds[kind], if_none_match)
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
        transcript: Id,
        number: Number,
        request: Request,
        principal: Transcriber,
        owner: OwnerParameter = None,
    ) -> Response:
        """Replaces the recognised text of a segment; `{"text": null}` restores it.

        The recognised text is kept. The response is the segment: the correction is its first alternative,
        the recognised text the second.
        """
        text = _correction(await small_body(request, CORRECTION_BYTES))
        stored = await transcripts().correct(owner_of_item(principal, owner), transcript, number, text)
        async with one_at_a_time:
            body = await in_thread(lambda: _dumped(_result(stored)).encode())
        return Response(body, media_type="application/json")

    @routes.delete("/{transcript}", status_code=204, summary="Delete a transcript", responses=_problems())
    async def delete(transcript: Id, principal: Transcriber, owner: OwnerParameter = None) -> None:
        """Deletes the transcript permanently. The rest of a running session is not stored either."""
        await transcripts().delete(owner_of_item(principal, owner), transcript)

    return routes


def _tag(version: str, suffix: str) -> str:
    """The entity tag of a transcript in a format, as this version of the server writes it."""
    return f'"{version}-{__version__}-{suffix}"'


def _example(form: Form) -> Any:
    written = form.write(_EXAMPLE)
    return json.loads(written) if form is FORMS["json"] else written


def _correction(body: bytes) -> str | None:
    text = parsed(Correction, body, _HOW_TO_CORRECT).text
    if text is None:
        return None
    text = " ".join(text.split())
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise BadRequest("The text contains control characters. Remove them.")
    return text


def _moment(name: str, text: str, day: timedelta) -> datetime:
    """Parse a date and time, or a date, whose beginning (UTC) is shifted by `day`. Raises BadRequest."""
    try:
        try:
            return datetime.combine(date.fromisoformat(text), time(), UTC) + day
        except ValueError:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadRequest(
            f"{name} is {shown(text)}. Give a date, 2026-11-25, or a time, 2026-11-25T09:30:00Z "
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


def _listed(found: FoundTranscript, principal: Principal) -> Listed:
    listed = Listed(**_head(found.info), excerpts=list(map(_listed_excerpt, found.excerpts)))
    if shows_owner(principal, found.owner):
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
