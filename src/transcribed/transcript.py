"""What recognition yields: words, segments, and the summary of a session; and what is said beside them.

Times are seconds from the start of the stream, counted in samples, never read from a clock.
"""

from dataclasses import dataclass, replace
from typing import TypeVar


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it is written, punctuation attached, without white space around it, and never empty.

    `confidence` is how probable it is, in [0, 1], that the word is right. `stable` says whether the word is
    settled, so that no later result of its segment changes it; None where no stability was asked for.
    `start` and `end` are None where the engine gives no times. `filtered` says whether it is on a list of
    words to look out for; None where there is no list. `speaker` is a label of who said it; None where
    speakers are not told apart.
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
    """Something in a segment that is of a kind, such as a person's name; times in seconds.

    `category` and `kind` are Amazon's words ("PII", "NAME"), `text` is what was said; each is None where
    the engine does not tell it.
    """

    text: str
    start: float
    end: float
    category: str | None = None
    kind: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class LanguageScore:
    """How probable it is, in [0, 1], that a segment is in a language."""

    language: str
    score: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A span of speech, numbered from 0 in its session; sent again as it grows, until it is `final`.

    `text` is its words with a space between them. `channel` counts from 0; None where all channels were
    heard as one. `entities` and `languages` are what the engine was asked to find.
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

    @property
    def id(self) -> str:
        """The same from its first partial to its final, and no other segment's."""
        return f"{self.session}-{self.number}"


@dataclass(frozen=True, slots=True)
class Track:
    """One of the audio tracks of a recording: FFmpeg's short name of its codec, and Hz.

    Language and title are as the file has them (None where it says nothing), the language as a rule a code
    of ISO 639-2, such as "eng".
    """

    number: int
    """Counted from 1, among the audio tracks alone."""
    codec: str
    sample_rate: int
    channels: int
    language: str | None
    title: str | None
    default: bool
    """Whether the file marks it as the one to be played."""
    decodable: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The end of one recording or live stream, after its last segment.

    `audio_seconds` is the length of the audio received, `processing_seconds` the time from the first
    audio to the last result. `track` is the number of the track that was heard, and `tracks` are all the
    audio tracks there were; None and none for samples without a container.
    """

    session_id: str
    audio_seconds: float
    processing_seconds: float
    track: int | None = None
    tracks: tuple[Track, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a client should know, and that does not end what it is about.

    Both are those of an error (errors.py).
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody speaks from `at` on, in seconds. It comes before the first segment of what is said."""

    at: float
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Nobody speaks from `at` on, in seconds. It comes before the last final of what was said."""

    at: float
    channel: int | None = None


SpeechEvent = SpeechStarted | SpeechEnded

_Timed = TypeVar("_Timed", Word, Entity)


def later(timed: _Timed, seconds: float) -> _Timed:
    """The same so many seconds later; what has no times stays as it is."""
    if seconds == 0 or timed.start is None or timed.end is None:
        return timed
    return replace(timed, start=timed.start + seconds, end=timed.end + seconds)


LiveEvent = Segment | Done | Notice | SpeechEvent
