"""Transcripts of uploaded files, as OpenAI's `/audio/transcriptions` and `/audio/translations`."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, get_args

from fastapi import APIRouter, Request, Response

from transcribed.errors import Disconnected, TranscribedError
from transcribed.http.access import Transcriber
from transcribed.http.errors import log_failure, with_request_id
from transcribed.http.form import uploaded_form
from transcribed.http.openai.events import EventStream, RequestedEvents
from transcribed.options import Capabilities
from transcribed.principal import Principal
from transcribed.service.transcription import Transcription, TranscriptionRequest
from transcribed.service.transcripts import TranscriptSource
from transcribed.transcript import Done, Segment
from transcribed.wire import openai as wire
from transcribed.wire import openai_transcripts as shapes
from transcribed.wire.openai_request import UNUSED_FIELDS, ResponseFormat, file_request

KEEP_ALIVE_SECONDS = 15.0
"""The longest silence of a response of server-sent events; then it has a comment."""
FIRST_SECONDS = 10.0
"""The longest wait for the first event before a response of server-sent events begins with status 200."""

_STRINGS = {"type": "array", "items": {"type": "string"}}
FIELDS: dict[str, dict[str, Any]] = {
    wire.FILE: {
        "type": "string",
        "format": "binary",
        "description": "The recording, in any common format.",
    },
    "model": {
        "type": "string",
        "description": "An unknown name means the default.",
        "example": "whisper-1",
    },
    "prompt": {"type": "string", "description": "A list of names, or a text with names, to listen for."},
    "response_format": {"type": "string", "enum": list(get_args(ResponseFormat)), "default": "json"},
    "temperature": {"type": "number", "description": "Has no effect."},
    "language": {"type": "string", "description": "Such as en or en-US.", "example": "en"},
    "languages[]": _STRINGS,
    "keywords[]": _STRINGS,
    "timestamp_granularities[]": _STRINGS | {"description": "segment, word; for verbose_json."},
    "include[]": _STRINGS | {"description": "logprobs; for json."},
    "stream": {"type": "boolean", "description": "Answer with server-sent events."},
    "chunking_strategy": {"type": "string", "description": "auto, or an object with silence_duration_ms."},
}
"""The fields of the form, as the API's documentation shows them."""
_TRANSLATED = (wire.FILE, "model", "prompt", "response_format", "temperature")


def router(
    transcription: Transcription, capabilities: Callable[[], Sequence[Capabilities]], most_bytes: int
) -> APIRouter:
    """The routes. `capabilities` are those of the engines, the default first; it may raise Unavailable.

    Files have at most `most_bytes` bytes.
    """
    routes = APIRouter(prefix=f"{wire.PREFIX}/audio", tags=["OpenAI"])
    transcriptions = _Transcriptions(transcription, capabilities, most_bytes)

    @routes.post(
        "/transcriptions",
        summary="Transcribe a file",
        response_class=Response,
        openapi_extra={"requestBody": _body(FIELDS)},
    )
    async def transcribe(request: Request, principal: Transcriber) -> Response:
        """The transcript of a file, which is not kept as a recording."""
        return await transcriptions.answer(request, principal, translate=False)

    @routes.post(
        "/translations",
        summary="Transcribe a file of English speech",
        response_class=Response,
        openapi_extra={"requestBody": _body({name: FIELDS[name] for name in _TRANSLATED})},
    )
    async def translate(request: Request, principal: Transcriber) -> Response:
        """The English text of English speech. Other languages are not translated."""
        return await transcriptions.answer(request, principal, translate=True)

    return routes


def _body(fields: dict[str, dict[str, Any]]) -> dict[str, Any]:
    schema = {"type": "object", "required": [wire.FILE, "model"], "properties": fields}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


class _Transcriptions:
    """Answers requests for transcripts of files of at most `most_bytes` bytes."""

    def __init__(
        self,
        transcription: Transcription,
        capabilities: Callable[[], Sequence[Capabilities]],
        most_bytes: int,
    ) -> None:
        self._transcription = transcription
        self._capabilities = capabilities
        self._most_bytes = most_bytes

    async def answer(self, request: Request, principal: Principal, *, translate: bool) -> Response:
        """The response to a request, or an EventStream, which begins before the end of the recognition."""
        async with AsyncExitStack() as opened:
            form = await opened.enter_async_context(
                uploaded_form(request, wire.FILE, self._most_bytes, UNUSED_FIELDS)
            )
            asked = file_request(form.fields, translate=translate)
            can, model = wire.chosen_engine(asked.model, self._capabilities())
            wanted = TranscriptionRequest(
                engine=can.name,
                model=model,
                options=asked.options(can),
                owner=principal.owner,
                source=TranscriptSource.OPENAI,
            )
            transcribed = self._transcription.transcribe_upload(form.file, wanted)
            events = await opened.enter_async_context(RequestedEvents(request, transcribed).running())
            transcript = shapes.FileTranscript(asked, wanted.options.language or can.languages[0])
            if asked.stream:
                # An error of the first event has a status of its own.
                first = await events.next(FIRST_SECONDS)
                return EventStream(_sent(transcript, first, events), opened.pop_all())
            while not isinstance(event := await events.next(), Done):
                if isinstance(event, Segment):
                    transcript.add(event)
            content, media_type = transcript.response(event.audio_seconds)
            return Response(content, media_type=media_type)


async def _sent(
    transcript: shapes.FileTranscript, first: Segment | Done | None, events: RequestedEvents
) -> AsyncGenerator[str, None]:
    """The server-sent events. An error is the last one."""
    event = first
    try:
        while not isinstance(event, Done):
            if isinstance(event, Segment):
                for each in transcript.add(event):
                    yield each
            elif event is None:
                yield shapes.KEEP_ALIVE
            event = await events.next(KEEP_ALIVE_SECONDS)
        for each in transcript.done(event.audio_seconds):
            yield each
    except Disconnected:
        return
    except TranscribedError as error:
        log_failure(events.request, error)
        yield shapes.failed(wire.openai_error(with_request_id(error)))
