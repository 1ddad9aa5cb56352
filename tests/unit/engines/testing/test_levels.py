from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.engines.base import Effort, Hypothesis
from transcribed.engines.testing.levels import LevelEngine, LevelScript, level
from transcribed.options import Stability, StreamOptions

WORDS = ("one", "two", "three")


def spoken(*spans: tuple[int, float]) -> Samples:
    """Levels and seconds."""
    parts = [level(number, seconds) for number, seconds in spans]
    return np.concatenate([silence(0), *parts])


def heard(audio: Samples, cuts: Iterable[int] = (), **options: Any) -> list[Hypothesis]:
    stream = LevelEngine(LevelScript(levels=WORDS)).open(StreamOptions(**options))
    said: list[Hypothesis] = []
    for start, end in pairwise(sorted({0, *cuts, len(audio)})):
        stream.accept(audio[start:end])
        while stream.next_step() is not None:
            said += stream.step(Effort.ALONE)
    stream.finish()
    while stream.next_step() is not None:
        said += stream.step(Effort.ALONE)
    assert stream.backlog == 0
    assert stream.recognised == len(audio) / SAMPLE_RATE
    return said


def finals(said: Sequence[Hypothesis]) -> list[tuple[int, float, float, str]]:
    return [(h.segment, h.start, h.end, h.text) for h in said if h.final]


def test_levels_are_words_and_a_pause_ends_a_segment() -> None:
    audio = spoken((0, 0.5), (1, 0.2), (2, 0.2), (0, 0.1), (2, 0.1), (0, 0.3), (3, 0.02))
    said = heard(audio)
    assert finals(said) == [(0, 0.5, 1.1, "one two two"), (1, 1.4, 1.42, "three")]
    assert [(w.text, w.start, w.end) for h in said if h.final for w in h.words] == [
        ("one", 0.5, 0.7),
        ("two", 0.7, 0.9),
        ("two", 1.0, 1.1),
        ("three", 1.4, 1.42),
    ]
    assert [h.text for h in said if not h.final] == ["one", "one two", "one two two"]


def test_negative_samples_have_a_level_too_and_what_is_short_or_too_loud_is_none() -> None:
    audio = np.concatenate([-spoken((2, 0.1)), spoken((0, 0.1), (1, 0.019), (4, 0.3), (255, 0.3))])
    assert finals(heard(audio)) == [(0, 0.0, 0.1, "two")]


def test_a_word_is_stable_when_it_is_over() -> None:
    said = heard(spoken((1, 0.2), (2, 0.2)), stability=Stability.HIGH)
    marks = [[word.stable for word in h.words] for h in said]
    assert marks == [[False], [True, False], [True, True]]
    assert {word.stable for h in heard(spoken((1, 0.2))) for word in h.words} == {None}


def test_who_asks_for_no_partials_gets_none() -> None:
    said = heard(spoken((1, 0.5), (0, 1.0), (2, 0.5)), partials=False)
    assert [(h.text, h.final) for h in said] == [("one", True), ("two", True)]


spans = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6_000)), max_size=12)


@given(spans, st.lists(st.integers(1, 40_000), max_size=10))
def test_how_the_audio_is_cut_changes_nothing(spans: list[tuple[int, int]], cuts: list[int]) -> None:
    audio = spoken(*((level, samples / SAMPLE_RATE) for level, samples in spans))
    cut = heard(audio, [at for at in cuts if at < len(audio)])
    assert cut == heard(audio)
    assert all(h.start < h.end <= len(audio) / SAMPLE_RATE for h in cut)


@given(spans)
def test_what_comes_after_a_final_does_not_depend_on_what_came_before(spans: list[tuple[int, int]]) -> None:
    audio = spoken(*((level, samples / SAMPLE_RATE) for level, samples in spans))
    said = finals(heard(audio))
    for number, (_, _, end, _) in enumerate(said):
        at = round(end * SAMPLE_RATE)
        rest = finals(heard(audio[at:]))
        moved = [(segment + number + 1, start + end, stop + end) for segment, start, stop, _ in rest]
        assert [text for *_, text in rest] == [text for *_, text in said[number + 1 :]]
        assert moved == [pytest.approx(times) for *times, _ in said[number + 1 :]]


@given(spans, st.lists(st.integers(0, 40_000), max_size=4))
def test_wherever_a_flush_falls_the_words_of_both_parts_come(
    spans: list[tuple[int, int]], flushes: list[int]
) -> None:
    audio = spoken(*((level, samples / SAMPLE_RATE) for level, samples in spans))
    places = sorted({at for at in flushes if at <= len(audio)})
    stream = LevelEngine(LevelScript(levels=WORDS)).open(StreamOptions())
    said: list[Hypothesis] = []
    for start, end in pairwise([0, *places]):
        stream.accept(audio[start:end])
        stream.flush()
    stream.accept(audio[max([0, *places]) :])
    stream.finish()
    while stream.next_step() is not None:
        said += stream.step(Effort.ALONE)
    parts = [(start, heard(audio[start:end])) for start, end in pairwise([0, *places, len(audio)])]
    apart = [(h.text, h.start + start / SAMPLE_RATE) for start, part in parts for h in part if h.final]
    assert [(h.text, h.start) for h in said if h.final] == [
        (text, pytest.approx(start)) for text, start in apart
    ]
