"""The names that the decoder's graphs are made with, and read by."""

LAYERS = 6

TOKENS = "tokens"
"""Output [1, n] int64: the most probable token behind each input token."""

PROBABILITIES = "probabilities"
"""Output [1, n] float32: the probability of each of TOKENS."""


def attention(layer: int) -> str:
    """Output [1, 8, n, frames] float32: the cross-attention of a layer."""
    return f"/model/decoder/layers.{layer}/encoder_attn/Softmax_output_0"
