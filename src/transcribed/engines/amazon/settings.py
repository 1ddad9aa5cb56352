"""What the engine can be told."""

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
"""Those of Amazon's service model for streams."""

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
"""Those of wire/amazon_parameters.py that Amazon honours, beside those that say what the audio is."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Of one connection, in seconds."""

    open: float = 10.0
    """To find credentials, connect, and be let in."""
    send: float = 20.0
    """Until a message that is being sent is on its way, and until what is on its way has arrived."""
    last_words: float = 20.0
    """After the end of the audio: for the next message, or the end."""
    close: float = 5.0
    """To part in good order."""
    ping: float = 5.0
    """Between two questions whether the other end is there."""
    pong: float = 10.0
    """For the answer, of an end that has answered before."""


@dataclass(frozen=True, slots=True)
class AmazonSettings:
    """Where the streams go, and what is asked of all of them.

    `region`, `profile` and `endpoint_url` are what they are to Amazon's command line; None leaves them to
    its environment and files. `asked` is by the names of Amazon's parameters. Recordings are sent at
    `speed` times the pace of speech: Amazon wants 1. When for `silence_after` seconds no audio has come,
    silence is sent: Amazon ends a stream that gets nothing for 15 s. `not_at` are places (host:port) that
    are no Amazon, since it is this server that is there.
    """

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    language: str = "en-US"
    asked: Mapping[str, str] = field(default_factory=dict)
    speed: float = 1.0
    silence_after: float = 5.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    not_at: frozenset[str] = frozenset()
