"""The segment loop over a model that is none: it tells how often it was asked, and for how much."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Effort, Hypothesis, RecognitionEvent, StepKind
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.engines.segments.stream import SegmentStream
from transcribed.engines.silero import SileroModel
from transcribed.options import Capabilities, Pace, Stability, StreamOptions
from transcribed.recognition.endpointing import EndpointingRules
from transcribed.recognition.vad import SpeechProbabilities
from transcribed.transcript import SpeechEnded, SpeechStarted, Word

Read = Callable[[str], Samples]


@dataclass
class _Counting:
    """A SegmentRecogniser: a word for each tenth of a second of the segment."""

    start: int
    asked: list[str]
    credible: bool
    efforts: set[Effort]
    ends: set[int] = field(default_factory=set)
    model: str | None = None

    def partial(self, audio: SampleBuffer, end: int, speech: int | None, effort: Effort) -> list[Word]:
        self.ends.clear()
        self.model = "quick"
        self.efforts.add(effort)
        return self._words("partial", audio, end, speech)

    def final(self, audio: SampleBuffer, end: int, speech: int | None, effort: Effort) -> list[Word]:
        self.ends.add(end)
        self.model = "thorough"
        return self._words("final", audio, end, speech)

    def has_final(self, end: int) -> bool:
        return end in self.ends

    def settle(self, words: int) -> None:
        self.asked.append(f"settle {words}")

    def _words(self, asked: str, audio: SampleBuffer, end: int, speech: int | None) -> list[Word]:
        assert speech is None or 0 < speech <= end
        assert len(audio.between(self.start, end)) == end - self.start
        self.asked.append(asked)
        tenths = (end - self.start) // (SAMPLE_RATE // 10)
        times = [
            (self.start / SAMPLE_RATE + i / 10, self.start / SAMPLE_RATE + (i + 1) / 10)
            for i in range(tenths)
        ]
        words = [Word(f"w{i}", *time, confidence=0.9) for i, time in enumerate(times)]
        return words if self.credible else []


@dataclass
class _CountingModel:
    """A SegmentModel."""

    credible: bool = True
    asked: list[str] = field(default_factory=list)
    efforts: set[Effort] = field(default_factory=set)
    """The efforts of partials."""

    def recogniser(self, start: int, speech: SpeechProbabilities) -> _Counting:
        return _Counting(start, self.asked, self.credible, self.efforts)


def _hear(
    model: _CountingModel, options: StreamOptions, audio: Samples
) -> tuple[list[Hypothesis], list[StepKind]]:
    engine = SegmentEngine(Capabilities("counting", ("en-US",)), model, SileroModel(), EndpointingRules())
    stream, said, steps = engine.open(options), [], []
    for start in range(0, len(audio), SAMPLE_RATE // 10):
        stream.accept(audio[start : start + SAMPLE_RATE // 10])
        _step(stream, said, steps)
    stream.finish()
    _step(stream, said, steps)
    return said, steps


def _step(stream: SegmentStream, said: list[Hypothesis], steps: list[StepKind]) -> None:
    while (following := stream.next_step()) is not None:
        steps.append(following.kind)
        said += stream.step(Effort.FULL)


@pytest.mark.parametrize("pace", list(Pace))
def test_a_model_brings_nothing_but_the_recogniser_of_a_segment(samples: Read, pace: Pace) -> None:
    model = _CountingModel()
    said, _ = _hear(model, StreamOptions(pace), samples("jfk.mp3"))
    finals = [hypothesis for hypothesis in said if hypothesis.final]
    assert [final.segment for final in finals] == list(range(len(finals)))
    assert len(finals) >= 2
    assert all(len(final.words) == pytest.approx(10 * (final.end - final.start), abs=1) for final in finals)
    assert {word.confidence for final in finals for word in final.words} == {0.9}
    assert model.efforts == {Effort.FULL if pace is Pace.LIVE else Effort.REDUCED}, "a file's final is due"


def test_each_result_bears_the_name_of_the_model_that_made_it(samples: Read) -> None:
    said, _ = _hear(_CountingModel(), StreamOptions(), samples("jfk.mp3"))
    assert {each.model for each in said if each.final} == {"thorough"}
    assert {each.model for each in said if not each.final} == {"quick", "thorough"}, "pauses ahead"


def test_a_live_pause_is_recognised_ahead_as_the_final_that_it_becomes(samples: Read) -> None:
    _, steps = _hear(_CountingModel(), StreamOptions(), samples("jfk.mp3"))
    assert steps.index(StepKind.AHEAD) < steps.index(StepKind.FINAL)


def test_the_model_hears_which_words_have_settled(samples: Read) -> None:
    model = _CountingModel()
    said, _ = _hear(model, StreamOptions(stability=Stability.HIGH), samples("steamers.ogg"))
    settled = [int(asked.split()[1]) for asked in model.asked if asked.startswith("settle")]
    assert settled
    stable = max(sum(word.stable is True for word in each.words) for each in said if not each.final)
    assert max(settled) == stable


def test_what_the_model_does_not_believe_is_not_said(samples: Read) -> None:
    said, steps = _hear(_CountingModel(credible=False), StreamOptions(), samples("test.wav"))
    assert said == []
    assert StepKind.FINAL in steps


def test_who_is_told_of_the_end_of_speech_gets_its_final_even_if_it_is_empty(samples: Read) -> None:
    options = StreamOptions(speech_events=True)
    said, _ = _hear(_CountingModel(credible=False), options, samples("test.wav"))
    started, ended, final = said
    assert (type(started), type(ended)) == (SpeechStarted, SpeechEnded)
    assert (final.text, final.final) == ("", True)


@pytest.mark.parametrize("pace", list(Pace))
@pytest.mark.parametrize("threshold", [0.5, None, 0.98, 1.01])
def test_the_threshold_of_speech_is_that_of_the_stream(
    samples: Read, pace: Pace, threshold: float | None
) -> None:
    options = StreamOptions(pace, speech_threshold=threshold)
    said, _ = _hear(_CountingModel(), options, samples("test.wav"))
    assert bool(said) == (threshold != 1.01)


@pytest.mark.parametrize("pace", list(Pace))
@pytest.mark.parametrize("at", [0.5, 2.3, 3.0, 4.51, 8.9, 10.9])
def test_segments_that_a_flush_closes_and_opens_hold_all_that_one_would_have_held(
    samples: Read, pace: Pace, at: float
) -> None:
    audio, cut = samples("jfk.mp3"), round(at * SAMPLE_RATE)
    options = StreamOptions(pace, speech_events=True)
    whole, _ = _hear(_CountingModel(), options, audio)
    engine = SegmentEngine(
        Capabilities("counting", ("en-US",)), _CountingModel(), SileroModel(), EndpointingRules()
    )
    stream, said, steps = engine.open(options), [], []
    stream.accept(audio[:cut])
    stream.flush()
    stream.accept(audio[cut:])
    stream.finish()
    _step(stream, said, steps)
    finals = [each for each in said if isinstance(each, Hypothesis) and each.final]
    assert all(one.end <= following.start for one, following in pairwise(finals))
    for each in whole:
        if isinstance(each, Hypothesis) and each.final:
            held = sum(
                max(0.0, min(each.end, final.end) - max(each.start, final.start)) for final in finals
            )
            assert held > each.end - each.start - 0.3
    events = [type(each) for each in said if isinstance(each, SpeechStarted | SpeechEnded)]
    assert events == [SpeechStarted, SpeechEnded] * (len(events) // 2)


@pytest.mark.parametrize("at", [0.5, 2.3, 4.51, 8.9])
def test_a_segment_that_is_taken_out_has_the_final_that_it_would_have_had(samples: Read, at: float) -> None:
    audio, options = samples("jfk.mp3"), StreamOptions(Pace.FAST, speech_events=True)
    whole, _ = _hear(_CountingModel(), options, audio)
    engine = SegmentEngine(
        Capabilities("counting", ("en-US",)), _CountingModel(), SileroModel(), EndpointingRules()
    )
    stream, said, later = engine.open(options), [], []
    for part in np.split(audio, [round(at * SAMPLE_RATE)]):
        stream.accept(part)
        _step_and_detach(stream, said, later)
    stream.finish()
    _step_and_detach(stream, said, later)
    assert len(later) >= 2
    # The stream has gone on to its end, and forgotten its audio, before any final is recognised.
    for place, recognise in later[::-1]:
        said[place:place] = recognise(Effort.FULL)
    assert said == whole


def _step_and_detach(
    stream: SegmentStream,
    said: list[RecognitionEvent],
    later: list[tuple[int, Callable[[Effort], Sequence[RecognitionEvent]]]],
) -> None:
    while (following := stream.next_step()) is not None:
        if following.kind is StepKind.FINAL:
            later.append((len(said), stream.detach_final()))
        else:
            said += stream.step(Effort.FULL)
