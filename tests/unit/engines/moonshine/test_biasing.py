"""Phrases that decoding favours, with the real model."""

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.moonshine.biasing import Bias, Vocabularies, Vocabulary
from transcribed.engines.moonshine.model import Decoded, Encoded, MoonshineModel
from transcribed.engines.moonshine.segment import MoonshineSegment
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.options import Phrase

Read = Callable[[str], Samples]
NAMES = (Phrase("Inverashiel"), Phrase("Crianan"))
UNLIKE = tuple(map(Phrase, ("Kathmandu", "Siobhan", "Rostopchin", "Ouagadougou", "smoking jacket")))


@pytest.fixture(scope="module")
def model(moonshine: SegmentEngine) -> MoonshineModel:
    return moonshine.model.networks


@pytest.fixture(scope="module")
def steamers(model: MoonshineModel, samples: Read) -> Encoded:
    return model.encode(samples("steamers.ogg"))


def decoded(
    model: MoonshineModel, encoded: Encoded, phrases: tuple[Phrase, ...], draft: tuple[int, ...] = ()
) -> Decoded:
    bias = Bias(Vocabulary.of(phrases, model)) if phrases else None
    return model.decode(encoded, Decoded(), draft, bias=bias)[0]


def test_names_are_recognised_with_a_vocabulary_alone(model: MoonshineModel, steamers: Encoded) -> None:
    plain = model.tokenizer.text(decoded(model, steamers, ()).tokens)
    named = decoded(model, steamers, NAMES)
    text = model.tokenizer.text(named.tokens)
    assert "Inverashiel" not in plain
    assert "Crianan" not in plain
    assert (text.count("Inverashiel"), text.count("Crianan")) == (2, 1)
    assert all(0 < each <= 1 for each in named.probabilities)
    assert len(named.tokens) == len(named.probabilities)


def test_a_text_with_names_as_the_draft_is_kept(model: MoonshineModel, steamers: Encoded) -> None:
    named = decoded(model, steamers, NAMES)
    assert decoded(model, steamers, NAMES, named.tokens).tokens == named.tokens
    without = decoded(model, steamers, (), named.tokens)
    assert "Inverashiel" not in model.tokenizer.text(without.tokens)


@pytest.mark.parametrize("name", ["steamers.ogg", "jfk.mp3", "common_voice.mp3"])
def test_phrases_that_nobody_said_change_nothing(model: MoonshineModel, samples: Read, name: str) -> None:
    encoded = model.encode(samples(name))
    assert decoded(model, encoded, UNLIKE).tokens == decoded(model, encoded, ()).tokens


def test_what_the_model_cannot_write_has_no_effect(model: MoonshineModel, samples: Read) -> None:
    encoded = model.encode(samples("test.wav"))
    phrases = (Phrase("\U0001f600"), Phrase("日本語"), Phrase("ჯანმრთელობა"))
    assert decoded(model, encoded, phrases).tokens == decoded(model, encoded, ()).tokens


def test_every_text_is_encoded_without_loss(model: MoonshineModel) -> None:
    for text in (" Siobhan", "Guinevere's", " A.W.S.", " naïve café", " x" * 20):
        tokens = model.tokenizer.encode(text)
        assert model.tokenizer.text(tokens) == text.strip()
    assert model.tokenizer.encode(" the") == [278]


def test_phrases_in_a_draft_look_as_sure_as_when_they_were_found(
    model: MoonshineModel, steamers: Encoded
) -> None:
    continued = (Phrase("the Inverashiel"),)
    for phrases in (NAMES, continued):
        found = decoded(model, steamers, phrases)
        assert "Inverashiel" in model.tokenizer.text(found.tokens)
        again = decoded(model, steamers, phrases, found.tokens)
        assert again.tokens == found.tokens
        assert again.probabilities == pytest.approx(found.probabilities, abs=0.02)


def test_a_text_that_must_go_on_is_favoured_too(model: MoonshineModel, steamers: Encoded) -> None:
    named = decoded(model, steamers, NAMES)
    settled = named.first(8)
    assert "Inverashiel" not in model.tokenizer.text(settled.tokens)
    bias = Bias(Vocabulary.of(NAMES, model))
    found = model.decode(steamers, settled, (), bias=bias, at_least=9)[0]
    assert "Inverashiel" in model.tokenizer.text(found.tokens)


def test_streams_that_open_at_once_compile_a_vocabulary_once(model: MoonshineModel) -> None:
    vocabularies = Vocabularies(model)
    same = [tuple(Phrase(f"Siobhan {number}") for number in range(300)) for _ in range(4)]
    with ThreadPoolExecutor(len(same)) as threads:
        first, *others = threads.map(vocabularies.of, same)
    assert all(other is first for other in others)


def test_only_the_latest_vocabularies_are_kept_without_streams(model: MoonshineModel) -> None:
    vocabularies = Vocabularies(model, most_kept=3)
    lists = [(Phrase("Siobhan"), Phrase("Crianan")), (Phrase("Aoife"),), (Phrase("Niamh"), Phrase("Oisin"))]
    used = vocabularies.of(lists[0])
    kept = [weakref.ref(vocabularies.of(phrases)) for phrases in lists]
    assert vocabularies.of(lists[0]) is used, "a stream uses it"
    del used
    assert [each() is not None for each in kept] == [False, True, True]
    assert vocabularies.of(lists[1]) is kept[1]()


def test_a_display_form_is_shown_and_settles_as_a_whole(model: MoonshineModel, samples: Read) -> None:
    phrases = (Phrase("Inverashiel", "the good ship Inverashiel"), Phrase("two small steamers", "2SS"))
    audio = samples("steamers.ogg")
    buffer = SampleBuffer()
    buffer.append(audio)
    segment = MoonshineSegment(model, 0, vocabulary=Vocabulary.of(phrases, model))
    words = segment._words(segment.recognise_whole(buffer, len(audio)), None)
    texts = [word.text for word in words]
    at = texts.index("good")
    assert texts[at - 1 : at + 3] == ["the", "good", "ship", "Inverashiel,"]
    assert any(text.startswith("2SS") for text in texts)
    times = [(word.start, word.end) for word in words]
    assert times == sorted(times)
    segment.settle(at + 1)
    settled = model.tokenizer.text(segment.settled.tokens)
    assert settled.endswith("Inverashiel,"), "a part of a display form is all of it"
    later = segment._words(segment.recognise_whole(buffer, len(audio) - SAMPLE_RATE), None)
    assert [(word.text, word.start, word.end) for word in later[: at + 3]] == [
        (word.text, word.start, word.end) for word in words[: at + 3]
    ]
