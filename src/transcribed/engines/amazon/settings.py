"""The settings of the Amazon engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

LANGUAGES = (
    *("af-ZA", "am-ET", "ar-AE", "ar-SA", "be-BY", "bg-BG", "bn-IN", "bs-BA", "ca-ES", "ckb-IQ", "ckb-IR"),
    *("cs-CZ", "cy-WL", "da-DK", "de-CH", "de-DE", "el-GR", "en-AB", "en-AU", "en-GB", "en-IE", "en-IN"),
    *("en-NZ", "en-US", "en-WL", "en-ZA", "es-ES", "es-MX", "es-US", "et-ET", "eu-ES", "fa-AF", "fa-IR"),
    *("fi-FI", "fr-CA", "fr-FR", "gl-ES", "gu-IN", "he-IL", "hi-IN", "hr-HR", "ht-HT", "hu-HU", "hy-AM"),
    *("id-ID", "is-IS", "it-IT", "ja-JP", "jv-ID", "ka-GE", "kab-DZ", "kk-KZ", "km-KH", "kn-IN", "ko-KR"),
    *("lg-IN", "lt-LT", "lv-LV", "mk-MK", "ml-IN", "mr-IN", "ms-MY", "my-MM", "ne-NP", "nl-NL"),
    *("no-NO", "or-IN", "pa-IN", "pl-PL", "ps-AF", "pt-BR", "pt-PT", "ro-RO", "ru-RU", "si-LK", "sk-SK"),
    *("sl-SI", "so-SO", "sq-AL", "sr-RS", "su-ID", "sv-SE", "sw-BI", "sw-KE", "sw-RW", "sw-TZ", "sw-UG"),
    *("ta-IN", "te-IN", "th-TH", "tl-PH", "tr-TR", "uk-UA", "uz-UZ", "vi-VN", "zh-CN", "zh-HK"),
    *("zh-TW", "zu-ZA"),
)
"""The languages of streams, from Amazon's service model (StartStreamTranscription, LanguageCode)."""

FEATURES = frozenset(
    {
        "content-identification-type",
        "content-redaction-type",
        "identify-language",
        "identify-multiple-languages",
        "language-model-name",
        "language-options",
        "pii-entity-types",
        "preferred-language",
        "show-speaker-label",
        "transcript-format",
        "vocabulary-filter-method",
        "vocabulary-filter-name",
        "vocabulary-filter-names",
        "vocabulary-name",
        "vocabulary-names",
    }
)
"""The parameters that may be set for all streams, by their names in wire/amazon_parameters.py."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The time-outs of one connection, in seconds."""

    open: float = 10.0
    """To find credentials, connect, and complete the handshake."""
    send: float = 20.0
    """To hand a message to the system, and for the other end to acknowledge it."""
    last_words: float = 20.0
    """For the next message, or the end, after the end of the audio."""
    close: float = 5.0
    """To close the connection."""
    ping: float = 5.0
    """Between two pings."""
    pong: float = 10.0
    """For the answer to a ping, if the other end has answered one before."""


@dataclass(frozen=True, slots=True)
class AmazonSettings:
    """Where streams are sent, and their default parameters.

    - `region`, `profile`, `endpoint_url`: as for Amazon's command line; None leaves them to its environment
      variables and files.
    - `default_parameters`: parameters of all streams, by Amazon's names.
    - `speed`: how fast recordings are sent, as a multiple of real time; Amazon expects 1.
    - `silence_after`: seconds without audio after which silence is sent. Amazon ends a stream that gets no
      audio for 15 s.
    - `own_addresses`: addresses (host:port) of this server, which must not be its own upstream.
    """

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    language: str = "en-US"
    default_parameters: Mapping[str, str] = field(default_factory=dict)
    speed: float = 1.0
    silence_after: float = 5.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    own_addresses: frozenset[str] = frozenset()
