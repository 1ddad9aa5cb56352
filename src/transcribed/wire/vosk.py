"""Vosk's WebSocket protocol, after vosk-server (websocket/asr_server.py)."""

import json

from pydantic import BaseModel, Field, ValidationError

from transcribed.audio.formats import HIGHEST_RATE, LOWEST_RATE
from transcribed.errors import BadRequest, LimitExceeded, TranscribedError
from transcribed.transcript import Segment
from transcribed.wire.audio import AudioChunk, EndOfAudio
from transcribed.wire.native import MAX_AUDIO_BYTES


class Config(BaseModel):
    """A client's configuration; other members, such as `phrase_list`, have no effect."""

    sample_rate: float = Field(8000, ge=LOWEST_RATE, le=HIGHEST_RATE)
    words: bool = True
    max_alternatives: int = Field(0, ge=0)


class _Text(BaseModel):
    config: Config | None = None
    eof: int = 0


def decode(message: str | bytes) -> Config | AudioChunk | EndOfAudio:
    """Decode a WebSocket message. Raises BadRequest."""
    if isinstance(message, bytes):
        if len(message) > MAX_AUDIO_BYTES:
            raise BadRequest(f"Send at most {MAX_AUDIO_BYTES} bytes of audio in a message.")
        return AudioChunk(message)
    try:
        text = _Text.model_validate_json(message)
    except ValidationError as error:
        raise BadRequest(f"The message is not valid: {error.errors()[0]['msg']}.") from error
    if text.config is None and not text.eof:
        raise BadRequest('Send {"config": {"sample_rate": 16000}}, binary audio, or {"eof": 1}.')
    return text.config or EndOfAudio()


def result(segments: list[Segment], config: Config) -> str:
    """Final segments as one result; without segments, an empty result for silence."""
    text = " ".join(segment.text for segment in segments)
    words = [
        {
            "conf": 1.0 if word.confidence is None else round(word.confidence, 6),
            "end": round(word.end, 3),
            "start": round(word.start, 3),
            "word": word.text,
        }
        for segment in segments
        for word in segment.words
        if word.start is not None and word.end is not None
    ]
    body: dict[str, object] = {"result": words, "text": text} if config.words and words else {"text": text}
    if config.max_alternatives:
        body = {"alternatives": [{"confidence": 1.0} | body]}
    return json.dumps(body)


def encode_error(error: TranscribedError) -> str:
    """An error, for which Vosk has no message of its own."""
    body: dict[str, object] = {"error": error.client_message}
    if isinstance(error, LimitExceeded):
        body["retry_after"] = error.retry_after
    return json.dumps(body)
