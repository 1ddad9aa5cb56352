"""A model with the files and networks of Moonshine's streaming models, whose words tell the audio's level.

Each 0.4 s of audio is one word: how many of LEVELS its mean square exceeds.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from transcribed.engines.moonshine.tokenizer import Tokenizer
from transcribed.engines.moonshine_streaming.library import package_file

WORDS = ("no", "one", "two", "three")
LEVELS = (0.001, 0.01, 0.1)
WORD_SECONDS = 0.4

_FRAME, _FRAMES_OF_A_WORD = 320, 20
_WIDTH, _END = 2, 2
_FLOAT, _INT = TensorProto.FLOAT, TensorProto.INT64
_CONFIG = {
    "encoder_dim": _WIDTH,
    "decoder_dim": _WIDTH,
    "depth": 1,
    "nheads": 1,
    "head_dim": _WIDTH,
    "vocab_size": 32_768,
    "bos_id": 1,
    "eos_id": _END,
    "frame_len": 80,
    "total_lookahead": 16,
    "d_model_frontend": _WIDTH,
    "c1": _WIDTH,
    "c2": _WIDTH,
    "max_seq_len": 448,
}

_Shapes = Mapping[str, tuple[int, Sequence[int | str]]]


def write_streaming_model(folder: Path, *, split: bool) -> None:
    """Write the model; `split` its first network in two files, as the vendor's newer models have it."""
    tokens = package_file("assets/tiny-en/tokenizer.bin").read_bytes()
    (folder / "tokenizer.bin").write_bytes(tokens)
    (folder / "streaming_config.json").write_text(json.dumps(_CONFIG))
    mean = np.zeros((_FRAME, _WIDTH), np.float32)
    mean[:, 0] = 1 / _FRAME
    weights = {"mean": mean, "frame": np.array([1, -1, _FRAME])}
    if split:
        given = {"mean": (_FLOAT, mean.shape), "frame": (_INT, (3,))}
        _write(folder / "frontend.model.ort", _FRONTEND, _FRONTEND_IN | given, _FRONTEND_OUT, {})
        nodes = [_node("Identity", f"own_{name}", name) for name in weights]
        own = {f"own_{name}": value for name, value in weights.items()}
        _write(folder / "frontend.weights.ort", nodes, {}, given, own)
    else:
        _write(folder / "frontend.ort", _FRONTEND, _FRONTEND_IN, _FRONTEND_OUT, weights)
    features = (_FLOAT, (1, "frames", _WIDTH))
    nodes = [_node("Identity", "features", "encoded")]
    _write(folder / "encoder.ort", nodes, {"features": features}, {"encoded": features}, {})
    nodes = [
        _node("Cast", "pos_offset", "position", to=_FLOAT),
        _node("Mul", "position zero", "nothing"),
        _node("Add", "encoded nothing", "memory"),
    ]
    inputs = {"encoded": features, "pos_offset": (_INT, (1,))}
    _write(folder / "adapter.ort", nodes, inputs, {"memory": features}, {"zero": np.zeros(1, np.float32)})
    cache = (_FLOAT, (1, 1, 1, "length", _WIDTH))
    nodes = [_node("Unsqueeze", "memory axes", f"{each}_cross") for each in "kv"]
    outputs = {"k_cross": cache, "v_cross": cache}
    _write(folder / "cross_kv.ort", nodes, {"memory": features}, outputs, {"axes": np.array([0, 1])})
    _write_decoder(folder / "decoder_kv.ort", tokens)


def _write_decoder(path: Path, tokens: bytes) -> None:
    vocabulary = Tokenizer(tokens)
    words = [next(i for i in range(len(vocabulary)) if _is(vocabulary, i, word)) for word in WORDS]
    nodes = [
        _node("Shape", "k_self", "size"),
        _node("Gather", "size three", "step"),
        _node("Mul", "step frames", "begin"),
        _node("Add", "begin frames", "stop"),
        _node("Slice", "out_k_cross begin stop three", "heard"),
        _node("Gather", "heard zero", "squares", axis=4),
        _node("ReduceMean", "squares", "level", keepdims=0),
        _node("Greater", "level levels", "exceeded"),
        _node("Cast", "exceeded", "ones", to=_INT),
        _node("ReduceSum", "ones", "count", keepdims=1),
        _node("Gather", "words count", "word"),
        _node("Shape", "out_k_cross", "size_cross"),
        _node("Gather", "size_cross three", "known"),
        _node("Greater", "stop known", "over"),
        _node("Where", "over end word", "chosen"),
        _node("OneHot", "chosen vocabulary off_on", "flat"),
        _node("Reshape", "flat logits_shape", "logits"),
        _node("Concat", "k_self entry", "out_k_self", axis=3),
        _node("Concat", "v_self entry", "out_v_self", axis=3),
        _node("Identity", "token", "unused"),
        _node("Identity", "out_v_cross", "unused_cross"),
    ]
    cache = (_FLOAT, (1, 1, 1, "length", _WIDTH))
    cross = (_FLOAT, (1, 1, 1, "cross", _WIDTH))
    longer = (_FLOAT, (1, 1, 1, "longer", _WIDTH))
    inputs: _Shapes = {
        "token": (_INT, (1, "tokens")),
        "k_self": cache,
        "v_self": cache,
        "out_k_cross": cross,
        "out_v_cross": cross,
    }
    outputs: _Shapes = {
        "logits": (_FLOAT, (1, 1, _CONFIG["vocab_size"])),
        "out_k_self": longer,
        "out_v_self": longer,
    }
    _write(
        path,
        nodes,
        inputs,
        outputs,
        {
            "zero": np.array([0]),
            "three": np.array([3]),
            "frames": np.array([_FRAMES_OF_A_WORD]),
            "levels": np.array(LEVELS, np.float32),
            "words": np.array(words),
            "end": np.array([_END]),
            "vocabulary": np.array(_CONFIG["vocab_size"]),
            "off_on": np.array([0, 1], np.float32),
            "logits_shape": np.array([1, 1, -1]),
            "entry": np.zeros((1, 1, 1, 1, _WIDTH), np.float32),
        },
    )


def _is(vocabulary: Tokenizer, token: int, word: str) -> bool:
    return vocabulary.starts_word(token) and vocabulary.text([token]) == word


def _node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


_STATES = {
    "sample_buffer": (_FLOAT, (1, 79)),
    "sample_len": (_INT, (1,)),
    "conv1_buffer": (_FLOAT, (1, _WIDTH, 4)),
    "conv2_buffer": (_FLOAT, (1, _WIDTH, 4)),
    "frame_count": (_INT, (1,)),
}
_FRONTEND = [
    _node("Reshape", "audio_chunk frame", "frames"),
    _node("Mul", "frames frames", "squares"),
    _node("MatMul", "squares mean", "features"),
    *(_node("Identity", each, f"{each}_out") for each in _STATES),
]
_FRONTEND_IN = {"audio_chunk": (_FLOAT, (1, "samples")), **_STATES}
_FRONTEND_OUT = {
    "features": (_FLOAT, (1, "count", _WIDTH)),
    **{f"{name}_out": shape for name, shape in _STATES.items()},
}


def _write(
    path: Path, nodes: list[Any], inputs: _Shapes, outputs: _Shapes, weights: Mapping[str, Any]
) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(name, *shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, *shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
