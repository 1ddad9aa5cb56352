from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Effort, Hypothesis
from transcribed.engines.moonshine import engine
from transcribed.engines.moonshine.model import Decoded, MoonshineModel
from transcribed.engines.moonshine.pair import PairedSegments, PairEngine
from transcribed.engines.moonshine.shipped import is_installed
from transcribed.engines.moonshine.variants import LARGE, SMALL
from transcribed.options import Pace, Phrase, Stability, StreamOptions
from transcribed.recognition.endpointing import EndpointingRules
from transcribed.recognition.vad import SpeechProbabilities

# Of macOS, Windows and ARM there is no package with the large model.
if not is_installed(LARGE.package):
    pytest.skip("the large model is not available for this platform", allow_module_level=True)

Read = Callable[[str], Samples]
RECORDINGS = ["test.wav", "common_voice.mp3", "telephone.wav", "jfk.mp3"]
_CHUNK = round(0.3 * SAMPLE_RATE)


@pytest.fixture(scope="module")
def pair(environment: dict[str, str]) -> PairEngine:
    loaded = engine.load(Path(environment["TRANSCRIBED_CACHE"]), EndpointingRules())
    assert isinstance(loaded, PairEngine)
    return loaded


@pytest.fixture(scope="module")
def models(pair: PairEngine) -> PairedSegments:
    assert isinstance(pair.full.model, PairedSegments)
    return pair.full.model


def _efforts(seed: int) -> Iterator[Effort]:
    chosen = np.random.default_rng(seed)
    while True:
        yield [Effort.FULL, Effort.REDUCED, Effort.ALONE][chosen.integers(3)]


def _greedy(model: MoonshineModel, samples: Samples) -> str:
    return model.tokenizer.text(model.decode(model.encode(samples), Decoded(), ())[0].tokens)


def _buffer(samples: Samples) -> SampleBuffer:
    buffer = SampleBuffer()
    buffer.append(samples)
    return buffer


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_final_is_what_the_large_model_alone_decodes(
    models: PairedSegments, samples: Read, name: str, seed: int
) -> None:
    audio, efforts = samples(name), _efforts(seed)
    buffer, recogniser = _buffer(audio), models.recogniser(0, SpeechProbabilities())
    for end in range(2 * _CHUNK, len(audio), _CHUNK):
        effort = next(efforts)
        recogniser.partial(buffer, end, None, effort)
        assert recogniser.model == ("tiny-en" if effort is Effort.REDUCED else "base-en")
    words = recogniser.final(buffer, len(audio), None, next(efforts))
    assert recogniser.model == "base-en"
    assert " ".join(word.text for word in words) == _greedy(models.large.networks, audio)


def test_a_clause_that_is_spoken_once_is_not_written_again(models: PairedSegments, samples: Read) -> None:
    text = _greedy(models.large.networks, samples("bible.flac"))
    assert text.startswith("But the first Bible actually dated")
    assert text.count("printed") == text.count("1462") == 1


def test_words_that_one_model_has_settled_stay_for_the_other(models: PairedSegments, samples: Read) -> None:
    audio = samples("jfk.mp3")
    buffer, recogniser = _buffer(audio), models.recogniser(0, SpeechProbabilities())
    small = recogniser.partial(buffer, 4 * SAMPLE_RATE, None, Effort.REDUCED)
    recogniser.settle(3)
    large = recogniser.partial(buffer, 5 * SAMPLE_RATE, None, Effort.FULL)
    assert [(word.text, word.start, word.end) for word in large[:3]] == [
        (word.text, word.start, word.end) for word in small[:3]
    ]
    assert len(large) > len(small)
    recogniser.settle(5)
    again = recogniser.partial(buffer, 6 * SAMPLE_RATE, None, Effort.REDUCED)
    assert [word.text for word in again[:5]] == [word.text for word in large[:5]]
    assert [word.text for word in recogniser.final(buffer, len(audio), None, Effort.FULL)][:5] == [
        word.text for word in large[:5]
    ]


def test_a_final_that_is_known_is_not_computed_again(models: PairedSegments, samples: Read) -> None:
    audio = samples("test.wav")
    buffer, recogniser = _buffer(audio), models.recogniser(0, SpeechProbabilities())
    recogniser.partial(buffer, len(audio), None, Effort.REDUCED)
    assert not recogniser.has_final(len(audio))
    recogniser.final(buffer, len(audio), None, Effort.REDUCED)
    assert recogniser.has_final(len(audio))
    recogniser.partial(buffer, len(audio), None, Effort.REDUCED)
    assert not recogniser.has_final(len(audio))


@pytest.mark.parametrize("stability", [Stability.OFF, Stability.HIGH])
def test_a_stream_on_a_busy_machine(pair: PairEngine, samples: Read, stability: Stability) -> None:
    finals: list[Hypothesis] = []
    stream = pair.open(StreamOptions(stability=stability))
    audio = np.concatenate([samples("test.wav"), np.zeros(SAMPLE_RATE, np.float32), samples("jfk.mp3")])
    partial_models = set()
    for at in range(0, len(audio), _CHUNK):
        stream.accept(audio[at : at + _CHUNK])
        while stream.next_step() is not None:
            for event in stream.step(Effort.REDUCED):
                assert isinstance(event, Hypothesis)
                if event.final:
                    finals.append(event)
                else:
                    partial_models.add(event.model)
    stream.finish()
    while stream.next_step() is not None:
        finals += [e for e in stream.step(Effort.REDUCED) if isinstance(e, Hypothesis) and e.final]
    assert "tiny-en" in partial_models
    assert {final.model for final in finals} == {"base-en"}
    assert finals[0].text == "This is a test."
    assert "what your country can do for you" in " ".join(final.text for final in finals).lower()


def test_the_reduced_engine_is_the_small_model_alone(pair: PairEngine) -> None:
    assert pair.capabilities.models == ("base-en", "tiny-en")
    assert pair.reduced.capabilities.models == ("tiny-en",)
    measured = pair.measured()
    assert measured.reduced.costs.steady < measured.costs.steady
    assert SMALL.name == "tiny-en"


@pytest.mark.parametrize(("pace", "phrases"), [(Pace.LIVE, ()), (Pace.FAST, (Phrase("Siobhan"),))])
def test_a_card_number_over_the_telephone_is_not_ended_at_once(
    pair: PairEngine, samples: Read, pace: Pace, phrases: tuple[Phrase, ...]
) -> None:
    audio, said = samples("card-number.wav"), []
    stream = pair.open(StreamOptions(pace, phrases=phrases))
    stream.accept(audio)
    stream.finish()
    while stream.next_step() is not None:
        said += [each for each in stream.step(Effort.FULL) if isinstance(each, Hypothesis) and each.final]
    assert "".join(c for each in said for c in each.text if c.isdigit()) == "4111111111111111"
    large = pair.full.model.large.networks
    assert large.decode(large.encode(audio), Decoded(), ())[0].tokens == (), "the model's own text"
