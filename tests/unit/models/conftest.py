"""A small catalogue, and a server that has its models."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from model_server import CONTENTS, ModelServer, Told, crc32c, serving

from transcribed.models.catalogue import CatalogueModel, ModelFile
from transcribed.models.fetching import Fetcher
from transcribed.models.folder import ModelFolder


@pytest.fixture
def progress() -> Told:
    return Told()


@pytest.fixture
def served() -> Iterator[ModelServer]:
    with serving() as server:
        for name, content in CONTENTS.items():
            server.files[f"/model/small/{name}"] = content
        yield server


@pytest.fixture
def small() -> CatalogueModel:
    files = [
        ModelFile(name=name, size=len(content), digests={"crc32c": crc32c(content)})
        for name, content in CONTENTS.items()
    ]
    return CatalogueModel(
        name="small",
        family="moonshine-streaming",
        language="en",
        licence="MIT",
        address="https://models.example/model/small",
        files=tuple(files),
    )


@pytest.fixture
def whisper(served: ModelServer) -> CatalogueModel:
    content = {"model.bin": CONTENTS["encoder.ort"], "config.json": b"{}", "vocabulary.txt": b"a\nb\n"}
    served.add_repository("Systran/faster-whisper-x", content)
    return CatalogueModel(
        name="whisper-x",
        family="whisper",
        language="multilingual",
        licence="MIT",
        repository="Systran/faster-whisper-x",
        bytes=300_000,
    )


@pytest.fixture
def fetcher(served: ModelServer) -> Iterator[Fetcher]:
    with Fetcher(served.url, timeout=0.3, pauses=(0, 0)) as fetcher:
        yield fetcher


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder(tmp_path / "models")
