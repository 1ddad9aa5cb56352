"""The inputs and outputs of the graphs that `graphs` builds and `model` runs.

`width` is the size of a hidden state: heads x head size.
"""

from dataclasses import dataclass

FEATURES = "features"
"""Float16 [n, 2 * width]: the stem's output, one row for each 192 samples. Float16 halves the memory."""

SUMS, SQUARES = "sums", "squares"
"""Float32 [1, n]: the sum of the first convolution's outputs and of their squares, for each 64 samples."""

ENCODER_PAST, ENCODER_NEW = "past", "new"
"""Float16 [frames, 2 * layers, width]: the encoder's key-value cache of earlier and of new frames.

The second axis has the keys and values of the first layer, then those of the second layer, and so on.
"""

TOKENS = "tokens"
"""Int64 [1, n]: the most probable token after each input token."""

PROBABILITIES = "probabilities"
"""Float32 [1, n]: the probability of each of TOKENS."""

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
