"""`transcribed models`; models come from a mirror on this machine."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from command_line import in_terminal
from model_server import CONTENTS, ModelServer, answers, serving

from transcribed.cli import cli

MODEL = "whisper-tiny"
REPOSITORY = "Systran/faster-whisper-tiny"


@pytest.fixture
def mirror() -> Iterator[ModelServer]:
    with serving() as server:
        files = {"model.bin": CONTENTS["encoder.ort"], "config.json": b"{}", "vocabulary.txt": b"a\nb\n"}
        server.add_repository(REPOSITORY, files)
        yield server


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str, settings: dict[str, str] | None = None) -> Result:
        return CliRunner(env=settings).invoke(cli, arguments)

    return command


def assert_refused(done: Result, *parts: str) -> None:
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    for part in parts:
        assert part in done.stderr


@pytest.fixture
def settings(mirror: ModelServer) -> dict[str, str]:
    return {"TRANSCRIBED_MODELS": "pulled", "TRANSCRIBED_MODELS_MIRROR": mirror.url}


def test_a_model_is_pulled_found_listed_and_removed(
    run: Run, tmp_path: Path, settings: dict[str, str], mirror: ModelServer
) -> None:
    def pulled() -> str:
        done = run("models", "list", "--json", settings=settings)
        assert done.exit_code == 0, done.stderr
        (found,) = [model["Pulled"] for model in json.loads(done.stdout) if model["Name"] == MODEL]
        return str(found)

    assert pulled() == "no"
    assert mirror.requests == [], "nothing is fetched unless asked"
    assert not (tmp_path / "pulled").exists()
    done = run("models", "pull", MODEL, settings=settings)
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    assert f"Pulling {MODEL} (78 MB, MIT) from {mirror.url}/{REPOSITORY}/resolve/" in done.stderr
    assert f"Pulled {MODEL} into pulled/{MODEL}." in done.stderr
    assert pulled() == "yes"
    for arguments, path in [((MODEL,), f"pulled/{MODEL}\n"), ((), "pulled\n")]:
        done = run("models", "path", *arguments, settings=settings)
        assert (done.exit_code, done.stdout) == (0, path)
    (tmp_path / "pulled" / MODEL / "model.bin").write_bytes(b"short")
    assert pulled() == "damaged"
    assert_refused(
        run("models", "path", MODEL, settings=settings), "model.bin", f"transcribed models pull {MODEL}"
    )
    done = run("models", "remove", MODEL, settings=settings)
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    assert pulled() == "no"


def test_a_list_for_people_says_what_runs_here(run: Run) -> None:
    lines = run("models", "list").stdout.splitlines()
    assert lines[0].split() == ["MODEL", "LANGUAGE", "SIZE", "LICENCE", "PULLED", "RUNS", "HERE"]
    (row,) = [line.split(maxsplit=5) for line in lines if line.startswith("small-streaming-en ")]
    assert row[1:5] == ["en", "142", "MB", "MIT"]


def test_wrong_commands_say_what_to_do(
    run: Run, settings: dict[str, str], mirror: ModelServer, tmp_path: Path
) -> None:
    assert_refused(run("models", "pull", "wisper-tiny", settings=settings), "Did you mean whisper-tiny")
    assert_refused(run("models", "path", MODEL, settings=settings), f"Run: transcribed models pull {MODEL}")
    assert_refused(run("models", "remove", "../x", settings=settings), "is not in pulled")
    assert_refused(
        run("models", "pull", MODEL, "--models-mirror", "mirror.example"), "--models-mirror", "https://"
    )
    done = run("models", "pull", "tiny-streaming-de", settings=settings)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Error: " in done.stderr
    assert (
        f"{mirror.url}/model/tiny-streaming-de/quantized_26_08_24/adapter.ort answers with 404"
        in done.stderr
    )
    lines = run("models", "list", settings=settings).stdout.splitlines()
    (row,) = [line.split() for line in lines if line.startswith("tiny-streaming-de ")]
    assert row[5] == "no", "nothing is there, not even a part"
    mirror.faults[f"/api/models/{REPOSITORY}"] = [answers(b"<html>", 200, Content_Type="text/html")]
    assert_refused(run("models", "pull", MODEL, settings=settings), "does not answer with JSON")
    (tmp_path / "empty").mkdir()
    assert_refused(
        run("models", "pull", "small-streaming-en", "--from", "empty", settings=settings),
        "empty is not the model small-streaming-en",
    )


def test_a_terminal_shows_a_bar(settings: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "transcribed", "models", "pull", MODEL]
    code, shown, _ = in_terminal(command, os.environ | settings, tmp_path)
    assert code == 0, shown
    assert b"300.0/300.0 kB" in shown
    assert f"Pulled {MODEL} into pulled/{MODEL}".encode() in shown
