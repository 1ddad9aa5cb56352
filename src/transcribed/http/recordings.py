"""Recordings over HTTP: upload, list, download, rename, delete."""

import json
import mimetypes
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_pascal
from starlette.responses import StreamingResponse

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.audio.peaks import Peaks
from transcribed.errors import BadRequest, MediaChanged, NotFound, TranscribedError
from transcribed.http.access import Reader, Transcriber
from transcribed.http.body import small_body
from transcribed.http.owners import OwnerParameter, owner_of_item, owner_of_list, shows_owner
from transcribed.http.ranges import RangeNotSatisfiable, byte_range, is_known, unchanged
from transcribed.http.security_headers import MEDIA_POLICY
from transcribed.http.upload import uploaded_file
from transcribed.principal import Principal
from transcribed.service.library import Library, Recording
from transcribed.service.transcripts import Transcripts
from transcribed.transcript import Track

MOST_POINTS = 20_000
"""The most pairs of peaks in a response."""

RENAMING_BYTES = 16 * 1024
"""The largest body of a renaming, in bytes."""

Name = Annotated[str, Path(description="The name that the upload returned.", examples=["test.wav"])]

_UPLOAD_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "The recording. Its content type is audio/*, video/*, or missing.",
                    }
                },
            },
            "encoding": {"file": {"contentType": "audio/*, video/*, application/octet-stream"}},
        }
    },
}


# A missing type, types for arbitrary data, and containers for audio or video.
_PERHAPS_AUDIO = {
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "application/ogg",
    "application/mp4",
    "application/mxf",
}


class ListedTrack(BaseModel):
    """One audio track of a recording, with the language and title that the file gives."""

    track: int = Field(description="Counted from 1.", examples=[2])
    codec: str = Field(description="FFmpeg's name.", examples=["aac"])
    sample_rate: int = Field(examples=[48000])
    channels: int = Field(examples=[2])
    language: str | None = Field(None, examples=["eng"])
    title: str | None = Field(None, examples=["Commentary"])
    default: bool = Field(description="Whether the file marks it as the default track.")
    decodable: bool = Field(description="Whether this server can decode it.")


class ListedRecording(BaseModel):
    """One recording. The members that describe its audio are null if the stored file is not audio."""

    name: str = Field(examples=["test.wav"])
    size: int = Field(description="Bytes.", examples=[50740])
    duration: float | None = Field(None, description="Seconds.", examples=[1.149])
    format: str | None = Field(
        None, description="Container/codec, FFmpeg's names.", examples=["wav/pcm_s16le"]
    )
    sample_rate: int | None = Field(None, description="Samples a second.", examples=[22050])
    channels: int | None = Field(None, examples=[1])
    track: int | None = Field(
        None, description="The audio track that is transcribed, if there are several.", examples=[2]
    )
    tracks: list[ListedTrack] | None = Field(None, description="All audio tracks, if there are several.")
    owner: str | None = Field(None, description="The owner, if the server uses keys.", examples=["anna"])


class Waveform(BaseModel):
    """The peaks of a recording, from which a waveform is drawn."""

    model_config = ConfigDict(alias_generator=to_pascal, populate_by_name=True)

    sample_rate: int = Field(description="Samples a second of the decoded audio.", examples=[SAMPLE_RATE])
    seconds_per_peak: float = Field(description="A multiple of 0.02.", examples=[0.02])
    duration: float = Field(description="Seconds.", examples=[1.149])
    peaks: list[int] = Field(
        description="The lowest and highest sample of each span, in turn; -127 to 127.",
        examples=[[-3, 4, -90, 101]],
    )


class Problem(BaseModel):
    """What went wrong and what to do."""

    detail: str = Field(examples=["Only audio files are allowed"])


def _problems(*statuses: int) -> dict[int | str, dict[str, object]]:
    return {status: {"model": Problem} for status in statuses}


