"""Options of a transcription and capabilities of an engine, independent of any engine or protocol."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum

SHORTEST_SILENCE, LONGEST_SILENCE = 0.2, 5
"""Bounds of `StreamOptions.endpoint_silence`, in seconds."""


class Pace(Enum):
    """How the audio of a stream arrives."""

    LIVE = "live"
    """In real time: latency matters, and a client that reads late gets only the newest partial."""
    FAST = "fast"
    """As fast as the engine accepts it: throughput matters, and every result is delivered in order."""


class Stability(Enum):
    """How soon words settle: soonest at HIGH, most accurate at LOW; at OFF only final words are settled."""

    OFF = "off"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class TranscriptForm(Enum):
    """Whether numbers, times, dates and amounts of money are in digits, or spelled out in words.

    By default they are as the engine writes them, some in digits and some in words.
    """

    WRITTEN = "written"
    SPOKEN = "spoken"


class FilterMethod(Enum):
    """What happens to a filtered word or to personal data: masked, removed, or only tagged."""

    MASK = "mask"
    REMOVE = "remove"
    TAG = "tag"


@dataclass(frozen=True, slots=True)
class VocabularyFilter:
    """The names of lists of words to filter, and what happens to those words."""

    names: tuple[str, ...]
    method: FilterMethod = FilterMethod.MASK


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase that recognition favours: words as they are written, with spaces between.

    `display` is shown in its place. With None, a phrase that has capital letters is shown as it is.
    `weight` multiplies the bonus of the phrase.
    """

    text: str
    display: str | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class LanguageIdentification:
    """A request to identify the spoken language: once, or throughout the stream if it may have `several`.

    Without `candidates`, all languages of the engine are considered. `preferred` is the most likely one.
    """

    candidates: tuple[str, ...] = ()
    preferred: str | None = None
    several: bool = False


@dataclass(frozen=True, slots=True)
class Redaction:
    """A request to find personal data of some `kinds`, or of all; MASK also removes it from the text."""

    kinds: tuple[str, ...] = ()
    method: FilterMethod = FilterMethod.MASK


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Options of one stream. Those that not every engine supports are in Capabilities under the same name.

    - `partials`: also report segments while they grow. Partials cost computation.
    - `speech_events`: report when speech starts and ends.
    - `endpoint_silence`: seconds of silence that end a segment; None is the engine's default.
    - `speech_threshold`: the probability, in [0, 1], above which sound counts as speech; None is the
      engine's default.
    - `language`: one of the engine's languages; None is its default.
    - `vocabularies`, `language_model`: names of custom vocabularies and of a custom model of the engine.
    - `phrases`: the phrases to favour; the service adds those of named vocabularies.
    - `most_speakers`: how many speakers `speaker_labels` distinguishes at most.
    - `vendor_options`: options that only one engine knows, passed through to it unread.
    """

    pace: Pace = Pace.LIVE
    stability: Stability = Stability.OFF
    partials: bool = True
    speech_events: bool = False
    endpoint_silence: float | None = None
    speech_threshold: float | None = None
    language: str | None = None
    language_identification: LanguageIdentification | None = None
    transcript_form: TranscriptForm | None = None
    vocabulary_filter: VocabularyFilter | None = None
    vocabularies: tuple[str, ...] = ()
    phrases: tuple[Phrase, ...] = ()
    language_model: str | None = None
    speaker_labels: bool = False
    most_speakers: int | None = None
    redaction: Redaction | None = None
    vendor_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine supports. The first of its `languages` is the default."""

    name: str
    languages: tuple[str, ...]
    models: tuple[str, ...] = ()
    endpoint_silence: bool = False
    speech_threshold: bool = False
    language_identification: bool = False
    transcript_form: bool = False
    vocabulary_filter: bool = False
    vocabularies: bool = False
    phrases: bool = False
    language_model: bool = False
    speaker_labels: bool = False
    most_speakers: bool = False
    redaction: bool = False

    @property
    def named_vocabularies(self) -> bool:
        """Whether a stream may name vocabularies: the engine's own, or this server's."""
        return self.vocabularies or self.phrases


OPTIONAL = tuple(each.name for each in fields(Capabilities) if each.name in StreamOptions.__slots__)
"""The names of the options that not every engine supports."""


def unsupported(options: StreamOptions, capabilities: Capabilities) -> tuple[str, ...]:
    """Return the names of the requested options that an engine does not support."""
    return tuple(name for name in OPTIONAL if getattr(options, name) and not getattr(capabilities, name))


def has_number_forms(language: str) -> bool:
    """Whether this server converts numbers of the language itself, whatever the engine supports."""
    return language.lower().startswith("en")


def ignoring_case(name: str, names: Iterable[str]) -> str | None:
    """Return the one of the names that equals `name` except for case, or None."""
    return next((each for each in names if each.lower() == name.lower()), None)


def one_of(names: Sequence[str]) -> str:
    """Return the names as a choice, for an error message."""
    return f"one of: {', '.join(names)}" if names[3:] else " or ".join(names)
