"""The networks of a Moonshine model, and greedy decoding. Names of dimensions are those of `outputs`."""

import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.moonshine.cache import cached_files
from transcribed.engines.moonshine.decoder import NO_TOKENS, Decoder, KeyValueCache
from transcribed.engines.moonshine.outputs import (
    CROSS,
    ENCODER_NEW,
    ENCODER_PAST,
    END,
    FEATURES,
    SQUARES,
    START,
    SUMS,
    Dimensions,
    OutputRows,
)
from transcribed.engines.moonshine.shipped import shipped_file
from transcribed.engines.moonshine.tokenizer import Tokenizer
from transcribed.engines.moonshine.variants import Calibration, Variant
from transcribed.engines.runtime import prefers_signed_weights, session
from transcribed.recognition.repetition import length_without_loop, repeated_phrase_length
from transcribed.recognition.stabilizer import common_prefix_length

if TYPE_CHECKING:
    from transcribed.engines.moonshine.biasing import Bias

_TOKENS_PER_SECOND = 10.0
_SPARE_TOKENS = 6
"""A segment has at most so many tokens per second of audio, and these more."""
SHORTEST = 2_048
"""Shorter audio is padded with silence to this many samples."""
_PARALLEL_THREADS = min(2, os.cpu_count() or 1)
_RESUMED_WITHIN, _TRIED_AT_ONCE = 8, 12
"""After a wrong token, how far ahead a draft may resume, and how much of it is tried at once: tokens."""
_EPSILON = 1e-5

Array = npt.NDArray[np.float32]
HalfArray = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Features:
    """The stem's output for some audio.

    `values` [n, 2 * width] has one row for each 192 samples. `sums` and `squares` [m], with one value for
    each 64 samples, are the statistics for the normalisation.
    """

    values: HalfArray
    sums: Array
    squares: Array

    def normalisation(self) -> tuple[Array, Array]:
        """Return the mean of the first convolution's outputs [1] and the inverse of their deviation [1]."""
        count = len(self.sums) * self.values.shape[1] // 2
        mean = self.sums.sum(dtype=np.float64) / count
        variance = self.squares.sum(dtype=np.float64) / count - mean**2
        return np.array([mean], np.float32), np.array([(variance + _EPSILON) ** -0.5], np.float32)


@dataclass(frozen=True, slots=True)
class Encoded:
    """The encoder's output for some audio: hidden states [1, frames, width], and the length in samples.

    `skipped` is the number of frames that are left out before these.
    """

    hidden: Array
    samples: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Decoded:
    """Decoded tokens, without the start and end tokens, and the model's probability of each.

    `spans` are their positions in the stream, in samples; empty if not yet aligned.
    """

    tokens: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()

    def first(self, count: int) -> "Decoded":
        """Return the first tokens only."""
        return Decoded(self.tokens[:count], self.probabilities[:count], self.spans[:count])


@dataclass(frozen=True, slots=True)
class Networks:
    """The loaded graphs. The parallel encoder is the same as the encoder, with several threads."""

    stem: ort.InferenceSession
    encoder: ort.InferenceSession
    parallel_encoder: ort.InferenceSession
    cross: ort.InferenceSession
    decoder: Decoder


