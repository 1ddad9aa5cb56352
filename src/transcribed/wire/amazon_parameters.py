"""What a client of Amazon Transcribe may ask of a stream.

PARAMETERS is the one list of it, for the parser and for the documentation. A parameter is honoured or
refused, never ignored.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from transcribed.audio.formats import HIGHEST_RATE, LOWEST_RATE, Encoding, InputFormat
from transcribed.errors import BadRequest, shown

PREFIX = "x-amzn-transcribe-"
"""Of a parameter's name in a header; in a query there is none."""

_ENCODINGS = {
    "pcm": Encoding.PCM,
    "flac": Encoding.AUTO,
    "ogg-opus": Encoding.AUTO,
    "g711-alaw": Encoding.ALAW,
    "g711-ulaw": Encoding.MULAW,
}
_IDENTIFYING = ("identify-language", "identify-multiple-languages")
_LEVELS = ("high", "medium", "low")
_METHODS = ("mask", "remove", "tag")
_FORMATS = ("written", "spoken")
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that a client may ask for.

    `values` says, in Markdown, what it may be; `read` gives None for anything else. `effect` is what comes
    of it. `lacking` is what an engine cannot do that has not got it among its features; None where every
    engine's streams have it.
    """

    name: str
    values: str
    read: Callable[[str], Any] = field(repr=False)
    effect: str
    lacking: str | None = None

    @property
    def plain_values(self) -> str:
        """What it may be, for a message."""
        return self.values.replace("`", "")


@dataclass(frozen=True, slots=True)
class VocabularyFilter:
    """The names of lists of words, and what becomes of these words: mask, remove or tag."""

    names: tuple[str, ...]
    method: str


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What a client asks of a stream.

    `language` is None where it is to be found out. With `split_channels` each channel is recognised on
    its own. `stability` is high, medium or low, or None where stabilization is not enabled. `resume_window`
    is in minutes from the start of the stream; until then a client that lost its connection may come back.
    `spoken` is whether numbers have to be made words here. `asked` is what the engine has to do, by the
    names of its features. `echo` is the parameters as the answer has them.
    """

    language: str | None
    format: InputFormat
    split_channels: bool
    session_id: str | None
    resume_window: int | None
    stability: str | None
    vocabulary_filter: VocabularyFilter | None
    spoken: bool
    asked: Mapping[str, str]
    echo: Mapping[str, str]

    @property
    def chunk_bytes(self) -> int | None:
        """The most that an audio chunk may have, a second; None where its bytes do not tell its length."""
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


def _choice(name: str, choices: Iterable[str], effect: str, lacking: str | None = None) -> Parameter:
    known = list(choices)
    values = ", ".join(f"`{choice}`" for choice in known)
    return Parameter(name, values, lambda text: text if text in known else None, effect, lacking)


def _switch(name: str, effect: str, lacking: str | None = None) -> Parameter:
    read = {"true": True, "false": False}
    return Parameter(name, "`true`, `false`", lambda text: read.get(text.lower()), effect, lacking)


def _name(name: str, effect: str, lacking: str | None = None) -> Parameter:
    values = "1 to 200 letters, digits, `.`, `_` and `-`"
    return Parameter(name, values, _text(r"[0-9a-zA-Z._-]{1,200}"), effect, lacking)


def _names(name: str, effect: str, lacking: str | None = None) -> Parameter:
    values = "names with commas between them, at most 3000 characters"
    return Parameter(name, values, _text(r"[0-9a-zA-Z,._-]{1,3000}"), effect, lacking)


_FILTERS = ("vocabulary-filter-name", "vocabulary-filter-names", "vocabulary-filter-method")
_FORMAT = "transcript-format"
_NO_VOCABULARY = "This engine cannot be taught words."
_NO_IDENTIFICATION = "This engine does not find out which language is spoken: send language-code."
_NO_PERSONAL_DATA = "This engine does not find personal data in what is said."

PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "language-code",
            "one of the engine's",
            str,
            "The language that is spoken. Needed, unless it is to be found out.",
        ),
        Parameter(
            "sample-rate",
            f"{LOWEST_RATE} to {HIGHEST_RATE}",
            _integer(LOWEST_RATE, HIGHEST_RATE),
            "Of the audio, Hz; `flac` and `ogg-opus` say it themselves. Needed.",
        ),
        _choice(
            "media-encoding",
            _ENCODINGS,
            "How the audio is written; `pcm` is signed, 16 bit, little endian. Needed.",
        ),
        Parameter(
            "session-id",
            "a UUID of 36 characters",
            _text(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
            "The name of the stream. Without it the server makes one.",
        ),
        Parameter(
            "session-resume-window",
            "1 to 300",
            _integer(1, 300),
            "For so many minutes from its start a client that lost its connection may go on with a stream.",
        ),
        _switch("enable-partial-results-stabilization", "Items say whether they are `Stable`."),
        _choice(
            "partial-results-stability",
            _LEVELS,
            f"How soon words become stable; without it `{_LEVELS[0]}`, which is soonest.",
        ),
        _switch("enable-channel-identification", "Each channel is recognised on its own, by `ChannelId`."),
        Parameter("number-of-channels", "`2`", _integer(2, 2), "Goes with enable-channel-identification."),
        _name(
            _FILTERS[0],
            "A list of words that the transcript is without: one of this server's, or of the engine's if "
            "that has its own.",
        ),
        _names(_FILTERS[1], "Several such lists."),
        _choice(
            _FILTERS[2],
            _METHODS,
            "Words of a list become `***`, are left out, or are marked with `VocabularyFilterMatch`; "
            f"without it `{_METHODS[0]}`.",
        ),
        _choice(
            _FORMAT,
            _FORMATS,
            "Numbers, times and money in digits, or as [words](#the-spoken-form): an engine's own, or else "
            f"made here, in English alone; without it `{_FORMATS[0]}`.",
        ),
        _switch(
            "show-speaker-label",
            "Items say by `Speaker` whose voice it is.",
            "This engine does not tell speakers apart. It does channels: enable-channel-identification.",
        ),
        _name("vocabulary-name", "Words that the engine was taught.", _NO_VOCABULARY),
        _names("vocabulary-names", "The same, one for each language.", _NO_VOCABULARY),
        _name(
            "language-model-name",
            "A language model that was trained for it.",
            "This engine has its own language model alone.",
        ),
        _switch(
            _IDENTIFYING[0],
            "What is spoken is found out, once: `LanguageIdentification`.",
            _NO_IDENTIFICATION,
        ),
        _switch(_IDENTIFYING[1], "What is spoken is found out again and again.", _NO_IDENTIFICATION),
        Parameter(
            "language-options", "languages with commas", str, "Those that it can be.", _NO_IDENTIFICATION
        ),
        Parameter(
            "preferred-language", "a language", str, "The most probable of these.", _NO_IDENTIFICATION
        ),
        _choice(
            "content-identification-type",
            ["PII"],
            "Personal data is found: `Entities`.",
            _NO_PERSONAL_DATA,
        ),
        _choice(
            "content-redaction-type",
            ["PII"],
            "The same, and it is taken out of the text: `[NAME]`.",
            _NO_PERSONAL_DATA,
        ),
        Parameter("pii-entity-types", "kinds with commas", str, "Which kinds of it.", _NO_PERSONAL_DATA),
    )
}


def parameters_of_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The parameters in a request's headers, without the prefix. Raises BadRequest for two of a name."""
    named = ((name.lower(), value.strip()) for name, value in headers)
    return _once((name.removeprefix(PREFIX), value) for name, value in named if name.startswith(PREFIX))


def parameters_of_query(query: str) -> dict[str, str]:
    """The parameters in a URL's query, without its signature. Raises BadRequest for two of a name."""
    # An SDK says there what it is, too.
    others = ("x-amz-", "user-agent")
    pairs = parse_qsl(query, keep_blank_values=True)
    return _once((name, value) for name, value in pairs if not name.lower().startswith(others))


def _once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise BadRequest(f"The parameter {shown(name)} comes twice. Send it once.")
        found[name] = value
    return found


