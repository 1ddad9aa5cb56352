"""This server's own WebSocket protocol (docs/protocols/native.md)."""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from transcribed.errors import BadRequest, LimitExceeded, TranscribedError
from transcribed.transcript import (
    Away,
    Back,
    Done,
    LiveEvent,
    Notice,
    Segment,
    Shared,
    SpeechEnded,
    SpeechEvent,
    SpeechStarted,
    Track,
)
from transcribed.wire import results
from transcribed.wire.audio import AudioChunk, EndOfAudio, Flush

Format = Literal["text", "json"]
MAX_MESSAGE_CHARACTERS = 1024
"""The most characters in a text message, which is a recording's name."""
MAX_AUDIO_BYTES = 1024 * 1024
"""The most bytes in a binary message: half a minute of 16 kHz pcm."""

_FLUSH = re.compile(r'\s*\{\s*"Flush"\s*:\s*\{\s*\}\s*\}\s*')


@dataclass(frozen=True, slots=True)
class TranscribeFile:
    """A request for the transcript of a stored recording."""

    name: str


def decode(
    message: str | bytes, form: Format = "text"
) -> TranscribeFile | AudioChunk | EndOfAudio | Flush | None:
    """Decode a WebSocket message; None (white space) ends the conversation. Raises BadRequest.

    `form` is the format of the answers. With "text", there is no Flush: all text is a name.
    """
    if isinstance(message, bytes):
        return _audio(message)
    if len(message) > MAX_MESSAGE_CHARACTERS:
        raise BadRequest(
            f"The message has {len(message)} characters, which is too long for a name. Upload "
            "recordings with POST /audio, then send their names."
        )
    if form == "json" and _FLUSH.fullmatch(message):
        return Flush()
    return TranscribeFile(message.strip()) if message.strip() else None


def _audio(message: bytes) -> AudioChunk | EndOfAudio:
    if len(message) > MAX_AUDIO_BYTES:
        raise BadRequest(
            f"The message has {len(message)} bytes, and a message of live audio at most {MAX_AUDIO_BYTES}. "
            "Send the audio as it is spoken, about a tenth of a second in each message; upload "
            "recordings with POST /audio, then send their names."
        )
    return AudioChunk(message) if message else EndOfAudio()


def encode(event: LiveEvent, form: Format) -> str | None:
    """Encode an event as a WebSocket message; None if the format has no message for it."""
    match event:
        case Segment():
            return (event.text or None) if form == "text" else _json(_transcript(event))
        case Done():
            return None if form == "text" else _json(_done(event))
        case Notice():
            # As text, a warning could be mistaken for speech.
            warning = {"Code": event.code, "Message": event.message}
            return None if form == "text" else _json({"Warning": warning})
        case SpeechStarted() | SpeechEnded():
            return None if form == "text" else _json(_speech(event))
        case Shared():
            return None if form == "text" else _json(_started(event))
        case Away() | Back():
            return None if form == "text" else _json({type(event).__name__: {}})


def _transcript(segment: Segment) -> dict[str, Any]:
    return {"Transcript": {"Results": [result(segment)]}}


def result(segment: Segment, *others: Segment) -> dict[str, Any]:
    """A segment as a Result, with the model that made it; `others` become further Alternatives."""
    made_by = {} if segment.model is None else {"Model": segment.model}
    return results.result(segment, *others) | made_by


def encode_error(error: TranscribedError, form: Format) -> str:
    """Encode an error as a WebSocket message."""
    if form == "text":
        return f"error: {error.client_message}"
    member: dict[str, Any] = {"Code": error.code, "Message": error.client_message}
    if isinstance(error, LimitExceeded):
        member["RetryAfter"] = error.retry_after
    return _json({"Error": member})


def _done(event: Done) -> dict[str, Any]:
    done: dict[str, Any] = {
        "SessionId": event.session_id,
        "AudioSeconds": round(event.audio_seconds, 3),
        "ProcessingSeconds": round(event.processing_seconds, 3),
    }
    if len(event.tracks) > 1:
        done |= {"Track": event.track, "Tracks": [_track(track) for track in event.tracks]}
    return {"Done": done}


def _started(event: Shared) -> dict[str, Any]:
    started = {
        "SessionId": event.session_id,
        "Live": event.live,
        "Continuation": event.continuation,
        "From": round(event.start, 3),
    }
    return {"Started": started}


def _speech(event: SpeechEvent) -> dict[str, Any]:
    member: dict[str, Any] = {"Time": round(event.at, 3)}
    if event.channel is not None:
        member["ChannelId"] = f"ch_{event.channel}"
    return {type(event).__name__: member}


def _track(track: Track) -> dict[str, Any]:
    described = {
        "Track": track.number,
        "Codec": track.codec,
        "SampleRate": track.sample_rate,
        "Channels": track.channels,
        "LanguageCode": track.language,
        "Title": track.title,
        "Default": track.default,
        "Decodable": track.decodable,
    }
    return {name: value for name, value in described.items() if value is not None}


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
