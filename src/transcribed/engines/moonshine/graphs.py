"""The decoder's graphs, built anew around the weights of the shipped one.

The shipped decoder has 1,800 nodes in two branches of an `If`: what an exporter writes to be right for any
shape. Most of its time goes into nodes that work out shapes, masks, rotations and paddings. Here the same
weights, quantised as they are, stand in two graphs for one segment at a time:

- `cross`: the encoder's hidden states → keys and values of the cross-attentions, once a segment.
- `decoder`: any number of tokens behind any number of past ones → for each, the most probable next token
  and its probability. The logits, 128 KB a token, never leave the graph.

The architecture is that of Jeffries et al., 2024, "Moonshine: Speech Recognition for Live Transcription and
Voice Commands": a Transformer decoder with rotary embeddings (interleaved, on 32 of the 36 dimensions of a
head) and a gated SiLU in its feed-forward layers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from transcribed.engines.moonshine.outputs import (
    ATTENTIONS,
    CROSS,
    HEAD_SIZE,
    HEADS,
    LAYERS,
    PAST,
    PRESENT,
    PROBABILITIES,
    TOKENS,
)
from transcribed.engines.moonshine.weights import Array, Matrix, Weights

_WIDTH = HEADS * HEAD_SIZE
_ROTARY_SIZE = 32
_POSITIONS = 512
_EPSILON = 1e-5
_FLOAT, _INT64 = TensorProto.FLOAT, TensorProto.INT64
_OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
_IR_VERSION = 10

Shape = list[int | str]


def build_decoder(shipped: bytes) -> tuple[bytes, bytes]:
    """The shipped decoder (.ort) → the ONNX models `cross` and `decoder`, serialized."""
    weights = Weights(shipped)
    return _cross(weights).SerializeToString(), _decoder(weights).SerializeToString()


def _cross(weights: Weights) -> ModelProto:
    graph = _Graph()
    joined = graph.linear(
        "hidden",
        *(
            weights.matrix(f"/model/decoder/layers.{layer}/encoder_attn/{half}_proj/MatMul_output_0")
            for layer in range(LAYERS)
            for half in "kv"
        ),
    )
    for name, part in zip(CROSS, graph.split(joined, len(CROSS)), strict=True):
        order = (0, 2, 3, 1) if name.endswith("key") else (0, 2, 1, 3)
        graph.add("Transpose", [graph.heads(part)], output=name, perm=order)
    return graph.model({"hidden": (_FLOAT, [1, "frames", _WIDTH])}, dict.fromkeys(CROSS, _FLOAT))


def _decoder(weights: Weights) -> ModelProto:
    graph = _Graph()
    (frequencies,) = weights.used_for("/model/decoder/rotary_emb/Expand_output_0")
    rotations = np.arange(_POSITIONS)[:, None] * frequencies.reshape(1, -1)
    cosines = graph.constant(np.cos(rotations).astype(np.float32))
    sines = graph.constant(np.sin(rotations).astype(np.float32))
    stream = _embedding(graph, weights)
    for layer in range(LAYERS):
        at = f"/model/decoder/layers.{layer}"
        states = slice(2 * layer, 2 * layer + 2)

        normed = _norm(graph, weights, stream, f"{at}/input_layernorm")
        projections = [weights.matrix(f"{at}/self_attn/{p}_proj/MatMul_output_0") for p in "qkv"]
        query, key, value = graph.split(graph.linear(normed, *projections), 3)
        query, key = (
            graph.add(
                "RotaryEmbedding",
                [part, "position", cosines, sines],
                domain="com.microsoft",
                interleaved=1,
                num_heads=HEADS,
                rotary_embedding_dim=_ROTARY_SIZE,
            )
            for part in (query, key)
        )
        attended = graph.new_name()
        graph.node(
            "MultiHeadAttention",
            [query, key, value, "", "", "", *PAST[states]],
            [attended, *PRESENT[states]],
            domain="com.microsoft",
            num_heads=HEADS,
            unidirectional=1,
        )
        attended = graph.linear(attended, weights.matrix(f"{at}/self_attn/o_proj/MatMul_output_0"))
        stream = graph.add("Add", [stream, attended])

        keys, values = CROSS[states]
        normed = _norm(graph, weights, stream, f"{at}/post_attention_layernorm")
        query = graph.linear(normed, weights.matrix(f"{at}/encoder_attn/q_proj/MatMul_output_0"))
        query = graph.add("Transpose", [graph.heads(query)], perm=(0, 2, 1, 3))
        scores = graph.add(
            "FusedMatMul", [query, keys], domain="com.microsoft", alpha=float(HEAD_SIZE**-0.5)
        )
        attention = graph.add("Softmax", [scores], output=ATTENTIONS[layer], axis=-1)
        attended = graph.add("MatMul", [attention, values])
        attended = graph.joined_heads(graph.add("Transpose", [attended], perm=(0, 2, 1, 3)))
        attended = graph.linear(attended, weights.matrix(f"{at}/encoder_attn/o_proj/MatMul_output_0"))
        stream = graph.add("Add", [stream, attended])

        normed = _norm(graph, weights, stream, f"{at}/final_layernorm")
        expanded = graph.linear(normed, weights.matrix(f"{at}/mlp/fc1/Add_output_0"))
        up, gate = graph.split(expanded, 2)
        gate = graph.add("QuickGelu", [gate], domain="com.microsoft", alpha=1.0)
        contracted = graph.add("Mul", [gate, up])
        contracted = graph.linear(contracted, weights.matrix(f"{at}/mlp/fc2/Add_output_0"))
        stream = graph.add("Add", [stream, contracted])

    logits = graph.linear(_norm(graph, weights, stream, "/model/decoder/norm"), weights.matrix("logits"))
    graph.add("ArgMax", [logits], output=TOKENS, axis=-1, keepdims=0)
    distribution = graph.add("Softmax", [logits], axis=-1)
    last_axis = graph.constant(np.array([-1]))
    graph.add("ReduceMax", [distribution, last_axis], output=PROBABILITIES, keepdims=0)
    inputs: dict[str, tuple[int, Shape]] = {
        "input_ids": (_INT64, [1, "n"]),
        "position": (_INT64, [1]),
    }
    for name in PAST:
        inputs[name] = (_FLOAT, [1, HEADS, "past", HEAD_SIZE])
    for keys, values in zip(CROSS[::2], CROSS[1::2], strict=True):
        inputs[keys] = (_FLOAT, [1, HEADS, HEAD_SIZE, "frames"])
        inputs[values] = (_FLOAT, [1, HEADS, "frames", HEAD_SIZE])
    outputs = {TOKENS: _INT64, PROBABILITIES: _FLOAT}
    return graph.model(inputs, outputs | dict.fromkeys([*PRESENT, *ATTENTIONS], _FLOAT))


def _embedding(graph: "_Graph", weights: Weights) -> str:
    table, *_ = weights.used_for("/model/decoder/embed_tokens/Gather_output_0_quantized")
    scale, zero_point = weights.used_for("/model/decoder/embed_tokens/Gather_output_0")
    rows = graph.add("Gather", [graph.constant(table), "input_ids"], axis=0)
    return graph.add("DequantizeLinear", [rows, graph.constant(scale), graph.constant(zero_point)])


def _norm(graph: "_Graph", weights: Weights, stream: str, at: str) -> str:
    scale, bias = weights.used_for(f"{at}/LayerNormalization_output_0")
    inputs = [stream, graph.constant(scale), graph.constant(bias)]
    return graph.add("LayerNormalization", inputs, axis=-1, epsilon=_EPSILON)


class _Graph:
    """An ONNX graph in the making; values go by their names."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._names = 0
        self._by_head = self.constant(np.array([0, 0, HEADS, HEAD_SIZE]))
        self._all_heads = self.constant(np.array([0, 0, _WIDTH]))

    def new_name(self) -> str:
        """A name that nothing has yet."""
        self._names += 1
        return f"value_{self._names}"

    def constant(self, value: Array) -> str:
        """A constant tensor."""
        name = self.new_name()
        self._constants.append(
            numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        )
        return name

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Any node."""
        self._nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def add(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """A node with one output, which is returned."""
        output = output or self.new_name()
        self.node(kind, inputs, [output], **attributes)
        return output

    def linear(self, value: str, *matrices: Matrix) -> str:
        """[1, n, in] → [1, n, out], by one matrix or by several side by side."""
        matrix = matrices[0] if len(matrices) == 1 else Matrix.side_by_side(matrices)
        inputs = [value, *map(self.constant, (matrix.values, matrix.scale, matrix.zero_point))]
        if matrix.bias is not None:
            inputs.append(self.constant(matrix.bias))
        return self.add("DynamicQuantizeMatMul", inputs, domain="com.microsoft")

    def split(self, value: str, parts: int) -> list[str]:
        """[1, n, parts x width] → parts of [1, n, width]."""
        names = [self.new_name() for _ in range(parts)]
        self.node("Split", [value], names, axis=-1, num_outputs=parts)
        return names

    def heads(self, value: str) -> str:
        """[1, n, 288] → [1, n, 8, 36]."""
        return self.add("Reshape", [value, self._by_head])

    def joined_heads(self, value: str) -> str:
        """[1, n, 8, 36] → [1, n, 288]."""
        return self.add("Reshape", [value, self._all_heads])

    def model(self, inputs: Mapping[str, tuple[int, Shape]], outputs: Mapping[str, int]) -> ModelProto:
        """The graph as a model."""
        graph = helper.make_graph(
            self._nodes,
            "moonshine",
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
            self._constants,
        )
        return helper.make_model(graph, opset_imports=_OPSETS, ir_version=_IR_VERSION)
