from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.engines.base import Effort, Hypothesis, StepKind
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.engines.segments.stream import SegmentStream
from transcribed.options import Pace, Stability, StreamOptions
from transcribed.recognition.endpointing import EndpointingRules

Read = Callable[[str], Samples]
LIVE, FAST = StreamOptions(pace=Pace.LIVE), StreamOptions(pace=Pace.FAST)
STABLE = StreamOptions(pace=Pace.LIVE, stability=Stability.HIGH)

each_pace = pytest.mark.parametrize("options", [FAST, LIVE], ids=["fast", "live"])


def _step_through(stream: SegmentStream) -> list[Hypothesis]:
    said: list[Hypothesis] = []
    while stream.next_step() is not None:
        said += stream.step(Effort.FULL)
    return said


def _hear(stream: SegmentStream, audio: Samples) -> list[Hypothesis]:
    """All that is said about audio that comes a tenth of a second at a time."""
    said: list[Hypothesis] = []
    for start in range(0, len(audio), SAMPLE_RATE // 10):
        stream.accept(audio[start : start + SAMPLE_RATE // 10])
        said += _step_through(stream)
    stream.finish()
    return said + _step_through(stream)


def _finals(said: list[Hypothesis]) -> list[str]:
    return [hypothesis.text for hypothesis in said if hypothesis.final]


# --- What is speech


def _pink(seconds: float) -> Samples:
    spectrum = np.fft.rfft(np.random.default_rng(5).normal(size=round(seconds * SAMPLE_RATE)))
    spectrum /= np.sqrt(np.maximum(1, np.arange(len(spectrum))))
    noise = np.fft.irfft(spectrum)
    return (0.3 * noise / np.abs(noise).max()).astype(np.float32)


def _clicks(seconds: float) -> Samples:
    clicks = silence(seconds)
    clicks[:: SAMPLE_RATE // 3] = 0.9
    return clicks


def _chord(seconds: float) -> Samples:
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    waves = sum(np.sin(2 * np.pi * pitch * times) for pitch in (220, 277.2, 329.6))
    return (0.2 * waves).astype(np.float32)


@each_pace
@pytest.mark.parametrize(
    "noise", [silence, _pink, _clicks, _chord], ids=lambda noise: noise.__name__.strip("_")
)
def test_what_is_no_speech_has_no_words(
    moonshine: SegmentEngine, options: StreamOptions, noise: Callable[[float], Samples]
) -> None:
    assert _hear(moonshine.open(options), noise(12.0)) == []


@each_pace
def test_music_has_no_words(moonshine: SegmentEngine, samples: Read, options: StreamOptions) -> None:
    assert _hear(moonshine.open(options), samples("trumpet.ogg")) == []


@each_pace
@pytest.mark.parametrize("level", [1.0, 0.1, 0.03])
def test_quiet_speech_over_the_telephone_is_heard(
    moonshine: SegmentEngine, samples: Read, options: StreamOptions, level: float
) -> None:
    (final,) = _finals(_hear(moonshine.open(options), level * samples("telephone.wav")))
    assert final.lower().startswith("the seventh chapter")


@each_pace
def test_pauses_divide_speech_into_segments(
    moonshine: SegmentEngine, samples: Read, options: StreamOptions
) -> None:
    said = _hear(moonshine.open(options), samples("jfk.mp3"))
    for one, following in pairwise(said):
        assert following.final or one.text != following.text, "a partial repeats what was last shown"
    finals = [hypothesis for hypothesis in said if hypothesis.final]
    assert len(finals) >= 3
    assert finals[-1].text.endswith("what you can do for your country.")
    assert finals[-1].end == pytest.approx(11.0, abs=0.3)


# --- What is said more than once


def _said(samples: Read, part: tuple[str, float, float], times: int, gap: float, then: str) -> Samples:
    """Some seconds of a recording several times, with pauses that end no segment, and another behind."""
    name, start, end = part
    piece = samples(name)[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
    return np.concatenate([piece, silence(gap)] * times + [samples(then)])


@pytest.mark.parametrize(
    ("options", "part", "times", "gap", "phrase"),
    [
        (FAST, ("test.wav", 0.0, 1.15), 3, 0.1, "this is a test"),
        (LIVE, ("test.wav", 0.0, 1.15), 3, 0.1, "this is a test"),
        (FAST, ("common_voice.mp3", 0.2, 2.3), 3, 0.15, "the boy turned to the hand that rode all"),
        (FAST, ("telephone.wav", 0.35, 1.8), 5, 0.1, "the seven chapter"),
        (FAST, ("jfk.mp3", 8.2, 10.8), 3, 0.1, "ask what you can do for your country"),
        (FAST, ("jfk.mp3", 5.55, 6.42), 4, 0.2, "your country"),
        (LIVE, ("jfk.mp3", 0.3, 0.97), 6, 0.1, "and so"),
        (FAST, ("telephone.wav", 1.07, 1.84), 6, 0.1, "chapter"),
    ],
    ids=["sentence", "sentence-live", "menu", "heading", "chorus", "words", "words-live", "word"],
)
def test_what_is_said_several_times_is_written_as_often_and_what_follows_too(
    moonshine: SegmentEngine,
    samples: Read,
    options: StreamOptions,
    part: tuple[str, float, float],
    times: int,
    gap: float,
    phrase: str,
) -> None:
    then = "telephone.wav" if part[0] == "test.wav" else "test.wav"
    audio = _said(samples, part, times, gap, then)
    text = " ".join(_finals(_hear(moonshine.open(options), audio))).lower()
    plain = "".join(c for c in text if c.isalpha() or c == " ")
    assert plain.count(phrase) == times
    assert ("chapter" if then == "telephone.wav" else "this is a test") in plain.rpartition(phrase)[2]


def test_words_that_settle_do_not_hide_a_repetition(moonshine: SegmentEngine, samples: Read) -> None:
    audio = _said(samples, ("test.wav", 0.0, 1.15), 4, 0.1, "telephone.wav")
    text = " ".join(_finals(_hear(moonshine.open(STABLE), audio)))
    assert text.count("test") == 4
    assert "The seven" in text


# --- What is shown, and when


@each_pace
def test_words_are_shown_while_they_are_spoken(
    moonshine: SegmentEngine, samples: Read, options: StreamOptions
) -> None:
    said = _hear(moonshine.open(options), samples("steamers.ogg")[: 8 * SAMPLE_RATE])
    partials = [hypothesis for hypothesis in said if not hypothesis.final]
    assert len(partials) >= 3
    assert partials[0].end < 3
    assert len(partials[0].text) < len(partials[-1].text)


@each_pace
def test_no_time_lies_behind_the_end_wherever_it_is(
    moonshine: SegmentEngine, samples: Read, options: StreamOptions
) -> None:
    audio = samples("test.wav")
    partials = 0
    for windows in range(20, 36):
        length = windows * 512 + 1  # Hardly anything in the last window, which is filled with zeros.
        said = _hear(moonshine.open(options), audio[:length])
        partials += len(said)
        assert all(hypothesis.end <= length / SAMPLE_RATE for hypothesis in said)
    assert partials > 20


def test_live_audio_is_heard_before_a_partial_is_made(moonshine: SegmentEngine, samples: Read) -> None:
    stream = moonshine.open(LIVE)
    stream.accept(samples("steamers.ogg")[: 5 * SAMPLE_RATE])
    steps = []
    while (following := stream.next_step()) is not None:
        steps.append(following.kind)
        assert following.kind is not StepKind.PARTIAL or stream.backlog <= 0.3
        stream.step(Effort.FULL)
    assert steps.count(StepKind.PARTIAL) == 1


def test_a_recordings_partials_come_in_the_order_of_the_audio(
    moonshine: SegmentEngine, samples: Read
) -> None:
    audio = samples("steamers.ogg")
    slowly = _hear(moonshine.open(FAST), audio)
    stream = moonshine.open(FAST)
    stream.accept(audio)
    stream.finish()
    assert _step_through(stream) == slowly


def test_one_step_listens_to_half_a_second_at_most(moonshine: SegmentEngine) -> None:
    stream = moonshine.open(LIVE)
    stream.accept(silence(5.0))
    backlogs = [stream.backlog]
    while stream.next_step() is not None:
        stream.step(Effort.FULL)
        backlogs.append(stream.backlog)
    assert backlogs[0] == 5.0
    assert backlogs[-1] < 0.032
    assert all(0 < before - after <= 0.513 for before, after in pairwise(backlogs))


# --- Settling


def test_without_stability_no_word_is_marked(moonshine: SegmentEngine, samples: Read) -> None:
    said = _hear(moonshine.open(LIVE), samples("test.wav"))
    assert said
    assert {word.stable for hypothesis in said for word in hypothesis.words} == {None}


def test_with_stability_words_settle_while_they_are_spoken_and_stay(
    moonshine: SegmentEngine, samples: Read
) -> None:
    said = _hear(moonshine.open(STABLE), samples("steamers.ogg")[: 10 * SAMPLE_RATE])
    settled: dict[int, list[str]] = {}
    for hypothesis in said:
        kept = settled.get(hypothesis.segment, [])
        words = [word.text for word in hypothesis.words]
        assert words[: len(kept)] == kept
        stable = [word.stable is True for word in hypothesis.words]
        assert stable == sorted(stable, reverse=True), "words settle from the first on"
        settled[hypothesis.segment] = words[: sum(stable)]
        assert not hypothesis.final or all(stable)
    assert any(word.stable for hypothesis in said if not hypothesis.final for word in hypothesis.words)


def test_what_settled_before_a_cut_is_not_said_again_behind_it(
    moonshine: SegmentEngine, samples: Read
) -> None:
    engine = replace(moonshine, endpointing=EndpointingRules(longest_segment=6.0))
    finals = _finals(_hear(engine.open(STABLE), samples("steamers.ogg")))
    assert len(finals) >= 2
    spoken = [[word.strip(".,").lower() for word in final.split()] for final in finals]
    for before, following in pairwise(spoken):
        for count in (2, 3, 4, 5):
            assert before[-count:] != following[:count], finals


# --- Bounds


def test_memory_is_the_open_segment_however_long_the_stream(
    moonshine: SegmentEngine, samples: Read
) -> None:
    spoken = np.concatenate([samples("telephone.wav"), silence(20.0)])
    stream = moonshine.open(LIVE)
    for _ in range(5):
        for start in range(0, len(spoken), SAMPLE_RATE):
            stream.accept(spoken[start : start + SAMPLE_RATE])
            _step_through(stream)
        assert stream._audio.end - stream._audio.start < 3 * SAMPLE_RATE
    assert stream._audio.end == 5 * len(spoken)


def test_a_segment_never_grows_longer_than_the_rules_allow(moonshine: SegmentEngine, samples: Read) -> None:
    engine = replace(moonshine, endpointing=EndpointingRules(longest_segment=5.0))
    said = _hear(engine.open(LIVE), samples("steamers.ogg"))
    assert all(hypothesis.end - hypothesis.start <= 5.0 + 0.032 for hypothesis in said)
    finals = [hypothesis for hypothesis in said if hypothesis.final]
    assert finals[-1].end - finals[0].start > 14
