"""The networks of a Moonshine model, and greedy decoding. Shapes in what follows are those of tiny-en."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.moonshine.cache import cached_files
from transcribed.engines.moonshine.outputs import (
    CROSS,
    ENCODER_NEW,
    ENCODER_PAST,
    FEATURES,
    PAST,
    PRESENT,
    PROBABILITIES,
    SQUARES,
    SUMS,
    TOKENS,
    Dimensions,
    attention,
)
from transcribed.engines.moonshine.tokenizer import Tokenizer
from transcribed.engines.moonshine.variants import VARIANTS, Variant
from transcribed.engines.runtime import session
from transcribed.errors import ConfigurationError
from transcribed.recognition.repetition import length_without_loop, repeated_phrase_length
from transcribed.recognition.stabilizer import common_prefix_length

START, END = 1, 2
_TOKENS_PER_SECOND = 6.5
_SPARE_TOKENS = 6
# The encoder's convolutions need this many samples to yield one hidden state.
SHORTEST = 2_048
_PARALLEL_THREADS = min(2, os.cpu_count() or 1)
_REJOINED_WITHIN, _TRIED_AT_ONCE = 8, 12
_EPSILON = 1e-5

Array = npt.NDArray[np.float32]
HalfArray = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Features:
    """The stem's view of some audio.

    `values` [n, 576] are one for each 192 samples; `sums` and `squares` [m], one for each 64, describe
    what the encoder normalises by.
    """

    values: HalfArray
    sums: Array
    squares: Array

    def normalisation(self) -> tuple[Array, Array]:
        """The mean of the first convolution's outputs [1], and one over their deviation [1]."""
        count = len(self.sums) * self.values.shape[1] // 2
        mean = self.sums.sum(dtype=np.float64) / count
        variance = self.squares.sum(dtype=np.float64) / count - mean**2
        return np.array([mean], np.float32), np.array([(variance + _EPSILON) ** -0.5], np.float32)


@dataclass(frozen=True, slots=True)
class Encoded:
    """The encoder's view of some audio: hidden states [1, frames, width], and its length in samples.

    `skipped` frames in front of these are left out.
    """

    hidden: Array
    samples: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Decoded:
    """Tokens without start and end, and the model's probability of each.

    `spans` says where each is spoken, in samples from the start of the stream; empty where that was not
    asked.
    """

    tokens: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()

    def first(self, count: int) -> "Decoded":
        """The first tokens alone."""
        return Decoded(self.tokens[:count], self.probabilities[:count], self.spans[:count])


@dataclass(frozen=True, slots=True)
class KeyValueCache:
    """What the decoder keeps of the tokens that it has read, so that it need not read them again.

    For each layer its keys and values, of the shape [1, heads, length, head size]. Empty at the start.
    """

    states: tuple[Array, ...] = ()

    @property
    def length(self) -> int:
        """Tokens, the start before them included."""
        return int(self.states[0].shape[2]) if self.states else 0

    def first(self, length: int) -> "KeyValueCache":
        """All that was read after this is forgotten."""
        return KeyValueCache(tuple(state[:, :, :length] for state in self.states))


@dataclass(frozen=True, slots=True)
class Networks:
    """The loaded graphs, the encoder once more with threads of its own."""

    stem: ort.InferenceSession
    encoder: ort.InferenceSession
    parallel_encoder: ort.InferenceSession
    cross: ort.InferenceSession
    decoder: ort.InferenceSession


