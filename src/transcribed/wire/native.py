"""This server's own WebSocket protocol (docs/protocols/native.md)."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from transcribed.errors import BadRequest, TranscribedError
from transcribed.transcript import Done, LiveEvent, Segment
from transcribed.wire.results import transcript_event

Format = Literal["text", "json"]
MAX_MESSAGE_CHARACTERS = 1024
"""A name is shorter by far."""


@dataclass(frozen=True, slots=True)
class TranscribeFile:
    """The client asks for the transcript of a recording."""

    name: str


def decode(message: str | bytes) -> TranscribeFile | None:
    """A WebSocket message as the request it is; None (white space) means goodbye. Raises BadRequest."""
    if isinstance(message, bytes):
        raise BadRequest(
            "Binary messages are not understood. Send the name of an uploaded recording as text."
        )
    if len(message) > MAX_MESSAGE_CHARACTERS:
        raise BadRequest(
            f"The message has {len(message)} characters, which is too long for a name. Upload "
            "recordings with POST /audio, then send their names."
        )
    return TranscribeFile(message.strip()) if message.strip() else None


def encode(event: LiveEvent, form: Format) -> str | None:
    """An event as a WebSocket message; None where the format has no message for it."""
    match event:
        case Segment():
            return (event.text or None) if form == "text" else _json(transcript_event(event))
        case Done():
            return None if form == "text" else _json(_done(event))


def encode_error(error: TranscribedError, form: Format) -> str:
    """An error as a WebSocket message."""
    if form == "text":
        return f"error: {error.message}"
    return _json({"Error": {"Code": error.code, "Message": error.message}})


def _done(event: Done) -> dict[str, Any]:
    return {
        "Done": {
            "SessionId": event.session_id,
            "AudioSeconds": round(event.audio_seconds, 3),
            "ProcessingSeconds": round(event.processing_seconds, 3),
        }
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
