"""A model is either complete and verified or not there, whatever its origin does."""

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from model_server import (
    COMMIT,
    CONTENTS,
    Fault,
    ModelServer,
    Told,
    answers,
    chunked,
    cut_after,
    drips,
    gzipped,
    hangs,
    no_ranges,
    serving,
)

from transcribed.clock import utc_now
from transcribed.errors import DamagedModel, NotFound, PullFailed, StorageFailure, StorageFull
from transcribed.models.catalogue import CatalogueModel
from transcribed.models.fetching import Fetcher
from transcribed.models.folder import ModelFolder
from transcribed.models.pulling import pull
from transcribed.tls.authority import Authority

ENCODER = "/model/small/encoder.ort"


def assert_whole(folder: ModelFolder, home: Path) -> None:
    assert folder.find("small") == home == folder.path / "small"
    assert {name: (home / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert folder.names() == ["small"]


def assert_not_there(folder: ModelFolder) -> None:
    assert folder.find("small") is None
    assert folder.names() == []


def test_a_model_is_pulled(
    small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told, served: ModelServer
) -> None:
    assert_not_there(folder)
    assert_whole(folder, pull(small, folder, fetcher, progress))
    assert progress.totals == [small.size]
    assert progress.dones == sorted(progress.dones)
    assert progress.dones[-1] == small.size
    assert sorted(path.name for path in folder.path.iterdir()) == [".small.lock", "small"]
    before = len(served.requests)
    assert_whole(folder, pull(small, folder, fetcher, progress))
    assert len(served.requests) == before, "what is there is not fetched again"


def test_a_pull_goes_on_where_it_was_cut_off(
    small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told, served: ModelServer
) -> None:
    served.faults[ENCODER] = [cut_after(100_000), cut_after(0), cut_after(50_000), cut_after(1)]
    assert_whole(folder, pull(small, folder, fetcher, progress))
    ranges = [wanted for path, wanted in served.requests if path == ENCODER]
    assert ranges == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-", "bytes=150001-"]


def test_a_pull_goes_on_where_the_server_hung(
    small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told, served: ModelServer
) -> None:
    served.faults[ENCODER] = [cut_after(100_000, hang=True)]
    assert_whole(folder, pull(small, folder, fetcher, progress))
    assert served.requests[1] == (ENCODER, "bytes=100000-")


def test_another_pull_goes_on_where_one_gave_up(
    small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told, served: ModelServer
) -> None:
    served.faults[ENCODER] = [cut_after(100_000), *[cut_after(0)] * 3]
    with pytest.raises(PullFailed, match=r"cut off.*What has come is kept; pull again"):
        pull(small, folder, fetcher, progress)
    assert_not_there(folder)
    assert_whole(folder, pull(small, folder, fetcher, Told()))
    assert served.requests[-3] == (ENCODER, "bytes=100000-")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (answers(b"no", 404), "answers with 404.*it lacks the file"),
        (answers(b"no", 403), "403.*need a password"),
        (answers(b"no", 503), "answers with 503"),
        (answers(b"", 200), "has 0 bytes instead of 300000"),
        (answers(b"<html>", 200, Content_Type="text/html; charset=utf-8"), "web page.*sign in"),
        (chunked(b"{}"), "ended after 2 of 300000 bytes"),
        (chunked(bytes(300_001)), "sends more than the 300000 bytes"),
        (answers(bytes(300_000)), "encoder.ort is altered .*its crc32c is.*not used"),
        (answers(b"", 302, Location="/model/small/encoder.ort"), "redirects more than"),
        (answers(b"", 302, Location="ftp://example.org/x"), "cannot be fetched"),
        (hangs, "does not answer within 0.3 s"),
        (drips, "stalls"),
        (cut_after(0), "ended|cut off"),
    ],
)
def test_what_is_not_the_model_is_refused(
    fault: Fault,
    message: str,
    small: CatalogueModel,
    folder: ModelFolder,
    fetcher: Fetcher,
    progress: Told,
    served: ModelServer,
) -> None:
    served.faults[ENCODER] = [fault] * 30
    with pytest.raises(PullFailed, match=message) as caught:
        pull(small, folder, fetcher, progress)
    assert "\n" not in caught.value.message
    assert_not_there(folder)
    served.faults.clear()
    assert_whole(folder, pull(small, folder, fetcher, progress))


@pytest.mark.parametrize(
    "fault",
    [
        no_ranges,
        gzipped,
        answers(b"", 416),
        answers(bytes(200_000), 206, Content_Range="bytes 0-199999/300000"),
        answers(bytes(200_000), 206, Content_Range="bytes 100000-299999/300000"),
    ],
)
def test_a_server_that_cannot_resume_sends_the_whole_file(
    fault: Fault,
    small: CatalogueModel,
    folder: ModelFolder,
    fetcher: Fetcher,
    progress: Told,
    served: ModelServer,
) -> None:
    served.faults[ENCODER] = [cut_after(100_000), fault]
    assert_whole(folder, pull(small, folder, fetcher, progress))


