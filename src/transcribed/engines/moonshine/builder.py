"""A builder of ONNX graphs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from transcribed.engines.moonshine.outputs import Dimensions
from transcribed.engines.moonshine.weights import Array, Matrix

MICROSOFT = "com.microsoft"
_MOST_POSITIONS = 2048
EPSILON = 1e-5
_OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)]
_IR_VERSION = 10

Shape = list[int | str]


class Graph:
    """An ONNX graph under construction. Values are referred to by name."""

    def __init__(self, dimensions: Dimensions) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._names = 0
        self._heads = dimensions.heads
        self._by_head = self.constant(np.array([0, 0, dimensions.heads, dimensions.head_size]))
        self._all_heads = self.constant(np.array([0, 0, dimensions.width]))

    def new_name(self) -> str:
        """Return an unused name for a value."""
        self._names += 1
        return f"value_{self._names}"

    def constant(self, value: Array) -> str:
        """Add a constant tensor and return its name."""
        name = self.new_name()
        self._constants.append(
            numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        )
        return name

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Add a node."""
        self._nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def add(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        output = output or self.new_name()
        self.node(kind, inputs, [output], **attributes)
        return output

    def linear(self, value: str, *matrices: Matrix) -> str:
        """Add a linear layer [1, n, in] → [1, n, out]; the outputs of several matrices are concatenated."""
        matrix = matrices[0] if len(matrices) == 1 else Matrix.side_by_side(matrices)
        inputs = [value, *map(self.constant, (matrix.values, matrix.scale, matrix.zero_point))]
        if matrix.bias is not None:
            inputs.append(self.constant(matrix.bias))
        return self.add("DynamicQuantizeMatMul", inputs, domain=MICROSOFT)

    def linear_by_row(self, value: str, *matrices: Matrix) -> str:
        """Add a linear layer that quantises each row of activations with a scale of its own.

        So the result of a token does not depend on the tokens that are processed with it. MatMulNBits also
        quantises by row; for many rows it takes twice as long, for one row the same.
        """
        matrix = matrices[0] if len(matrices) == 1 else Matrix.side_by_side(matrices)
        step, middle = self.constant(np.array(1 / 127, np.float32)), self.constant(np.array(128, np.uint8))
        largest = self.add(
            "ReduceMax", [self.add("Abs", [value]), self.constant(np.array([-1]))], keepdims=1
        )
        largest = self.add("Max", [largest, self.constant(np.array(1e-8, np.float32))])
        quantised = self.add("QuantizeLinear", [self.add("Div", [value, largest]), step, middle])
        weights, scale, zero_point = map(self.constant, (matrix.values, matrix.scale, matrix.zero_point))
        product = self.add(
            "MatMulIntegerToFloat",
            [quantised, weights, step, scale, middle, zero_point],
            domain=MICROSOFT,
        )
        product = self.add("Mul", [product, largest])
        return product if matrix.bias is None else self.add("Add", [product, self.constant(matrix.bias)])

    def norm(self, value: str, weights: Sequence[Array], output: str = "") -> str:
        """Add a layer normalisation; `weights` are its scale, and its bias if it has one."""
        inputs = [value, *map(self.constant, weights)]
        return self.add("LayerNormalization", inputs, output, axis=-1, epsilon=EPSILON)

    def rotation(self, frequencies: Array) -> tuple[str, str, int]:
        """Add the tables of a rotary embedding. Return their names and the rotated size, for `rotate`."""
        angles = np.arange(_MOST_POSITIONS)[:, None] * frequencies.reshape(1, -1)
        cosines, sines = np.cos(angles, dtype=np.float32), np.sin(angles, dtype=np.float32)
        return self.constant(cosines), self.constant(sines), 2 * frequencies.size

    def rotate(self, value: str, position: str, rotation: tuple[str, str, int]) -> str:
        """Add a rotary embedding of [1, n, width], whose first row has the given position."""
        *tables, size = rotation
        return self.add(
            "RotaryEmbedding",
            [value, position, *tables],
            domain=MICROSOFT,
            interleaved=1,
            num_heads=self._heads,
            rotary_embedding_dim=size,
        )

    def split(self, value: str, parts: int, axis: int = -1) -> list[str]:
        """Add a split into equal parts along an axis, by default [1, n, parts x width] → [1, n, width]."""
        names = [self.new_name() for _ in range(parts)]
        self.node("Split", [value], names, axis=axis, num_outputs=parts)
        return names

    def heads(self, value: str) -> str:
        """Add a reshape [1, n, width] → [1, n, heads, head size]."""
        return self.add("Reshape", [value, self._by_head])

    def joined_heads(self, value: str) -> str:
        """Add a reshape [1, n, heads, head size] → [1, n, width]."""
        return self.add("Reshape", [value, self._all_heads])

    def model(self, inputs: Mapping[str, tuple[int, Shape]], outputs: Mapping[str, int]) -> ModelProto:
        """Return the graph as a model. Inputs have a type and a shape, outputs a type."""
        graph = helper.make_graph(
            self._nodes,
            "moonshine",
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
            self._constants,
        )
        return helper.make_model(graph, opset_imports=_OPSETS, ir_version=_IR_VERSION)
