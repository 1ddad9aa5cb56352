"""Moonshine's graphs, rebuilt around the weights of the shipped ones.

The shipped decoder of tiny-en has 1,800 nodes in two branches of an `If`, the encoder 700, as exported for
any shape. They spend much of their time on shapes, masks, rotations and padding, and those of base-en on
dequantising all weights in every run. The same quantised weights are used here in four graphs that process
one segment at a time:

- `stem`: samples → features, one for each 192 samples (12 ms), and the statistics for their normalisation.
  A feature depends on only 32 ms of audio, so that a growing segment's features are computed once.
- `encoder`: features → hidden states, one for each 384 samples (24 ms), after those in a key-value cache.
  With an empty cache this is the encoder as it was trained; `segment` explains the use of a cache.
- `cross`: hidden states → keys and values of the decoder's cross-attention, once per result.
- `decoder`: tokens, after those in a key-value cache → for each, the most probable next token and its
  probability. The logits, 128 KB per token, never leave the graph.

The architecture is that of Jeffries et al., 2024, "Moonshine: Speech Recognition for Live Transcription and
Voice Commands": three convolutions and a Transformer with rotary embeddings (interleaved, on the first 32
dimensions of a head), with a gated SiLU in the decoder.
"""

import numpy as np
from onnx import ModelProto, TensorProto

from transcribed.engines.moonshine.builder import MICROSOFT, Graph, Shape
from transcribed.engines.moonshine.outputs import (
    CROSS,
    ENCODER_NEW,
    ENCODER_PAST,
    END,
    FEATURES,
    FINAL_STATES,
    INPUT,
    OTHER_PROBABILITIES,
    OTHERS,
    PAST,
    POSITION,
    PRESENT,
    PROBABILITIES,
    SQUARES,
    SUMS,
    TOKENS,
    Dimensions,
    OutputRows,
    attention,
)
from transcribed.engines.moonshine.weights import Array, Matrix, Weights
from transcribed.errors import ConfigurationError

_KEYS = "past_key_values.0.decoder.key"
_FLOAT, _HALF, _INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64

_SPECIAL_TOKENS = 32_000
"""The index from which on the vocabulary contains special tokens, which no text has."""
_UNTRAINED_SIMILARITY = 0.5
"""The cosine similarity to the special tokens from which on a token counts as untrained.

Of the 2,665 different tokens in the transcripts of 385 recordings, none exceeded 0.47.
"""


def build(encoder: bytes, decoder: bytes, *, signed: bool) -> list[bytes]:
    """Build stem, encoder, cross and decoder (.onnx) from the shipped encoder and decoder (.ort).

    With `signed`, all weights are signed bytes; the results are the same. The last file contains the output
    matrix, for OutputRows.
    """
    encoder_weights, decoder_weights = (Weights(each, signed=signed) for each in (encoder, decoder))
    dimensions = dimensions_of(encoder_weights, decoder_weights)
    models = (
        _stem(encoder_weights, dimensions),
        _encoder(encoder_weights, dimensions),
        _cross(decoder_weights, dimensions),
        _decoder(decoder_weights, dimensions),
    )
    return [*(model.SerializeToString() for model in models), _output_rows(decoder_weights)]


def dimensions_of(encoder: Weights, decoder: Weights) -> Dimensions:
    """Read the dimensions of the model from the shipped graphs.

    The decoder declares keys of the shape [batch, heads, tokens, head size], for tiny-en [0, 8, 0, 36], for
    base-en [0, 8, 0, 52]. Raises ConfigurationError if heads or head size are variable.
    """
    _, heads, _, head_size = decoder.input_shape(_KEYS)
    if not heads or not head_size:
        raise ConfigurationError(
            f"The model's decoder does not declare its attention heads in the shape of {_KEYS}. Use a "
            "Moonshine model as published for onnxruntime."
        )
    projection = "self_attn/q_proj/MatMul_output_0"
    return Dimensions(
        encoder_layers=encoder.count_layers("/layers.{}/" + projection),
        layers=decoder.count_layers("/model/decoder/layers.{}/" + projection),
        heads=heads,
        head_size=head_size,
    )