def test_redirects_are_followed_and_the_range_with_them(
    small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told, served: ModelServer
) -> None:
    served.files["/cdn/x"] = CONTENTS["encoder.ort"]
    moved = answers(b"", 307, Location="/cdn/x?signature=secret")
    served.faults[ENCODER] = [moved, moved]
    served.faults["/cdn/x"] = [cut_after(100_000)]
    assert_whole(folder, pull(small, folder, fetcher, progress))
    assert ("/cdn/x", "bytes=100000-") in served.requests


def test_no_secret_of_an_address_is_told(
    small: CatalogueModel, folder: ModelFolder, progress: Told, served: ModelServer
) -> None:
    with Fetcher(served.url.replace("://", "://user:hidden@"), pauses=()) as fetcher:
        served.faults[ENCODER] = [answers(b"", 302, Location="/nowhere?signature=hidden")]
        with pytest.raises(PullFailed, match="404") as caught:
            pull(small, folder, fetcher, progress)
    assert "hidden" not in caught.value.message


def test_an_unreachable_host_is_named(small: CatalogueModel, folder: ModelFolder, progress: Told) -> None:
    with (
        Fetcher("http://127.0.0.1:9", pauses=()) as fetcher,
        pytest.raises(
            PullFailed, match=r"127.0.0.1:9/model/small/encoder.ort cannot be reached: Connection refused\."
        ),
    ):
        pull(small, folder, fetcher, progress)


def test_a_proxy_is_used_and_named_when_it_fails(
    monkeypatch: pytest.MonkeyPatch,
    small: CatalogueModel,
    folder: ModelFolder,
    progress: Told,
    served: ModelServer,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    with Fetcher(served.url, pauses=()) as fetcher:
        with pytest.raises(PullFailed, match=r"The proxy to .* does not work.*NO_PROXY"):
            pull(small, folder, fetcher, progress)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert_whole(folder, pull(small, folder, fetcher, progress))


def test_the_network_is_encrypted_by_who_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
    small: CatalogueModel,
    folder: ModelFolder,
    progress: Told,
    served: ModelServer,
    tmp_path: Path,
) -> None:
    authority = Authority.create("test", utc_now())
    (tmp_path / "authority.pem").write_bytes(authority.certificate_pem)
    (tmp_path / "server.pem").write_bytes(authority.issue(["127.0.0.1"], utc_now()))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with serving(tmp_path / "server.pem") as secure:
        secure.files |= served.files
        with (
            Fetcher(secure.url, pauses=()) as fetcher,
            pytest.raises(PullFailed, match=r"certificate .* is not trusted.*SSL_CERT_FILE"),
        ):
            pull(small, folder, fetcher, progress)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        with Fetcher(secure.url, pauses=()) as fetcher:
            secure.faults[ENCODER] = [answers(b"", 302, Location=f"{served.url}{ENCODER}")]
            with pytest.raises(PullFailed, match="is not encrypted"):
                pull(small, folder, fetcher, progress)
            assert served.requests == []
            assert_whole(folder, pull(small, folder, fetcher, progress))


def test_the_hub_names_the_files_of_a_repository(
    whisper: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told, served: ModelServer
) -> None:
    home = pull(whisper, folder, fetcher, progress)
    assert folder.find("whisper-x") == home
    assert (home / "model.bin").read_bytes() == CONTENTS["encoder.ort"]
    assert not (home / "README.md").exists()
    manifest = folder.manifest("whisper-x")
    assert manifest is not None
    assert manifest.source.endswith(f"/resolve/{COMMIT}")
    assert {tuple(sorted(file.digests)) for file in manifest.files} == {
        ("crc32c", "sha256"),
        ("crc32c", "git-blob"),
    }


def test_an_altered_file_of_the_hub_is_refused(
    whisper: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told, served: ModelServer
) -> None:
    for name, size in [("model.bin", 300_000), ("config.json", 2)]:
        (path,) = [path for path in served.files if path.endswith(f"/{COMMIT}/{name}")]
        kept, served.files[path] = served.files[path], bytes(size)
        with pytest.raises(PullFailed, match=f"{name} is altered"):
            pull(whisper, folder, fetcher, progress)
        served.files[path] = kept


