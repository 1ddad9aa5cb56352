"""Models of a folder or an archive, on a machine without a network."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from model_server import CONTENTS, Told

from transcribed.errors import PullFailed
from transcribed.models.catalogue import CatalogueModel
from transcribed.models.fetching import Fetcher
from transcribed.models.folder import ModelFolder
from transcribed.models.pulling import pull, pull_from


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder as a user has it: the model's files, beside others."""
    own = tmp_path / "downloads"
    (own / "quantized").mkdir(parents=True)
    for name, content in CONTENTS.items():
        (own / "quantized" / name).write_bytes(content)
    (own / "notes.txt").write_text("mine")
    return own


def tarred(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return path


@pytest.mark.parametrize("form", ["folder", "tar", "gztar", "xztar", "zip"])
def test_a_model_is_taken_from_what_a_user_has(
    form: str, own: Path, small: CatalogueModel, folder: ModelFolder, progress: Told, tmp_path: Path
) -> None:
    offered = own if form == "folder" else Path(shutil.make_archive(str(tmp_path / "model"), form, own))
    home = pull_from(small, folder, offered, progress)
    assert folder.find("small") == home
    assert {
        path.name: path.read_bytes() for path in home.iterdir() if path.name != "model.json"
    } == CONTENTS
    assert progress.dones[-1] == small.size


def test_the_names_in_an_archive_lead_nowhere(
    small: CatalogueModel, folder: ModelFolder, progress: Told, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("before")
    link = tarfile.TarInfo("encoder.ort")
    link.type, link.linkname = tarfile.SYMTYPE, str(outside)
    hard = tarfile.TarInfo("decoder.ort")
    hard.type, hard.linkname = tarfile.LNKTYPE, "../../outside"
    device = tarfile.TarInfo("config.json")
    device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 5
    archive = tarred(tmp_path / "links.tar", link, hard, device, ("../../outside", b"after"))
    with pytest.raises(PullFailed, match="is not the model small"):
        pull_from(small, folder, archive, progress)
    files = [(f"../../../x/{name}", content) for name, content in CONTENTS.items()]
    pull_from(small, folder, tarred(tmp_path / "up.tar", *files, ("../../outside", b"after")), progress)
    assert outside.read_text() == "before"
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        *("links.tar", "up.tar", "outside", "models/.small.lock", "models/small/model.json"),
        *(f"models/small/{name}" for name in CONTENTS),
    }


def encrypted(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in CONTENTS.items():
            archive.writestr(name, content)
    raw = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        position = -1
        while (position := raw.find(signature, position + 1)) >= 0:
            raw[position + flags] |= 1
    path.write_bytes(raw)


def bomb(path: Path) -> None:
    """An archive that declares less than it has."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in CONTENTS:
            archive.writestr(name, bytes(10_000_000))


def damaged(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in CONTENTS.items():
            archive.writestr(name, content)
    raw = path.read_bytes()
    path.write_bytes(raw[:1000] + bytes(500) + raw[1500:])


def cut(path: Path) -> None:
    tarred(path, *CONTENTS.items())
    path.write_bytes(path.read_bytes()[:200_000])


def altered(path: Path) -> None:
    tarred(path, *{**CONTENTS, "decoder.ort": bytes(5000)}.items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "There is no file or folder"),
        (lambda path: path.write_bytes(b"no archive"), "is neither a folder nor a tar or zip archive"),
        (lambda path: path.write_bytes(b""), "is neither a folder nor a tar or zip archive"),
        (lambda path: path.mkdir(), "is not the model small.*It has no files at all"),
        (lambda path: tarred(path, ("encoder.ort", b"")), "Missing: config.json, decoder.ort"),
        (lambda path: tarred(path, *dict.fromkeys(CONTENTS, b"short").items()), "has 5 bytes instead of"),
        (altered, "decoder.ort is altered"),
        (cut, "cannot be read|is damaged|is altered|Missing"),
        (damaged, "cannot be read|is damaged"),
        (encrypted, "encrypted"),
        (bomb, "has 10000000 bytes instead of"),
    ],
)
def test_what_is_not_the_model_is_refused(
    make: object, message: str, small: CatalogueModel, folder: ModelFolder, progress: Told, tmp_path: Path
) -> None:
    offered = tmp_path / "offered"
    assert callable(make)
    make(offered)
    with pytest.raises(PullFailed, match=message) as caught:
        pull_from(small, folder, offered, progress)
    assert "\n" not in caught.value.message
    assert folder.find("small") is None


def test_a_model_of_the_hub_is_taken_from_the_folder_of_a_pull(
    whisper: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told, tmp_path: Path
) -> None:
    home = pull(whisper, folder, fetcher, progress)
    archive = shutil.make_archive(str(tmp_path / "carried"), "gztar", home.parent, home.name)
    other = ModelFolder(tmp_path / "other")
    pull_from(whisper, other, Path(archive), progress)
    assert other.find("whisper-x") is not None
    (home / "model.json").unlink()
    with pytest.raises(PullFailed, match=r"digests of its files.*Missing: model.json"):
        pull_from(whisper, ModelFolder(tmp_path / "third"), home, progress)
    with pytest.raises(PullFailed, match="is the model whisper-x, not whisper-y"):
        pull_from(whisper.model_copy(update={"name": "whisper-y"}), other, Path(archive), progress)


def test_the_hubs_cache_consists_of_links_which_are_followed(
    own: Path, small: CatalogueModel, folder: ModelFolder, progress: Told, tmp_path: Path
) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for name in CONTENTS:
        (snapshot / name).symlink_to(own / "quantized" / name)
    pull_from(small, folder, snapshot, progress)
    assert folder.find("small") is not None
