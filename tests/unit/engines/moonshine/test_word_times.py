from collections.abc import Callable

import numpy as np
import pytest

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.engines.base import Effort
from transcribed.engines.moonshine.segment import MoonshineSegment
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.options import Pace, StreamOptions

Read = Callable[[str], Samples]
FRAME = 0.024
START = 5_000


@pytest.mark.parametrize("recording", ["test.wav", "common_voice.mp3", "jfk.mp3", "steamers.ogg"])
def test_spans_are_in_order_inside_the_segment_in_passing_and_whole(
    moonshine: SegmentEngine, samples: Read, recording: str
) -> None:
    buffer = SampleBuffer()
    buffer.append(silence(START / SAMPLE_RATE))
    buffer.append(samples(recording))
    recogniser = MoonshineSegment(moonshine.model.networks, START)
    for end in (START + 500, *range(START + 8_000, buffer.end, 8_000), buffer.end):
        for recognise in (recogniser.recognise_incrementally, recogniser.recognise_whole):
            decoded = recognise(buffer, end)
            assert len(decoded.spans) == len(decoded.tokens)
            times = [time for span in decoded.spans for time in span]
            assert times == sorted(times)
            assert all(START <= time <= end for time in times)


def test_a_settled_token_keeps_its_span(moonshine: SegmentEngine, samples: Read) -> None:
    buffer = SampleBuffer()
    buffer.append(samples("jfk.mp3"))
    recogniser = MoonshineSegment(moonshine.model.networks, 0)
    early = recogniser.recognise_incrementally(buffer, 3 * SAMPLE_RATE)
    recogniser.settled = early.first(3)
    for end in range(4 * SAMPLE_RATE, buffer.end, SAMPLE_RATE):
        for recognise in (recogniser.recognise_incrementally, recogniser.recognise_whole):
            decoded = recognise(buffer, end)
            assert decoded.tokens[:3] == early.tokens[:3]
            assert decoded.spans[:3] == early.spans[:3]


@pytest.mark.parametrize("pause", [0.4, 1.0, 3.0])
def test_words_move_with_the_audio_that_they_are_in(
    moonshine: SegmentEngine, samples: Read, pause: float
) -> None:
    """Recordings with known silence between them: their words lie where they were put."""
    parts = [samples(name) for name in ("test.wav", "telephone.wav", "common_voice.mp3")]
    joined, apart = silence(0), []
    for part in parts:
        offset = len(joined) / SAMPLE_RATE
        apart += [(text, start + offset, end + offset) for text, start, end in _words(moonshine, part)]
        joined = np.concatenate([joined, part, silence(pause)])
    together = _words(moonshine, joined)
    assert [text for text, *_ in together] == [text for text, *_ in apart]
    moved = np.array([times for _, *times in together]) - np.array([times for _, *times in apart])
    assert np.abs(np.median(moved)) <= FRAME / 2
    assert np.quantile(np.abs(moved), 0.9) <= 2 * FRAME
    assert np.abs(moved).max() <= 4 * FRAME


@pytest.mark.parametrize("pace", list(Pace))
def test_silence_between_words_belongs_to_none(moonshine: SegmentEngine, samples: Read, pace: Pace) -> None:
    """A pause of known length inside one segment."""
    first, second = samples("test.wav"), samples("telephone.wav")
    joined = np.concatenate([first, silence(0.3), second])
    words = _words(moonshine, joined, pace)
    loud = np.flatnonzero(np.abs(first) > 0.02)[-1] / SAMPLE_RATE
    ended = max(end for _, start, end in words if start < loud)
    begun = min(start for _, start, _ in words if start > loud)
    assert abs(ended - loud) <= 6 * FRAME
    assert begun >= len(first) / SAMPLE_RATE + 0.3 - FRAME


def _words(
    moonshine: SegmentEngine, audio: Samples, pace: Pace = Pace.FAST
) -> list[tuple[str, float, float]]:
    """The words of a stream's finals."""
    stream = moonshine.open(StreamOptions(pace=pace))
    stream.accept(audio)
    stream.finish()
    words = []
    while stream.next_step() is not None:
        words += [word for shown in stream.step(Effort.FULL) if shown.final for word in shown.words]
    return [(word.text.strip(".,;").lower(), word.start or 0.0, word.end or 0.0) for word in words]
