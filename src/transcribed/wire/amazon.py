"""Amazon Transcribe's streaming protocol: a client's messages as audio, and responses to it."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from transcribed.errors import BadRequest, LimitExceeded, TranscribedError, shown
from transcribed.transcript import Segment
from transcribed.wire.amazon_parameters import PREFIX, StreamRequest
from transcribed.wire.audio import AudioChunk, EndOfAudio
from transcribed.wire.eventstream import Message, decode, encode
from transcribed.wire.results import transcript_event
from transcribed.wire.sigv4 import SignatureChain

CONTENT_TYPE = "application/vnd.amazon.eventstream"
EMPTY = Message({}, b"")
"""A WebSocket message without bytes."""
EXCEPTIONS = (
    "BadRequestException",
    "ConflictException",
    "InternalFailureException",
    "LimitExceededException",
    "ServiceUnavailableException",
)
"""The exceptions that the SDKs know in the middle of a stream."""

_STATUS = {
    "BadRequestException": 400,
    "IncompleteSignatureException": 400,
    "AccessDeniedException": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnrecognizedClientException": 403,
    "ConflictException": 409,
    "LimitExceededException": 429,
    "InternalFailureException": 500,
    "ServiceUnavailableException": 503,
}
_AUDIO_EVENT = ("event", "AudioEvent")
_SHOWN = 80


class AudioReader:
    """Reads the messages of one stream as audio.

    A signed message contains another message; its signature is verified if there is a chain. If `unsigned`
    messages are allowed, the inner message may come alone, and an empty message ends the audio: this is
    what browsers send over a WebSocket.
    """

    def __init__(self, request: StreamRequest, chain: SignatureChain | None, *, unsigned: bool) -> None:
        self._chunk_bytes = request.chunk_bytes
        self._chain = chain
        self._unsigned = unsigned

    def read(self, message: Message, now: datetime) -> AudioChunk | EndOfAudio:
        """The audio in the next message. Raises BadRequest and InvalidSignature."""
        if ":chunk-signature" in message.headers or not self._unsigned:
            wrapped = message.payload if self._chain is None else self._chain.open(message, now)
            message = decode(wrapped) if wrapped else EMPTY
        if message == EMPTY:
            return EndOfAudio()
        kind = (message.headers.get(":message-type"), message.headers.get(":event-type"))
        if kind != _AUDIO_EVENT:
            raise BadRequest(
                f"A message is of the type {shown(kind, _SHOWN)}. Send AudioEvents: {_AUDIO_EVENT}."
            )
        audio = message.payload
        if self._chunk_bytes is not None and len(audio) > self._chunk_bytes:
            raise BadRequest(
                f"An audio chunk has {len(audio)} bytes. It may hold a second of audio, here "
                f"{self._chunk_bytes} bytes; send 50 to 200 ms in each."
            )
        return AudioChunk(audio) if audio else EndOfAudio()


def response_headers(request: StreamRequest, request_id: str, session_id: str) -> list[tuple[str, str]]:
    """The headers of a successful response: the ids, and the request's parameters."""
    echo = {**request.echo, "session-id": session_id}
    return [
        ("content-type", CONTENT_TYPE),
        ("x-amzn-request-id", request_id),
        *((f"{PREFIX}{name}", value) for name, value in echo.items()),
    ]


def transcript_message(segment: Segment) -> bytes:
    """A segment as a TranscriptEvent."""
    return _message("event", "TranscriptEvent", transcript_event(segment))


def exception_message(error: TranscribedError) -> bytes:
    """An error that ends a stream, as an exception message.

    Errors other than EXCEPTIONS become a BadRequestException; Amazon's service does the same with a wrong
    signature of a message.
    """
    code = error.code if error.code in EXCEPTIONS else "BadRequestException"
    return _message("exception", code, {"Message": error.client_message})


def error_response(error: TranscribedError) -> tuple[int, list[tuple[str, str]], bytes]:
    """An error before a stream begins, as HTTP status, headers and body."""
    code = error.code if error.code in _STATUS else "BadRequestException"
    headers = [("content-type", "application/json"), ("x-amzn-errortype", code)]
    if isinstance(error, LimitExceeded):
        headers.append(("retry-after", str(error.retry_after)))
    return _STATUS[code], headers, _json({"Message": error.client_message})


def _message(kind: str, name: str, body: Mapping[str, Any]) -> bytes:
    headers = {":message-type": kind, f":{kind}-type": name, ":content-type": "application/json"}
    return encode(headers, _json(body))


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
