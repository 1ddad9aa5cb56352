"""What is tried after a failure, and when: pure functions (docs/decisions/0017-succession.md).

Times are readings of any one clock, in seconds. `jitter` is a random number in [0, 1).
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
from transcribed.options import OPTIONAL, Capabilities, FilterMethod, StreamOptions, lacking

_NOTHING = StreamOptions()


@dataclass(frozen=True, slots=True)
class FailoverRules:
    """When streams follow one another; all but `tries` and `tries_before_fallback` in seconds."""

    lifetime: float | None = 3 * 3600 + 50 * 60
    """After which the first engine's stream is left for a new one; Amazon ends its streams after 4 h."""
    boundary: float = 30.0
    """A new stream that is ready waits for the end of a segment, at most so long."""

    first_delay: float = 0.2
    """The most that the first try waits after a failure. Each further try may wait twice as long."""
    busy_delay: float = 2.0
    """The same where the engine said that it has no room."""
    longest_delay: float = 10.0
    """No try waits longer."""
    tries: int = 8
    """New streams that are tried in one outage,"""
    patience: float = 60.0
    """and the time from its beginning within which they are."""
    tries_before_fallback: int = 3
    """The same where another engine can take over,"""
    patience_before_fallback: float = 5.0
    """which it does after this time."""
    patience_opening: float = 10.0
    """Where no audio has come yet: who waits for an answer can try again by himself."""
    settled: float = 10.0
    """A stream that fails after more than this begins a new outage, if it was in no segment."""

    return_first: float = 30.0
    """After which the first engine is tried again while the fallback recognises,"""
    return_longest: float = 600.0
    """and then after twice that, and so on, up to this."""

    opening: float = 10.0
    """For an engine to open a stream."""
    sending: float = 30.0
    """For the first engine to take half a second of audio. The fallback's own waits are its own affair."""
    last_words: float = 30.0
    """For the first engine to say something more, or that this was all, when it has all audio."""
    draining: float = 5.0
    """For what a stream had said before it took no more audio."""
    closing: float = 5.0
    """To give a stream back."""

    buffered: float = 5.0
    """Audio that waits to be sent before its sender waits."""
    silence_kept: float = 30.0
    """Audio held where no segment is open: an engine must say sooner that it is lost."""
    most_held: float = 300.0
    """Audio held of a segment that does not end."""


class FailureKind(Enum):
    """What a failure means for the next try."""

    LOST = auto()
    """A new stream may do better at once."""
    BUSY = auto()
    """A new stream may do better later."""
    REFUSED = auto()
    """A new stream would fail likewise; another engine would not."""
    HOPELESS = auto()
    """Whoever tries would fail likewise, or should not try."""


def classify_failure(error: TranscribedError, *, proven: bool) -> FailureKind:
    """What the error of an engine means. `proven`: it has said something to what is asked of it before."""
    match error:
        case Stopping():
            return FailureKind.HOPELESS
        case BadRequest():
            # Amazon also says it of a stream that it has had enough of.
            return FailureKind.LOST if proven else FailureKind.HOPELESS
        case LimitExceeded():
            return FailureKind.BUSY
        case AccessDenied() | ConfigurationError():
            return FailureKind.REFUSED
        case _:
            return FailureKind.LOST


@dataclass(frozen=True, slots=True)
class Outage:
    """From a failure until a segment is final again.

    `failures` and `last_failure` are the first engine's; `fallback` says whether there is another one
    that has not failed in this outage.
    """

    since: float
    patience: float
    fallback: bool
    failures: int = 0
    last_failure: FailureKind = FailureKind.LOST

    def failed(self, kind: FailureKind) -> "Outage":
        """So did the first engine."""
        return replace(self, failures=self.failures + 1, last_failure=kind)

    def fallback_failed(self, kind: FailureKind, *, for_now: bool = False) -> "Outage":
        """So did the other one; `for_now`: it may do better when it is asked again."""
        if kind is FailureKind.HOPELESS:
            return replace(self, last_failure=kind)
        return replace(self, fallback=self.fallback and for_now)


@dataclass(frozen=True, slots=True)
class Retry:
    """Try a new stream of the first engine after so many seconds."""

    delay: float

    def __str__(self) -> str:
        return f"tried again in {self.delay:.1f} s"


@dataclass(frozen=True, slots=True)
class FailOver:
    """Try the fallback at once."""

    def __str__(self) -> str:
        return "given to the fallback"


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End with the last error."""

    def __str__(self) -> str:
        return "and given up"


def decide(outage: Outage, rules: FailoverRules, now: float, jitter: float) -> Retry | FailOver | GiveUp:
    """What to do after the last failure.

    Delays are random in full, from 0 to a limit that doubles (Brooker, "Exponential Backoff And Jitter",
    2015): streams that were lost together do not come back together.
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
    """What the streams of an engine share of its failures, where a fallback can take over.

    A stream that could not reach the engine spares new ones the same wait: they begin with the fallback.
    """

    avoided_until: float = -math.inf
    reason: str = ""

    def unreachable(self, reason: str, rules: FailoverRules, now: float) -> None:
        """It could not be opened."""
        self.avoided_until, self.reason = now + rules.return_first, reason

    def reached(self) -> None:
        """It could."""
        self.avoided_until = -math.inf


def return_delay(tries: int, rules: FailoverRules, jitter: float) -> float:
    """Until the first engine is tried again, after so many tries that came to nothing."""
    delay = min(rules.return_longest, rules.return_first * 2.0 ** min(tries, 30))
    return delay * (0.75 + 0.5 * jitter)


def with_general(options: StreamOptions, general: StreamOptions) -> StreamOptions:
    """What a stream is asked for where `general` is asked of all; its own wishes go before."""
    for_all: dict[str, Any] = {
        name: getattr(general, name) for name in OPTIONAL if not getattr(options, name)
    }
    if options.language is not None:
        for_all.pop("language_identification", None)
    return replace(options, **for_all)


def for_fallback(
    options: StreamOptions, first: Capabilities, fallback: Capabilities
) -> StreamOptions | None:
    """What the fallback is asked for; None where it is of no use.

    It is where it knows the language, or all that may be spoken, if not in the country's variety, and where
    nothing would be shown that must not be.
    """
    lacked = lacking(options, fallback)
    identified = options.language_identification
    candidates = identified.candidates if identified is not None else ()
    known = [
        _known(language, fallback.languages)
        for language in candidates or (options.language or first.languages[0],)
    ]
    hidden = options.redaction is not None and options.redaction.method is not FilterMethod.TAG
    if None in known or "vocabulary_filter" in lacked or (hidden and "redaction" in lacked):
        return None
    without: dict[str, Any] = {name: getattr(_NOTHING, name) for name in lacked}
    identifies = bool(candidates) and "language_identification" not in lacked
    return replace(options, language=None if identifies else known[0], vendor_options={}, **without)


def _known(language: str, languages: tuple[str, ...]) -> str | None:
    alike = [known for known in languages if known.partition("-")[0] == language.partition("-")[0]]
    return language if language in alike else next(iter(alike), None)
