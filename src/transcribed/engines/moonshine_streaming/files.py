"""The files of a model, as the vendor's library reads them."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime as ort

from transcribed.engines.moonshine_streaming.library import Architecture
from transcribed.engines.runtime import session
from transcribed.errors import ConfigurationError

_CONFIG = "streaming_config.json"
_FRONTEND, _PAIR = "frontend.ort", ("frontend.model.ort", "frontend.weights.ort")
_STREAMING = ("adapter.ort", "cross_kv.ort", "decoder_kv.ort", "encoder.ort", _CONFIG, "tokenizer.bin")
_WHOLE = ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin")
_NUMBERS = ("encoder_dim", "decoder_dim", "depth", "nheads", "head_dim", "vocab_size", "d_model_frontend")
_LARGEST = 1_000_000


def architecture_of(folder: Path, name: str) -> Architecture:
    """Return the architecture of a model. Its files tell whether it streams, its name tells its size.

    Raises ConfigurationError if files are missing or the configuration cannot be read.
    """
    streaming = (folder / _CONFIG).exists() or "streaming" in name
    missing = [each for each in (_STREAMING if streaming else _WHOLE) if not (folder / each).is_file()]
    if streaming and not any(_has(folder, each) for each in ((_FRONTEND,), _PAIR)):
        missing.append(" with ".join(_PAIR))
    if missing:
        raise ConfigurationError(
            f"The model {name} is incomplete: {', '.join(missing)} is not in {folder}. "
            f"Run: transcribed models pull {name}"
        )
    if not streaming:
        return Architecture.BASE if name.startswith("base") else Architecture.TINY
    _check_config(folder / _CONFIG, name)
    size = name.partition("-")[0].upper()
    return Architecture.__members__.get(f"{size}_STREAMING", Architecture.SMALL_STREAMING)


@contextmanager
def readable_folder(folder: Path, name: str) -> Iterator[Path]:
    """Yield a folder from which the library of moonshine-voice 0.0.73 can load the model.

    Models of August 2026 and later have their first network in two files, and this version reads only one.
    For these, the folder is a temporary one with both files joined. It is deleted afterwards, which does
    not affect files that the library has loaded.
    """
    if not _has(folder, _PAIR):
        yield folder
        return
    with TemporaryDirectory(prefix="transcribed-model-") as temporary:
        whole = Path(temporary)
        for path in folder.iterdir():
            if path.name not in {_FRONTEND, *_PAIR}:
                (whole / path.name).symlink_to(path.resolve())
        try:
            network, weights = (folder / each for each in _PAIR)
            _join(network, weights, whole / _FRONTEND)
        except Exception as error:
            raise ConfigurationError(
                f"The model {name} is damaged: {' and '.join(_PAIR)} in {folder} do not fit together. "
                f"Remove it and run: transcribed models pull {name}"
            ) from error
        yield whole


def _has(folder: Path, names: tuple[str, ...]) -> bool:
    return all((folder / name).is_file() for name in names)


def _check_config(path: Path, name: str) -> None:
    try:
        config = json.loads(path.read_bytes())
        sizes = [config[each] for each in _NUMBERS]
    except (OSError, ValueError, KeyError, TypeError):
        sizes = [0]
    if not all(isinstance(size, int) and 0 < size <= _LARGEST for size in sizes):
        raise ConfigurationError(
            f"The model {name} is damaged: {path} is not its configuration. "
            f"Remove it and run: transcribed models pull {name}"
        )


def _join(network: Path, weights: Path, joined: Path) -> None:
    """Join a network whose inputs are its weights with another network that outputs these weights."""
    source = session(str(weights))
    names = [output.name for output in source.get_outputs()]
    values = dict(zip(names, source.run(names, {}), strict=True))
    as_onnx = joined.with_suffix(".onnx")
    _rewrite(str(network), as_onnx, "ONNX", ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    model = onnx.load(as_onnx)
    inputs = [each for each in model.graph.input if each.name not in values]
    if len(inputs) + len(values) != len(model.graph.input):
        raise ValueError("These are not the weights of this network.")
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, key) for key, value in values.items()
    )
    as_onnx.unlink()
    _rewrite(model.SerializeToString(), joined, "ORT", ort.GraphOptimizationLevel.ORT_ENABLE_BASIC)


def _rewrite(model: str | bytes, path: Path, form: str, level: Any) -> None:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = os.fspath(path)
    options.add_session_config_entry("session.save_model_format", form)
    options.log_severity_level = 3
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
