from dataclasses import replace
from typing import Any

import pytest

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
from transcribed.options import (
    Capabilities,
    FilterMethod,
    LanguageIdentification,
    Redaction,
    StreamOptions,
    VocabularyFilter,
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


FIRST = Capabilities("first", ("de-DE", "en-GB"), vocabularies=True, speaker_labels=True)
FALLBACK = Capabilities("fallback", ("en-US", "en-AU"), vocabularies=True)


def test_the_fallback_is_asked_for_what_it_has() -> None:
    english = StreamOptions(
        language="en-GB",
        vocabularies=("ours",),
        speaker_labels=True,
        language_model="law",
        vendor_options={"a": "first's own"},
    )
    assert for_fallback(english, FIRST, FALLBACK) == StreamOptions(language="en-US", vocabularies=("ours",))
    australian = StreamOptions(language="en-AU")
    assert for_fallback(australian, FIRST, FALLBACK) == australian


def test_a_fallback_that_does_not_know_the_language_is_of_no_use() -> None:
    assert for_fallback(StreamOptions(), FIRST, FALLBACK) is None
    assert for_fallback(StreamOptions(language="fr-FR"), FIRST, FALLBACK) is None


def test_where_the_language_is_to_be_found_out_all_must_be_known() -> None:
    either = StreamOptions(language_identification=LanguageIdentification(("en-GB", "en-AU")))
    assert for_fallback(either, FIRST, FALLBACK) == StreamOptions(language="en-US")
    other = StreamOptions(language_identification=LanguageIdentification(("en-GB", "de-DE")))
    assert for_fallback(other, FIRST, FALLBACK) is None
    can = replace(FALLBACK, languages=("en-US", "de-DE"), language_identification=True)
    assert for_fallback(other, FIRST, can) == other


@pytest.mark.parametrize(
    "hidden", [{"redaction": Redaction(("NAME",))}, {"vocabulary_filter": VocabularyFilter(("rude",))}]
)
def test_nothing_is_shown_that_must_not_be(hidden: dict[str, Any]) -> None:
    options = StreamOptions(language="en-US", **hidden)
    assert for_fallback(options, FIRST, FALLBACK) is None
    can = replace(FALLBACK, **dict.fromkeys(hidden, True))
    assert for_fallback(options, FIRST, can) == options


def test_what_is_only_found_may_be_done_without() -> None:
    found = StreamOptions(language="en-US", redaction=Redaction(method=FilterMethod.TAG))
    assert for_fallback(found, FIRST, FALLBACK) == StreamOptions(language="en-US")


def test_what_is_asked_of_all_streams_is_asked_of_each() -> None:
    german = LanguageIdentification(("de-DE", "fr-FR"))
    general = StreamOptions(vocabularies=("ours",), language_identification=german)
    own = StreamOptions(vocabularies=("mine",), speaker_labels=True)
    assert with_general(StreamOptions(), general) == general
    assert with_general(own, general) == replace(own, language_identification=german)
    english = StreamOptions(language="en-US")
    assert with_general(english, general) == replace(english, vocabularies=("ours",))


def test_a_fallback_shows_nothing_that_was_to_be_taken_out_of_all_streams() -> None:
    first, fallback = Capabilities("first", ("en-US",)), Capabilities("fallback", ("en-US",))
    asked = with_general(StreamOptions(), StreamOptions(redaction=Redaction()))
    assert for_fallback(asked, first, fallback) is None
