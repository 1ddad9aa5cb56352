"""The client's events of OpenAI's realtime transcription, and the configuration of a session. Pure.

The shapes are those of the types of the package `openai` 3.57 (`types/realtime`), and those of its beta
(`types/beta/realtime`), which clients still send. Both are accepted at any time.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, ValidationError

from transcribed.audio.formats import HIGHEST_RATE, LOWEST_RATE, Encoding, InputFormat
from transcribed.errors import BadRequest, InvalidField, MissingField, TranscribedError, shown
from transcribed.options import LONGEST_SILENCE, SHORTEST_SILENCE, Stability

RATE = 24_000
"""The sample rate of `audio/pcm` unless a client says another, in Hz."""
MOST_UPDATE = 256 * 1024
"""The most characters of a message that changes the configuration: it is kept, and told again."""
LANGUAGE_FIELD = "session.audio.input.transcription.language"
"""The path of the language in the configuration."""
LOGPROBS = "item.input_audio_transcription.logprobs"
"""The entry of `include` that asks for the log probabilities of words."""

_MEANT_THRESHOLD, _THRESHOLD = 0.5, 0.8
"""OpenAI's default of `threshold`, and the probability of speech that it stands for here."""
_LOWEST_THRESHOLD, _HIGHEST_THRESHOLD = 0.5, 0.98

# --- The configuration of a session


class _Shape(BaseModel):
    """A part of the configuration. Unknown fields are ignored: clients send those of later versions."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Pcm(_Shape):
    """Signed 16-bit integers, little-endian, one channel; `rate` in Hz."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: int = Field(RATE, ge=LOWEST_RATE, le=HIGHEST_RATE)


class G711(_Shape):
    """G.711 at 8 kHz: mu-law or A-law."""

    type: Literal["audio/pcmu", "audio/pcma"]


class TranscriptionConfig(_Shape):
    """How speech is transcribed. Other names of models than those that are loaded mean the default."""

    model: str | None = None
    language: str | None = None
    languages: tuple[str, ...] | None = None
    prompt: str | None = None
    keywords: tuple[str, ...] | None = None
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class ServerVad(_Shape):
    """The server commits at the end of speech. None for a field is the engine's own."""

    type: Literal["server_vad"] = "server_vad"
    threshold: float | None = Field(None, ge=0, le=1)
    prefix_padding_ms: int = Field(300, ge=0, le=60_000)
    silence_duration_ms: int | None = Field(None, ge=0, le=3_600_000)


