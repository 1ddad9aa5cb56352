"""The inputs and outputs of the decoder's graphs, by name; `graphs` makes them, `model` uses them."""

LAYERS, HEADS, HEAD_SIZE = 6, 8, 36

CROSS = [f"cross.{layer}.{half}" for layer in range(LAYERS) for half in ("key", "value")]
"""Float32, per layer: the audio's keys [1, 8, 36, frames] and values [1, 8, frames, 36]."""

PAST = [f"past.{layer}.{half}" for layer in range(LAYERS) for half in ("key", "value")]
PRESENT = [f"present.{layer}.{half}" for layer in range(LAYERS) for half in ("key", "value")]
"""Float32 [1, 8, tokens, 36], per layer: keys and values of the tokens before, and with those just read."""

TOKENS = "tokens"
"""Int64 [1, n]: the most probable token behind each of those just read."""

PROBABILITIES = "probabilities"
"""Float32 [1, n]: the probability of each of TOKENS."""

ATTENTIONS = [f"attention.{layer}" for layer in range(LAYERS)]
"""Float32 [1, 8, n, frames], per layer: which audio each token just read attends to."""
