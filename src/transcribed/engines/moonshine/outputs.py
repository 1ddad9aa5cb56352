"""The inputs and outputs of the graphs, by name; `graphs` makes them, `model` uses them.

Shapes are those of tiny-en, whose width is 288: 8 heads of 36, in 6 layers.
"""

from dataclasses import dataclass

FEATURES = "features"
"""Float16 [n, 576], half of the room for what is kept: the stem's view of the audio, each 192 samples."""

SUMS, SQUARES = "sums", "squares"
"""Float32 [1, n]: sums of the first convolution's outputs and of their squares, for each 64 samples."""

ENCODER_PAST, ENCODER_NEW = "past", "new"
"""Float16 [frames, 12, 288], of the frames encoded before and of the new ones: a layer's keys, its values,
the next layer's keys, and so on."""

TOKENS = "tokens"
"""Int64 [1, n]: the most probable token behind each of those just read."""

PROBABILITIES = "probabilities"
"""Float32 [1, n]: the probability of each of TOKENS."""

CROSS, PAST, PRESENT = "cross", "past", "present"
"""Float32, per layer of the decoder, keys and values: those of the audio, [1, 8, 36, frames] and
[1, 8, frames, 36]; of the tokens before, [1, 8, tokens, 36]; and these with the tokens just read."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The sizes of a model."""

    encoder_layers: int
    layers: int
    heads: int
    head_size: int

    @property
    def width(self) -> int:
        """Of a hidden state."""
        return self.heads * self.head_size

    def states(self, name: str) -> list[str]:
        """Names of keys and of values, layer by layer of the decoder, of CROSS, PAST or PRESENT."""
        return [f"{name}.{layer}.{half}" for layer in range(self.layers) for half in ("key", "value")]


def attention(layer: int) -> str:
    """Float32 [1, 8, n, frames]: which audio each token just read attends to in a layer."""
    return f"attention.{layer}"
