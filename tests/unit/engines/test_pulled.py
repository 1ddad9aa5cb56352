"""Pulled models, selected by name."""

from pathlib import Path

import pytest
from model_server import Told

from transcribed.engines.moonshine.shipped import shipped_file
from transcribed.engines.registry import LOCAL
from transcribed.errors import ConfigurationError, DamagedModel
from transcribed.models.catalogue import CatalogueModel, ModelFile
from transcribed.models.digests import digests_of
from transcribed.models.folder import ModelFolder
from transcribed.models.pulling import pull_from
from transcribed.settings import RecognitionSettings


def pulled(folder: Path, name: str, family: str) -> Path:
    """Pull a model of the files of tiny-en, as the package has them."""
    own = folder.parent / "own"
    own.mkdir()
    for path in shipped_file("assets/tiny-en").iterdir():
        (own / path.name).symlink_to(path)
    files = [
        ModelFile(name=path.name, size=path.stat().st_size, digests=digests_of(path, ["crc32c"]))
        for path in own.iterdir()
    ]
    model = CatalogueModel(
        name=name, family=family, language="en", licence="MIT", address="https://x", files=tuple(files)
    )
    return pull_from(model, ModelFolder(folder), own, Told())


def test_a_pulled_model_is_loaded_by_its_name(tmp_path: Path) -> None:
    settings = RecognitionSettings(models=tmp_path / "models", model="tiny-pulled-en")
    home = pulled(settings.models, settings.model, "moonshine-streaming")
    engine = LOCAL["moonshine"](settings, settings.model)
    assert engine.capabilities.models == ("tiny-pulled-en",)
    assert engine.capabilities.languages == ("en-US",)
    (home / "tokenizer.bin").write_bytes(bytes((home / "tokenizer.bin").stat().st_size))
    with pytest.raises(DamagedModel, match=r"tokenizer.bin is altered.*transcribed models pull"):
        LOCAL["moonshine"](settings, settings.model)


def test_a_model_without_an_engine_is_refused(tmp_path: Path) -> None:
    settings = RecognitionSettings(models=tmp_path / "models", model="whisper-tiny")
    with pytest.raises(ConfigurationError, match=r"is not in .*It cannot run here: this version"):
        LOCAL["moonshine"](settings, settings.model)
    pulled(settings.models, settings.model, "whisper")
    with pytest.raises(ConfigurationError, match="The model whisper-tiny cannot run here: this version"):
        LOCAL["moonshine"](settings, settings.model)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("small-streaming-en", "is not in .*Run: transcribed models pull small-streaming-en"),
        (
            "small-streaming",
            r"There is no model .*Did you mean small-streaming-.*here are auto, base, tiny",
        ),
        ("q", r"There is no model 'q'\. The models here are auto, base, tiny.*transcribed models list"),
    ],
)
def test_a_model_that_is_not_there_is_told_how_to_get(name: str, message: str, tmp_path: Path) -> None:
    settings = RecognitionSettings(models=tmp_path / "models")
    with pytest.raises(ConfigurationError, match=message):
        LOCAL["moonshine"](settings, name)
    assert not settings.models.exists(), "nothing is made, and nothing fetched"