class MoonshineModel:
    """The loaded networks. Stateless: any number of threads may use one at once."""

    def __init__(self, networks: Networks, tokenizer: Tokenizer, variant: Variant) -> None:
        self._networks = networks
        self.tokenizer = tokenizer
        self._variant = variant
        self.dimensions = _dimensions(networks)

    @classmethod
    def load(cls, cache: Path, name: str | None = None) -> Self:
        """Load the model of this name, or the first. Its graphs are made anew, once."""
        variant = VARIANTS[name or next(iter(VARIANTS))]
        model = shipped_file(variant.folder, variant.package)
        graphs = cached_files(
            cache,
            ["stem.onnx", "encoder.onnx", "cross.onnx", "decoder.onnx"],
            [model / "encoder_model.ort", model / "decoder_model_merged.ort"],
            variant.version,
            _build,
        )
        stem, encoder, cross, decoder = graphs
        networks = Networks(
            stem=session(stem),
            encoder=session(encoder),
            parallel_encoder=session(encoder, threads=_PARALLEL_THREADS),
            cross=session(cross),
            decoder=session(decoder),
        )
        return cls(networks, Tokenizer((model / "tokenizer.bin").read_bytes()), variant)

    @property
    def empty_cache(self) -> HalfArray:
        """The past of a segment's first frames."""
        return np.empty((0, 2 * self.dimensions.encoder_layers, self.dimensions.width), np.float16)

    def features(self, samples: Samples) -> Features:
        """Samples → features; 511 samples make one, and each 192 more another."""
        values, sums, squares = self._networks.stem.run(
            [FEATURES, SUMS, SQUARES], {"samples": samples[None, None]}
        )
        return Features(values, sums[0], squares[0])

    def encode_features(
        self,
        values: HalfArray,
        normalisation: tuple[Array, Array],
        past: HalfArray | None = None,
        *,
        parallel: bool = False,
    ) -> tuple[Array, HalfArray]:
        """Features [n, 576], as their segment's normalisation makes them, to hidden states.

        Three features make one frame, and each 2 more another. Frames attend to those of `past`, too: the
        keys and values [frames, 2 * layers, width] of those before. Their own come back beside the hidden
        states [1, frames, width].
        """
        mean, scale = normalisation
        past = self.empty_cache if past is None else past
        encoder = self._networks.parallel_encoder if parallel else self._networks.encoder
        hidden, new = encoder.run(
            ["hidden", ENCODER_NEW],
            {
                FEATURES: values,
                "mean": mean,
                "scale": scale,
                "position": np.array([len(past)]),
                ENCODER_PAST: past,
            },
        )
        return hidden, new

    def encode(self, samples: Samples, *, parallel: bool = False) -> Encoded:
        """Samples of one segment → hidden states, one for each 24 ms.

        `parallel` uses a second core if one is idle: sooner done, for a little more work in all.
        """
        if len(samples) < SHORTEST:
            samples = np.pad(samples, (0, SHORTEST - len(samples)))
        features = self.features(samples)
        hidden, _ = self.encode_features(features.values, features.normalisation(), parallel=parallel)
        return Encoded(hidden, len(samples))

    def decode(self, encoded: Encoded, settled: Decoded, draft: Sequence[int]) -> Decoded:
        """The most probable tokens, one after the other (greedy), behind those that are settled.

        `draft` is a guess at what follows the settled tokens, as a rule what was decoded from a little
        less of the same audio. The first pass reads settled tokens and draft at once, which costs little
        more than reading a few, and keeps of the draft what greedy decoding would itself have chosen
        (speculation: Leviathan, Kalman and Matias, 2023, "Fast Inference from Transformers via
        Speculative Decoding"). So a draft changes the time this takes, and the text only where two words
        are almost equally probable: sums round differently in passes of different lengths.
        """
        decoded, _, _ = self.decode_from(encoded, settled, draft, KeyValueCache())
        return decoded

    def decode_from(
        self, encoded: Encoded, settled: Decoded, draft: Sequence[int], past: KeyValueCache
    ) -> tuple[Decoded, KeyValueCache, Array]:
        """Decode as `decode` does, where the start token and some settled ones have been read before.

        `past` is what reading them left, at most as long as the settled tokens are many; it comes back
        with all that was read now. Last comes the attention [heads, tokens, frames] of the heads that
        follow the speech, of all tokens but the settled ones.
        """
        limit = int(encoded.samples / SAMPLE_RATE * _TOKENS_PER_SECOND) + _SPARE_TOKENS
        names = self.dimensions.states(CROSS)
        cross = dict(zip(names, self._networks.cross.run(names, {"hidden": encoded.hidden}), strict=True))
        reading = _Decoder(self._networks.decoder, self.dimensions, self._variant, cross, past)
        tokens, probabilities = list(settled.tokens), list(settled.probabilities)
        unread = [START, *tokens][past.length :]
        rest = draft = draft[: max(0, limit - len(tokens))]
        skipped = 0
        while True:
            chosen, probable = (values[len(unread) - 1 :] for values in reading.read([*unread, *draft]))
            kept = common_prefix_length(draft, chosen.tolist())
            tokens += draft[:kept]
            probabilities += map(float, probable[:kept])
            reading.truncate(1 + len(tokens))
            token = int(chosen[kept])
            if token == END or len(tokens) >= limit:
                break
            tokens.append(token)
            probabilities.append(float(probable[kept]))
            if (phrase := repeated_phrase_length(tokens)) is not None:
                # The last token has not been read yet: there is no attention of it.
                attended = reading.attention(len(settled.tokens)).mean(axis=0)
                fewer = length_without_loop(tokens[:-1], phrase, attended)
                if fewer is not None:
                    del tokens[max(fewer, len(settled.tokens)) :]
                    reading.truncate(1 + len(tokens))
                    break
            unread = [token]
            if kept:
                rest = rest[skipped + kept :]
            skipped = _rejoined(rest, token)
            draft = rest[skipped : skipped + min(_TRIED_AT_ONCE, limit - len(tokens))] if skipped else ()
        decoded = Decoded(tuple(tokens), tuple(probabilities[: len(tokens)]))
        return decoded, reading.past, reading.attention(len(settled.tokens))


