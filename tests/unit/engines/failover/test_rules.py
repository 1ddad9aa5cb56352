from dataclasses import replace

import pytest

from transcribed.engines.base import Capabilities, StreamOptions
from transcribed.engines.failover.rules import (
    FailOver,
    FailoverRules,
    FailureKind,
    GiveUp,
    Outage,
    Retry,
    classify_failure,
    decide,
    for_fallback,
    return_delay,
    with_general,
)
from transcribed.errors import (
    AccessDenied,
    BadRequest,
    ConfigurationError,
    Disconnected,
    EngineFailure,
    InvalidSignature,
    LimitExceeded,
    Stopping,
    TranscribedError,
    Unavailable,
)

RULES = FailoverRules()
LATEST = 1 - 1e-9
"""The highest random number."""


@pytest.mark.parametrize(
    ("error", "at_first", "later"),
    [
        (Unavailable(""), FailureKind.LOST, FailureKind.LOST),
        (Disconnected(""), FailureKind.LOST, FailureKind.LOST),
        (EngineFailure(""), FailureKind.LOST, FailureKind.LOST),
        (TranscribedError(""), FailureKind.LOST, FailureKind.LOST),
        (LimitExceeded(""), FailureKind.BUSY, FailureKind.BUSY),
        (AccessDenied(""), FailureKind.REFUSED, FailureKind.REFUSED),
        (InvalidSignature(""), FailureKind.REFUSED, FailureKind.REFUSED),
        (ConfigurationError(""), FailureKind.REFUSED, FailureKind.REFUSED),
        (BadRequest(""), FailureKind.HOPELESS, FailureKind.LOST),
        (Stopping(), FailureKind.HOPELESS, FailureKind.HOPELESS),
    ],
)
def test_what_errors_mean(error: TranscribedError, at_first: FailureKind, later: FailureKind) -> None:
    assert classify_failure(error, proven=False) is at_first
    assert classify_failure(error, proven=True) is later


def _course(outage: Outage, kind: FailureKind, jitter: float, opening: float = 0.0) -> list[object]:
    """What is done where every try fails likewise, after `opening` seconds; delays as numbers."""
    now, course = outage.since, []
    while True:
        outage = outage.failed(kind)
        decision = decide(outage, RULES, now, jitter)
        if not isinstance(decision, Retry):
            return [*course, decision]
        course.append(round(decision.delay, 3))
        now += decision.delay + opening


def test_delays_double_at_most_and_end() -> None:
    alone = Outage(100.0, RULES.patience, fallback=False)
    assert _course(alone, FailureKind.LOST, 0.0) == [0.0] * 8 + [GiveUp()]
    assert _course(alone, FailureKind.LOST, LATEST) == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, GiveUp()]
    assert _course(alone, FailureKind.BUSY, LATEST) == [2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0, GiveUp()]
    assert _course(alone, FailureKind.LOST, LATEST, opening=20.0) == [0.2, 0.4, 0.8, GiveUp()]
    assert _course(alone, FailureKind.REFUSED, LATEST) == [GiveUp()]
    assert _course(alone, FailureKind.HOPELESS, LATEST) == [GiveUp()]


def test_with_another_engine_less_is_tried() -> None:
    outage = Outage(100.0, RULES.patience, fallback=True)
    assert _course(outage, FailureKind.LOST, LATEST) == [0.2, 0.4, 0.8, FailOver()]
    assert _course(outage, FailureKind.BUSY, LATEST) == [2.0, FailOver()]
    assert _course(outage, FailureKind.LOST, LATEST, opening=10.0) == [0.2, FailOver()]
    assert _course(outage, FailureKind.REFUSED, LATEST) == [FailOver()]
    assert _course(outage, FailureKind.HOPELESS, LATEST) == [GiveUp()]


def test_who_waits_for_an_answer_waits_less() -> None:
    outage = Outage(100.0, RULES.patience_opening, fallback=False)
    assert _course(outage, FailureKind.LOST, LATEST) == [0.2, 0.4, 0.8, 1.6, 3.2, GiveUp()]


