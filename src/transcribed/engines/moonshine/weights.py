"""The weights of the shipped graphs, read from their onnxruntime flatbuffers."""

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
    """A quantised matrix: values [in, out] of 8 bits, scale and zero point [out], bias [out] or None."""

    values: Array
    scale: Array
    zero_point: Array
    bias: Array | None = None

    @classmethod
    def side_by_side(cls, matrices: Sequence[Self]) -> Self:
        """One matrix that does the work of several on the same input; they have no biases."""
        return cls(
            np.concatenate([m.values for m in matrices], axis=1),
            np.concatenate([m.scale for m in matrices]),
            np.concatenate([m.zero_point for m in matrices]),
        )

    def columns(self, chosen: Array) -> Self:
        """Some of its outputs alone, by their numbers; it has no bias."""
        return type(self)(self.values[:, chosen], self.scale[chosen], self.zero_point[chosen])


class Weights:
    """Tensors, found by their names or by the output of the node that uses them.

    The decoder's file holds it twice, in the branches of an `If` node; the else branch, which has no past,
    is the one that also projects the audio.
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
        """The shape that an input of the whole has; 0 where it may have any size."""
        held = self._inputs[name].Type().Value()
        kind = TensorTypeAndShape()
        kind.Init(held.Bytes, held.Pos)
        return [dimension.Value().DimValue() for dimension in _list(kind.Shape(), "Dim")]

    def count(self, output: str) -> int:
        """How many layers there are, each with a node of such an output, numbered from 0 at its braces."""
        return next(number for number in count() if output.format(number) not in self._used)

    def tensor(self, name: str) -> Array:
        """The tensor of a name."""
        tensor = self._tensors[name]
        values = np.frombuffer(tensor.RawDataAsNumpy(), helper.tensor_dtype_to_np_dtype(tensor.DataType()))
        return values.reshape(_list(tensor, "Dims"))

    def used_for(self, output: str) -> list[Array]:
        """The tensors that are inputs of the node with this output, in the order of its inputs."""
        return [self.tensor(name) for name in self._used[output] if name in self._tensors]

    def matrix(self, output: str) -> Matrix:
        """The matrix of the linear layer with this output."""
        values, scale, zero_point, *bias = self.used_for(output)
        width = values.shape[1]
        return Matrix(
            values,
            np.broadcast_to(scale, width),
            np.broadcast_to(zero_point, width),
            bias[0] if bias else None,
        )


def _list(table: Any, field: str) -> list[Any]:
    """A vector of the flatbuffer, whose Python code offers a getter and a length."""
    get = getattr(table, field)
    return [get(i) for i in range(getattr(table, f"{field}Length")())]