def _stem(weights: Weights, sizes: Dimensions) -> ModelProto:
    """Build two convolutions. The normalisation between them is linear, so the encoder applies it later."""
    graph = Graph(sizes)
    (first,) = weights.constants("/conv1/Conv_output_0", "/Tanh_output_0")
    value = graph.add("Conv", ["samples", graph.constant(first)], strides=[64])
    value = graph.add("Tanh", [value])
    channels = graph.constant(np.array([1]))
    graph.add("ReduceSum", [value, channels], output=SUMS, keepdims=0)
    graph.add("ReduceSumSquare", [value, channels], output=SQUARES, keepdims=0)
    kernel, _, _ = _second_convolution(weights)
    value = graph.add("Conv", [value, graph.constant(kernel)], strides=[3])
    value = graph.add(
        "Transpose", [graph.add("Squeeze", [value, graph.constant(np.array([0]))])], perm=(1, 0)
    )
    graph.add("Cast", [value], output=FEATURES, to=_HALF)
    return graph.model(
        {"samples": (_FLOAT, [1, 1, "samples"])}, {FEATURES: _HALF, SUMS: _FLOAT, SQUARES: _FLOAT}
    )


def _second_convolution(weights: Weights) -> tuple[Array, Array, Array]:
    """Return the kernel [out, in, 7], the bias [out], and the output [out] for a constant input of 1.

    Scale and bias of the normalisation before it, one for each channel, are folded in.
    """
    (scale_by,), (shift_by,) = (weights.constants(f"/groupnorm/{part}_output_0") for part in ("Mul", "Add"))
    kernel, bias = weights.constants("/conv2/Conv_output_0")
    shifted = bias + np.einsum("oik,i->o", kernel, shift_by[:, 0])
    kernel = kernel * scale_by
    return kernel, shifted, kernel.sum(axis=(1, 2))


def _encoder(weights: Weights, sizes: Dimensions) -> ModelProto:
    graph = Graph(sizes)
    _, bias, of_mean = _second_convolution(weights)
    value = graph.add("Cast", [FEATURES], to=_FLOAT)
    value = graph.add("Sub", [value, graph.add("Mul", [graph.constant(of_mean), "mean"])])
    value = graph.add("Add", [graph.add("Mul", [value, "scale"]), graph.constant(bias)])
    value = graph.add("Transpose", [graph.add("Gelu", [value], domain=MICROSOFT)], perm=(1, 0))
    value = graph.add("Unsqueeze", [value, graph.constant(np.array([0]))])
    convolved = [value, *map(graph.constant, weights.constants("/conv3/Conv_output_0"))]
    value = graph.add("Gelu", [graph.add("Conv", convolved, strides=[2])], domain=MICROSOFT)
    stream = graph.add("Transpose", [value], perm=(0, 2, 1))

    rotation = graph.rotation(_frequencies(weights, "/rotary_emb"))
    # The cache [frames, 2 * layers, width] is split into keys and values [1, frames, width] of each layer.
    past = graph.add("Cast", [graph.add("Transpose", [ENCODER_PAST], perm=(1, 0, 2))], to=_FLOAT)
    past_states = graph.split(past, 2 * sizes.encoder_layers, axis=0)
    new_states: list[str] = []
    for layer in range(sizes.encoder_layers):
        at = f"/layers.{layer}"
        normed = graph.norm(stream, weights.norm(f"{at}/input_layernorm"))
        projections = [weights.linear(f"{at}/self_attn/{p}_proj") for p in "qkv"]
        query, key, value = graph.split(graph.linear(normed, *projections), 3)
        query, key = (graph.rotate(part, "position", rotation) for part in (query, key))
        new_states += [key, value]
        key, value = (
            graph.add("Concat", [past_state, new], axis=1)
            for past_state, new in zip(past_states[2 * layer :], (key, value), strict=False)
        )
        attended = graph.add(
            "MultiHeadAttention", [query, key, value], domain=MICROSOFT, num_heads=sizes.heads
        )
        attended = graph.linear(attended, weights.linear(f"{at}/self_attn/o_proj", f"{at}/self_attn/dense"))
        stream = graph.add("Add", [stream, attended])

        normed = graph.norm(stream, weights.norm(f"{at}/post_attention_layernorm"))
        expanded = graph.linear(normed, weights.linear(f"{at}/mlp/fc1", f"{at}/mlp/up_proj"))
        expanded = graph.add("Gelu", [expanded], domain=MICROSOFT)
        contracted = graph.linear(expanded, weights.linear(f"{at}/mlp/fc2", f"{at}/mlp/down_proj"))
        stream = graph.add("Add", [stream, contracted])
    graph.norm(stream, weights.norm("last_hidden_state"), output="hidden")
    new = graph.add("Cast", [graph.add("Concat", new_states, axis=0)], to=_HALF)
    graph.add("Transpose", [new], output=ENCODER_NEW, perm=(1, 0, 2))
    inputs: dict[str, tuple[int, Shape]] = {
        FEATURES: (_HALF, ["features", 2 * sizes.width]),
        "mean": (_FLOAT, [1]),
        "scale": (_FLOAT, [1]),
        "position": (_INT64, [1]),
        ENCODER_PAST: (_HALF, ["past", 2 * sizes.encoder_layers, sizes.width]),
    }
    return graph.model(inputs, {"hidden": _FLOAT, ENCODER_NEW: _HALF})


