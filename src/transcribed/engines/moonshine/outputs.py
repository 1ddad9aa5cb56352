"""The inputs and outputs of the graphs that `graphs` builds and `model` runs.

`width` is the size of a hidden state: heads x head size.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FEATURES = "features"
"""Float16 [n, 2 * width]: the stem's output, one row for each 192 samples. Float16 halves the memory."""

SUMS, SQUARES = "sums", "squares"
"""Float32 [1, n]: the sum of the first convolution's outputs and of their squares, for each 64 samples."""

ENCODER_PAST, ENCODER_NEW = "past", "new"
"""Float16 [frames, 2 * layers, width]: the encoder's key-value cache of earlier and of new frames.

The second axis has the keys and values of the first layer, then those of the second layer, and so on.
"""

INPUT = "input_ids"
"""Int64 [1, n]: the tokens that the decoder reads."""

POSITION = "position"
"""Int64 [1]: the position of the first of them in its segment."""

TOKENS = "tokens"
"""Int64 [1, n]: the most probable token after each input token."""

PROBABILITIES = "probabilities"
"""Float32 [1, n]: the probability of each of TOKENS."""

FINAL_STATES = "final_states"
"""Float32 [1, n, width]: the last hidden states; their products with OutputRows are the logits."""

OTHERS, OTHER_PROBABILITIES = "others", "other_probabilities"
"""Like TOKENS and PROBABILITIES, for the most probable token other than END."""

START, END = 1, 2
"""The tokens before and after a text."""

CROSS, PAST, PRESENT = "cross", "past", "present"
"""Prefixes of the decoder's keys and values, Float32, by layer.

CROSS: of the audio, keys [1, heads, head size, frames] and values [1, heads, frames, head size]. PAST: of
earlier tokens, [1, heads, tokens, head size]. PRESENT: the same including the input tokens.
"""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The dimensions of a model; `layers` are those of the decoder."""

    encoder_layers: int
    layers: int
    heads: int
    head_size: int

    @property
    def width(self) -> int:
        """The size of a hidden state."""
        return self.heads * self.head_size

    def states(self, name: str) -> list[str]:
        """Return the names of all keys and values with prefix CROSS, PAST or PRESENT, layer by layer."""
        return [f"{name}.{layer}.{half}" for layer in range(self.layers) for half in ("key", "value")]


def attention(layer: int) -> str:
    """Return the name of a layer's cross-attention weights: Float32 [1, heads, n, frames]."""
    return f"attention.{layer}"


class OutputRows:
    """The quantised output matrix: its products with a final state are the logits of all trained tokens.

    It is stored in a file of numpy (.npz) with the arrays `tokens` [n], `values` [n, width], `scale` [n]
    and `zero_point` [n].
    """

    def __init__(self, file: bytes | str) -> None:
        with np.load(io.BytesIO(file) if isinstance(file, bytes) else file) as arrays:
            tokens = arrays["tokens"]
            self._values, self._scale = arrays["values"], arrays["scale"]
            self._zero_point = arrays["zero_point"]
        self._places = np.full(int(tokens.max()) + 1, -1)
        self._places[tokens] = np.arange(len(tokens))

    @staticmethod
    def file(tokens: Any, values: Any, scale: Any, zero_point: Any) -> bytes:
        """Return the content of the file for these arrays."""
        file = io.BytesIO()
        np.savez(file, tokens=tokens, values=values, scale=scale, zero_point=zero_point)
        return file.getvalue()

    def is_trained(self, token: int) -> bool:
        """Return whether the model may yield this token."""
        return token < len(self._places) and self._places[token] >= 0

    def rows(self, tokens: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the rows [n, width] of trained tokens."""
        at = self._places[np.asarray(tokens, np.int64)]
        centred = self._values[at].astype(np.float32) - self._zero_point[at, None].astype(np.float32)
        rows: npt.NDArray[np.float32] = centred * self._scale[at, None]
        return rows