class SemanticVad(_Shape):
    """The same; `eagerness` is how soon speech counts as over."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"


class NoiseReduction(_Shape):
    """Accepted, and without effect: recognition copes with noise itself."""

    type: str | None = None
    strength: float | None = None


class AudioInput(_Shape):
    """The audio and what is done with it."""

    format: Annotated[Pcm | G711, Discriminator("type")] = Pcm()
    noise_reduction: NoiseReduction | None = None
    transcription: TranscriptionConfig = TranscriptionConfig()
    turn_detection: Annotated[ServerVad | SemanticVad, Discriminator("type")] | None = ServerVad()


class Audio(_Shape):
    """The audio of a session."""

    input: AudioInput = AudioInput()


class SessionConfig(_Shape):
    """The configuration of a session."""

    type: Literal["transcription"] = "transcription"
    audio: Audio = Audio()
    include: tuple[str, ...] | None = None

    def updated(self, changes: Mapping[str, Any]) -> Self:
        """The configuration with some fields changed, in either shape. Raises InvalidField.

        Omitted fields keep their value. None is a value where a field can be off, elsewhere the default.
        """
        current = self.model_dump()
        try:
            return type(self).model_validate(_merged(current, _as_ga(changes)))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in ("session", *first["loc"]) if part not in _TAGS)
            raise InvalidField(f"{field} is not valid: {first['msg']}.", field) from error

    @property
    def input_format(self) -> InputFormat:
        """The format of the audio."""
        match self.audio.input.format:
            case Pcm(rate=rate):
                return InputFormat(Encoding.PCM, rate)
            case G711(type="audio/pcmu"):
                return InputFormat(Encoding.MULAW, 8_000)
            case _:
                return InputFormat(Encoding.ALAW, 8_000)

    @property
    def has_turns(self) -> bool:
        """Whether the server commits at the end of speech; otherwise the client commits."""
        return self.audio.input.turn_detection is not None

    @property
    def prefix_padding(self) -> float:
        """Seconds before the first speech that belong to an item."""
        turns = self.audio.input.turn_detection
        return turns.prefix_padding_ms / 1000 if isinstance(turns, ServerVad) else 0.3

    @property
    def endpoint_silence(self) -> float | None:
        """Seconds of silence that end speech; None for the engine's default."""
        match self.audio.input.turn_detection:
            case ServerVad(silence_duration_ms=int(milliseconds)):
                return min(max(milliseconds / 1000, SHORTEST_SILENCE), LONGEST_SILENCE)
            case SemanticVad(eagerness=eagerness):
                return _SILENCES[eagerness]
        return None

    @property
    def speech_threshold(self) -> float | None:
        """The probability above which sound counts as speech; None for the engine's default."""
        match self.audio.input.turn_detection:
            case ServerVad(threshold=float(threshold)):
                return speech_threshold(threshold)
        return None

    @property
    def stability(self) -> Stability:
        """How soon words settle, and so may be in a delta."""
        return _STABILITIES[self.audio.input.transcription.delay]

    @property
    def logprobs(self) -> bool:
        """Whether the log probabilities of words are asked for."""
        return LOGPROBS in (self.include or ())

    def shown(self, session: str, expires: int | None, *, beta: bool) -> dict[str, Any]:
        """The configuration as clients read it. `expires` is in seconds since 1970."""
        common = {"id": session, "object": "realtime.transcription_session"}
        more: dict[str, Any] = {"include": None if self.include is None else list(self.include)}
        more |= {} if expires is None else {"expires_at": expires}
        audio = self.audio.input
        noise = (
            None if audio.noise_reduction is None else audio.noise_reduction.model_dump(exclude_none=True)
        )
        transcription = audio.transcription.model_dump(exclude_none=True, mode="json")
        turns = None if audio.turn_detection is None else audio.turn_detection.model_dump(exclude_none=True)
        if beta:
            return common | {
                "input_audio_format": _BETA_FORMATS[audio.format.type],
                "input_audio_noise_reduction": noise,
                "input_audio_transcription": transcription,
                "turn_detection": turns,
                **more,
            }
        audio_input = {
            "format": audio.format.model_dump(),
            "noise_reduction": noise,
            "transcription": transcription,
            "turn_detection": turns,
        }
        return common | {"type": self.type, "audio": {"input": audio_input}, **more}


_SILENCES = {"low": 1.2, "medium": 0.6, "auto": 0.6, "high": 0.3}
"""Seconds of silence that end speech, by eagerness."""
_STABILITIES = {
    "minimal": Stability.HIGH,
    "low": Stability.HIGH,
    "medium": Stability.MEDIUM,
    None: Stability.LOW,
    "high": Stability.LOW,
    "xhigh": Stability.OFF,
}
_TAGS = {"server_vad", "semantic_vad", "audio/pcm", "audio/pcmu", "audio/pcma"}
_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_BETA_FORMATS = {ga: beta for beta, ga in _FORMATS.items()}
_OFF = {"turn_detection", "noise_reduction", "include"}
"""The fields whose null is a value."""


def speech_threshold(threshold: float) -> float:
    """OpenAI's `threshold`, in [0, 1], as a probability of speech; higher for a higher one."""
    if threshold <= _MEANT_THRESHOLD:
        return _LOWEST_THRESHOLD + (_THRESHOLD - _LOWEST_THRESHOLD) * threshold / _MEANT_THRESHOLD
    above = (threshold - _MEANT_THRESHOLD) / (1 - _MEANT_THRESHOLD)
    return _THRESHOLD + (_HIGHEST_THRESHOLD - _THRESHOLD) * above