class Renaming(BaseModel):
    """The body of a renaming."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_pascal)

    name: str = Field(description="The new name.", examples=["talk.wav"])


_RENAMING = {
    "required": True,
    "content": {"application/json": {"schema": Renaming.model_json_schema(by_alias=True)}},
}


def router(library: Library, transcripts: Callable[[], Transcripts]) -> APIRouter:
    """Routes under /audio."""
    routes = APIRouter(prefix="/audio", tags=["recordings"])

    @routes.post(
        "",
        summary="Upload a recording",
        responses=_problems(400, 413, 415, 503, 507)
        | {200: {"content": {"application/json": {"example": "test.wav"}}}},
        openapi_extra={"requestBody": _UPLOAD_BODY},
    )
    async def upload(request: Request, principal: Transcriber) -> str:
        """Stores the file under its own name, which may replace a recording, and returns that name.

        `curl -F 'file=@test.wav;type=audio/wav' http://localhost:3000/audio` returns `"test.wav"`.
        All common audio and video formats are supported. A file that cannot be decoded is not stored (415).
        """
        file = await uploaded_file(request, "file")
        try:
            if not _may_be_audio(file.media_type):
                raise BadRequest("Only audio files are allowed")
            return await library.add(principal.owner, file.name, file.chunks)
        except TranscribedError:
            await file.discard()
            raise

    @routes.get("", summary="List the recordings", response_model_exclude_unset=True)
    async def recordings(principal: Reader, owner: OwnerParameter = None) -> list[ListedRecording]:
        """All recordings, ordered by name."""
        return [
            _listed(recording, principal)
            for recording in await library.list(owner_of_list(principal, owner))
        ]

    @routes.head("/{name}", include_in_schema=False)
    @routes.get(
        "/{name}",
        summary="Download a recording",
        response_class=StreamingResponse,
        responses=_problems(400, 404, 416)
        | {
            206: {"description": "The requested range."},
            304: {"description": "The recording has not changed."},
        },
    )
    async def download(
        name: Name,
        request: Request,
        *,
        principal: Reader,
        wanted: Annotated[
            str | None, Header(alias="Range", description="For example bytes=0-1023.")
        ] = None,
        if_range: Annotated[
            str | None,
            Header(alias="If-Range", description="An ETag; if it differs, the whole file is sent."),
        ] = None,
        if_none_match: Annotated[
            str | None,
            Header(alias="If-None-Match", description="ETags; if one matches, the response is 304."),
        ] = None,
        owner: OwnerParameter = None,
    ) -> Response:
        """The file as it was uploaded, or the range that the Range header requests."""
        for last_try in (False, False, True):
            media = await library.find(owner_of_item(principal, owner), name)
            tag = '"' + media.version.strip('"') + '"'
            if is_known(if_none_match, tag):
                return Response(status_code=304, headers={"ETag": tag})
            span = _span(wanted if unchanged(if_range, tag) else None, media.size)
            start, end = span or (0, media.size)
            chunks = aiter(library.read(media, start, end if request.method == "GET" else start))
            # The first bytes are read before the response begins, because the recording may just have
            # changed.
            try:
                first = await anext(chunks, b"")
            except (MediaChanged, NotFound):
                if last_try:
                    raise
                continue
            break
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Length": str(end - start),
            "ETag": tag,
            "Content-Security-Policy": MEDIA_POLICY,
        }
        if span:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{media.size}"
        status = 206 if span else 200
        return StreamingResponse(_joined(first, chunks), status, headers, media_type=_media_type(name))

    @routes.get(
        "/{name}/peaks",
        summary="The waveform of a recording",
        response_model=Waveform,
        responses=_problems(400, 404, 409, 415, 429)
        | {304: {"description": "The recording has not changed."}},
    )
    async def peaks(
        name: Name,
        *,
        principal: Reader,
        points: Annotated[
            int, Query(ge=1, le=MOST_POINTS, description="The most pairs in the response.")
        ] = MOST_POINTS,
        if_none_match: Annotated[
            str | None,
            Header(alias="If-None-Match", description="ETags; if one matches, the response is 304."),
        ] = None,
        owner: OwnerParameter = None,
    ) -> Response:
        """The lowest and highest samples of successive spans, on the timeline of transcripts.

        They are computed when they are first asked for, which takes seconds for an hour of audio.
        """
        media = await library.find(owner_of_item(principal, owner), name)
        headers = {"ETag": f'"{media.version.strip(chr(34))}-{points}"'}
        if is_known(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        content = _waveform((await library.peaks(media)).of_at_most(points))
        return Response(content, headers=headers, media_type="application/json")

    @routes.patch(
        "/{name}",
        summary="Rename a recording",
        responses=_problems(400, 404, 409, 413, 503)
        | {200: {"content": {"application/json": {"example": "talk.wav"}}}},
        openapi_extra={"requestBody": _RENAMING},
    )
    async def rename(
        name: Name, request: Request, principal: Transcriber, owner: OwnerParameter = None
    ) -> str:
        """Gives the recording another name, also in its transcripts, and returns that name."""
        new = _new_name(await small_body(request, RENAMING_BYTES))
        whose = owner_of_item(principal, owner)
        return await library.rename(whose, name, new, transcripts().rename_recording)

    @routes.delete("/{name}", status_code=204, summary="Delete a recording", responses=_problems(400, 404))
    async def delete(name: Name, principal: Transcriber, owner: OwnerParameter = None) -> None:
        """Deletes the recording permanently."""
        await library.delete(owner_of_item(principal, owner), name)

    return routes


def _new_name(body: bytes) -> str:
    try:
        return Renaming.model_validate_json(body).name
    except ValidationError as error:
        raise BadRequest('Send the new name as JSON, for example {"Name": "talk.wav"}.') from error


def _may_be_audio(media_type: str) -> bool:
    """Whether to examine a file of this content type; many programs send an inaccurate one."""
    return media_type.startswith(("audio/", "video/")) or media_type in _PERHAPS_AUDIO


def _span(wanted: str | None, size: int) -> tuple[int, int] | None:
    try:
        return byte_range(wanted, size)
    except RangeNotSatisfiable:
        raise HTTPException(
            416,
            f"The recording has {size} bytes; request a range within them.",
            {"Content-Range": f"bytes */{size}"},
        ) from None


async def _joined(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in others:
        yield chunk


def _waveform(peaks: Peaks) -> str:
    """The peaks as JSON. It has tens of thousands of numbers, for which a model would take long."""
    members = {
        "SampleRate": SAMPLE_RATE,
        "SecondsPerPeak": round(peaks.seconds_per_pair, 3),
        "Duration": round(peaks.duration, 3),
        "Peaks": peaks.pairs.ravel().tolist(),
    }
    return json.dumps(members, separators=(",", ":"))


def _media_type(name: str) -> str:
    """The audio or video type for a file name; never one that a browser would execute."""
    guessed, _ = mimetypes.guess_type(name)
    return guessed if guessed and guessed.startswith(("audio/", "video/")) else "application/octet-stream"


def _listed(recording: Recording, principal: Principal) -> ListedRecording:
    listed = _described(recording)
    if shows_owner(principal, recording.media.owner):
        listed.owner = recording.media.owner
    return listed


def _described(recording: Recording) -> ListedRecording:
    media, described = recording.media, recording.format
    if described is None:
        return ListedRecording(
            name=media.name, size=media.size, duration=None, format=None, sample_rate=None, channels=None
        )
    listed = ListedRecording(
        name=media.name,
        size=media.size,
        duration=None if described.duration is None else round(described.duration, 3),
        format=f"{described.container}/{described.codec}",
        sample_rate=described.sample_rate,
        channels=described.channels,
    )
    if len(described.tracks) > 1:
        listed.track = described.track
        listed.tracks = [_track(track) for track in described.tracks]
    return listed


def _track(track: Track) -> ListedTrack:
    described = asdict(track)
    return ListedTrack(track=described.pop("number"), **described)
