from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.engines.base import Effort, Hypothesis
from transcribed.engines.failover.splice import Splice
from transcribed.engines.testing.levels import LevelEngine, LevelScript, LevelStream, level
from transcribed.options import StreamOptions
from transcribed.transcript import Word

WITHIN = 1.5 / SAMPLE_RATE
KEPT = 0.25
"""Seconds of silence, more than the recogniser's longest window."""


def spoken(spans: Sequence[tuple[int, int]]) -> Samples:
    """Levels and samples."""
    return np.concatenate([silence(0), *(level(number, length / SAMPLE_RATE) for number, length in spans)])


def new_stream() -> LevelStream:
    return LevelEngine(LevelScript(levels=("one", "two", "three"))).open(StreamOptions())


def said_by(stream: LevelStream, steps: int = 1_000_000) -> Iterator[Hypothesis]:
    while steps and stream.next_step() is not None:
        yield from stream.step(Effort.ALONE)
        steps -= 1


def finals(said: Sequence[Hypothesis]) -> list[tuple[int, str]]:
    return [(h.segment, h.text) for h in said if h.final]


def times(said: Sequence[Hypothesis]) -> list[float]:
    finals = [h for h in said if h.final]
    words = [t for h in finals for w in h.words for t in (w.start, w.end) if t is not None]
    return words + [t for h in finals for t in (h.start, h.end)]


spans = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9_000)), max_size=16)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(1, 12_000)),
        st.tuples(st.just("go"), st.integers(1, 12_000)),
        st.tuples(st.just("say"), st.integers(1, 8)),
        st.tuples(st.just("change"), st.just(0)),
        st.tuples(st.just("flush"), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=500)
@given(spans, operations)
def test_streams_may_change_at_any_moment(
    spans: list[tuple[int, int]], operations: list[tuple[str, int]]
) -> None:
    audio = spoken(spans)
    flushes: list[int] = []

    def go(samples: int) -> None:
        stream.accept(splice.take(samples / SAMPLE_RATE))
        if splice.take_flush():
            stream.flush()

    splice, stream, said = Splice(KEPT, most_held=300), new_stream(), []
    for operation, amount in operations:
        come = round(splice.received * SAMPLE_RATE)
        match operation:
            case "come":
                splice.append(audio[come : come + amount])
            case "go":
                go(amount)
            case "flush":
                flushes.append(come)
                splice.flush()
                if splice.take_flush():
                    stream.flush()
            case "say":
                said += map(splice.place, said_by(stream, amount))
                if stream.next_step() is None:
                    splice.forget_silence()
            case "change":
                unsent = splice.unsent
                again = splice.begin()
                assert splice.unsent == pytest.approx(unsent + again)
                stream = new_stream()
    splice.append(audio[round(splice.received * SAMPLE_RATE) :])
    while splice.unsent:
        go(3_600 * SAMPLE_RATE)
    stream.finish()
    said += map(splice.place, said_by(stream))
    assert splice.unsent == 0
    assert splice.leftover() is None

    whole = new_stream()
    for start, end in pairwise([0, *flushes, len(audio)]):
        whole.accept(audio[start:end])
        if end < len(audio):
            whole.flush()
    whole.finish()
    undisturbed = list(said_by(whole))
    assert finals(said) == finals(undisturbed)
    assert times(said) == pytest.approx(times(undisturbed), abs=WITHIN)
    ended = 0
    for hypothesis in said:
        assert hypothesis.segment == ended
        ended += hypothesis.final


def test_audio_is_the_same_each_time() -> None:
    audio = np.array([0, 1, -1, 1.5, -1.5, 0.3, 1e-5], np.float32)
    splice = Splice(30, 300)
    splice.append(audio)
    first = splice.take(1)
    assert first == pytest.approx(np.clip(audio, -1, 1), abs=1 / 32_768)
    assert splice.begin() == len(audio) / SAMPLE_RATE
    assert (splice.take(1) == first).all()
    assert len(splice.take(1)) == 0


def test_words_without_times_are_left_as_they_are() -> None:
    splice = Splice(30, 300)
    splice.append(silence(2))
    splice.take(2)
    splice.place(Hypothesis(0, 0, 1.0, "a", final=True))
    splice.begin()
    placed = splice.place(Hypothesis(0, 0.25, 0.5, "b c", False, (Word("b"), Word("c", 0.25, 0.5))))
    assert placed == Hypothesis(1, 1.25, 1.5, "b c", False, (Word("b"), Word("c", 1.25, 1.5)))


def test_a_final_that_ends_behind_the_audio_takes_none_that_is_to_be_sent() -> None:
    splice = Splice(30, 300)
    splice.append(silence(2))
    splice.take(1)
    splice.place(Hypothesis(0, 0, 1.2, "a", final=True))
    assert splice.start == 1
    assert not splice.is_complete
    splice.take(1)
    splice.place(Hypothesis(1, 1.5, 7, "b", final=True))
    assert splice.is_complete


def test_what_is_held_is_bounded() -> None:
    splice = Splice(30, 300)
    second, held = silence(1), []
    for _ in range(1_000):
        splice.append(second)
        splice.take(1)
        splice.forget_silence()
        held.append(splice.received - splice.start)
    assert max(held) == 30
    splice.place(Hypothesis(0, 990, 999, "a", final=False))
    for _ in range(1_000):
        splice.append(second)
        splice.take(1)
        splice.forget_silence()
        held.append(splice.received - splice.start)
    assert max(held) == 300
    # What no stream has had yet is not dropped: times would not be right behind it.
    splice.append(silence(1_000))
    assert splice.unsent == 1_000


def test_a_partial_of_which_nothing_is_left_ends_empty() -> None:
    splice = Splice(30, 300)
    splice.append(silence(2))
    splice.take(2)
    partial = Hypothesis(0, 0.5, 1, "a", False, (Word("a", 0.5, 1),))
    splice.place(partial)
    assert splice.is_open
    splice.begin()
    assert not splice.is_open
    assert splice.leftover() == Hypothesis(0, 0.5, 1, "", True)
