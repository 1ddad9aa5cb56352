"""The dimensions of models of several sizes, read from graphs that are named as Moonshine names them."""

from pathlib import Path

import onnxruntime as ort
import pytest
from onnx import GraphProto, TensorProto, helper

from transcribed.engines.moonshine.graphs import dimensions_of
from transcribed.engines.moonshine.outputs import Dimensions
from transcribed.engines.moonshine.weights import Weights
from transcribed.errors import ConfigurationError

_PROJECTION = "self_attn/q_proj/MatMul_output_0"


def _encoder(layers: int) -> GraphProto:
    names = [f"/layers.{layer}/{_PROJECTION}" for layer in range(layers)]
    return helper.make_graph(
        [helper.make_node("Neg", ["input_values"], [name]) for name in names],
        "encoder",
        [helper.make_tensor_value_info("input_values", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
    )


def _decoder(layers: int, heads: int | str, head_size: int | str) -> GraphProto:
    states = {
        f"past_key_values.{layer}.decoder.key": ["batch", heads, "past", head_size]
        for layer in range(layers)
    }

    def branch(name: str, nodes: int) -> GraphProto:
        outputs = [f"/model/decoder/layers.{layer}/{_PROJECTION}" for layer in range(nodes)]
        return helper.make_graph(
            [helper.make_node("Neg", [next(iter(states))], [output]) for output in outputs],
            name,
            [],
            [helper.make_tensor_value_info(outputs[0], TensorProto.FLOAT, None)],
        )

    return helper.make_graph(
        [
            helper.make_node(
                "If",
                ["use_cache_branch"],
                ["logits"],
                # The branch with a cache is not read: it says something else here.
                then_branch=branch("then", 1),
                else_branch=branch("else", layers),
            )
        ],
        "decoder",
        [
            helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1]),
            *(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in states.items()
            ),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
    )


def _shipped(graph: GraphProto, path: Path) -> Weights:
    """The graph in the format of the shipped files, an onnxruntime flatbuffer."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Weights(path.read_bytes())


@pytest.mark.parametrize(
    ("encoder_layers", "layers", "heads", "head_size", "width"),
    [(6, 6, 8, 36, 288), (8, 8, 8, 52, 416), (2, 3, 4, 16, 64)],
    ids=["tiny-en", "base-en", "another"],
)
def test_they_are_read_from_the_graphs(
    tmp_path: Path, encoder_layers: int, layers: int, heads: int, head_size: int, width: int
) -> None:
    encoder = _shipped(_encoder(encoder_layers), tmp_path / "encoder.ort")
    decoder = _shipped(_decoder(layers, heads, head_size), tmp_path / "decoder.ort")
    sizes = dimensions_of(encoder, decoder)
    assert sizes == Dimensions(encoder_layers, layers, heads, head_size)
    assert sizes.width == width


@pytest.mark.parametrize(("heads", "head_size"), [("heads", 36), (8, "size")])
def test_a_decoder_that_does_not_declare_its_heads_is_refused(
    tmp_path: Path, heads: int | str, head_size: int | str
) -> None:
    encoder = _shipped(_encoder(1), tmp_path / "encoder.ort")
    decoder = _shipped(_decoder(1, heads, head_size), tmp_path / "decoder.ort")
    with pytest.raises(ConfigurationError, match="does not declare its attention heads"):
        dimensions_of(encoder, decoder)