def _cross(weights: Weights, sizes: Dimensions) -> ModelProto:
    graph = Graph(sizes)
    cross = sizes.states(CROSS)
    joined = graph.linear(
        "hidden",
        *(
            weights.linear(f"/model/decoder/layers.{layer}/encoder_attn/{half}_proj")
            for layer in range(sizes.layers)
            for half in "kv"
        ),
    )
    for name, part in zip(cross, graph.split(joined, len(cross)), strict=True):
        order = (0, 2, 3, 1) if name.endswith("key") else (0, 2, 1, 3)
        graph.add("Transpose", [graph.heads(part)], output=name, perm=order)
    return graph.model({"hidden": (_FLOAT, [1, "frames", sizes.width])}, dict.fromkeys(cross, _FLOAT))


def _decoder(weights: Weights, sizes: Dimensions) -> ModelProto:
    graph = Graph(sizes)
    cross, past, present = map(sizes.states, (CROSS, PAST, PRESENT))
    rotation = graph.rotation(_frequencies(weights, "/model/decoder/rotary_emb"))

    def rotated(value: str) -> str:
        return graph.rotate(value, POSITION, rotation)

    stream = _embedding(graph, weights)
    for layer in range(sizes.layers):
        at = f"/model/decoder/layers.{layer}"
        states = slice(2 * layer, 2 * layer + 2)

        normed = graph.norm(stream, weights.norm(f"{at}/input_layernorm"))
        projections = [weights.linear(f"{at}/self_attn/{p}_proj") for p in "qkv"]
        query, key, value = graph.split(graph.linear_by_row(normed, *projections), 3)
        attended = graph.new_name()
        graph.node(
            "MultiHeadAttention",
            [rotated(query), rotated(key), value, "", "", "", *past[states]],
            [attended, *present[states]],
            domain=MICROSOFT,
            num_heads=sizes.heads,
            unidirectional=1,
        )
        attended = graph.linear_by_row(
            attended, weights.linear(f"{at}/self_attn/o_proj", f"{at}/self_attn/dense")
        )
        stream = graph.add("Add", [stream, attended])

        keys, values = cross[states]
        normed = graph.norm(stream, weights.norm(f"{at}/post_attention_layernorm"))
        query = graph.linear_by_row(normed, weights.linear(f"{at}/encoder_attn/q_proj"))
        query = graph.add("Transpose", [graph.heads(query)], perm=(0, 2, 1, 3))
        scores = graph.add(
            "FusedMatMul", [query, keys], domain=MICROSOFT, alpha=float(sizes.head_size**-0.5)
        )
        weighted = graph.add("Softmax", [scores], output=attention(layer), axis=-1)
        attended = graph.add("MatMul", [weighted, values])
        attended = graph.joined_heads(graph.add("Transpose", [attended], perm=(0, 2, 1, 3)))
        attended = graph.linear_by_row(
            attended, weights.linear(f"{at}/encoder_attn/o_proj", f"{at}/encoder_attn/dense")
        )
        stream = graph.add("Add", [stream, attended])

        normed = graph.norm(stream, weights.norm(f"{at}/final_layernorm"))
        expanded = graph.linear_by_row(normed, weights.linear(f"{at}/mlp/fc1", f"{at}/mlp/up_proj"))
        up, gate = graph.split(expanded, 2)
        gate = graph.add("QuickGelu", [gate], domain=MICROSOFT, alpha=1.0)
        contracted = graph.add("Mul", [gate, up])
        contracted = graph.linear_by_row(contracted, weights.linear(f"{at}/mlp/fc2", f"{at}/mlp/down_proj"))
        stream = graph.add("Add", [stream, contracted])

    _add_next_tokens(graph, weights, stream)
    inputs: dict[str, tuple[int, Shape]] = {
        INPUT: (_INT64, [1, "n"]),
        POSITION: (_INT64, [1]),
    }
    for name in past:
        inputs[name] = (_FLOAT, [1, sizes.heads, "past", sizes.head_size])
    for keys, values in zip(cross[::2], cross[1::2], strict=True):
        inputs[keys] = (_FLOAT, [1, sizes.heads, sizes.head_size, "frames"])
        inputs[values] = (_FLOAT, [1, sizes.heads, "frames", sizes.head_size])
    outputs = {
        TOKENS: _INT64,
        PROBABILITIES: _FLOAT,
        OTHERS: _INT64,
        OTHER_PROBABILITIES: _FLOAT,
        FINAL_STATES: _FLOAT,
    }
    return graph.model(
        inputs,
        outputs | dict.fromkeys([*present, *map(attention, range(sizes.layers))], _FLOAT),
    )


