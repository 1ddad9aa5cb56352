from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate, pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transcribed.recognition.endpointing import (
    Boundary,
    Endpointer,
    EndpointingRules,
    SegmentClosed,
    SegmentOpened,
    SegmentPaused,
)
from transcribed.recognition.vad import WINDOW

SPEECH, SILENCE = 1.0, 0.0
RULES = EndpointingRules(
    endpoint_silence=0.6,
    pause=0.2,
    longest_segment=15.0,
    onset=0.064,
    onset_probability=0.8,
    padding_before=0.5,
    padding_after=0.2,
)
BEFORE, AFTER = 8_000, 3_200


def _windows(seconds: float) -> int:
    return round(seconds * 16_000 / WINDOW)


def _run(
    windows: Iterable[tuple[float, float]], rules: EndpointingRules = RULES, spare: int = 0
) -> list[tuple[int, Boundary]]:
    """Each boundary and the position it was found at; the stream ends `spare` samples short of a window."""
    endpointer = Endpointer(rules)
    found: list[tuple[int, Boundary]] = []
    position = 0
    for probability, level in windows:
        position += WINDOW
        boundary = endpointer.push(probability, level)
        if boundary is not None:
            found.append((position, boundary))
    closed = endpointer.finish(position - spare)
    return found if closed is None else [*found, (position, closed)]


def _said(*spans: tuple[float, int]) -> list[tuple[float, float]]:
    """(probability, how many windows), with a level that follows the probability."""
    return [(probability, probability) for probability, count in spans for _ in range(count)]


def _boundaries(*spans: tuple[float, int], rules: EndpointingRules = RULES) -> list[Boundary]:
    return [boundary for _, boundary in _run(_said(*spans), rules)]


# --- Opening


def test_silence_opens_nothing() -> None:
    assert _boundaries((SILENCE, 1_000)) == []


def test_a_click_opens_nothing() -> None:
    assert _boundaries((SILENCE, 20), (SPEECH, 1), (SILENCE, 20), (SPEECH, 1), (SILENCE, 20)) == []


def test_opens_after_the_onset_a_little_before_the_speech() -> None:
    found = _run(_said((SILENCE, 20), (SPEECH, 2)))
    assert found[0] == (22 * WINDOW, SegmentOpened(20 * WINDOW - BEFORE))


def test_what_is_never_certain_opens_nothing() -> None:
    assert _boundaries((SILENCE, 20), (0.79, 100), (SILENCE, 20)) == []


def test_certainty_may_come_anywhere_in_the_first_run_of_speech() -> None:
    found = _run(_said((SILENCE, 20), (0.6, 10), (0.8, 1), (0.6, 10)))
    assert found[0] == (31 * WINDOW, SegmentOpened(20 * WINDOW - BEFORE))
    assert _boundaries((SILENCE, 20), (0.6, 10), (SILENCE, 1), (0.8, 1), (SILENCE, 20)) == []


def test_long_doubt_is_not_kept_for_ever() -> None:
    found = _run(_said((SILENCE, 20), (0.6, 600), (SPEECH, 1)), replace(RULES, longest_uncertain=1.0))
    assert found[0] == (621 * WINDOW, SegmentOpened(621 * WINDOW - 16_000 - BEFORE))


def test_opens_no_earlier_than_the_stream() -> None:
    assert _boundaries((SPEECH, 2))[0] == SegmentOpened(0)


# --- Pausing and closing


def test_pauses_once_then_closes_after_the_silence_and_keeps_the_padding() -> None:
    found = _run(_said((SILENCE, 20), (SPEECH, 30), (SILENCE, 40)))
    spoken_until = 50 * WINDOW
    end = spoken_until + AFTER
    assert found[1:] == [
        (spoken_until + 7 * WINDOW, SegmentPaused(end)),
        (spoken_until + 19 * WINDOW, SegmentClosed(20 * WINDOW - BEFORE, end, speech=30 * WINDOW)),
    ]
    assert 6 * WINDOW < 0.2 * 16_000 <= 7 * WINDOW
    assert 18 * WINDOW < 0.6 * 16_000 <= 19 * WINDOW


