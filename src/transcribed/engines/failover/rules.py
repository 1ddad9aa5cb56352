"""Decisions after a failure: what to try, and when. Pure functions (docs/decisions/0017-succession.md).

Times are readings of one clock, in seconds. `jitter` is a random number in [0, 1).
"""

import math
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from transcribed.errors import (
    AccessDenied,
    BadRequest,
    ConfigurationError,
    LimitExceeded,
    Stopping,
    TranscribedError,
)
from transcribed.options import OPTIONAL, Capabilities, FilterMethod, StreamOptions, unsupported

_DEFAULTS = StreamOptions()


@dataclass(frozen=True, slots=True)
class FailoverRules:
    """Delays, time-outs and bounds of failover, in seconds except for the numbers of tries."""

    lifetime: float | None = 3 * 3600 + 50 * 60
    """The age at which a stream of the primary engine is replaced; Amazon ends its streams after 4 h."""
    boundary: float = 30.0
    """The longest that a replacement waits for the end of a segment."""

    first_delay: float = 0.2
    """The longest delay before the first retry after a failure; it doubles with each further retry."""
    busy_delay: float = 2.0
    """The same if the engine reported that it has no capacity."""
    longest_delay: float = 10.0
    """The bound of the doubled delays."""
    tries: int = 8
    """The most retries in one outage without a fallback."""
    patience: float = 60.0
    """The longest time for those retries, from the start of the outage."""
    tries_before_fallback: int = 3
    """The most retries before the fallback takes over."""
    patience_before_fallback: float = 5.0
    """The longest time for those retries."""
    patience_opening: float = 10.0
    """The same as `patience` for the first stream, since the client can try again itself."""
    settled: float = 10.0
    """A stream that fails outside a segment after more than this time starts a new outage."""

    return_first: float = 30.0
    """The delay before the primary engine is tried again while the fallback serves; it doubles."""
    return_longest: float = 600.0
    """The bound of that delay."""

    opening: float = 10.0
    """The time-out for an engine to open a stream."""
    sending: float = 30.0
    """The time-out for the primary engine to take half a second of audio; the fallback has none."""
    last_words: float = 30.0
    """The time-out for the next event of the primary engine after it has been given all audio."""
    draining: float = 5.0
    """The time-out for the remaining events of a stream that takes no more audio."""
    closing: float = 5.0
    """The time-out for closing a stream."""

    buffered: float = 5.0
    """Unsent audio at which `send` waits."""
    silence_kept: float = 30.0
    """Sent audio kept outside segments; an engine must report a lost stream within this time."""
    most_held: float = 300.0
    """Audio kept of a segment that does not end."""


class FailureKind(Enum):
    """What a failure means for further tries."""

    LOST = auto()
    """A new stream may work at once."""
    BUSY = auto()
    """A new stream may work later."""
    REFUSED = auto()
    """A new stream would fail again; another engine may work."""
    HOPELESS = auto()
    """Any engine would fail, or should not be tried."""


def classify_failure(error: TranscribedError, *, proven: bool) -> FailureKind:
    """Return what an engine's error means. `proven`: the engine has accepted these options before."""
    match error:
        case Stopping():
            return FailureKind.HOPELESS
        case BadRequest():
            # Amazon also ends running streams with this error.
            return FailureKind.LOST if proven else FailureKind.HOPELESS
        case LimitExceeded():
            return FailureKind.BUSY
        case AccessDenied() | ConfigurationError():
            return FailureKind.REFUSED
        case _:
            return FailureKind.LOST


@dataclass(frozen=True, slots=True)
class Outage:
    """The time from a failure to the next final.

    `failures` counts failures of the primary engine. `fallback` says whether there is a fallback that has
    not failed in this outage.
    """

    since: float
    patience: float
    fallback: bool
    failures: int = 0
    last_failure: FailureKind = FailureKind.LOST

    def failed(self, kind: FailureKind) -> "Outage":
        """Return the outage after a failure of the primary engine."""
        return replace(self, failures=self.failures + 1, last_failure=kind)

    def fallback_failed(self, kind: FailureKind, *, for_now: bool = False) -> "Outage":
        """Return the outage after a failure of the fallback, which is tried again only if `for_now`."""
        if kind is FailureKind.HOPELESS:
            return replace(self, last_failure=kind)
        return replace(self, fallback=self.fallback and for_now)