class MoonshineModel:
    """The loaded networks. They are stateless, and may be used by several threads at once."""

    def __init__(
        self, networks: Networks, tokenizer: Tokenizer, variant: Variant, output: bytes | str
    ) -> None:
        self._networks = networks
        self._output = output
        self.tokenizer = tokenizer
        self._variant = variant
        self.dimensions = _dimensions(networks)

    @classmethod
    def load(cls, cache: Path, variant: Variant) -> Self:
        """Load a model; at the first start, build its graphs into `cache`.

        Raises ConfigurationError if the model is not installed.
        """
        model = shipped_file(variant.folder, variant.package)
        signed = prefers_signed_weights()
        graphs = cached_files(
            cache,
            ["stem.onnx", "encoder.onnx", "cross.onnx", "decoder.onnx", "output.npz"],
            [model / "encoder_model.ort", model / "decoder_model_merged.ort"],
            f"{variant.version}-signed" if signed else variant.version,
            partial(_build, signed=signed),
        )
        stem, encoder, cross, decoder, output = graphs
        networks = Networks(
            stem=session(stem),
            encoder=session(encoder),
            parallel_encoder=session(encoder, threads=_PARALLEL_THREADS),
            cross=session(cross),
            decoder=Decoder(session(decoder), list(variant.aligning_layers)),
        )
        return cls(networks, Tokenizer((model / "tokenizer.bin").read_bytes()), variant, output)

    @property
    def name(self) -> str:
        """The name of the model in results."""
        return self._variant.name

    @cached_property
    def output_rows(self) -> OutputRows:
        """The output matrix, which is loaded when it is first used."""
        return OutputRows(self._output)

    @property
    def calibration(self) -> Calibration:
        """The calibration of the probabilities of the model's tokens."""
        return self._variant.calibration

    @property
    def empty_cache(self) -> HalfArray:
        """The encoder's key-value cache before the first frame."""
        return np.empty((0, 2 * self.dimensions.encoder_layers, self.dimensions.width), np.float16)

    def features(self, samples: Samples) -> Features:
        """Compute features: one for the first 511 samples, and one for each 192 more."""
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
        """Encode features [n, 2 * width] with the normalisation of their segment.

        There is one frame for the first three features, and one for each two more. Frames also attend to
        those in `past`, a cache [frames, 2 * layers, width]. Returns the hidden states [1, frames, width]
        and the cache of the new frames.
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
        """Encode the samples of one segment, with one frame for each 24 ms.

        `parallel` also uses a second core, for an earlier result at a slightly higher total cost.
        """
        if len(samples) < SHORTEST:
            samples = np.pad(samples, (0, SHORTEST - len(samples)))
        features = self.features(samples)
        hidden, _ = self.encode_features(features.values, features.normalisation(), parallel=parallel)
        return Encoded(hidden, len(samples))

    def decode(
        self,
        encoded: Encoded,
        settled: Decoded,
        draft: Sequence[int],
        past: KeyValueCache = NO_TOKENS,
        bias: "Bias | None" = None,
        *,
        at_least: int = 0,
    ) -> tuple[Decoded, KeyValueCache, Array]:
        """Decode greedily, starting after the settled tokens.

        `draft` is a guess at the tokens that follow the settled ones, usually the result for slightly less
        of the same audio, or that of another model. The first pass reads settled tokens and draft at once,
        at little more than the cost of one token, and accepts the part of the draft that greedy decoding
        would have chosen (Leviathan, Kalman and Matias, 2023, "Fast Inference from Transformers via
        Speculative Decoding"). So a draft saves time, and changes the text only if two tokens are almost
        equally probable: sums are rounded differently in passes of different lengths.

        With a `bias`, the text follows its phrases where they are almost as probable, and the draft is
        verified by the same rule. `at_least` is the number of tokens before which the text does not end.

        `past` is the cache of earlier reads, with at most as many tokens as are settled. Returns the
        tokens, the extended cache, and the attention [heads, tokens, frames] of all tokens but the settled
        ones, by the heads that follow the speech.
        """
        limit = int(encoded.samples / SAMPLE_RATE * _TOKENS_PER_SECOND) + _SPARE_TOKENS
        names = self.dimensions.states(CROSS)
        cross = dict(zip(names, self._networks.cross.run(names, {"hidden": encoded.hidden}), strict=True))
        reading = DecoderState(
            self._networks.decoder,
            self._variant,
            cross,
            past,
            observed=bias is not None,
            at_least=at_least,
        )
        text = Text(list(settled.tokens), list(settled.probabilities), len(settled.tokens), limit)
        continue_greedily(reading, text, [START, *text.tokens][past.length :], draft, bias)
        if bias is not None:
            reading = bias.improve(reading, text)
        decoded = Decoded(tuple(text.tokens), tuple(text.probabilities[: len(text.tokens)]))
        return decoded, reading.past, reading.attention(len(settled.tokens))


@dataclass(slots=True)
class Text:
    """The tokens of a segment while they are decoded, and the probability of each.

    The first `settled` ones stay; `limit` bounds their number.
    """

    tokens: list[int]
    probabilities: list[float]
    settled: int
    limit: int


def continue_greedily(
    reading: "DecoderState",
    text: Text,
    unread: list[int],
    draft: Sequence[int],
    bias: "Bias | None" = None,
) -> None:
    """Extend a text with the most probable tokens up to its end. `unread` are its last, unread tokens."""
    tokens, probabilities, limit = text.tokens, text.probabilities, text.limit
    rest = draft = draft[: max(0, limit - len(tokens))]
    skipped = 0
    while True:
        chosen, probable = (values[len(unread) - 1 :] for values in reading.read([*unread, *draft]))
        kept = common_prefix_length(draft, chosen.tolist())
        favoured = list(map(float, probable[:kept]))
        if bias is not None and kept < len(draft):
            kept, favoured = bias.kept(reading, tokens, draft)
        tokens += draft[:kept]
        probabilities += favoured
        reading.truncate(1 + len(tokens))
        token = int(chosen[kept])
        if token == END or len(tokens) >= limit:
            break
        tokens.append(token)
        probabilities.append(float(probable[kept]))
        if (phrase := repeated_phrase_length(tokens)) is not None:
            # The last token has not been read yet, so its attention is unknown.
            attended = reading.attention(text.settled).mean(axis=0)
            fewer = length_without_loop(tokens[:-1], phrase, attended)
            if fewer is not None:
                del tokens[max(fewer, text.settled) :]
                reading.truncate(1 + len(tokens))
                break
        unread = [token]
        if kept:
            rest = rest[skipped + kept :]
        skipped = resumed(rest, token)
        draft = rest[skipped : skipped + min(_TRIED_AT_ONCE, limit - len(tokens))] if skipped else ()


def resumed(rest: Sequence[int], token: int) -> int:
    """Return how much of the rest of a draft to skip after an unexpected token, or 0 to drop the rest.

    A draft that is wrong in one word is mostly right in the following words.
    """
    nearby = rest[:_RESUMED_WITHIN]
    return nearby.index(token) + 1 if token in nearby else 0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The decoder's outputs after each of n tokens.

    `states` [n, width] are its last hidden states, `tokens` [n] the most probable next tokens,
    `probabilities` [n] those of these tokens.
    """

    states: Array
    tokens: npt.NDArray[np.int64]
    probabilities: Array

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Concatenate the outcomes of successive tokens."""
        return cls(
            np.concatenate([part.states for part in parts]),
            np.concatenate([part.tokens for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )

    def first(self, count: int) -> "Outcomes":
        """Return the first outcomes only."""
        return Outcomes(self.states[:count], self.tokens[:count], self.probabilities[:count])

    def after(self, count: int) -> "Outcomes":
        """Return all but the first outcomes."""
        return Outcomes(self.states[count:], self.tokens[count:], self.probabilities[count:])


class DecoderState:
    """The decoder and its state for the audio of one segment."""

    def __init__(
        self,
        decoder: Decoder,
        variant: Variant,
        cross: Mapping[str, Array],
        past: KeyValueCache,
        *,
        observed: bool = False,
        at_least: int = 0,
    ) -> None:
        self._decoder = decoder
        self._variant = variant
        self._cross = cross
        self._first = past.length
        self._observed = observed
        self._at_least = at_least
        self._attentions: list[Sequence[Array]] = []
        self._outcomes: list[Outcomes] = []
        self.past = past

    def read(self, tokens: Sequence[int]) -> tuple[npt.NDArray[np.int64], Array]:
        """Read tokens. Return the most probable next token after each, and its probability."""
        found = self._decoder.read(tokens, self.past, self._cross, self._at_least)
        self._attentions = [*self._attentions, found.attentions]
        if self._observed:
            self._outcomes = [*self._outcomes, Outcomes(found.states, found.tokens, found.probabilities)]
        self.past = found.past
        return found.tokens, found.probabilities

    def fork(self, length: int) -> Self:
        """Return a copy with the first tokens only. Neither sees what the other reads or drops."""
        forked = copy(self)
        forked.truncate(length)
        return forked

    def outcomes(self, position: int) -> "Outcomes":
        """Return the outcomes of all tokens from this position on."""
        return Outcomes.joined(self._outcomes).after(position - self._first)

    def truncate(self, length: int) -> None:
        """Drop all tokens from this position on."""
        extra = self.past.length - length
        self.past = self.past.first(length)
        while extra > 0:
            *self._attentions, latest = self._attentions
            kept = max(0, latest[0].shape[1] - extra)
            extra -= latest[0].shape[1] - kept
            if kept:
                self._attentions.append([attended[:, :kept] for attended in latest])
            if self._observed:
                *self._outcomes, outcomes = self._outcomes
                self._outcomes += [outcomes.first(kept)] if kept else []

    def attention(self, settled: int) -> Array:
        """Return the attention [heads, tokens, frames] of all tokens after the settled ones."""
        heads_of, latest_of = self._variant.next_heads, self._variant.latest_heads
        aligning = self._variant.aligning_layers
        layers = {
            layer: np.concatenate(parts, axis=1)[:, settled - self._first :]
            for layer, parts in zip(aligning, zip(*self._attentions, strict=True), strict=True)
        }
        next_ones = [layers[layer][heads, :-1] for layer, heads in heads_of.items()]
        latest = [layers[layer][heads, 1:] for layer, heads in latest_of.items()]
        return np.concatenate(next_ones + latest)


def _dimensions(networks: Networks) -> Dimensions:
    """Read the dimensions of the model from the inputs of its rebuilt graphs."""
    (states,) = (each.shape[1] for each in networks.encoder.get_inputs() if each.name == ENCODER_PAST)
    decoder = networks.decoder
    return Dimensions(states // 2, decoder.layers, decoder.heads, decoder.head_size)


def _build(shipped: Sequence[bytes], *, signed: bool) -> Sequence[bytes]:
    # Imported only for the very first start, since onnx is large.
    from transcribed.engines.moonshine.graphs import build  # noqa: PLC0415

    encoder, decoder = shipped
    return build(encoder, decoder, signed=signed)