def test_where_the_other_engine_fails_too_the_first_is_tried_for_longer() -> None:
    outage = Outage(100.0, RULES.patience, fallback=True)
    for _ in range(4):
        outage = outage.failed(FailureKind.LOST)
    assert decide(outage, RULES, 103.0, 0.5) == FailOver()
    outage = outage.fallback_failed(FailureKind.BUSY)
    assert decide(outage, RULES, 103.0, 0.5) == Retry(0.8)
    assert decide(outage, RULES, 161.0, 0.5) == GiveUp()
    refused = outage.failed(FailureKind.REFUSED)
    assert decide(refused, RULES, 103.0, 0.5) == GiveUp()


def test_another_engine_that_has_served_well_may_do_so_again() -> None:
    outage = Outage(100.0, RULES.patience, fallback=True).fallback_failed(FailureKind.LOST, for_now=True)
    assert decide(outage, RULES, 100.0, 0.5) == Retry(0.1)
    assert decide(outage.failed(FailureKind.REFUSED), RULES, 100.0, 0.5) == FailOver()
    stopping = outage.fallback_failed(FailureKind.HOPELESS, for_now=True)
    assert decide(stopping, RULES, 100.0, 0.5) == GiveUp()


def test_the_first_engine_is_tried_again_more_and_more_seldom() -> None:
    assert [return_delay(n, RULES, 0.5) for n in (0, 1, 4, 5, 10_000)] == [30, 60, 480, 600, 600]
    assert return_delay(0, RULES, 0.0) == 22.5
    assert return_delay(0, RULES, LATEST) == pytest.approx(37.5)


FIRST = Capabilities("first", ("de-DE", "en-GB"), frozenset({"a", "b"}))
FALLBACK = Capabilities("fallback", ("en-US", "en-AU"), frozenset({"a"}))


def test_the_fallback_is_asked_for_what_it_has() -> None:
    asked = {"a": "1", "b": "2"}
    english = StreamOptions(language="en-GB", asked=asked)
    assert for_fallback(english, FIRST, FALLBACK) == StreamOptions(language="en-US", asked={"a": "1"})
    australian = StreamOptions(language="en-AU")
    assert for_fallback(australian, FIRST, FALLBACK) == australian


def test_a_fallback_that_does_not_know_the_language_is_of_no_use() -> None:
    assert for_fallback(StreamOptions(), FIRST, FALLBACK) is None
    assert for_fallback(StreamOptions(language="fr-FR"), FIRST, FALLBACK) is None


def test_where_the_language_is_to_be_found_out_all_must_be_known() -> None:
    asked = {"identify-language": "true", "language-options": "en-GB,en-AU"}
    either = for_fallback(StreamOptions(asked=asked), FIRST, FALLBACK)
    assert either == StreamOptions(language="en-US")
    asked["language-options"] = "en-GB,de-DE"
    assert for_fallback(StreamOptions(asked=asked), FIRST, FALLBACK) is None
    can = replace(FALLBACK, languages=("en-US", "de-DE"), features=frozenset(asked))
    assert for_fallback(StreamOptions(asked=asked), FIRST, can) == StreamOptions(asked=asked)


@pytest.mark.parametrize(
    "name", ["content-redaction-type", "vocabulary-filter-name", "vocabulary-filter-names"]
)
def test_nothing_is_shown_that_must_not_be(name: str) -> None:
    options = StreamOptions(language="en-US", asked={name: "x"})
    assert for_fallback(options, FIRST, FALLBACK) is None
    can = replace(FALLBACK, features=frozenset({name}))
    assert for_fallback(options, FIRST, can) == options


def test_what_is_asked_of_all_streams_is_asked_of_each() -> None:
    general = {"vocabulary-name": "ours", "language-options": "de-DE,fr-FR"}
    own = {"vocabulary-name": "mine", "show-speaker-label": "true"}
    assert with_general(StreamOptions(), general).asked == general
    assert with_general(StreamOptions(asked=own), general).asked == general | own
    assert with_general(StreamOptions(language="en-US"), general).asked == {"vocabulary-name": "ours"}


def test_a_fallback_shows_nothing_that_was_to_be_taken_out_of_all_streams() -> None:
    first, fallback = Capabilities("first", ("en-US",)), Capabilities("fallback", ("en-US",))
    asked = with_general(StreamOptions(), {"content-redaction-type": "PII"})
    assert for_fallback(asked, first, fallback) is None