def _merged(current: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(current)
    for name, new in changes.items():
        old = current.get(name)
        if new is None and name not in _OFF:
            merged.pop(name, None)
        elif isinstance(new, Mapping) and isinstance(old, Mapping) and _same_kind(old, new):
            merged[name] = _merged(old, new)
        else:
            merged[name] = new
    return merged


def _same_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return new.get("type") in (None, old.get("type")) or "type" not in old


def _as_ga(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes without the names of the beta."""
    rest, audio = dict(changes), dict[str, Any]()
    if "input_audio_format" in rest:
        beta = rest.pop("input_audio_format")
        if beta is not None and (not isinstance(beta, str) or beta not in _FORMATS):
            raise InvalidField(
                f"input_audio_format is {shown(beta)}. Use pcm16, g711_ulaw or g711_alaw.",
                "session.input_audio_format",
            )
        audio["format"] = beta and {"type": _FORMATS[beta]}
    for name in ("transcription", "noise_reduction"):
        if f"input_audio_{name}" in rest:
            audio[name] = rest.pop(f"input_audio_{name}")
    if "turn_detection" in rest:
        audio["turn_detection"] = rest.pop("turn_detection")
    return _merged(rest, {"audio": {"input": audio}}) if audio else rest


# --- Client events


@dataclass(frozen=True, slots=True)
class Append:
    """More audio, in the format of the session."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class Update:
    """Changes of the configuration; `beta` is whether they are in the shape of the beta."""

    changes: Mapping[str, Any]
    event_id: str | None = None
    beta: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """The end of an item, at the end of the audio so far."""

    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Clear:
    """A request to forget the audio since the last commit."""

    event_id: str | None = None


ClientEvent = Append | Update | Commit | Clear


class BadEvent(Exception):
    """A client event that is not valid; `event_id` is the id that it has, if any."""

    def __init__(self, error: TranscribedError, event_id: str | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.event_id = event_id


def decode(message: str | bytes) -> ClientEvent:
    """Decode a WebSocket message. Raises BadEvent."""
    if isinstance(message, bytes):
        raise BadEvent(
            BadRequest(
                "Binary messages are not read here. Send audio as JSON: "
                '{"type": "input_audio_buffer.append", "audio": BASE64}.'
            )
        )
    try:
        event = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise BadEvent(BadRequest("The message is not valid JSON. Send events as JSON objects.")) from error
    if not isinstance(event, dict):
        raise BadEvent(BadRequest("The message is not a JSON object. Send events as JSON objects."))
    event_id = event.get("event_id")
    event_id = event_id if isinstance(event_id, str) else None
    try:
        decoded = _decoded(event, event_id)
        if isinstance(decoded, Update) and len(message) > MOST_UPDATE:
            raise InvalidField(
                f"The configuration has {len(message)} characters. Send at most {MOST_UPDATE}: shorten the "
                "prompt or the keywords.",
                "session",
            )
    except TranscribedError as error:
        raise BadEvent(error, event_id) from error
    return decoded


def _decoded(event: dict[str, Any], event_id: str | None) -> ClientEvent:
    match event.get("type"):
        case "input_audio_buffer.append":
            return Append(_audio(event))
        case "input_audio_buffer.commit":
            return Commit(event_id)
        case "input_audio_buffer.clear":
            return Clear(event_id)
        case "session.update":
            return Update(session_changes(event.get("session")), event_id)
        case "transcription_session.update":
            # Examples of the beta have the fields in the event itself.
            changes = event.get("session", {name: event[name] for name in event if name not in _OF_EVENTS})
            return Update(session_changes(changes), event_id, beta=True)
        case None:
            raise MissingField("The event has no type. Send one of the events listed in the docs.", "type")
        case unknown:
            raise InvalidField(
                f"The event {shown(unknown, 80)} is not known here: this server transcribes, and makes no "
                f"responses. Send {', '.join(_EVENTS)}.",
                "type",
            )


_EVENTS = (
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "transcription_session.update",
)
_OF_EVENTS = {"type", "event_id"}


def _audio(event: dict[str, Any]) -> bytes:
    audio = event.get("audio")
    if audio is None:
        raise MissingField("The event has no audio. Send it as Base64.", "audio")
    try:
        return base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidField("The audio is not valid Base64. Nothing of it is heard.", "audio") from error


def session_changes(session: object) -> Mapping[str, Any]:
    """The changes of a configuration. Raises InvalidField for what is none, or not of a transcription."""
    if session is None:
        raise MissingField("The event has no session. Send the fields that are to change.", "session")
    if not isinstance(session, dict):
        raise InvalidField("session is not an object. Send the fields that are to change.", "session")
    if session.get("type") == "realtime":
        raise InvalidField(
            'This server transcribes, and makes no responses. Send "type": "transcription".', "session.type"
        )
    return session
