"""The parameters of Amazon Transcribe's streams, and their translation to StreamOptions.

The parser and the documentation both use PARAMETERS. A parameter is honoured or refused, never ignored.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from transcribed.audio.formats import HIGHEST_RATE, LOWEST_RATE, Encoding, InputFormat
from transcribed.errors import BadRequest, shown
from transcribed.options import (
    Capabilities,
    FilterMethod,
    LanguageIdentification,
    Redaction,
    Stability,
    StreamOptions,
    TranscriptForm,
    VocabularyFilter,
    has_number_forms,
    ignoring_case,
    one_of,
)

PREFIX = "x-amzn-transcribe-"
"""The prefix of parameters in headers; in a query they have none."""

_ENCODINGS = {
    "pcm": Encoding.PCM,
    "flac": Encoding.AUTO,
    "ogg-opus": Encoding.AUTO,
    "g711-alaw": Encoding.ALAW,
    "g711-ulaw": Encoding.MULAW,
}
_IDENTIFYING = ("identify-language", "identify-multiple-languages")
_OF_IDENTIFICATION = ("language-options", "preferred-language")
_STABILIZATION = ("enable-partial-results-stabilization", "partial-results-stability")
_VOCABULARIES = ("vocabulary-name", "vocabulary-names")
_PERSONAL = {
    "content-identification-type": FilterMethod.TAG,
    "content-redaction-type": FilterMethod.MASK,
}
_KINDS = "pii-entity-types"
_LEVELS = ("high", "medium", "low")
_METHODS = tuple(each.value for each in FilterMethod)
_FORMATS = tuple(each.value for each in TranscriptForm)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter.

    `values` describes its valid values in Markdown; `read` parses a value, and returns None for an invalid
    one. `effect` describes its effect. `needs` is the name of the capability that it requires, and
    `lacking` the error message for an engine without it; None if every engine serves it.
    """

    name: str
    values: str
    read: Callable[[str], Any] = field(repr=False)
    effect: str
    needs: str | None = None
    lacking: str | None = None

    @property
    def plain_values(self) -> str:
        """The valid values as plain text, for a message."""
        return self.values.replace("`", "")


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A client's request for a stream.

    With `split_channels` each channel is recognised separately. For `resume_window` seconds from the start,
    a client that lost its connection can resume the stream. `echo` is the parameters for the response.
    """

    options: StreamOptions
    format: InputFormat
    split_channels: bool
    session_id: str | None
    resume_window: float | None
    echo: Mapping[str, str]

    @property
    def chunk_bytes(self) -> int | None:
        """The most bytes in an audio chunk, which are one second; None for compressed audio."""
        if self.format.encoding is Encoding.AUTO:
            return None
        return self.format.sample_rate * self.format.frame_bytes


def _integer(low: int, high: int) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        plain = re.fullmatch(r"[0-9]{1,9}", text)
        return int(text) if plain and low <= int(text) <= high else None

    return read


def _text(pattern: str) -> Callable[[str], str | None]:
    return lambda text: text if re.fullmatch(pattern, text) else None


def _choice(name: str, choices: Iterable[str], effect: str, *needs: str) -> Parameter:
    known = list(choices)
    values = ", ".join(f"`{choice}`" for choice in known)
    return Parameter(name, values, lambda text: text if text in known else None, effect, *needs)


def _switch(name: str, effect: str, *needs: str) -> Parameter:
    read = {"true": True, "false": False}
    return Parameter(name, "`true`, `false`", lambda text: read.get(text.lower()), effect, *needs)


def _name(name: str, effect: str, *needs: str) -> Parameter:
    values = "1 to 200 letters, digits, `.`, `_` and `-`"
    return Parameter(name, values, _text(r"[0-9a-zA-Z._-]{1,200}"), effect, *needs)


def _names(name: str, effect: str, *needs: str) -> Parameter:
    values = "names, separated by commas, at most 3000 characters"
    return Parameter(name, values, _text(r"[0-9a-zA-Z,._-]{1,3000}"), effect, *needs)


_FILTERS = ("vocabulary-filter-name", "vocabulary-filter-names", "vocabulary-filter-method")
_FORMAT = "transcript-format"
_VOCABULARY = ("named_vocabularies", "This engine has no custom vocabularies.")
_IDENTIFICATION = (
    "language_identification",
    "This engine does not identify languages: send language-code.",
)
_PERSONAL_DATA = ("redaction", "This engine does not detect personal data.")

PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "language-code",
            "one of the engine's",
            str,
            "The language of the speech. Required, unless the language is identified.",
        ),
        Parameter(
            "sample-rate",
            f"{LOWEST_RATE} to {HIGHEST_RATE}",
            _integer(LOWEST_RATE, HIGHEST_RATE),
            "The sample rate in Hz; `flac` and `ogg-opus` contain their own. Required.",
        ),
        _choice(
            "media-encoding",
            _ENCODINGS,
            "The encoding of the audio; `pcm` is signed 16-bit little-endian. Required.",
        ),
        Parameter(
            "session-id",
            "a UUID of 36 characters",
            _text(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
            "The id of the session. Without it, the server generates one.",
        ),
        Parameter(
            "session-resume-window",
            "1 to 300",
            _integer(1, 300),
            "The minutes from its start for which a client that lost its connection can resume a session.",
        ),
        _switch("enable-partial-results-stabilization", "Items say whether they are `Stable`."),
        _choice(
            "partial-results-stability",
            _LEVELS,
            f"How soon words become stable; by default `{_LEVELS[0]}`, which is soonest.",
        ),
        _switch("enable-channel-identification", "Recognises each channel separately, with a `ChannelId`."),
        Parameter(
            "number-of-channels", "`2`", _integer(2, 2), "Required with enable-channel-identification."
        ),
        _name(
            _FILTERS[0],
            "A list of words to remove: one of this server's, or of the engine's if it has its own.",
            "vocabulary_filter",
        ),
        _names(_FILTERS[1], "Several such lists.", "vocabulary_filter"),
        _choice(
            _FILTERS[2],
            _METHODS,
            "Listed words become `***`, are removed, or are marked with `VocabularyFilterMatch`; "
            f"by default `{_METHODS[0]}`.",
            "vocabulary_filter",
        ),
        _choice(
            _FORMAT,
            _FORMATS,
            "Numbers, times, dates and money [in digits](#the-written-form), or as "
            "[words](#the-spoken-form): by the engine if it can, or else by this server in English "
            f"only; by default `{_FORMATS[0]}`.",
            "transcript_form",
        ),
        _switch(
            "show-speaker-label",
            "Items have a `Speaker`.",
            "speaker_labels",
            "This engine does not tell speakers apart. It does channels: enable-channel-identification.",
        ),
        _name(
            _VOCABULARIES[0],
            "A vocabulary, whose phrases are favoured: one of this server's, or of the engine's if it has "
            "its own.",
            *_VOCABULARY,
        ),
        _names(_VOCABULARIES[1], "Several such vocabularies.", *_VOCABULARY),
        _name(
            "language-model-name",
            "A custom language model of the engine.",
            "language_model",
            "This engine has no custom language models.",
        ),
        _switch(
            _IDENTIFYING[0],
            "Identifies the language of the stream: `LanguageIdentification`.",
            *_IDENTIFICATION,
        ),
        _switch(_IDENTIFYING[1], "Identifies languages that change within the stream.", *_IDENTIFICATION),
        Parameter(
            "language-options",
            "languages, separated by commas",
            str,
            "The candidate languages.",
            *_IDENTIFICATION,
        ),
        Parameter(
            "preferred-language", "a language", str, "The most probable candidate.", *_IDENTIFICATION
        ),
        _choice(
            "content-identification-type",
            ["PII"],
            "Marks personal data: `Entities`.",
            *_PERSONAL_DATA,
        ),
        _choice(
            "content-redaction-type",
            ["PII"],
            "Marks personal data, and replaces it in the text: `[NAME]`.",
            *_PERSONAL_DATA,
        ),
        Parameter(
            "pii-entity-types",
            "kinds, separated by commas",
            str,
            "The kinds of personal data.",
            *_PERSONAL_DATA,
        ),
    )
}


def parameters_of_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The parameters in a request's headers, without the prefix. Raises BadRequest for duplicates."""
    named = ((name.lower(), value.strip()) for name, value in headers)
    return _unique((name.removeprefix(PREFIX), value) for name, value in named if name.startswith(PREFIX))


