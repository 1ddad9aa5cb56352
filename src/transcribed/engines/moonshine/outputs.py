"""The inputs and outputs of the graphs, by name; `graphs` makes them, `model` uses them."""

LAYERS, HEADS, HEAD_SIZE = 6, 8, 36

FEATURES = "features"
"""Float16 [n, 576], half of the room for what is kept: the stem's view of the audio, each 192 samples."""

SUMS, SQUARES = "sums", "squares"
"""Float32 [1, n]: sums of the first convolution's outputs and of their squares, for each 64 samples."""

ENCODER_STATES = 2 * LAYERS
ENCODER_PAST, ENCODER_NEW = "past", "new"
"""Float16 [frames, 12, 288], of the frames encoded before and of the new ones: a layer's keys, its values,
the next layer's keys, and so on."""

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