@pytest.mark.parametrize("damage", ["altered", "cut", "missing"])
def test_a_damaged_model_is_found_and_only_what_is_damaged_is_fetched(
    damage: str,
    small: CatalogueModel,
    folder: ModelFolder,
    fetcher: Fetcher,
    progress: Told,
    served: ModelServer,
) -> None:
    path = pull(small, folder, fetcher, progress) / "encoder.ort"
    if damage == "altered":
        path.write_bytes(bytes(300_000))
    elif damage == "cut":
        path.write_bytes(CONTENTS["encoder.ort"][:100_000])
    else:
        path.unlink()
    with pytest.raises(DamagedModel, match=r"encoder.ort.*transcribed models pull small"):
        folder.find("small")
    assert folder.names() == ([] if damage != "altered" else ["small"]), "names are of whole lengths"
    served.requests.clear()
    assert_whole(folder, pull(small, folder, fetcher, progress))
    wanted = "bytes=100000-" if damage == "cut" else None
    assert served.requests == [(ENCODER, wanted)]


def test_a_folder_that_is_no_model_is_left_alone(
    small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told
) -> None:
    own = folder.path / "small" / "notes.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    for use in (
        lambda: folder.find("small"),
        lambda: pull(small, folder, fetcher, progress),
        lambda: folder.remove("small"),
    ):
        with pytest.raises(DamagedModel, match=r"is no model that was pulled.*Move it away"):
            use()
    assert own.read_text() == "mine"


@pytest.mark.parametrize("content", ["", "{}", "[" * 10_000, '{"name": "../x"}', "null"])
def test_an_altered_manifest_is_found(
    content: str, small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told
) -> None:
    (pull(small, folder, fetcher, progress) / "model.json").write_text(content)
    with pytest.raises(DamagedModel, match=r"its model.json is altered"):
        folder.find("small")
    assert_whole(folder, pull(small, folder, fetcher, progress))


def test_a_whole_model_in_a_folder_that_cannot_be_written_is_not_pulled_again(
    small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told
) -> None:
    home = pull(small, folder, fetcher, progress)
    # Not even root may open a folder for writing.
    (folder.path / ".small.lock").unlink()
    (folder.path / ".small.lock").mkdir()
    assert pull(small, folder, fetcher, progress) == home
    with pytest.raises(StorageFailure, match=r"cannot be written.*--models"):
        folder.remove("small")


def test_two_pulls_at_once_do_not_meet(
    small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told
) -> None:
    with folder.locked("small"):
        other = ModelFolder(folder.path)
        with pytest.raises(PullFailed, match="Another process is pulling or removing the model small"):
            pull(small, other, fetcher, progress)
        with other.locked("another"):
            pass
    assert_whole(folder, pull(small, folder, fetcher, progress))


def test_a_removed_model_is_gone_whole_or_in_part(
    small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told, served: ModelServer
) -> None:
    pull(small, folder, fetcher, progress)
    folder.remove("small")
    assert_not_there(folder)
    served.faults[ENCODER] = [cut_after(1000), *[cut_after(0)] * 3]
    with pytest.raises(PullFailed):
        pull(small, folder, fetcher, progress)
    assert folder.unfinished("small").is_dir()
    folder.remove("small")
    assert [path.name for path in folder.path.iterdir()] == [".small.lock"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_and_what_has_come_is_kept(
    small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told, served: ModelServer
) -> None:
    with (
        largest_file(100_000),
        pytest.raises(StorageFull, match=r"no more room.*too large.*pull again"),
    ):
        pull(small, folder, fetcher, progress)
    assert_not_there(folder)
    assert_whole(folder, pull(small, folder, fetcher, progress))
    assert (ENCODER, "bytes=100000-") in served.requests


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
    small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told, served: ModelServer
) -> None:
    huge = small.files[0].model_copy(update={"size": shutil.disk_usage("/").total * 2})
    with pytest.raises(StorageFull, match=r"The model needs .* more, and .* has .* free"):
        pull(small.model_copy(update={"files": (huge,)}), folder, fetcher, progress)
    assert served.requests == []


def test_a_folder_that_cannot_be_written_is_named(
    small: CatalogueModel, fetcher: Fetcher, progress: Told, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailure, match=f"cannot be written: {os.strerror(errno.ENOTDIR)}"):
        pull(small, ModelFolder(tmp_path / "file" / "models"), fetcher, progress)
    assert ModelFolder(tmp_path / "file").names() == []


def test_a_name_is_no_path(
    small: CatalogueModel, folder: ModelFolder, fetcher: Fetcher, progress: Told
) -> None:
    pull(small, folder, fetcher, progress)
    for name in ("", ".", "..", "../small", "small/..", "/etc", ".small.part", "a\0b"):
        assert folder.find(name) is None
        with pytest.raises(NotFound):
            folder.remove(name)