def _rejoined(rest: Sequence[int], token: int) -> int:
    """How much of a draft to skip, where a token came that it did not expect; 0 where it knows no such.

    A draft that is wrong in one word is mostly right in those behind it.
    """
    nearby = rest[:_REJOINED_WITHIN]
    return nearby.index(token) + 1 if token in nearby else 0


class _Decoder:
    """The decoder's state while it reads tokens against one segment's audio."""

    def __init__(
        self,
        decoder: ort.InferenceSession,
        sizes: Dimensions,
        variant: Variant,
        cross: Mapping[str, Array],
        past: KeyValueCache,
    ) -> None:
        self._decoder = decoder
        self._variant = variant
        self._names = sizes.states(PAST)
        layers = map(attention, variant.next_heads)
        self._wanted = [TOKENS, PROBABILITIES, *layers, *sizes.states(PRESENT)]
        self._no_past = [np.zeros((1, sizes.heads, 0, sizes.head_size), np.float32)] * len(self._names)
        self._cross = cross
        self._first = past.length
        self._attentions: list[list[Array]] = []
        self.past = past

    def read(self, tokens: Sequence[int]) -> tuple[npt.NDArray[np.int64], Array]:
        """Behind each of these tokens: the most probable next one, and its probability."""
        chosen, probable, *rest = self._decoder.run(
            self._wanted,
            {
                "input_ids": np.array([tokens]),
                "position": np.array([self.past.length]),
                **dict(zip(self._names, self.past.states or self._no_past, strict=True)),
                **self._cross,
            },
        )
        layers = len(self._variant.next_heads)
        self._attentions.append([attended[0] for attended in rest[:layers]])
        self.past = KeyValueCache(tuple(rest[layers:]))
        return chosen[0], probable[0]

    def truncate(self, length: int) -> None:
        """Take back all tokens from this position on."""
        extra = self.past.length - length
        self.past = self.past.first(length)
        while extra > 0:
            latest = self._attentions.pop()
            kept = max(0, latest[0].shape[1] - extra)
            extra -= latest[0].shape[1] - kept
            if kept:
                self._attentions.append([attended[:, :kept] for attended in latest])

    def attention(self, settled: int) -> Array:
        """[heads, tokens, frames]: where the audio is of all tokens behind the settled ones."""
        heads_of, latest_of = self._variant.next_heads, self._variant.latest_heads
        layers = {
            layer: np.concatenate(parts, axis=1)[:, settled - self._first :]
            for layer, parts in zip(heads_of, zip(*self._attentions, strict=True), strict=True)
        }
        next_ones = [layers[layer][heads, :-1] for layer, heads in heads_of.items()]
        latest = [layers[layer][heads, 1:] for layer, heads in latest_of.items()]
        return np.concatenate(next_ones + latest)


def _dimensions(networks: Networks) -> Dimensions:
    """The dimensions of the model whose graphs were built here, read from their inputs."""
    inputs = {each.name: each.shape for each in networks.decoder.get_inputs()}
    pasts = [shape for name, shape in inputs.items() if name.startswith("past.")]
    (states,) = (each.shape[1] for each in networks.encoder.get_inputs() if each.name == ENCODER_PAST)
    return Dimensions(states // 2, len(pasts) // 2, pasts[0][1], pasts[0][3])


def shipped_file(name: str, package: str = "moonshine_voice") -> Path:
    """The path of a file of an installed package that carries a model.

    Raises ConfigurationError where the package is not installed.
    """
    # Found without importing the package, which would load a runtime of its own.
    found = find_spec(package)
    for folder in (found and found.submodule_search_locations) or ():
        return Path(folder) / "assets" / name
    raise ConfigurationError(
        "The embedded engine's model is not installed. Run: pip install moonshine-voice==0.0.73"
    )


def _build(shipped: Sequence[bytes]) -> Sequence[bytes]:
    # Imported for the first start ever alone: onnx is large.
    from transcribed.engines.moonshine.graphs import build  # noqa: PLC0415

    encoder, decoder = shipped
    return build(encoder, decoder)
