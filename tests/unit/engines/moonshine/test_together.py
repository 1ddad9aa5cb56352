"""Streams whose steps run together have the results of streams that step alone."""

from collections.abc import Callable, Sequence

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.engines.base import Effort, RecognitionEvent, StepKind
from transcribed.engines.moonshine.decoder import NO_TOKENS, Decoder, Read
from transcribed.engines.moonshine.model import START, MoonshineModel
from transcribed.engines.moonshine.outputs import CROSS
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.engines.segments.stream import SegmentStream
from transcribed.options import Pace, StreamOptions

Record = Callable[[str], Samples]
NAMES = ["test.wav", "common_voice.mp3", "telephone.wav", "jfk.mp3"]
_CHUNK = round(0.7 * SAMPLE_RATE)


class Fed:
    """A stream that is given its audio in pieces, as if it were live."""

    def __init__(self, engine: SegmentEngine, audio: Samples) -> None:
        self.stream: SegmentStream = engine.open(StreamOptions(pace=Pace.LIVE))
        self.events: list[RecognitionEvent] = []
        self._audio = audio

    def feed(self) -> None:
        if len(self._audio):
            self.stream.accept(self._audio[:_CHUNK])
            self._audio = self._audio[_CHUNK:]
            if not len(self._audio):
                self.stream.finish()

    @property
    def kind(self) -> StepKind | None:
        following = self.stream.next_step()
        return None if following is None else following.kind


def _run(engine: SegmentEngine, audio: Sequence[Samples], together: int) -> list[list[RecognitionEvent]]:
    every = [Fed(engine, each) for each in audio]
    for _ in range(max(len(each) for each in audio) // _CHUNK + 1):
        for fed in every:
            fed.feed()
        for kind in StepKind:
            while batch := [fed for fed in every if fed.kind is kind][:together]:
                streams = [fed.stream for fed in batch]
                found = (
                    engine.step_together(streams, Effort.FULL)
                    if together > 1
                    else [each.step(Effort.FULL) for each in streams]
                )
                for fed, events in zip(batch, found, strict=True):
                    assert not isinstance(events, Exception)
                    fed.events += events
    return [fed.events for fed in every]


def test_streams_that_step_together_get_what_each_gets_alone(
    moonshine: SegmentEngine, samples: Record
) -> None:
    spoken = [np.concatenate([silence(0.2 * i), samples(name)]) for i, name in enumerate(NAMES)]
    alone, together = _run(moonshine, spoken, 1), _run(moonshine, spoken, moonshine.together)
    assert moonshine.together == len(NAMES)
    for one, other in zip(alone, together, strict=True):
        assert [(e.text, e.final) for e in one] == [(e.text, e.final) for e in other]


def test_a_read_among_others_is_that_of_the_segment_alone(
    moonshine: SegmentEngine, samples: Record
) -> None:
    model: MoonshineModel = moonshine.model.networks
    names = model.dimensions.states(CROSS)
    decoder: Decoder = model._networks.decoder
    reads = []
    for count, name in enumerate(NAMES, start=1):
        hidden = model.encode(samples(name)).hidden
        cross = dict(zip(names, model._networks.cross.run(names, {"hidden": hidden}), strict=True))
        past = decoder.answer([Read([START, *range(100, 100 + count)], NO_TOKENS, cross)], {})[0].past
        reads.append(Read([200] * (1 + count % 2), past, cross))
    memo: dict[str, object] = {}
    # Some end sooner than others.
    for still in (reads, reads[:3], reads[1:3], reads[2:3]):
        for read, found in zip(still, decoder.answer(still, memo), strict=True):
            (expected,) = decoder.answer([read], {})
            assert found.tokens.tolist() == expected.tokens.tolist()
            np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-3)
            for one, other in zip(found.attentions, expected.attentions, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-4)
            for one, other in zip(found.past.states, expected.past.states, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_stream_that_fails_leaves_the_others(moonshine: SegmentEngine, samples: Record) -> None:
    good, bad = (moonshine.open(StreamOptions(pace=Pace.FAST)) for _ in range(2))
    for stream in (good, bad):
        stream.accept(samples("test.wav"))
        stream.finish()
        while (following := stream.next_step()) is not None and following.kind is StepKind.LISTEN:
            stream.step(Effort.FULL)
    bad._audio = None  # type: ignore[assignment] - a fault that no input causes
    found, failure = moonshine.step_together([good, bad], Effort.FULL)
    assert not isinstance(found, Exception)
    assert found
    assert isinstance(failure, AttributeError)
