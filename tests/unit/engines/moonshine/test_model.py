from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from transcribed.audio.formats import Samples, silence
from transcribed.engines.moonshine.model import Decoded, MoonshineModel
from transcribed.engines.moonshine.outputs import END, START
from transcribed.engines.moonshine.shipped import is_installed, shipped_file
from transcribed.engines.moonshine.variants import NAMED
from transcribed.engines.segments.engine import SegmentEngine

Read = Callable[[str], Samples]
SPOKEN = {
    "test.wav": "This is a test.",
    "common_voice.mp3": "The boy turned to the hand that",
    "telephone.wav": "The seventh chapter",
    "jfk.mp3": "And so my fellow",
}


@pytest.fixture(scope="module")
def model(moonshine: SegmentEngine) -> MoonshineModel:
    return moonshine.model.networks


@pytest.fixture(params=SPOKEN)
def recording(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def _text(model: MoonshineModel, decoded: Decoded) -> str:
    return model.tokenizer.text(decoded.tokens)


# --- The graphs


@dataclass(frozen=True)
class Pair:
    """The graphs that a package carries, run as they are, and the model that is built from them."""

    encoder: ort.InferenceSession
    decoder: ort.InferenceSession
    model: MoonshineModel


@pytest.fixture(scope="module", params=[name for name in NAMED if is_installed(NAMED[name].package)])
def pair(request: pytest.FixtureRequest, environment: dict[str, str]) -> Pair:
    variant = NAMED[request.param]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    folder = shipped_file(variant.folder, variant.package)
    encoder, decoder = (
        ort.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
        for name in ("encoder_model.ort", "decoder_model_merged.ort")
    )
    return Pair(encoder, decoder, MoonshineModel.load(Path(environment["TRANSCRIBED_CACHE"]), variant))


def test_the_dimensions_are_those_of_the_shipped_graphs(pair: Pair) -> None:
    pasts = [each.shape for each in pair.decoder.get_inputs() if each.name.endswith(".decoder.key")]
    width = pair.encoder.run(None, _inputs(pair.encoder, silence(1.0)))[0].shape[2]
    sizes = pair.model.dimensions
    assert (sizes.layers, sizes.heads, sizes.head_size) == (len(pasts), pasts[0][1], pasts[0][3])
    assert sizes.width == width
    assert pair.model.encode(silence(1.0)).hidden.shape[2] == width


def _inputs(encoder: ort.InferenceSession, samples: Samples) -> dict[str, "np.ndarray"]:
    """Base-en's encoder takes no mask."""
    every = {"input_values": samples[None], "attention_mask": np.ones((1, len(samples)), np.int64)}
    return {each.name: every[each.name] for each in encoder.get_inputs()}


def _greedy(decoder: ort.InferenceSession, hidden: "np.ndarray", mask: "np.ndarray") -> Iterator[int]:
    """Greedy decoding by the shipped decoder, one token a step."""
    inputs = [value.name for value in decoder.get_inputs()]
    outputs = [value.name for value in decoder.get_outputs()]
    past = {
        value.name: np.zeros(
            (1, value.shape[1], 0 if "decoder" in value.name else hidden.shape[1], value.shape[3]),
            np.float32,
        )
        for value in decoder.get_inputs()
        if value.name.startswith("past")
    }
    token, use_cache = START, False
    while True:
        feed = {
            "input_ids": np.array([[token]]),
            "encoder_hidden_states": hidden,
            "encoder_attention_mask": mask,
            "use_cache_branch": np.array([use_cache]),
            **past,
        }
        found = dict(zip(outputs, decoder.run(None, {name: feed[name] for name in inputs}), strict=True))
        token = int(found["logits"][0, -1].argmax())
        if token == END:
            return
        yield token
        for name in past:
            state = found[name.replace("past_key_values", "present")]
            if not use_cache or "decoder" in name:
                past[name] = state
        use_cache = True


def test_the_graphs_compute_what_the_shipped_ones_do(pair: Pair, samples: Read, recording: str) -> None:
    audio = samples(recording)
    mask = np.ones((1, len(audio)), np.int64)
    (hidden,) = pair.encoder.run(None, _inputs(pair.encoder, audio))
    encoded = pair.model.encode(audio)
    assert encoded.hidden.shape == hidden.shape
    # Rounded to 8 bits, tiny-en's shipped encoder differs from itself by half as much for audio that
    # differs by 1e-6.
    assert np.abs(encoded.hidden - hidden).mean() < 0.1 * np.abs(hidden).mean()
    tokens = tuple(_greedy(pair.decoder, hidden, mask))
    assert pair.model.decode(encoded, Decoded(), ())[0].tokens == tokens
    assert pair.model.tokenizer.text(tokens).startswith(SPOKEN[recording])


# --- Encoding


@pytest.mark.parametrize("length", [0, 1, 500, 2_047, 2_048, 16_000, 480_000])
def test_encodes_any_length(model: MoonshineModel, length: int) -> None:
    encoded = model.encode(np.zeros(length, np.float32))
    frames = encoded.hidden.shape[1]
    assert frames == pytest.approx(max(length, 2_048) / 384, abs=3)
    assert np.isfinite(encoded.hidden).all()
    assert np.isfinite(model.decode(encoded, Decoded(), ())[0].probabilities).all()


# --- Decoding


def test_every_token_has_its_probability(model: MoonshineModel, samples: Read) -> None:
    decoded = model.decode(model.encode(samples("test.wav")), Decoded(), ())[0]
    assert len(decoded.tokens) == len(decoded.probabilities)
    assert all(0 < probability <= 1 for probability in decoded.probabilities)
    assert min(decoded.probabilities) > 0.5


@pytest.mark.parametrize("recording", [*SPOKEN, "steamers.ogg"])
def test_a_draft_changes_no_word_that_the_model_is_sure_of(
    model: MoonshineModel, samples: Read, recording: str
) -> None:
    audio = samples(recording)
    encoded = model.encode(audio)
    plain = model.decode(encoded, Decoded(), ())[0]
    earlier = [
        model.decode(model.encode(audio[: len(audio) * part // 10]), Decoded(), ())[0] for part in (3, 6, 9)
    ]
    wrong = [(*plain.tokens[:2], 17, *plain.tokens[3:]), (5_000,) * 200, (END, END), (START,)]
    for draft in [plain.tokens, *(decoded.tokens for decoded in earlier), *wrong]:
        decoded = model.decode(encoded, Decoded(), draft)[0]
        pairs = zip(plain.tokens, plain.probabilities, decoded.tokens, decoded.probabilities, strict=False)
        doubts = [(p, q) for token, p, other, q in pairs if token != other]
        if doubts:
            assert max(doubts[0]) < 0.75, "what follows the first difference may be another text altogether"
        else:
            assert len(decoded.tokens) == len(plain.tokens)


def test_a_wrong_draft_is_not_believed(model: MoonshineModel, samples: Read) -> None:
    encoded = model.encode(samples("test.wav"))
    for draft in ((5_000,) * 200, (END, END), (START,), (17,)):
        assert _text(model, model.decode(encoded, Decoded(), draft)[0]) == "This is a test."


def test_what_is_settled_stands_at_the_start(model: MoonshineModel, samples: Read, recording: str) -> None:
    audio = samples(recording)
    encoded = model.encode(audio)
    plain = model.decode(encoded, Decoded(), ())[0]
    for count in (1, len(plain.tokens) // 2, len(plain.tokens)):
        settled = Decoded(plain.tokens[:count], plain.probabilities[:count])
        decoded = model.decode(encoded, settled, ())[0]
        assert decoded.tokens[:count] == settled.tokens
        assert decoded.probabilities[:count] == settled.probabilities

    other = model.decode(model.encode(samples("test.wav")), Decoded(), ())[0]
    assert model.decode(encoded, other, plain.tokens)[0].tokens[: len(other.tokens)] == other.tokens


def test_what_is_settled_stands_even_where_it_repeats_itself(model: MoonshineModel, samples: Read) -> None:
    encoded = model.encode(samples("jfk.mp3"))
    (word,) = {
        token for token in range(len(model.tokenizer)) if model.tokenizer.text([token]) == "country"
    } & set(model.decode(encoded, Decoded(), ())[0].tokens)
    settled = Decoded((word,) * 14, (0.9,) * 14)
    assert model.decode(encoded, settled, ())[0].tokens[:14] == settled.tokens


def _noise(seconds: int) -> Samples:
    return np.random.default_rng(1).normal(0, 0.1, seconds * 16_000).astype(np.float32)


def _dial_tone(seconds: int) -> Samples:
    times = np.arange(seconds * 16_000) / 16_000
    tone: Samples = (0.2 * sum(np.sin(2 * np.pi * pitch * times) for pitch in (350, 440))).astype(
        np.float32
    )
    return tone


@pytest.mark.parametrize(
    "sound", ["noise 8", "noise 15", "tone 8", "tone 12", "vowel 16000", "vowel 32000", "vowel 68800"]
)
def test_a_model_that_loops_is_stopped(
    model: MoonshineModel, samples: Read, sound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, _, size = sound.partition(" ")
    if kind == "vowel":
        audio = np.tile(samples("jfk.mp3")[int(size) : int(size) + 1_600], 60)
    else:
        audio = (_noise if kind == "noise" else _dial_tone)(int(size))
    encoded = model.encode(audio)
    stopped = model.decode(encoded, Decoded(), ())[0].tokens
    monkeypatch.setattr("transcribed.engines.moonshine.model.repeated_phrase_length", lambda _: None)
    looping = model.decode(encoded, Decoded(), ())[0].tokens
    assert looping[: len(stopped)] == stopped
    assert len(looping) > 40, "it goes on until the length of the audio stops it"
    assert len(stopped) <= 24
    assert stopped


def test_the_length_of_the_audio_limits_the_tokens(model: MoonshineModel) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, 32_000).astype(np.float32)
    for audio in (noise, silence(2.0)):
        encoded = model.encode(audio)
        assert len(model.decode(encoded, Decoded(), ())[0].tokens) <= 2 * 6.5 + 6
        assert len(model.decode(encoded, Decoded(), tuple(range(100, 200)))[0].tokens) <= 2 * 6.5 + 6


def test_many_threads_may_use_one_model(model: MoonshineModel, samples: Read) -> None:
    recordings = [samples(name) for name in list(SPOKEN)[:3]] * 4

    def decode(audio: Samples) -> Decoded:
        return model.decode(model.encode(audio), Decoded(), ())[0]

    alone = [decode(audio) for audio in recordings[:3]] * 4
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(decode, recordings)) == alone


@pytest.mark.parametrize("more", [0, 1, 3])
@pytest.mark.parametrize("drafted", [False, True])
def test_a_text_that_may_not_end_yet_goes_on(
    model: MoonshineModel, samples: Read, more: int, drafted: bool
) -> None:
    encoded = model.encode(samples("test.wav"))
    ended, *_ = model.decode(encoded, Decoded(), ())
    at_least = len(ended.tokens) + more
    draft = ended.tokens if drafted else ()
    longer, _, attention = model.decode(encoded, Decoded(), draft, at_least=at_least)
    assert len(longer.tokens) >= at_least
    assert longer.tokens[: len(ended.tokens)] == ended.tokens
    assert END not in longer.tokens
    assert attention.shape[1] == len(longer.tokens) == len(longer.probabilities)
