import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.moonshine.decoder import Array, Decoder, ReadResult
from transcribed.engines.moonshine.model import Decoded, KeyValueCache, MoonshineModel
from transcribed.engines.moonshine.segment import MoonshineSegment, SegmentEncoder
from transcribed.engines.segments.engine import SegmentEngine

Read = Callable[[str], Samples]
SPOKEN = ["test.wav", "common_voice.mp3", "telephone.wav", "jfk.mp3", "steamers.ogg"]
START = 5_000
"""Where the segments of these tests begin in their stream."""
UPDATE = SAMPLE_RATE * 3 // 10


@pytest.fixture(scope="module")
def model(moonshine: SegmentEngine) -> MoonshineModel:
    return moonshine.model.networks


@pytest.fixture(scope="module")
def spoken(samples: Read) -> Samples:
    """Ten seconds without a pause."""
    return samples("steamers.ogg")[: 10 * SAMPLE_RATE]


def _buffer(audio: Samples) -> SampleBuffer:
    buffer = SampleBuffer()
    buffer.append(np.full(START, 0.5, np.float32))
    buffer.append(audio)
    return buffer


def _growing(length: int) -> Sequence[int]:
    """The ends of a segment that is recognised in passing."""
    return [START + end for end in range(UPDATE, length, UPDATE)]


def _text(model: MoonshineModel, decoded: Decoded) -> str:
    return model.tokenizer.text(decoded.tokens)


def _assert_same_as_far_as_sure(one: Decoded, other: Decoded) -> None:
    """Where two words are almost equally probable, either may come, and another text behind it."""
    both = zip(one.tokens, one.probabilities, other.tokens, other.probabilities, strict=False)
    doubts = [max(p, q) for token, p, another, q in both if token != another]
    assert doubts[0] < 0.75 if doubts else len(one.tokens) == len(other.tokens)


# --- Encoding


@settings(max_examples=12)
@given(ends=st.lists(st.integers(0, 10 * SAMPLE_RATE), max_size=12))
def test_features_are_those_of_the_whole_however_it_came(
    model: MoonshineModel, spoken: Samples, ends: list[int]
) -> None:
    """Ends mostly grow; they go back a little where speech has paused, and must not matter then, either."""
    audio, encoder = _buffer(spoken), SegmentEncoder(model, START)
    for end in ends:
        encoder.encode_incrementally(audio, START + end, 0.0)
    for end in (len(spoken), 3 * SAMPLE_RATE):
        expected, found = model.features(spoken[:end]), encoder._features(audio, START + end)
        np.testing.assert_allclose(found.values, expected.values, atol=2e-3)
        np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(found.squares, expected.squares, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("recording", SPOKEN)
def test_the_whole_is_as_if_nothing_had_been_encoded_in_passing(
    model: MoonshineModel, samples: Read, recording: str
) -> None:
    audio = samples(recording)
    encoder = SegmentEncoder(model, START)
    for end in _growing(len(audio)):
        encoder.encode_incrementally(_buffer(audio), end, 0.0)
    found, expected = encoder.encode_whole(_buffer(audio), START + len(audio)), model.encode(audio)
    assert (found.hidden.shape, found.samples) == (expected.hidden.shape, expected.samples)
    # Rounded to 8 bits, the encoder tells audio apart that differs by 1e-6.
    difference = np.abs(found.hidden - expected.hidden).mean()
    assert difference < 0.1 * np.abs(expected.hidden).mean()
    _assert_same_as_far_as_sure(
        model.decode(found, Decoded(), ())[0], model.decode(expected, Decoded(), ())[0]
    )


def test_in_passing_no_more_is_encoded_than_the_last_second_and_what_is_new(
    model: MoonshineModel, spoken: Samples
) -> None:
    sizes: list[int] = []

    class Counting(MoonshineModel):
        def encode_features(self, values, normalisation, *past, **how):  # type: ignore[no-untyped-def]
            sizes.append(len(values))
            return super().encode_features(values, normalisation, *past, **how)

    counting = Counting(model._networks, model.tokenizer, model._variant, model._output)
    encoder = SegmentEncoder(counting, START)
    for end in _growing(len(spoken)):
        encoder.encode_incrementally(_buffer(spoken), end, 0.0)
    assert max(sizes) <= (SAMPLE_RATE + UPDATE) / 192 + 5


@pytest.mark.parametrize("length", [0, 1, 510, 511, 700, 2_047, 2_048, 3_000])
def test_segments_too_short_for_a_frame_are_encoded(model: MoonshineModel, length: int) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, length).astype(np.float32)
    encoder = SegmentEncoder(model, START)
    for encoded in (
        encoder.encode_incrementally(_buffer(noise), START + length, 0.0),
        encoder.encode_whole(_buffer(noise), START + length),
    ):
        assert encoded.hidden.shape[1] >= 1
        assert np.isfinite(encoded.hidden).all()