def _add_next_tokens(graph: Graph, weights: Weights, stream: str) -> None:
    """Add the outputs for the next token, and FINAL_STATES, after the last layer."""
    vocabulary = weights.matrix("logits")
    trained = _trained(vocabulary)
    states = graph.norm(stream, weights.norm("/model/decoder/norm"), output=FINAL_STATES)
    logits = graph.linear_by_row(states, vocabulary.columns(trained))
    chosen = graph.add("ArgMax", [logits], axis=-1, keepdims=0)
    graph.add("Gather", [graph.constant(trained), chosen], output=TOKENS, axis=0)
    distribution = graph.add("Softmax", [logits], axis=-1)
    last_axis = graph.constant(np.array([-1]))
    graph.add("ReduceMax", [distribution, last_axis], output=PROBABILITIES, keepdims=0)
    others = graph.add("Mul", [distribution, graph.constant((trained != END).astype(np.float32))])
    graph.add("ReduceMax", [others, last_axis], output=OTHER_PROBABILITIES, keepdims=0)
    chosen = graph.add("ArgMax", [others], axis=-1, keepdims=0)
    graph.add("Gather", [graph.constant(trained), chosen], output=OTHERS, axis=0)


def _output_rows(weights: Weights) -> bytes:
    """Return the output matrix, a row for each trained token, as a file for OutputRows."""
    vocabulary = weights.matrix("logits")
    tokens = _trained(vocabulary)
    chosen = vocabulary.columns(tokens)
    values = np.ascontiguousarray(chosen.values.T)
    return OutputRows.file(tokens, values, chosen.scale.astype(np.float32), chosen.zero_point)


def _trained(vocabulary: Matrix) -> Array:
    """Return the indices of trained tokens, about 22,000 of 32,768; only their logits are computed.

    The vocabulary is that of a model for many languages and code. The output weights of tokens that never
    occur in training all become similar to those of the special tokens.
    """
    values = (vocabulary.values.astype(np.float32) - vocabulary.zero_point) * vocabulary.scale
    directions = values / np.linalg.norm(values, axis=0)
    untrained = values[:, _SPECIAL_TOKENS:].mean(axis=1)
    similarity = (untrained / np.linalg.norm(untrained)) @ directions
    return np.flatnonzero(similarity < _UNTRAINED_SIMILARITY)


def _embedding(graph: Graph, weights: Weights) -> str:
    table = weights.embedding("/model/decoder/embed_tokens")
    rows = graph.add("Gather", [graph.constant(table.values), INPUT], axis=0)
    scale, zero_point = (graph.constant(part[0]) for part in (table.scale, table.zero_point))
    return graph.add("DequantizeLinear", [rows, scale, zero_point])


def _frequencies(weights: Weights, path: str) -> Array:
    """Return the frequencies of a rotary embedding, which tiny-en expands before they are used."""
    return weights.constants(f"{path}/Expand_output_0", f"{path}/MatMul_output_0")[0]