def parameters_of_query(query: str) -> dict[str, str]:
    """The parameters in a URL's query, without its signature. Raises BadRequest for duplicates."""
    # SDKs add their user agent.
    others = ("x-amz-", "user-agent")
    pairs = parse_qsl(query, keep_blank_values=True)
    return _unique((name, value) for name, value in pairs if not name.lower().startswith(others))


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise BadRequest(f"The parameter {shown(name)} comes twice. Send it once.")
        found[name] = value
    return found


def features(can: Capabilities) -> list[str]:
    """The names of the optional parameters that an engine can serve."""
    return sorted(each.name for each in PARAMETERS.values() if each.needs and getattr(can, each.needs))


def stream_request(given: Mapping[str, str], can: Capabilities) -> StreamRequest:
    """Parse parameters for an engine with these capabilities. Raises BadRequest, which says what to do."""
    values = {name: _read(name, text, can) for name, text in given.items()}
    for name in ("media-encoding", "sample-rate"):
        if name not in values:
            raise BadRequest(f"{name} is missing. It may be: {PARAMETERS[name].plain_values}.")
    language = _language(values, can)
    if language is not None:
        values["language-code"] = language
    split = _channels(values.get("enable-channel-identification"), values.get("number-of-channels"))
    _check(values, split)
    spoken_here = not can.transcript_form and values.get(_FORMAT) == "spoken"
    if spoken_here and not (language and has_number_forms(language)):
        raise BadRequest(
            f"{_FORMAT}=spoken is for English alone here. Leave it out, or send an English language-code."
        )
    # SDKs parse `true`, but not `True`.
    echo = {name: str(v).lower() if isinstance(v, bool) else str(v) for name, v in values.items()}
    return StreamRequest(
        options=stream_options(values),
        format=InputFormat(
            _ENCODINGS[values["media-encoding"]], values["sample-rate"], channels=2 if split else 1
        ),
        split_channels=split,
        session_id=values.get("session-id"),
        resume_window=60.0 * window if (window := values.get("session-resume-window")) else None,
        echo=echo,
    )