def test_a_segment_that_has_grown_by_hardly_anything_is_encoded(
    model: MoonshineModel, spoken: Samples
) -> None:
    encoder, audio = SegmentEncoder(model, START), _buffer(spoken)
    for end in (48_000, 48_000, 48_001, 48_100, 47_000, 48_200):
        encoded = encoder.encode_incrementally(audio, START + end, 0.0)
        frames = len(encoder._hidden)
        assert frames == pytest.approx(end / 384, abs=3)
        assert encoded.samples == end


# --- Recognising


def _in_passing(model: MoonshineModel, audio: Samples) -> tuple[MoonshineSegment, Decoded]:
    recogniser, buffer = MoonshineSegment(model, START), _buffer(audio)
    decoded = Decoded()
    for end in [*_growing(len(audio)), START + len(audio)]:
        decoded = recogniser.recognise_incrementally(buffer, end)
    return recogniser, decoded


def _normal(text: str) -> str:
    return re.sub(r"[^a-z' ]", "", text.lower())


def test_what_is_recognised_in_passing_is_close_to_the_whole(model: MoonshineModel, samples: Read) -> None:
    wholes, passing = [], []
    for recording in SPOKEN:
        audio = samples(recording)
        recogniser, decoded = _in_passing(model, audio)
        passing.append(_normal(_text(model, decoded)))
        whole = recogniser.recognise_whole(_buffer(audio), START + len(audio))
        wholes.append(_normal(_text(model, whole)))
    assert jiwer.wer(wholes, passing) < 0.1


def test_a_mistake_that_is_repeated_at_once_is_not_kept(model: MoonshineModel, samples: Read) -> None:
    """Results a tenth of a second apart agree on the same mistakes."""
    audio = samples("test.wav")
    recogniser, buffer = MoonshineSegment(model, START), _buffer(audio)
    decoded = Decoded()
    for end in range(START + SAMPLE_RATE // 2, START + len(audio), SAMPLE_RATE // 10):
        decoded = recogniser.recognise_incrementally(buffer, end)
    assert _normal(_text(model, decoded)) == "this is a test"


@pytest.mark.parametrize("recording", SPOKEN)
def test_the_whole_is_the_models_text(model: MoonshineModel, samples: Read, recording: str) -> None:
    audio = samples(recording)
    recogniser, _ = _in_passing(model, audio)
    whole = recogniser.recognise_whole(_buffer(audio), START + len(audio))
    _assert_same_as_far_as_sure(whole, model.decode(model.encode(audio), Decoded(), ())[0])


def test_what_is_settled_is_never_read_anew(model: MoonshineModel, spoken: Samples, samples: Read) -> None:
    recogniser, buffer = MoonshineSegment(model, START), _buffer(spoken)
    decoded = Decoded()
    for number, end in enumerate(_growing(len(spoken))):
        decoded = recogniser.recognise_incrementally(buffer, end)
        settled = recogniser.settled.tokens
        assert decoded.tokens[: len(settled)] == settled
        if number % 4 == 3:
            recogniser.settled = decoded.first(len(decoded.tokens) * 2 // 3)
        if number % 10 == 9:
            decoded = recogniser.recognise_whole(buffer, end)
            settled = recogniser.settled.tokens
            assert decoded.tokens[: len(settled)] == settled
    assert len(recogniser.settled.tokens) > 10


def test_a_settled_word_stands_though_the_audio_says_another(
    model: MoonshineModel, spoken: Samples, samples: Read
) -> None:
    other = model.decode(model.encode(samples("test.wav")), Decoded(), ())[0]
    recogniser = MoonshineSegment(model, START)
    recogniser.settled = other
    for end in _growing(len(spoken))[10:14]:
        decoded = recogniser.recognise_incrementally(_buffer(spoken), end)
        assert decoded.tokens[: len(other.tokens)] == other.tokens
    assert (
        recogniser.recognise_whole(_buffer(spoken), START + 48_000).tokens[: len(other.tokens)]
        == other.tokens
    )


def test_the_whole_is_computed_once(model: MoonshineModel, samples: Read) -> None:
    audio = samples("test.wav")
    end = START + len(audio)
    recogniser, _ = _in_passing(model, audio)
    assert not recogniser.has_final(end)
    whole = recogniser.recognise_whole(_buffer(audio), end)
    assert recogniser.has_final(end)
    assert not recogniser.has_final(end + 1)
    # Not even the audio is asked for.
    assert recogniser.recognise_whole(SampleBuffer(), end) is whole
    recogniser.recognise_incrementally(_buffer(audio), end)
    assert not recogniser.has_final(end), "what was recognised last is not the whole"


# --- Drafts


class CountingDecoder(Decoder):
    """A decoder that remembers how many tokens each of its reads has."""

    def __init__(self, decoder: Decoder, layers: Sequence[int]) -> None:
        super().__init__(decoder._network, layers)
        self.passes: list[int] = []

    def read(
        self, tokens: Sequence[int], past: KeyValueCache, cross: Mapping[str, Array], at_least: int = 0
    ) -> ReadResult:
        self.passes.append(len(tokens))
        return super().read(tokens, past, cross, at_least)


@pytest.fixture
def decoder(model: MoonshineModel) -> CountingDecoder:
    return CountingDecoder(model._networks.decoder, model._variant.aligning_layers)


@pytest.fixture
def counting(model: MoonshineModel, decoder: CountingDecoder) -> MoonshineModel:
    networks = replace(model._networks, decoder=decoder)
    return MoonshineModel(networks, model.tokenizer, model._variant, model._output)


def test_a_right_draft_is_read_in_one_pass(
    counting: MoonshineModel, decoder: CountingDecoder, spoken: Samples
) -> None:
    encoded = counting.encode(spoken)
    plain = counting.decode(encoded, Decoded(), ())[0]
    assert len(decoder.passes) == len(plain.tokens) + 1
    decoder.passes.clear()
    assert counting.decode(encoded, Decoded(), plain.tokens)[0].tokens == plain.tokens
    assert decoder.passes == [len(plain.tokens) + 1]


@pytest.mark.parametrize("wrong", ["another", "missing", "added"])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.6])
def test_a_draft_that_is_wrong_in_one_word_costs_few_passes(
    counting: MoonshineModel, decoder: CountingDecoder, spoken: Samples, place: float, wrong: str
) -> None:
    encoded = counting.encode(spoken)
    plain = counting.decode(encoded, Decoded(), ())[0].tokens
    at = round(place * len(plain))
    with_one = {"another": (17,), "missing": (), "added": (17, plain[at])}[wrong]
    decoder.passes.clear()
    decoded = counting.decode(encoded, Decoded(), (*plain[:at], *with_one, *plain[at + 1 :]))[0]
    assert decoded.tokens == plain
    # The draft, what stands in the place of the wrong word, and the rest of the draft in parts; a word that
    # is said twice may be found in the wrong place first.
    assert len(decoder.passes) <= 4 + (len(plain) - at) / 12


