"""The weights and dimensions of the shipped graphs, read from their onnxruntime flatbuffers (.ort)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from onnx import helper
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import (
    InferenceSession,
)
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.TensorTypeAndShape import (
    TensorTypeAndShape,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Matrix:
    """An 8-bit quantised matrix: values [in, out], scale and zero point [out], bias [out] or None."""

    values: Array
    scale: Array
    zero_point: Array
    bias: Array | None = None

    @classmethod
    def side_by_side(cls, matrices: Sequence[Self]) -> Self:
        """Concatenate the outputs of matrices without biases, for one multiplication instead of several."""
        return cls(
            np.concatenate([m.values for m in matrices], axis=1),
            np.concatenate([m.scale for m in matrices]),
            np.concatenate([m.zero_point for m in matrices]),
        )

    def columns(self, chosen: Array) -> Self:
        """Select outputs by their indices; the matrix must have no bias."""
        return type(self)(self.values[:, chosen], self.scale[chosen], self.zero_point[chosen])


class Weights:
    """Tensors of a graph, found by name or by the output of the node that uses them.

    The decoder's file contains the decoder twice, as the branches of an `If` node. The else branch, without
    a key-value cache, is read, because only that one projects the encoder's output.
    """

    def __init__(self, shipped: bytes) -> None:
        outer = InferenceSession.GetRootAs(shipped, 0).Model().Graph()
        graphs = [outer]
        for node in _list(outer, "Nodes"):
            if node.OpType() == b"If":
                attributes = {a.Name(): a.G() for a in _list(node, "Attributes")}
                graphs.append(attributes[b"else_branch"])
        self._tensors = {
            tensor.Name().decode(): tensor for graph in graphs for tensor in _list(graph, "Initializers")
        }
        self._inputs = {argument.Name().decode(): argument for argument in _list(outer, "NodeArgs")}
        self._used = {
            output.decode(): [name.decode() for name in _list(node, "Inputs")]
            for graph in graphs
            for node in _list(graph, "Nodes")
            for output in _list(node, "Outputs")
        }

    def input_shape(self, name: str) -> list[int]:
        """Return the declared shape of an input of the outer graph, with 0 for variable dimensions."""
        held = self._inputs[name].Type().Value()
        kind = TensorTypeAndShape()
        kind.Init(held.Bytes, held.Pos)
        return [dimension.Value().DimValue() for dimension in _list(kind.Shape(), "Dim")]

    def count_layers(self, output: str) -> int:
        """Return the number of layers that have a node with this output; "{}" stands for the layer."""
        return next(number for number in count() if output.format(number) not in self._used)

    def tensor(self, name: str) -> Array:
        """Return the tensor with this name."""
        tensor = self._tensors[name]
        values = np.frombuffer(tensor.RawDataAsNumpy(), helper.tensor_dtype_to_np_dtype(tensor.DataType()))
        return values.reshape(_list(tensor, "Dims"))

    def used_for(self, output: str) -> list[Array]:
        """Return the constant inputs of the node with this output, in the order of its inputs."""
        return [self.tensor(name) for name in self._used[output] if name in self._tensors]

    def matrix(self, output: str) -> Matrix:
        """Return the matrix of the linear layer with this output."""
        values, scale, zero_point, *bias = self.used_for(output)
        width = values.shape[1]
        return Matrix(
            values,
            np.broadcast_to(scale, width),
            np.broadcast_to(zero_point, width),
            bias[0] if bias else None,
        )


def _list(table: Any, field: str) -> list[Any]:
    """Return a vector of a flatbuffer table, for which flatbuffers generates a getter and a length."""
    get = getattr(table, field)
    return [get(i) for i in range(getattr(table, f"{field}Length")())]
