"""Recordings over HTTP: upload, list, download, delete."""

import mimetypes
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Path, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse

from transcribed.errors import BadRequest, MediaChanged, NotFound, TranscribedError
from transcribed.http.access import Reader, Transcriber
from transcribed.http.owners import Asked, is_told, owner_of_list, owner_of_one
from transcribed.http.ranges import RangeNotSatisfiable, byte_range, is_known, unchanged
from transcribed.http.security_headers import MEDIA_POLICY
from transcribed.http.upload import uploaded_file
from transcribed.principal import Principal
from transcribed.service.library import Library, Recording
from transcribed.transcript import Track

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
                        "description": "The recording. A content type is audio/*, video/*, or none.",
                    }
                },
            },
            "encoding": {"file": {"contentType": "audio/*, video/*, application/octet-stream"}},
        }
    },
}


# No type at all, types that say nothing, and containers of no kind.
_PERHAPS_AUDIO = {
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "application/ogg",
    "application/mp4",
    "application/mxf",
}


class ListedTrack(BaseModel):
    """One audio track of a recording; language and title as the file says them."""

    track: int = Field(description="Counted from 1.", examples=[2])
    codec: str = Field(description="FFmpeg's name.", examples=["aac"])
    sample_rate: int = Field(examples=[48000])
    channels: int = Field(examples=[2])
    language: str | None = Field(None, examples=["eng"])
    title: str | None = Field(None, examples=["Commentary"])
    default: bool = Field(description="Whether the file marks it as the one to be played.")
    decodable: bool = Field(description="Whether it can be heard here.")


class ListedRecording(BaseModel):
    """One recording. What describes its audio is null if the stored file is none."""

    name: str = Field(examples=["test.wav"])
    size: int = Field(description="Bytes.", examples=[50740])
    duration: float | None = Field(None, description="Seconds.", examples=[1.149])
    format: str | None = Field(
        None, description="Container/codec, FFmpeg's names.", examples=["wav/pcm_s16le"]
    )
    sample_rate: int | None = Field(None, description="Samples a second.", examples=[22050])
    channels: int | None = Field(None, examples=[1])
    track: int | None = Field(
        None, description="Which audio track is described and heard, where there are several.", examples=[2]
    )
    tracks: list[ListedTrack] | None = Field(None, description="All of them, where there are several.")
    owner: str | None = Field(None, description="Whose it is; said where keys are used.", examples=["anna"])


class Problem(BaseModel):
    """What went wrong and what to do."""

    detail: str = Field(examples=["Only audio files are allowed"])


def _problems(*statuses: int) -> dict[int | str, dict[str, object]]:
    return {status: {"model": Problem} for status in statuses}


def router(library: Library) -> APIRouter:
    """Routes under /audio."""
    routes = APIRouter(prefix="/audio", tags=["recordings"])

    @routes.post(
        "",
        summary="Upload a recording",
        responses=_problems(400, 413, 415, 503, 507)
        | {200: {"content": {"application/json": {"example": "test.wav"}}}},
        openapi_extra={"requestBody": _UPLOAD_BODY},
    )
    async def upload(request: Request, who: Transcriber) -> str:
        """Stores the file under its own name, in place of an earlier one, and returns that name.

        `curl -F 'file=@test.wav;type=audio/wav' http://localhost:3000/audio` answers `"test.wav"`.
        Any format that people record, send and keep will do. What cannot be decoded is not stored (415).
        """
        file = await uploaded_file(request, "file")
        try:
            if not _may_be_audio(file.media_type):
                raise BadRequest("Only audio files are allowed")
            return await library.add(who.owner, file.name, file.chunks)
        except TranscribedError:
            await file.discard()
            raise

    @routes.get("", summary="List the recordings", response_model_exclude_unset=True)
    async def recordings(who: Reader, owner: Asked = None) -> list[ListedRecording]:
        """All recordings, in the order of their names."""
        return [_listed(recording, who) for recording in await library.list(owner_of_list(who, owner))]

    @routes.head("/{name}", include_in_schema=False)
    @routes.get(
        "/{name}",
        summary="Download a recording",
        response_class=StreamingResponse,
        responses=_problems(400, 404, 416)
        | {
            206: {"description": "The range that was asked for."},
            304: {"description": "The client has it already."},
        },
    )
    async def download(
        name: Name,
        request: Request,
        *,
        who: Reader,
        wanted: Annotated[
            str | None, Header(alias="Range", description="For example bytes=0-1023.")
        ] = None,
        if_range: Annotated[
            str | None, Header(alias="If-Range", description="An ETag: of another file, send all.")
        ] = None,
        if_none_match: Annotated[
            str | None, Header(alias="If-None-Match", description="ETags: of these files, send nothing.")
        ] = None,
        owner: Asked = None,
    ) -> Response:
        """The file as it was uploaded, or the range of it that the Range header names."""
        for last_try in (False, False, True):
            media = await library.find(owner_of_one(who, owner), name)
            tag = '"' + media.version.strip('"') + '"'
            if is_known(if_none_match, tag):
                return Response(status_code=304, headers={"ETag": tag})
            span = _span(wanted if unchanged(if_range, tag) else None, media.size)
            start, end = span or (0, media.size)
            chunks = aiter(library.read(media, start, end if request.method == "GET" else start))
            # The first bytes are read before anything is answered: the recording may just have changed.
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

    @routes.delete("/{name}", status_code=204, summary="Delete a recording", responses=_problems(400, 404))
    async def delete(name: Name, who: Transcriber, owner: Asked = None) -> None:
        """Removes the recording for good."""
        await library.delete(owner_of_one(who, owner), name)

    return routes


def _may_be_audio(media_type: str) -> bool:
    """Whether a file is worth a look; many programs do not know what they send, or call a film a video."""
    return media_type.startswith(("audio/", "video/")) or media_type in _PERHAPS_AUDIO


def _span(wanted: str | None, size: int) -> tuple[int, int] | None:
    try:
        return byte_range(wanted, size)
    except RangeNotSatisfiable:
        raise HTTPException(
            416,
            f"The recording has {size} bytes; ask for a range inside.",
            {"Content-Range": f"bytes */{size}"},
        ) from None


async def _joined(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in others:
        yield chunk


def _media_type(name: str) -> str:
    """What a player can do with; never a type that a browser would run."""
    guessed, _ = mimetypes.guess_type(name)
    return guessed if guessed and guessed.startswith(("audio/", "video/")) else "application/octet-stream"


def _listed(recording: Recording, who: Principal) -> ListedRecording:
    listed = _described(recording)
    if is_told(who, recording.media.owner):
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
