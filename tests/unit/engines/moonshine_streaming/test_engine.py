import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streaming_model import write_streaming_model

from transcribed.engines.moonshine_streaming.engine import load
from transcribed.engines.moonshine_streaming.library import package_file
from transcribed.errors import ConfigurationError
from transcribed.recognition.endpointing import EndpointingRules

_STREAMING = [
    "adapter.ort",
    "cross_kv.ort",
    "decoder_kv.ort",
    "encoder.ort",
    "frontend.ort",
    "tokenizer.bin",
]
_CONFIG = """{"encoder_dim": 320, "decoder_dim": 320, "depth": 6, "nheads": 8, "head_dim": 40,
"vocab_size": 32768, "d_model_frontend": 320, "c1": 640, "c2": 320}"""


def _load(folder: Path, name: str) -> str:
    """The message of the error of loading it."""
    with pytest.raises(ConfigurationError) as raised:
        load(folder, name, EndpointingRules(), "en-US")
    return raised.value.message


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A copy of the model in the vendor's package."""
    return Path(shutil.copytree(package_file("assets/tiny-en"), tmp_path / "tiny-en"))


@pytest.fixture
def streaming(tmp_path: Path) -> Path:
    """A folder with the files of a streaming model, whose contents are none."""
    for name in _STREAMING:
        (tmp_path / name).write_bytes(b"no network")
    (tmp_path / "streaming_config.json").write_text(_CONFIG)
    return tmp_path


def test_a_folder_without_a_model_says_which_files_are_missing(tmp_path: Path) -> None:
    message = _load(tmp_path, "small-streaming-en")
    assert "adapter.ort" in message
    assert "transcribed models pull small-streaming-en" in message


@pytest.mark.parametrize("missing", [*_STREAMING, "streaming_config.json"])
def test_a_half_downloaded_model_says_which_file_is_missing(streaming: Path, missing: str) -> None:
    (streaming / missing).unlink()
    assert missing.removesuffix(".ort") in _load(streaming, "small-streaming-en")


@pytest.mark.parametrize("config", ["", "<html>", "[]", "{}", _CONFIG.replace("320", "-1")])
def test_a_configuration_that_is_none_is_refused_before_the_library_reads_it(
    streaming: Path, config: str
) -> None:
    (streaming / "streaming_config.json").write_text(config)
    assert "is not its configuration" in _load(streaming, "small-streaming-en")


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("encoder_model.ort", lambda path: os.truncate(path, 5_000_000)),
        ("tokenizer.bin", lambda path: path.write_bytes(os.urandom(10_000))),
    ],
    ids=["half", "garbage"],
)
def test_a_damaged_model_is_an_error_and_no_crash(
    tiny: Path, file: str, damage: Callable[[Path], None]
) -> None:
    damage(tiny / file)
    message = _load(tiny, "tiny-en")
    assert "is damaged" in message
    assert "transcribed models pull tiny-en" in message


def test_a_streaming_model_of_garbage_is_an_error_and_no_crash(streaming: Path) -> None:
    assert "is damaged" in _load(streaming, "small-streaming-en")


def test_a_first_network_in_two_files_of_garbage_is_an_error(streaming: Path) -> None:
    (streaming / "frontend.ort").unlink()
    for name in ("frontend.model.ort", "frontend.weights.ort"):
        (streaming / name).write_bytes(b"no network")
    assert "do not fit together" in _load(streaming, "small-streaming-en")


def test_a_model_that_crashes_the_library_is_an_error_and_no_crash(tmp_path: Path) -> None:
    write_streaming_model(tmp_path, split=False)
    config = tmp_path / "streaming_config.json"
    # The library copies as many bytes as these, from networks that have fewer.
    config.write_text(config.read_text().replace('"depth": 1', '"depth": 999999'))
    assert "the library crashes" in _load(tmp_path, "tiny-streaming-en")
