"""The events of a transcription: segments of words, speech events, notices, and the summary at the end.

Times are seconds from the start of the stream. They are counted in samples, never read from a clock.
"""

from dataclasses import dataclass, replace
from typing import TypeVar


@dataclass(frozen=True, slots=True)
class Word:
    """One written word with its punctuation: never empty, and without white space around it.

    - `start`, `end`: None if the engine reports no times.
    - `confidence`: the probability, in [0, 1], that the word is right.
    - `stable`: whether the word is settled, so that no later result of its segment changes it; None if no
      stability was requested.
    - `filtered`: whether the word is on a vocabulary filter's list; None without a filter.
    - `speaker`: the speaker's label; None if speakers are not distinguished.
    """

    text: str
    start: float | None = None
    end: float | None = None
    confidence: float | None = None
    stable: bool | None = None
    filtered: bool | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """A named entity in a segment, such as a person's name.

    `category` and `kind` are Amazon's terms, such as "PII" and "NAME"; each is None if unknown.
    """

    text: str
    start: float
    end: float
    category: str | None = None
    kind: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class LanguageScore:
    """The probability, in [0, 1], that a segment is in a language."""

    language: str
    score: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A span of speech, reported repeatedly while it grows and once more when it is `final`.

    Segments are numbered from 0 within their session. `text` is the words, joined by spaces. `channel` is
    counted from 0; None if all channels were mixed. `model` is the name of the model that made this result;
    None if the engine does not name its models.
    """

    session: str
    number: int
    start: float
    end: float
    text: str
    final: bool
    language: str
    words: tuple[Word, ...] = ()
    channel: int | None = None
    entities: tuple[Entity, ...] = ()
    languages: tuple[LanguageScore, ...] = ()
    model: str | None = None

    @property
    def id(self) -> str:
        """A unique identifier, the same in all partials and the final of this segment."""
        return f"{self.session}-{self.number}"


@dataclass(frozen=True, slots=True)
class Track:
    """One audio track of a recording: the codec by FFmpeg's short name, the sample rate in Hz.

    `language` and `title` are taken from the file, None if absent. A language is usually an ISO 639-2 code,
    such as "eng".
    """

    number: int
    """Counted from 1 among the audio tracks."""
    codec: str
    sample_rate: int
    channels: int
    language: str | None
    title: str | None
    default: bool
    """Whether the file marks the track as the default."""
    decodable: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The end of one recording or live stream, after its last segment.

    `audio_seconds` is the length of the received audio, `processing_seconds` the time from the first audio
    to the last result. `track` is the number of the transcribed track, `tracks` are all audio tracks; None
    and empty for raw samples, which have no container.
    """

    session_id: str
    audio_seconds: float
    processing_seconds: float
    track: int | None = None
    tracks: tuple[Track, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning to the client, with the code and message of an error; the transcription goes on."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech starts at `at` seconds. The event precedes the first segment of that speech."""

    at: float
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Speech ends at `at` seconds. The event precedes the last final of that speech."""

    at: float
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """The session can be watched by others, under the path `live`. The event precedes all others.

    With the secret `continuation` another session can go on under the same path. `start` is the place of
    this session on the timeline of what is watched, in seconds.
    """

    session_id: str
    live: str
    continuation: str
    start: float


@dataclass(frozen=True, slots=True)
class Away:
    """The session that is watched was broken off, and may still be continued."""


@dataclass(frozen=True, slots=True)
class Back:
    """The session that is watched is continued."""


SpeechEvent = SpeechStarted | SpeechEnded

_Timed = TypeVar("_Timed", Word, Entity)


def shifted(timed: _Timed, seconds: float) -> _Timed:
    """Return a copy whose times are `seconds` later, or the same object if it has no times."""
    if seconds == 0 or timed.start is None or timed.end is None:
        return timed
    return replace(timed, start=timed.start + seconds, end=timed.end + seconds)


LiveEvent = Segment | Done | Notice | SpeechEvent | Shared | Away | Back
