"""The networks of Moonshine tiny-en, and greedy decoding."""

import os
from collections.abc import Sequence
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
    HEAD_SIZE,
    HEADS,
    PAST,
    PRESENT,
    PROBABILITIES,
    TOKENS,
)
from transcribed.engines.moonshine.tokenizer import Tokenizer
from transcribed.engines.runtime import session
from transcribed.errors import ConfigurationError
from transcribed.recognition.repetition import without_repetition

START, END = 1, 2
_TOKENS_PER_SECOND = 6.5
_SPARE_TOKENS = 6
# The encoder's convolutions need this many samples to yield one hidden state.
_SHORTEST = 2_048
_WIDE = min(2, os.cpu_count() or 1)
_RECIPE = "moonshine-tiny-en-2"
_NO_PAST = np.zeros((1, HEADS, 0, HEAD_SIZE), np.float32)
_READ = [TOKENS, PROBABILITIES, *PRESENT]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """The encoder's view of some audio: hidden states [1, frames, 288], and its length in samples."""

    hidden: Array
    samples: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """Tokens without start and end, and the model's probability of each."""

    tokens: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()


class MoonshineModel:
    """The loaded networks. Stateless: any number of threads may use one at once."""

    def __init__(
        self,
        encoder: ort.InferenceSession,
        wide_encoder: ort.InferenceSession,
        cross: ort.InferenceSession,
        decoder: ort.InferenceSession,
        tokenizer: Tokenizer,
    ) -> None:
        self._encoder = encoder
        self._wide_encoder = wide_encoder
        self._cross = cross
        self._decoder = decoder
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, cache: Path) -> Self:
        """Load the model that the package moonshine-voice carries; its graphs are made anew once."""
        model = _shipped_model()
        graphs = cached_files(
            cache,
            ["encoder.onnx", "cross.onnx", "decoder.onnx"],
            [model / "encoder_model.ort", model / "decoder_model_merged.ort"],
            _RECIPE,
            _build,
        )
        encoder, cross, decoder = graphs
        return cls(
            session(encoder),
            session(encoder, threads=_WIDE),
            session(cross),
            session(decoder),
            Tokenizer((model / "tokenizer.bin").read_bytes()),
        )

    def encode(self, samples: Samples, *, wide: bool = False) -> Encoded:
        """Samples of one segment → hidden states, one for each 24 ms.

        `wide` uses a second core if one is idle: sooner done, for a little more work in all.
        """
        if len(samples) < _SHORTEST:
            samples = np.pad(samples, (0, _SHORTEST - len(samples)))
        encoder = self._wide_encoder if wide else self._encoder
        (hidden,) = encoder.run(None, {"samples": samples[None, None]})
        return Encoded(hidden, len(samples))

    def decode(self, encoded: Encoded, settled: Decoded, draft: Sequence[int]) -> Decoded:
        """The most probable tokens, one after the other (greedy), behind those that are settled.

        `draft` is a guess at what follows the settled tokens, as a rule what was decoded from a little
        less of the same audio. The first pass reads settled tokens and draft at once, which costs little
        more than reading one, and keeps of the draft what greedy decoding would itself have chosen
        (speculation: Leviathan, Kalman and Matias, 2023, "Fast Inference from Transformers via
        Speculative Decoding"). So a draft changes the time this takes, and the text only where two words
        are almost equally probable: sums round differently in passes of different lengths.
        """
        limit = int(encoded.samples / SAMPLE_RATE * _TOKENS_PER_SECOND) + _SPARE_TOKENS
        reading = _Reading(self._decoder, self._cross.run(CROSS, {"hidden": encoded.hidden}))
        base = len(settled.tokens)
        draft = draft[: max(0, limit - base)]
        chosen, probable = reading.read([START, *settled.tokens, *draft])
        kept = _agreeing(draft, chosen[base:])
        reading.forget_after(1 + base + kept)
        tokens = [*settled.tokens, *draft[:kept]]
        probabilities = [*settled.probabilities, *map(float, probable[base : base + kept])]
        token, probability = int(chosen[base + kept]), float(probable[base + kept])
        while token != END and len(tokens) < limit:
            tokens.append(token)
            probabilities.append(probability)
            if (fewer := without_repetition(tokens)) is not None:
                fewer = max(fewer, base)
                return Decoded(tuple(tokens[:fewer]), tuple(probabilities[:fewer]))
            chosen, probable = reading.read([token])
            token, probability = int(chosen[0]), float(probable[0])
        return Decoded(tuple(tokens), tuple(probabilities))


class _Reading:
    """The decoder's state while it reads tokens against one segment's audio."""

    def __init__(self, decoder: ort.InferenceSession, cross: list[Array]) -> None:
        self._decoder = decoder
        self._cross = dict(zip(CROSS, cross, strict=True))
        self._past = [_NO_PAST] * len(PAST)
        self._position = 0

    def read(self, tokens: Sequence[int]) -> tuple[npt.NDArray[np.int64], Array]:
        """Behind each of these tokens: the most probable next one, and its probability."""
        chosen, probable, *self._past = self._decoder.run(
            _READ,
            {
                "input_ids": np.array([tokens]),
                "position": np.array([self._position]),
                **dict(zip(PAST, self._past, strict=True)),
                **self._cross,
            },
        )
        self._position += len(tokens)
        return chosen[0], probable[0]

    def forget_after(self, position: int) -> None:
        """Take back all tokens from this position on."""
        self._past = [state[:, :, :position] for state in self._past]
        self._position = position


def _shipped_model() -> Path:
    # Found without importing the package, which would load a runtime of its own.
    package = find_spec("moonshine_voice")
    for folder in (package and package.submodule_search_locations) or ():
        return Path(folder) / "assets" / "tiny-en"
    raise ConfigurationError(
        "The embedded engine's model is not installed. Run: pip install moonshine-voice==0.0.73"
    )


def _build(shipped: Sequence[bytes]) -> Sequence[bytes]:
    # Imported for the first start ever alone: onnx is large.
    from transcribed.engines.moonshine.graphs import build  # noqa: PLC0415

    encoder, decoder = shipped
    return build(encoder, decoder)


def _agreeing(draft: Sequence[int], chosen: npt.NDArray[np.int64]) -> int:
    for length, (guess, token) in enumerate(zip(draft, chosen, strict=False)):
        if guess != token:
            return length
    return len(draft)
