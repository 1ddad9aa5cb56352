"""The models that can be pulled, and what the hub tells about its own."""

import copy
from typing import Any

import pytest

from transcribed.errors import NotFound, PullFailed
from transcribed.models import hub
from transcribed.models.addresses import mirrored, shown_address, valid_mirror
from transcribed.models.catalogue import Catalogue, catalogue


def test_everybody_may_use_the_models_of_the_catalogue() -> None:
    models = catalogue().models
    assert {model.licence for model in models.values()} == {"MIT"}
    assert models["small-streaming-en"].size == 142_300_974
    for model in models.values():
        if not model.repository:
            assert model.address.startswith("https://")
            assert all(set(file.digests) == {"crc32c"} for file in model.files)
            assert all(len(digest) == 8 for file in model.files for digest in file.digests.values())


def test_an_unknown_name_gets_similar_ones() -> None:
    with pytest.raises(NotFound, match=r"Did you mean small-streaming-en.*models list"):
        catalogue()["Smal-streaming-en"]
    with pytest.raises(NotFound) as caught:
        catalogue()["q"]
    assert "Did you mean" not in caught.value.message


@pytest.mark.parametrize("name", ["../x", "", ".x", "a/b", "a b"])
def test_a_file_of_the_catalogue_has_a_plain_name(name: str) -> None:
    file = f'{{"name": "{name}", "size": 1, "digests": {{"crc32c": "00000000"}}}}'
    model = f'"family": "x", "language": "x", "licence": "MIT", "address": "https://x", "files": [{file}]'
    with pytest.raises(ValueError, match="is not the name of a model or file"):
        Catalogue.parse(f'[{{"name": "x", {model}}}]'.encode())


TOLD: dict[str, Any] = {
    "sha": "0" * 40,
    "siblings": [
        {"rfilename": "config.json", "size": 2, "blobId": "1" * 40},
        {"rfilename": "model.bin", "size": 9, "blobId": "2" * 40, "lfs": {"sha256": "3" * 64, "size": 9}},
        {"rfilename": "../../evil/model.bin", "size": 9, "blobId": "2" * 40},
        {"rfilename": ".gitattributes"},
    ],
}


def test_the_hubs_digests_are_used() -> None:
    found = hub.revision("a/b", TOLD)
    assert found.address == "https://huggingface.co/a/b/resolve/" + "0" * 40
    assert [(file.name, file.size, file.digests) for file in found.files] == [
        ("config.json", 2, {"git-blob": "1" * 40}),
        ("model.bin", 9, {"sha256": "3" * 64}),
    ]


def without(key: str) -> dict[str, Any]:
    changed = copy.deepcopy(TOLD)
    del changed["siblings"][0][key]
    return changed


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, "is not the hub's"),
        ([], "is not the hub's"),
        ({"error": "Repository not found"}, "is not the hub's.*Repository not found"),
        ({**TOLD, "sha": "../../x"}, "is no commit"),
        ({**TOLD, "siblings": []}, "has no config.json and no model.bin"),
        ({**TOLD, "siblings": TOLD["siblings"][:1]}, "has no model.bin"),
        (without("size"), "is not the hub's"),
        (without("blobId"), "is not the hub's"),
    ],
)
def test_what_the_hub_does_not_tell_is_refused(told: object, message: str) -> None:
    with pytest.raises(PullFailed, match=message):
        hub.revision("a/b", told)


def test_a_mirror_has_the_paths_of_the_origins() -> None:
    url = "https://models.example/model/small/x.ort?y=z"
    assert mirrored(url, "") == url
    assert mirrored(url, "http://mirror/a/") == "http://mirror/a/model/small/x.ort?y=z"
    assert shown_address("https://user:secret@mirror:1/a?token=secret#x") == "https://mirror:1/a"


@pytest.mark.parametrize(
    "address", ["mirror.example", "ftp://x/", "https://", "https://x/?a=b", "http://[1", "file:///x"]
)
def test_a_mirror_is_an_http_address(address: str) -> None:
    with pytest.raises(ValueError, match=r"a mirror is|Invalid"):
        valid_mirror(address)
