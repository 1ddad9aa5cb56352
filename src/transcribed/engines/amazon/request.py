"""The request for a stream, without its signature: endpoint and parameters. Pure."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.engines.amazon.settings import FEATURES, AmazonSettings
from transcribed.errors import ConfigurationError
from transcribed.options import FilterMethod, Stability, StreamOptions
from transcribed.wire.eventstream import encode

PATH = "/stream-transcription-websocket"
_PORT = 8443
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_IDENTIFICATION = ("identify-language", "identify-multiple-languages")
_LANGUAGE_FAMILY = (*_IDENTIFICATION, "language-options", "preferred-language")
_VOCABULARIES = ("vocabulary-name", "vocabulary-names")
_FILTERS = ("vocabulary-filter-name", "vocabulary-filter-names")
_PERSONAL = ("content-redaction-type", "content-identification-type", "pii-entity-types")
_STABILIZATION = "enable-partial-results-stabilization"
_STABILITY = "partial-results-stability"
_METHOD = "vocabulary-filter-method"
_AUDIO_EVENT = {
    ":event-type": "AudioEvent",
    ":message-type": "event",
    ":content-type": "application/octet-stream",
}


def amazon_endpoint(region: str, domain: str) -> str:
    """Return Amazon's endpoint in a region; `domain` is the DNS suffix of the region's partition."""
    return f"https://transcribestreaming.{region}.{domain}:{_PORT}{PATH}"


def endpoint_at(url: str) -> str:
    """Return the endpoint at a base URL, such as the value of AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING.

    The default port for TLS is 8443, as in Amazon's SDKs. Raises ConfigurationError for an invalid URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"The endpoint {url!r} is not a URL: {error}.") from None
    scheme = _SCHEMES.get(parts.scheme.lower())
    if scheme is None or not parts.hostname:
        raise ConfigurationError(
            f"The endpoint {url!r} is not the URL of a server. Give one such as https://localhost:8443."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is None and scheme == "https":
        port = _PORT
    place = host if port is None else f"{host}:{port}"
    return urlunsplit((scheme, place, parts.path.rstrip("/") + PATH, "", ""))


def with_parameters(endpoint: str, parameters: Mapping[str, str]) -> str:
    """Return the endpoint with the parameters of a stream as its query."""
    return f"{endpoint}?{urlencode(parameters, quote_via=quote, safe='-_.~')}"


def websocket(url: str) -> str:
    """Return an HTTP URL with the scheme of WebSockets: ws or wss."""
    return url.replace("http", "ws", 1)


def check_defaults(parameters: Mapping[str, str]) -> None:
    """Raise ConfigurationError for parameters that cannot be set for all streams."""
    if unknown := sorted(parameters.keys() - FEATURES - {_STABILIZATION, _STABILITY}):
        raise ConfigurationError(
            f"Amazon Transcribe cannot be asked for {', '.join(unknown)} for all streams. There are: "
            f"{', '.join(sorted(FEATURES))}."
        )


def stream_parameters(settings: AmazonSettings, options: StreamOptions) -> dict[str, str]:
    """Return all parameters of a stream. Its own options take precedence over the defaults."""
    own = {**_own_parameters(options), **options.vendor_options}
    replaced = set(_LANGUAGE_FAMILY) if options.language is not None else set()
    for family in (_LANGUAGE_FAMILY, _VOCABULARIES, (*_FILTERS, _METHOD), _PERSONAL):
        if own.keys() & set(family):
            replaced |= set(family)
    general = {name: value for name, value in settings.default_parameters.items() if name not in replaced}
    asked = {name: value for name, value in {**general, **own}.items() if value.lower() != "false"}
    if options.stability is not Stability.OFF:
        asked |= {_STABILIZATION: "true", _STABILITY: options.stability.name.lower()}
    if not identifies_language(asked):
        asked["language-code"] = options.language or settings.language
    return asked | {"media-encoding": "pcm", "sample-rate": str(SAMPLE_RATE)}


def _own_parameters(options: StreamOptions) -> dict[str, str]:
    """Return the parameters of a stream's options, except for language and stability."""
    asked: dict[str, str] = {}
    if (identification := options.language_identification) is not None:
        asked |= {
            _IDENTIFICATION[identification.several]: "true",
            "language-options": ",".join(identification.candidates),
            "preferred-language": identification.preferred or "",
        }
    # With language identification, each language may have its own list.
    several = identification is not None
    asked |= _listed(_VOCABULARIES, options.vocabularies, several=several)
    if (words := options.vocabulary_filter) is not None:
        asked |= _listed(_FILTERS, words.names, several=several)
        if words.method is not FilterMethod.MASK:
            asked[_METHOD] = words.method.value
    if (personal := options.redaction) is not None:
        asked[_PERSONAL[personal.method is FilterMethod.TAG]] = "PII"
        asked[_PERSONAL[2]] = ",".join(personal.kinds)
    asked["show-speaker-label"] = "true" if options.speaker_labels else ""
    asked["language-model-name"] = options.language_model or ""
    asked["transcript-format"] = "" if options.transcript_form is None else options.transcript_form.value
    return {name: value for name, value in asked.items() if value}


def _listed(names: tuple[str, str], listed: tuple[str, ...], *, several: bool) -> dict[str, str]:
    return {names[several or len(listed) > 1]: ",".join(listed)}


def identifies_language(parameters: Mapping[str, str]) -> bool:
    """Return whether the parameters request language identification."""
    return any(name in parameters for name in _IDENTIFICATION)


def stabilizes(parameters: Mapping[str, str]) -> bool:
    """Return whether the parameters request marks of settled words."""
    return _STABILIZATION in parameters


def audio_event(audio: bytes) -> bytes:
    """Return an AudioEvent message; an empty one ends the audio.

    In a WebSocket, messages need no signature: the URL of the connection is signed.
    """
    return encode(_AUDIO_EVENT, audio)