def stream_options(values: Mapping[str, Any]) -> StreamOptions:
    """The options that correspond to the parsed values of parameters."""

    def names(*parameters: str) -> tuple[str, ...]:
        return tuple(
            filter(None, ",".join(values[each] for each in parameters if each in values).split(","))
        )

    identification = LanguageIdentification(
        names("language-options"),
        values.get("preferred-language"),
        several=bool(values.get(_IDENTIFYING[1])),
    )
    filters = names(*_FILTERS[:2])
    form, method = values.get(_FORMAT), values.get(_FILTERS[2])
    stabilizes, level = map(values.get, _STABILIZATION)
    personal = next((_PERSONAL[each] for each in _PERSONAL if each in values), None)
    return StreamOptions(
        stability=Stability(level or _LEVELS[0]) if stabilizes else Stability.OFF,
        language=values.get("language-code"),
        language_identification=identification if any(map(values.get, _IDENTIFYING)) else None,
        transcript_form=TranscriptForm(form) if form else None,
        vocabulary_filter=VocabularyFilter(filters, FilterMethod(method or _METHODS[0]))
        if filters
        else None,
        vocabularies=names(*_VOCABULARIES),
        language_model=values.get("language-model-name"),
        speaker_labels=bool(values.get("show-speaker-label")),
        redaction=None if personal is None else Redaction(names(_KINDS), personal),
    )


def general_options(asked: Mapping[str, str]) -> StreamOptions:
    """The options that correspond to valid parameters, which are set for all streams of an engine."""
    return stream_options({name: PARAMETERS[name].read(text) for name, text in asked.items()})


def _read(name: str, text: str, can: Capabilities) -> Any:
    parameter = PARAMETERS.get(name)
    if parameter is None:
        raise BadRequest(f"There is no parameter {shown(name)}. Check its spelling, or leave it out.")
    value = parameter.read(text)
    if value is None:
        raise BadRequest(f"{name} is {shown(text)}. It may be: {parameter.plain_values}.")
    # Some SDKs send every switch, with `false` for those that are not set.
    if parameter.needs and parameter.lacking and value is not False and not getattr(can, parameter.needs):
        raise BadRequest(f"{name} is not possible here. {parameter.lacking}")
    return value


def _language(values: Mapping[str, Any], can: Capabilities) -> str | None:
    code: str | None = values.get("language-code")
    identified = [name for name in _IDENTIFYING if values.get(name)]
    if len(identified) + (code is not None) > 1:
        raise BadRequest(f"Send one of language-code, {' and '.join(_IDENTIFYING)}.")
    if identified:
        return None
    known = None if code is None else ignoring_case(code, can.languages)
    if known is None:
        problem = (
            "is missing" if code is None else f"is {shown(code)}, which this engine does not recognise"
        )
        or_else = f", or send {_IDENTIFYING[0]}=true" if can.language_identification else ""
        raise BadRequest(f"language-code {problem}. Ask for {one_of(can.languages)}{or_else}.")
    return known


def _channels(split: bool | None, number: int | None) -> bool:
    if split and number is None:
        raise BadRequest("enable-channel-identification needs number-of-channels=2.")
    if number is not None and not split:
        raise BadRequest(
            "number-of-channels needs enable-channel-identification=true. For one channel leave it out."
        )
    return bool(split)


def _check(values: Mapping[str, Any], split: bool) -> None:
    """Raise BadRequest for parameters that exclude one another, or that require another."""
    both = ("show-speaker-label", "enable-channel-identification")
    if split and values.get(both[0]):
        raise BadRequest(f"Send {both[0]} or {both[1]}, not both.")
    for one, other in (_FILTERS[:2], _VOCABULARIES, tuple(_PERSONAL)):
        if one in values and other in values:
            raise BadRequest(f"Send {one} or {other}, not both.")
    if values.get(_STABILIZATION[1]) and not values.get(_STABILIZATION[0]):
        raise BadRequest(f"{_STABILIZATION[1]} needs {_STABILIZATION[0]}=true.")
    filters = {_FILTERS[1], _FILTERS[2]}.intersection(values)
    if filters and not (values.get(_FILTERS[0]) or values.get(_FILTERS[1], "").strip(",")):
        raise BadRequest(f"{_FILTERS[2]} needs a filter: send {_FILTERS[0]}.")
    for names, others in ((_OF_IDENTIFICATION, _IDENTIFYING), ((_KINDS,), tuple(_PERSONAL))):
        for name in names:
            if name in values and not any(map(values.get, others)):
                raise BadRequest(f"{name} needs {' or '.join(others)}.")