def test_a_voice_that_goes_on_keeps_the_segment_open_and_may_pause_again() -> None:
    found = _boundaries((SPEECH, 30), (SILENCE, 10), (SPEECH, 20), (SILENCE, 10), (SPEECH, 20))
    assert [type(boundary) for boundary in found] == [
        SegmentOpened,
        SegmentPaused,
        SegmentPaused,
        SegmentClosed,
    ]
    assert found[-1] == SegmentClosed(0, 90 * WINDOW, speech=70 * WINDOW)


@pytest.mark.parametrize("silence", [0.3, 0.6, 1.2])
def test_the_silence_that_closes_is_the_rules(silence: float) -> None:
    found = _run(_said((SPEECH, 30), (SILENCE, 60)), replace(RULES, endpoint_silence=silence))
    position = next(position for position, boundary in found if isinstance(boundary, SegmentClosed))
    assert position - 30 * WINDOW == pytest.approx(silence * 16_000, abs=WINDOW)


def test_the_longer_the_segment_the_shorter_the_silence_that_closes_it() -> None:
    needed = []
    for seconds in (2.0, 7.0, 9.0, 11.0, 13.0, 14.5):
        spoken = _windows(seconds)
        found = _run(_said((SPEECH, spoken), (SILENCE, 25)))
        position = next(position for position, boundary in found if isinstance(boundary, SegmentClosed))
        needed.append(position // WINDOW - spoken)
    assert needed == sorted(needed, reverse=True)
    assert needed[0] == needed[1] == 19
    assert needed[-1] in {7, 8}
    assert len(set(needed)) >= 4


def test_a_segment_starts_no_earlier_than_the_one_before_it_ended() -> None:
    rules = replace(RULES, endpoint_silence=0.2)
    found = _boundaries((SPEECH, 30), (SILENCE, 7), (SPEECH, 30), rules=rules)
    closed, opened = found[1], found[2]
    assert isinstance(closed, SegmentClosed)
    assert opened == SegmentOpened(closed.end)


# --- Cutting


def test_cuts_running_speech_at_the_quietest_recent_window() -> None:
    windows = _said((SPEECH, 500))
    quiet = _windows(13.0)
    windows[quiet] = (SPEECH, 0.1)
    windows[_windows(5.0)] = (SPEECH, 0.0)  # Too long ago.
    found = _run(windows)
    cut = quiet * WINDOW + WINDOW // 2
    position, closed = found[1]
    assert isinstance(closed, SegmentClosed)
    assert (position, closed.start, closed.end) == (_windows(15.0) * WINDOW, 0, cut)
    assert isinstance(found[-1][1], SegmentClosed)
    assert found[-1][1].start == cut


def test_cuts_at_the_latest_of_equally_quiet_windows_before_the_newest() -> None:
    found = _run(_said((SPEECH, 500)))
    closed = found[1][1]
    assert isinstance(closed, SegmentClosed)
    assert closed.end == _windows(15.0) * WINDOW - WINDOW - WINDOW // 2


def test_a_cut_in_silence_leaves_nothing_open() -> None:
    found = _boundaries((SPEECH, _windows(15.0) - 5), (SILENCE, 40))
    assert [type(boundary) for boundary in found] == [SegmentOpened, SegmentClosed]


def test_after_a_cut_silence_closes_as_ever() -> None:
    found = _boundaries((SPEECH, _windows(15.0) + 30), (SILENCE, 40))
    cut, paused, closed = found[1], found[2], found[3]
    assert isinstance(cut, SegmentClosed)
    end = (_windows(15.0) + 30) * WINDOW + AFTER
    assert paused == SegmentPaused(end)
    assert isinstance(closed, SegmentClosed)
    assert (closed.start, closed.end) == (cut.end, end)


# --- Finishing


def test_the_end_of_the_stream_closes_what_is_open() -> None:
    endpointer = Endpointer(RULES)
    for _ in range(20):
        endpointer.push(SPEECH, 1)
    assert endpointer.finish(20 * WINDOW - 100) == SegmentClosed(0, 20 * WINDOW - 100, speech=20 * WINDOW)
    assert endpointer.start is None


def test_the_end_of_the_stream_closes_nothing_where_nothing_is_open() -> None:
    assert Endpointer(RULES).finish(0) is None


# --- In all cases

_PROBABILITY = st.sampled_from([0.0, 0.3, 0.4, 0.6, 1.0])
_SPANS = st.lists(st.tuples(_PROBABILITY, st.integers(1, 80)), min_size=1, max_size=15)
_SHORT_RULES = st.builds(
    EndpointingRules,
    endpoint_silence=st.sampled_from([0.2, 0.6, 1.0]),
    pause=st.just(0.2),
    longest_segment=st.sampled_from([2.0, 3.0, 5.0]),
    onset=st.sampled_from([0.032, 0.064, 0.2]),
    onset_probability=st.sampled_from([0.5, 0.8]),
    padding_before=st.sampled_from([0.0, 0.1, 0.8]),
    padding_after=st.sampled_from([0.0, 0.1, 0.2]),
)


@settings(max_examples=200)
@given(_SPANS, _SHORT_RULES, st.builds(Random, st.integers()), st.integers(0, WINDOW - 1))
def test_segments_hold_all_speech_in_order_once_and_nothing_else(
    spans: list[tuple[float, int]], rules: EndpointingRules, levels: Random, spare: int
) -> None:
    # What is hardly speech is hardly loud.
    windows = [(probability, probability + 0.1 * levels.random()) for probability, _ in _said(*spans)]
    found = [boundary for _, boundary in _run(windows, rules, spare)]
    closed = [boundary for boundary in found if isinstance(boundary, SegmentClosed)]
    end = len(windows) * WINDOW - spare

    for segment in closed:
        assert 0 <= segment.start < segment.end <= end
        assert segment.end - segment.start <= rules.longest_segment * 16_000 + WINDOW
    for one, following in pairwise(closed):
        assert one.end <= following.start

    speech, certain = _speech([probability for probability, _ in windows], rules)
    held = np.zeros(end, bool)
    for segment in closed:
        held[segment.start : segment.end] = True
    for start in certain:
        assert held[start : start + WINDOW].all(), "speech that no segment holds"
    spoken = np.zeros(end, bool)
    for start in speech:
        spoken[start : start + WINDOW] = True
    for segment in closed:
        assert spoken[segment.start : segment.end].any(), "a segment of silence"


def _speech(probabilities: list[float], rules: EndpointingRules) -> tuple[list[int], list[int]]:
    """Where windows of speech begin: all of them, and those in runs that open a segment by themselves."""
    runs: list[list[int]] = [[]]
    is_open = False
    for number, probability in enumerate(probabilities):
        is_open = probability >= (0.35 if is_open else 0.5)
        if is_open:
            runs[-1].append(number)
        elif runs[-1]:
            runs.append([])
    onset = max(1, round(rules.onset * 16_000 / WINDOW))
    certain = []
    for run in runs:
        peaks = accumulate((probabilities[n] for n in run), max)
        opening = [
            n
            for count, (n, peak) in enumerate(zip(run, peaks, strict=True), 1)
            if count >= onset and peak >= rules.onset_probability
        ]
        if opening:
            kept_from = (opening[0] + 1) * WINDOW - round(rules.longest_uncertain * 16_000)
            certain += [n * WINDOW for n in run if n * WINDOW >= kept_from]
    return [n * WINDOW for run in runs for n in run], certain


# --- A flush


def _flushed(
    probabilities: list[float], flushes: list[int], rules: EndpointingRules = RULES
) -> list[SegmentClosed]:
    """Flushed at these samples, of windows of these probabilities; the stream ends with the last window."""
    endpointer = Endpointer(rules)
    closed: list[Boundary | None] = []
    for number, probability in enumerate(probabilities):
        closed += [endpointer.flush(at) for at in flushes if number * WINDOW <= at < (number + 1) * WINDOW]
        closed.append(endpointer.push(probability, probability))
    closed.append(endpointer.finish(len(probabilities) * WINDOW))
    return [boundary for boundary in closed if isinstance(boundary, SegmentClosed)]


def test_a_flush_cuts_running_speech_exactly_and_the_next_segment_starts_there() -> None:
    at = 30 * WINDOW + 100
    first, second = _flushed([SILENCE] * 20 + [SPEECH] * 30 + [SILENCE] * 40, [at])
    assert (first.end, second.start) == (at, at)
    assert second.end == 50 * WINDOW + AFTER


def test_a_flush_in_a_pause_closes_what_was_said() -> None:
    (closed,) = _flushed([SPEECH] * 20 + [SILENCE] * 40, [22 * WINDOW + 7])
    assert closed.end == 22 * WINDOW
    (closed,) = _flushed([SPEECH] * 20 + [SILENCE] * 40, [30 * WINDOW])
    assert closed.end == 20 * WINDOW + AFTER


def test_a_flush_where_nothing_is_open_closes_nothing() -> None:
    assert _flushed([SILENCE] * 20, [0, 5 * WINDOW]) == []


def test_the_end_of_a_word_that_a_flush_cut_is_no_segment() -> None:
    assert len(_flushed([SPEECH] * 23 + [SILENCE] * 40, [20 * WINDOW])) == 1
    assert len(_flushed([SPEECH] * 24 + [SILENCE] * 40, [20 * WINDOW])) == 2


def test_speech_that_goes_on_behind_a_flush_need_not_be_certain_again() -> None:
    assert len(_flushed([SPEECH] * 10 + [0.6] * 20 + [SILENCE] * 40, [12 * WINDOW])) == 2


@given(_SPANS, _SHORT_RULES, st.lists(st.integers(0, 100 * WINDOW), max_size=4, unique=True))
def test_flushes_lose_no_speech_that_a_segment_would_hold(
    spans: list[tuple[float, int]], rules: EndpointingRules, flushes: list[int]
) -> None:
    probabilities = [probability for probability, _ in _said(*spans)]
    held = np.zeros((len(probabilities) + 1) * WINDOW, bool)
    flushed = _flushed(probabilities, sorted(flushes), rules)
    for one, following in pairwise(flushed):
        assert one.end <= following.start
    for segment in flushed:
        held[segment.start : segment.end] = True
    runs = _long_runs(probabilities, sorted(flushes), rules)
    for start, end in runs:
        assert held[start:end].all()


def _long_runs(
    probabilities: list[float], flushes: list[int], rules: EndpointingRules
) -> list[tuple[int, int]]:
    """Speech without doubt, from end to end, in pieces that are long enough to be a segment each."""
    runs, start = [], None
    for number, probability in enumerate([*probabilities, SILENCE]):
        if probability < 1.0:
            if start is not None:
                runs.append((start * WINDOW, number * WINDOW))
            start = None
        elif start is None:
            start = number
    pieces = [
        (low, high)
        for start, end in runs
        for low, high in pairwise([start, *(at for at in flushes if start < at < end), end])
    ]
    least = round(max(rules.onset_after_flush, rules.onset) * 16_000) + 2 * WINDOW
    return [(low, high) for low, high in pieces if high - low >= least]


@given(_SPANS, _SHORT_RULES)
def test_boundaries_come_in_their_order(spans: list[tuple[float, int]], rules: EndpointingRules) -> None:
    windows = _said(*spans)
    endpointer = Endpointer(rules)
    is_open = False
    for position, (probability, level) in enumerate(windows, 1):
        match endpointer.push(probability, level):
            case SegmentOpened(start):
                assert not is_open
                assert endpointer.start == start
            case SegmentPaused(end):
                assert is_open
                assert endpointer.paused
                assert end <= position * WINDOW
            case SegmentClosed(_, end, _):
                assert is_open
                assert end <= position * WINDOW
                assert endpointer.start in {None, end}
        is_open = endpointer.start is not None


@settings(max_examples=200)
@given(_SPANS, _SHORT_RULES)
def test_no_segment_ends_earlier_than_it_would_have_while_it_could_not_be_cut(
    spans: list[tuple[float, int]], rules: EndpointingRules
) -> None:
    endpointer = Endpointer(rules)
    earliest = 0
    windows = _said(*spans)
    for position, (probability, level) in enumerate(windows, 1):
        match endpointer.push(probability, level):
            case SegmentClosed(_, end, _):
                assert end >= earliest
                earliest = 0
        start = endpointer.start
        if start is not None and position * WINDOW - start <= rules.shortest_cut * 16_000:
            assert endpointer.earliest_end >= earliest
            earliest = endpointer.earliest_end
    closed = endpointer.finish(len(windows) * WINDOW)
    assert closed is None or closed.end >= earliest
