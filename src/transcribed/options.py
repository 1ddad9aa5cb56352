"""What can be asked of a transcription and what an engine can do, in words of no engine and no protocol."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum

SHORTEST_SILENCE, LONGEST_SILENCE = 0.2, 5
"""Seconds that may be chosen to end a segment."""


class Pace(Enum):
    """How the audio of a stream arrives."""

    LIVE = "live"
    """As it is spoken: results are worth most at once, and old partials nothing."""
    FAST = "fast"
    """As fast as it is taken: every result counts, in the order of the audio."""


class Stability(Enum):
    """How soon words settle: HIGH is soonest, LOW most accurate; with OFF none does before the final."""

    OFF = "off"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class TranscriptForm(Enum):
    """How numbers, times and money are told: in digits, or as words."""

    WRITTEN = "written"
    SPOKEN = "spoken"


class FilterMethod(Enum):
    """What becomes of a word that is on a list, or of personal data."""

    MASK = "mask"
    REMOVE = "remove"
    TAG = "tag"


@dataclass(frozen=True, slots=True)
class VocabularyFilter:
    """The names of lists of words, and what becomes of these words."""

    names: tuple[str, ...]
    method: FilterMethod = FilterMethod.MASK


@dataclass(frozen=True, slots=True)
class LanguageIdentification:
    """To find out which language is spoken, once, or again and again where there are `several`.

    It is one of the `candidates`, any of the engine's where there are none; most probably `preferred`.
    """

    candidates: tuple[str, ...] = ()
    preferred: str | None = None
    several: bool = False


@dataclass(frozen=True, slots=True)
class Redaction:
    """Personal data is found: all of it, or some kinds. With MASK it is taken out of the text too."""

    kinds: tuple[str, ...] = ()
    method: FilterMethod = FilterMethod.MASK


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a stream asks of an engine; what not every engine does is in its Capabilities by the same name.

    `partials`: whether segments come as they grow, too, and not only when they are final. Who shows them to
    nobody asks for none: they cost. `speech_events`: whether it is told when speech starts and ends.
    `endpoint_silence` is how many seconds of silence end a segment, `language` one of the engine's; None is
    the engine's own choice.
    `vocabularies` are names of lists of words that the engine was taught, `language_model` that of a model
    that was trained for it; `most_speakers` is how many voices `speaker_labels` tells apart at most.
    `vendor_options` are what one engine alone knows, in its own words: whatever is above it hands them on.
    """

    pace: Pace = Pace.LIVE
    stability: Stability = Stability.OFF
    partials: bool = True
    speech_events: bool = False
    endpoint_silence: float | None = None
    language: str | None = None
    language_identification: LanguageIdentification | None = None
    transcript_form: TranscriptForm | None = None
    vocabulary_filter: VocabularyFilter | None = None
    vocabularies: tuple[str, ...] = ()
    language_model: str | None = None
    speaker_labels: bool = False
    most_speakers: int | None = None
    redaction: Redaction | None = None
    vendor_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do. Of `languages` the first is what it takes a stream to be in."""

    name: str
    languages: tuple[str, ...]
    models: tuple[str, ...] = ()
    endpoint_silence: bool = False
    language_identification: bool = False
    transcript_form: bool = False
    vocabulary_filter: bool = False
    vocabularies: bool = False
    language_model: bool = False
    speaker_labels: bool = False
    most_speakers: bool = False
    redaction: bool = False


OPTIONAL = tuple(each.name for each in fields(Capabilities) if each.name in StreamOptions.__slots__)
"""The options that not every engine can serve."""


def lacking(options: StreamOptions, can: Capabilities) -> tuple[str, ...]:
    """The options that are asked for and that an engine cannot serve."""
    return tuple(name for name in OPTIONAL if getattr(options, name) and not getattr(can, name))


def has_spoken_form(language: str) -> bool:
    """Whether numbers can be made words here, whatever the engine does."""
    return language.lower().startswith("en")


def in_any_case(name: str, names: Iterable[str]) -> str | None:
    """A name as it stands among the names, whatever its case; None where it does not."""
    return next((each for each in names if each.lower() == name.lower()), None)


def one_of(names: Sequence[str]) -> str:
    """Names to choose from, for a message."""
    return f"one of: {', '.join(names)}" if names[3:] else " or ".join(names)