def test_a_draft_of_another_text_costs_no_more_passes_than_none(
    counting: MoonshineModel, decoder: CountingDecoder, spoken: Samples
) -> None:
    encoded = counting.encode(spoken)
    plain = counting.decode(encoded, Decoded(), ())[0]
    none = len(decoder.passes)
    decoder.passes.clear()
    assert counting.decode(encoded, Decoded(), plain.tokens[::-1])[0].tokens == plain.tokens
    assert len(decoder.passes) <= none
    assert sum(decoder.passes) < 8 * none


@pytest.mark.parametrize("recording", SPOKEN)
def test_what_was_read_before_need_not_be_read_again(
    counting: MoonshineModel, decoder: CountingDecoder, samples: Read, recording: str
) -> None:
    encoded = counting.encode(samples(recording))
    plain, past, attention = counting.decode(encoded, Decoded(), (), KeyValueCache())
    assert past.length == len(plain.tokens) + 1
    for count in (1, len(plain.tokens) // 2, len(plain.tokens)):
        decoder.passes.clear()
        settled = plain.first(count)
        decoded, after, rest = counting.decode(encoded, settled, plain.tokens[count:], past.first(count))
        assert decoded.tokens == plain.tokens
        np.testing.assert_allclose(rest, attention[:, count:], atol=0.2)
        assert decoder.passes == [1 + len(plain.tokens) - count]
        assert after.length == past.length


@pytest.mark.parametrize("recording", SPOKEN)
def test_attention_is_that_of_the_tokens_kept_whatever_the_draft_was(
    counting: MoonshineModel, samples: Read, recording: str
) -> None:
    encoded = counting.encode(samples(recording))
    plain, _, expected = counting.decode(encoded, Decoded(), (), KeyValueCache())
    assert expected.shape[1:] == (len(plain.tokens), encoded.hidden.shape[1])
    np.testing.assert_allclose(expected.sum(axis=-1), 1, atol=1e-3)
    wrong = plain.tokens[::-1]
    half = len(plain.tokens) // 2
    for draft in (plain.tokens, wrong, (*plain.tokens[:half], *wrong), (*plain.tokens, *wrong)):
        decoded, _, attention = counting.decode(encoded, Decoded(), draft, KeyValueCache())
        assert decoded.tokens == plain.tokens
        np.testing.assert_allclose(attention, expected, atol=0.2)


@pytest.mark.parametrize("recording", SPOKEN)
def test_tokens_read_one_by_one_and_all_at_once_are_followed_by_the_same(
    counting: MoonshineModel, samples: Read, recording: str
) -> None:
    """Activations are rounded row by row: what stands beside a token changes it no more than sums do."""
    encoded = counting.encode(samples(recording))
    plain = counting.decode(encoded, Decoded(), ())[0]
    at_once = counting.decode(encoded, Decoded(), plain.tokens)[0]
    assert at_once.tokens == plain.tokens
    np.testing.assert_allclose(at_once.probabilities, plain.probabilities, atol=0.05)