@dataclass(frozen=True, slots=True)
class Retry:
    """Open a new stream of the primary engine after a delay in seconds."""

    delay: float

    def __str__(self) -> str:
        return f"tried again in {self.delay:.1f} s"


@dataclass(frozen=True, slots=True)
class FailOver:
    """Open a stream of the fallback at once."""

    def __str__(self) -> str:
        return "given to the fallback"


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the stream with the last error."""

    def __str__(self) -> str:
        return "and given up"


def decide(outage: Outage, rules: FailoverRules, now: float, jitter: float) -> Retry | FailOver | GiveUp:
    """Return what to do after the last failure.

    Retries use exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", 2015), so
    that streams that were lost together do not return together.
    """
    if outage.last_failure is FailureKind.HOPELESS:
        return GiveUp()
    if outage.last_failure is not FailureKind.REFUSED:
        tries, patience = rules.tries, outage.patience
        if outage.fallback:
            tries, patience = rules.tries_before_fallback, min(patience, rules.patience_before_fallback)
        shortest = rules.busy_delay if outage.last_failure is FailureKind.BUSY else rules.first_delay
        delay = jitter * min(rules.longest_delay, shortest * 2.0 ** max(0, outage.failures - 1))
        if outage.failures <= tries and now + delay <= outage.since + patience:
            return Retry(delay)
    return FailOver() if outage.fallback else GiveUp()


@dataclass(slots=True)
class CircuitBreaker:
    """Shared by the streams of an engine: while the engine is unreachable, new streams use the fallback.

    They are spared the wait for the engine that one stream has already tried in vain.
    """

    avoided_until: float = -math.inf
    reason: str = ""

    def unreachable(self, reason: str, rules: FailoverRules, now: float) -> None:
        """Record that no stream could be opened."""
        self.avoided_until, self.reason = now + rules.return_first, reason

    def reached(self) -> None:
        """Record that a stream was opened."""
        self.avoided_until = -math.inf


def return_delay(tries: int, rules: FailoverRules, jitter: float) -> float:
    """Return the delay before the primary engine is tried again, after a number of failed tries."""
    delay = min(rules.return_longest, rules.return_first * 2.0 ** min(tries, 30))
    return delay * (0.75 + 0.5 * jitter)


def with_general(options: StreamOptions, general: StreamOptions) -> StreamOptions:
    """Return a stream's options, completed by the `general` options of all streams."""
    for_all: dict[str, Any] = {
        name: getattr(general, name) for name in OPTIONAL if not getattr(options, name)
    }
    if options.language is not None:
        for_all.pop("language_identification", None)
    return replace(options, **for_all)


def for_fallback(
    options: StreamOptions, primary: Capabilities, fallback: Capabilities
) -> StreamOptions | None:
    """Return the options for the fallback, without those it does not support; None if it cannot be used.

    The fallback must support the language, or all candidates, at least in another regional variety. It must
    support requested filters, and redaction that removes text.
    """
    missing = unsupported(options, fallback)
    identified = options.language_identification
    candidates = identified.candidates if identified is not None else ()
    known = [
        _known(language, fallback.languages)
        for language in candidates or (options.language or primary.languages[0],)
    ]
    hidden = options.redaction is not None and options.redaction.method is not FilterMethod.TAG
    if None in known or "vocabulary_filter" in missing or (hidden and "redaction" in missing):
        return None
    without: dict[str, Any] = {name: getattr(_DEFAULTS, name) for name in missing}
    identifies = bool(candidates) and "language_identification" not in missing
    return replace(options, language=None if identifies else known[0], vendor_options={}, **without)


def _known(language: str, languages: tuple[str, ...]) -> str | None:
    same_language = [known for known in languages if known.partition("-")[0] == language.partition("-")[0]]
    return language if language in same_language else next(iter(same_language), None)
