from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streaming_model import LEVELS, WORD_SECONDS, WORDS, write_streaming_model

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Effort
from transcribed.engines.moonshine_streaming import library
from transcribed.engines.moonshine_streaming.engine import load
from transcribed.engines.moonshine_streaming.files import readable_folder
from transcribed.engines.moonshine_streaming.library import Architecture, Transcriber
from transcribed.engines.moonshine_streaming.segment import LibrarySegment, LibrarySegments
from transcribed.errors import EngineFailure
from transcribed.recognition.endpointing import EndpointingRules
from transcribed.recognition.vad import SpeechProbabilities

LOOKAHEAD = 0.32


def _audio(*levels: int) -> Samples:
    """Audio of which the model of the tests makes the words of these numbers."""
    samples = round(WORD_SECONDS * SAMPLE_RATE)
    amplitudes = [0.0, *(np.sqrt(2 * level) for level in LEVELS)]
    return np.concatenate([np.full(samples, amplitudes[level], np.float32) for level in levels])


def _text(*levels: int) -> str:
    return " ".join(WORDS[level] for level in levels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streaming")
    write_streaming_model(folder, split=True)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> LibrarySegments:
    with readable_folder(folder, "tiny-streaming-en") as readable:
        transcriber = Transcriber(readable, Architecture.TINY_STREAMING)
    return LibrarySegments("tiny-streaming-en", [transcriber])


def _segment(model: LibrarySegments) -> LibrarySegment:
    return model.recogniser(0, SpeechProbabilities())


def _partials(segment: LibrarySegment, audio: Samples, step: int) -> Iterator[tuple[float, str]]:
    """The positions in seconds and texts of partials, of audio that comes a few samples at a time."""
    buffer = SampleBuffer()
    for start in range(0, len(audio), step):
        buffer.append(audio[start : start + step])
        words = segment.partial(buffer, buffer.end, None, Effort.FULL)
        yield buffer.end / SAMPLE_RATE, " ".join(word.text for word in words)


def _final(segment: LibrarySegment, audio: Samples) -> str:
    buffer = SampleBuffer()
    buffer.append(audio)
    return " ".join(word.text for word in segment.final(buffer, buffer.end, None, Effort.FULL))


LEVELS_SAID = (3, 1, 1, 2, 0, 3, 2, 2, 1)


def test_a_streaming_model_recognises_a_segment(model: LibrarySegments) -> None:
    assert _final(_segment(model), _audio(*LEVELS_SAID)) == _text(*LEVELS_SAID)


@pytest.mark.parametrize("step", [800, 1_280, 1_600, 5_000])
def test_partials_are_the_beginning_of_the_final(model: LibrarySegments, step: int) -> None:
    expected = _text(*LEVELS_SAID).split()
    for position, text in _partials(_segment(model), _audio(*LEVELS_SAID), step):
        words = text.split()
        assert words == expected[: len(words)]
        # All but the one that is withheld until it comes a second time.
        assert len(words) >= int((position - LOOKAHEAD - 0.08) / WORD_SECONDS + 1e-9) - 1


def test_segments_that_take_turns_do_not_mix(model: LibrarySegments) -> None:
    said = [(1, 2, 3, 1, 2, 3), (3, 3, 2, 2, 1, 1), (2, 1, 2, 1, 2, 1)]
    segments = [_partials(_segment(model), _audio(*each), 1_600) for each in said]
    for partials in zip(*segments, strict=True):
        for (_, text), each in zip(partials, said, strict=True):
            words = text.split()
            assert words == _text(*each).split()[: len(words)]
    assert words


def test_a_final_in_between_does_not_disturb_partials(model: LibrarySegments) -> None:
    audio = _audio(*LEVELS_SAID)
    segment, other = _segment(model), _segment(model)
    for at, (_, text) in enumerate(_partials(segment, audio, 3_200)):
        assert _final(other if at % 2 else _segment(model), audio) == _text(*LEVELS_SAID)
        assert _text(*LEVELS_SAID).startswith(text)


def test_a_stream_whose_turn_does_not_come_fails_alone(
    model: LibrarySegments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "_MOST_WAIT", 0.01)
    (transcriber,) = model.transcribers
    with transcriber._mine(), pytest.raises(EngineFailure, match="has not answered"):
        _final(_segment(model), _audio(1, 2))
    assert _final(_segment(model), _audio(1, 2)) == _text(1, 2)


def test_a_segment_that_ends_frees_its_stream(model: LibrarySegments) -> None:
    (transcriber,) = model.transcribers
    before = transcriber.streams
    segment = _segment(model)
    list(_partials(segment, _audio(1, 2, 3), 1_600))
    assert transcriber.streams == before + 1
    del segment
    assert transcriber.streams == before


def test_settled_words_stay_in_front_of_later_ones(model: LibrarySegments) -> None:
    segment = _segment(model)
    assert _final(segment, _audio(1, 2, 3)) == _text(1, 2, 3)
    segment.settle(2)
    # The audio has changed meanwhile, as a model may change its mind.
    assert _final(segment, _audio(0, 1, 2, 3, 3)) == _text(1, 2, 3, 3)


@pytest.mark.parametrize("split", [False, True], ids=["frontend-in-one-file", "frontend-in-two-files"])
def test_a_model_of_the_vendors_layout_is_loaded(tmp_path: Path, split: bool) -> None:
    write_streaming_model(tmp_path, split=split)
    before = sorted(path.name for path in tmp_path.iterdir())
    engine = load(tmp_path, "tiny-streaming-en", EndpointingRules(), "en-US")
    assert engine.capabilities.models == ("tiny-streaming-en",)
    assert engine.measured().costs.partial > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before
