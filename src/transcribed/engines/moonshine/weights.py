"""The weights and dimensions of the shipped graphs, read from their onnxruntime flatbuffers (.ort)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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

    @classmethod
    def with_one_scale(
        cls, values: Array, scale: Array, zero_point: Array, bias: Array | None = None
    ) -> Self:
        """Return a matrix with the same scale and zero point for each output."""
        width = values.shape[1]
        return cls(values, np.broadcast_to(scale, width), np.broadcast_to(zero_point, width), bias)

    def signed(self) -> Self:
        """Return the same matrix with signed values, where they are unsigned."""
        if self.values.dtype != np.uint8:
            return self
        return replace(self, values=_signed(self.values), zero_point=_signed(self.zero_point))

    def columns(self, chosen: Array) -> Self:
        """Select outputs by their indices; the matrix must have no bias."""
        return type(self)(self.values[:, chosen], self.scale[chosen], self.zero_point[chosen])


_FOLDED: Mapping[str, Callable[..., Array]] = {
    "Cast": lambda values: values.astype(np.float32),
    "Mul": np.multiply,
    "Add": np.add,
    "Transpose": np.transpose,
}
"""The operations with which base-en's graphs dequantise their weights, and which are computed here."""


class Weights:
    """The constants of a graph, found by the output of a node that uses them, or by the path of a module.

    With `signed`, all matrices have signed values, with which the same products are computed.

    The decoder's file contains the decoder twice, as the branches of an `If` node. The else branch, without
    a key-value cache, is read, because only that one projects the encoder's output.
    """

    def __init__(self, shipped: bytes, *, signed: bool = False) -> None:
        self._signed = signed
        outer = InferenceSession.GetRootAs(shipped, 0).Model().Graph()
        graphs = [outer]
        for node in _list(outer, "Nodes"):
            if node.OpType() == b"If":
                attributes = {a.Name(): a.G() for a in _list(node, "Attributes")}
                graphs.append(attributes[b"else_branch"])
        self._tensors = {
            tensor.Name().decode(): tensor for graph in graphs for tensor in _list(graph, "Initializers")
        }
        self._declared = {argument.Name().decode(): argument for argument in _list(outer, "NodeArgs")}
        producers = {
            output.decode(): node
            for graph in graphs
            for node in _list(graph, "Nodes")
            for output in _list(node, "Outputs")
        }
        self._kinds = {output: node.OpType().decode() for output, node in producers.items()}
        self._inputs_of = {
            output: [name.decode() for name in _list(node, "Inputs")] for output, node in producers.items()
        }

    def input_shape(self, name: str) -> list[int]:
        """Return the declared shape of an input of the outer graph, with 0 for variable dimensions."""
        held = self._declared[name].Type().Value()
        kind = TensorTypeAndShape()
        kind.Init(held.Bytes, held.Pos)
        return [dimension.Value().DimValue() for dimension in _list(kind.Shape(), "Dim")]

    def count_layers(self, output: str) -> int:
        """Return the number of layers that have a node with this output; "{}" stands for the layer."""
        return next(number for number in count() if output.format(number) not in self._inputs_of)

    def constants(self, *outputs: str) -> list[Array]:
        """Return the constant inputs of the node with the first of these outputs that exists, in order."""
        inputs = self._inputs_of[self._first_of(outputs)]
        return [self._constant(name) for name in inputs if self._is_constant(name)]

    def linear(self, *paths: str) -> Matrix:
        """Return the matrix of the linear layer at the first of these paths that exists, with its bias.

        In tiny-en a layer is one node that takes quantised weights; in base-en it is a multiplication by
        weights that other nodes dequantise, followed by the addition of the bias.
        """
        ends = ("Add_output_0", "MatMul_output_0")
        return self.matrix(*(f"{path}/{end}" for path in paths for end in ends))

    def matrix(self, *outputs: str) -> Matrix:
        """Return the matrix of the linear layer with the first of these outputs that exists."""
        found = self._matrix(self._first_of(outputs))
        return found.signed() if self._signed else found

    def _matrix(self, output: str) -> Matrix:
        bias = None
        if self._kinds[output] == "Add":
            bias, output = self._with_tensor(output)
        if self._kinds[output] == "MatMul":
            (weights,) = (name for name in self._inputs_of[output] if self._is_constant(name))
            return replace(self._affine(weights), bias=bias)
        values, scale, zero_point, *biases = self.constants(output)
        return Matrix.with_one_scale(values, scale, zero_point, biases[0] if biases else bias)

    def norm(self, *paths: str) -> list[Array]:
        """Return the scale, and the bias if there is one, of the normalisation at this path or output."""
        ends = ("/LayerNormalization_output_0", "/Mul_output_0", "")
        return self.constants(*(path + end for path in paths for end in ends))

    def embedding(self, path: str) -> Matrix:
        """Return the embedding at this path: values [tokens, width], scale and zero point [width]."""
        output = f"{path}/Gather_output_0"
        if self._kinds[output] == "Gather":
            (table,) = (name for name in self._inputs_of[output] if self._is_constant(name))
            return self._affine(table)
        (values,) = self.constants(f"{output}_quantized")
        return Matrix.with_one_scale(values, *self.constants(output))

    def _first_of(self, outputs: Sequence[str]) -> str:
        return next(output for output in outputs if output in self._inputs_of)

    def _with_tensor(self, output: str) -> tuple[Array, str]:
        """Return the stored tensor that a node with two inputs uses, and the name of its other input."""
        one, other = self._inputs_of[output]
        stored, computed = (one, other) if one in self._tensors else (other, one)
        return self._constant(stored), computed

    def _is_constant(self, name: str) -> bool:
        if name in self._tensors:
            return True
        return self._kinds.get(name) in _FOLDED and all(map(self._is_constant, self._inputs_of[name]))

    def _constant(self, name: str) -> Array:
        """Return an initializer, or the result of nodes that depend on initializers alone."""
        if name in self._tensors:
            tensor = self._tensors[name]
            dtype = helper.tensor_dtype_to_np_dtype(tensor.DataType())
            values = np.frombuffer(tensor.RawDataAsNumpy(), dtype)
            return values.reshape(_list(tensor, "Dims"))
        return _FOLDED[self._kinds[name]](*map(self._constant, self._inputs_of[name]))

    def _affine(self, name: str) -> Matrix:
        """Return weights that are computed as values x scale + offset, or as the transpose of this."""
        if self._kinds[name] == "Transpose":
            whole = self._affine(*self._inputs_of[name])
            return Matrix.with_one_scale(whole.values.T, whole.scale[0], whole.zero_point[0])
        offset, product = self._with_tensor(name)
        scale, cast = self._with_tensor(product)
        (values,) = map(self._constant, self._inputs_of[cast])
        zero_point = np.rint(-offset / scale).astype(values.dtype)
        return Matrix.with_one_scale(values, scale.reshape(()), zero_point.reshape(()))


def _signed(values: Array) -> Array:
    return (values.astype(np.int16) - 128).astype(np.int8)


def _list(table: Any, field: str) -> list[Any]:
    """Return a vector of a flatbuffer table, for which flatbuffers generates a getter and a length."""
    get = getattr(table, field)
    return [get(i) for i in range(getattr(table, f"{field}Length")())]