def stream_request(
    given: Mapping[str, str], languages: Sequence[str], features: Collection[str] = ()
) -> StreamRequest:
    """Parameters as a request to an engine of these languages and features.

    Raises BadRequest, with what to do.
    """
    values = {name: _read(name, text, features) for name, text in given.items()}
    for name in ("media-encoding", "sample-rate"):
        if name not in values:
            raise BadRequest(f"{name} is missing. It may be: {PARAMETERS[name].plain_values}.")
    language = _language(values, languages, features)
    if language is not None:
        values["language-code"] = language
    split = _channels(values.get("enable-channel-identification"), values.get("number-of-channels"))
    if split and values.get("show-speaker-label"):
        raise BadRequest("Send show-speaker-label or enable-channel-identification, not both.")
    words = _vocabulary_filter(*map(values.get, _FILTERS))
    # SDKs read `true`, and not `True`.
    echo = {name: str(v).lower() if isinstance(v, bool) else str(v) for name, v in values.items()}
    return StreamRequest(
        language=language,
        format=InputFormat(
            _ENCODINGS[values["media-encoding"]], values["sample-rate"], channels=2 if split else 1
        ),
        split_channels=split,
        session_id=values.get("session-id"),
        resume_window=values.get("session-resume-window"),
        stability=_stability(
            values.get("enable-partial-results-stabilization"), values.get("partial-results-stability")
        ),
        vocabulary_filter=None if _FILTERS[0] in features else words,
        spoken=_FORMAT not in features and _spoken(values.get(_FORMAT), language),
        asked={name: text for name, text in echo.items() if name in features and values[name] is not False},
        echo=echo,
    )


def _read(name: str, text: str, features: Collection[str]) -> Any:
    parameter = PARAMETERS.get(name)
    if parameter is None:
        raise BadRequest(f"There is no parameter {shown(name)}. Check its spelling, or leave it out.")
    value = parameter.read(text)
    if value is None:
        raise BadRequest(f"{name} is {shown(text)}. It may be: {parameter.plain_values}.")
    # Some SDKs send every switch, also those that nobody has touched.
    if parameter.lacking is not None and name not in features and value is not False:
        raise BadRequest(f"{name} is not possible here. {parameter.lacking}")
    return value


def _language(values: Mapping[str, Any], languages: Sequence[str], features: Collection[str]) -> str | None:
    code: str | None = values.get("language-code")
    identified = [name for name in _IDENTIFYING if values.get(name)]
    if len(identified) + (code is not None) > 1:
        raise BadRequest(f"Send one of language-code, {' and '.join(_IDENTIFYING)}.")
    if identified:
        return None
    known = None if code is None else in_any_case(code, languages)
    if known is None:
        problem = (
            "is missing" if code is None else f"is {shown(code)}, which this engine does not recognise"
        )
        or_else = f", or send {_IDENTIFYING[0]}=true" if _IDENTIFYING[0] in features else ""
        raise BadRequest(f"language-code {problem}. Ask for {one_of(languages)}{or_else}.")
    return known


def _channels(split: bool | None, number: int | None) -> bool:
    if split and number is None:
        raise BadRequest("enable-channel-identification needs number-of-channels=2.")
    if number is not None and not split:
        raise BadRequest(
            "number-of-channels needs enable-channel-identification=true. For one channel leave it out."
        )
    return bool(split)


def _stability(enabled: bool | None, level: str | None) -> str | None:
    if level is not None and not enabled:
        raise BadRequest("partial-results-stability needs enable-partial-results-stabilization=true.")
    return (level or _LEVELS[0]) if enabled else None


def _vocabulary_filter(name: str | None, names: str | None, method: str | None) -> VocabularyFilter | None:
    if name is not None and names is not None:
        raise BadRequest("Send vocabulary-filter-name or vocabulary-filter-names, not both.")
    found = tuple(filter(None, (names or name or "").split(",")))
    if not found and (names is not None or method is not None):
        raise BadRequest("vocabulary-filter-method needs a filter: send vocabulary-filter-name.")
    return VocabularyFilter(found, method or _METHODS[0]) if found else None


def _spoken(form: str | None, language: str | None) -> bool:
    if form != "spoken":
        return False
    if language is None or not language.lower().startswith("en"):
        raise BadRequest(
            f"{_FORMAT}=spoken is for English alone here. Leave it out, or send an English language-code."
        )
    return True


def in_any_case(name: str, names: Iterable[str]) -> str | None:
    """A name as it stands among the names, whatever its case; None where it does not."""
    return next((each for each in names if each.lower() == name.lower()), None)


def one_of(names: Sequence[str]) -> str:
    """Names to choose from, for a message."""
    return " or ".join(names) if len(names) <= _NAMED else f"one of: {', '.join(names)}"
