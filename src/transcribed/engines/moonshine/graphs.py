"""The decoder's two graphs, made from the one that is shipped.

The shipped decoder is a single onnxruntime flatbuffer with one `If` node. Its else branch takes many
tokens and no past ("first"), its then branch continues from a past ("next"). Here each becomes an ONNX
model of its own: the branch's nodes and the tensors they use. Two things are added that the shipped
graph keeps to itself: the most probable next token with its probability (the logits, 128 KB a token,
never leave the graph), and the six cross-attentions, from which word times can be read.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.AttributeType import AttributeType
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import (
    InferenceSession,
)
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.TensorTypeAndShape import (
    TensorTypeAndShape,
)

from transcribed.engines.moonshine.outputs import LAYERS, PROBABILITIES, TOKENS, attention

_OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
_IR_VERSION = 10


def split_decoder(shipped: bytes) -> tuple[bytes, bytes]:
    """The shipped decoder (.ort) → the serialized ONNX models (first, next)."""
    graph = InferenceSession.GetRootAs(shipped, 0).Model().Graph()
    branching = next(node for node in _list(graph, "Nodes") if node.OpType() == b"If")
    branches = {_str(a.Name()): a.G() for a in _list(branching, "Attributes")}
    first = _branch_model(graph, branches["else_branch"])
    following = _branch_model(graph, branches["then_branch"])
    return first.SerializeToString(), following.SerializeToString()


def _branch_model(outer: Any, branch: Any) -> ModelProto:
    nodes = [
        _node(node) for graph in (outer, branch) for node in _list(graph, "Nodes") if node.OpType() != b"If"
    ]
    produced = {name for node in nodes for name in node.output}
    states = [name for name in map(_str, _list(branch, "Outputs")) if "present" in name]
    wanted = [name for name in states if name in produced]
    wanted += [attention(layer) for layer in range(LAYERS)]
    nodes += _choice("logits")
    nodes = list(_needed_in_order(nodes, [TOKENS, PROBABILITIES, *wanted]))
    used = {name for node in nodes for name in node.input}
    values = {_str(value.Name()): value for value in _list(outer, "NodeArgs")}
    return helper.make_model(
        GraphProto(
            name="decoder",
            node=nodes,
            input=[_input(values[n]) for n in map(_str, _list(outer, "Inputs")) if n in used],
            output=[
                helper.make_tensor_value_info(TOKENS, TensorProto.INT64, None),
                helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, None),
                *(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in wanted),
            ],
            initializer=[
                tensor
                for graph in (outer, branch)
                for tensor in map(_tensor, _list(graph, "Initializers"))
                if tensor.name in used
            ]
            + [numpy_helper.from_array(np.array([-1]), "last_axis")],
        ),
        opset_imports=_OPSETS,
        ir_version=_IR_VERSION,
    )


def _choice(logits: str) -> list[NodeProto]:
    return [
        helper.make_node("ArgMax", [logits], [TOKENS], axis=-1, keepdims=0),
        helper.make_node("Softmax", [logits], ["all_probabilities"], axis=-1),
        helper.make_node("ReduceMax", ["all_probabilities", "last_axis"], [PROBABILITIES], keepdims=0),
    ]


def _needed_in_order(nodes: Iterable[NodeProto], outputs: Iterable[str]) -> Iterator[NodeProto]:
    """The nodes that the outputs depend on, each behind those it depends on."""
    producers = {name: node for node in nodes for name in node.output if name}
    seen: set[int] = set()
    pending = [(producers[name], False) for name in outputs]
    while pending:
        node, inputs_done = pending.pop()
        if inputs_done:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            pending.append((node, True))
            pending += [(producers[name], False) for name in node.input if name in producers]


def _node(node: Any) -> NodeProto:
    return NodeProto(
        name=_str(node.Name()),
        op_type=_str(node.OpType()),
        domain=_str(node.Domain()),
        input=map(_str, _list(node, "Inputs")),
        output=map(_str, _list(node, "Outputs")),
        attribute=[
            helper.make_attribute(_str(a.Name()), _attribute_value(a), attr_type=a.Type())
            for a in _list(node, "Attributes")
        ],
    )


def _attribute_value(attribute: Any) -> Any:
    match attribute.Type():
        case AttributeType.FLOAT:
            return attribute.F()
        case AttributeType.INT:
            return attribute.I()
        case AttributeType.STRING:
            return attribute.S()
        case AttributeType.TENSOR:
            return _tensor(attribute.T())
        case AttributeType.FLOATS:
            return _list(attribute, "Floats")
        case AttributeType.INTS:
            return _list(attribute, "Ints")
        case other:
            raise ValueError(f"attribute of type {other}, which this model is not known to use")


def _tensor(tensor: Any) -> TensorProto:
    return TensorProto(
        name=_str(tensor.Name()),
        data_type=tensor.DataType(),
        dims=_list(tensor, "Dims"),
        raw_data=tensor.RawDataAsNumpy().tobytes() if tensor.RawDataLength() else b"",
    )


def _input(value: Any) -> ValueInfoProto:
    table = value.Type().Value()
    described = TensorTypeAndShape()
    described.Init(table.Bytes, table.Pos)
    sizes = (dimension.Value() for dimension in _list(described.Shape(), "Dim"))
    shape = [_str(size.DimParam()) or size.DimValue() for size in sizes]
    return helper.make_tensor_value_info(_str(value.Name()), described.ElemType(), shape)


def _list(table: Any, field: str) -> list[Any]:
    """A vector of the flatbuffer, whose Python code offers a getter and a length."""
    get = getattr(table, field)
    return [get(i) for i in range(getattr(table, f"{field}Length")())]


def _str(data: bytes | None) -> str:
    return data.decode() if data else ""
