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


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The sizes of a model, and the names that depend on how many layers its decoder has."""

    encoder_layers: int
    layers: int
    heads: int
    head_size: int

    @property
    def width(self) -> int:
        """Of a hidden state."""
        return self.heads * self.head_size

    @property
    def encoder_states(self) -> int:
        """Keys and values of all layers of the encoder."""
        return 2 * self.encoder_layers

    @property
    def cross(self) -> list[str]:
        """Float32, per layer: the audio's keys [1, 8, 36, frames] and values [1, 8, frames, 36]."""
        return self._states("cross")

    @property
    def past(self) -> list[str]:
        """Float32 [1, 8, tokens, 36], per layer: keys and values of the tokens before."""
        return self._states("past")

    @property
    def present(self) -> list[str]:
        """As `past`, with those of the tokens just read."""
        return self._states("present")

    def _states(self, name: str) -> list[str]:
        return [f"{name}.{layer}.{half}" for layer in range(self.layers) for half in ("key", "value")]


def attention(layer: int) -> str:
    """Float32 [1, 8, n, frames]: which audio each token just read attends to in a layer."""
    return f"attention.{layer}"
