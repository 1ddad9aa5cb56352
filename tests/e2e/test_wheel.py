"""The built wheel, in an environment that has nothing else."""

import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server

ROOT = Path(__file__).parents[2]
WAIT = 20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    ran(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    (built,) = folder.glob("*.whl")
    return built


def ran(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_all_files_of_the_package_are_in_it(wheel: Path) -> None:
    tracked = ran("git", "ls-files", "--cached", "--others", "--exclude-standard", "src/transcribed")
    source = {name.removeprefix("src/") for name in tracked.split() if (ROOT / name).exists()}
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert "transcribed/py.typed" in source
    assert source <= inside
    (information,) = {name.partition("/")[0] for name in inside} - {"transcribed"}
    licences = ("LICENSE", "src/transcribed/engines/silero/LICENSE")
    assert {f"{information}/licenses/{path}" for path in licences} <= inside


def test_it_serves(
    wheel: Path, tmp_path: Path, run_server: "Callable[..., Server]", sentence: bytes
) -> None:
    uv, bare = Path(sysconfig.get_path("scripts")) / "uv", tmp_path / "bare"
    ran(uv, "-q", "venv", "-p", sys.executable, bare)
    ran(uv, "-q", "pip", "install", "-p", bare, "-c", "requirements/run.txt", wheel)
    instead = ("sh", "-c", f'shift; exec {bare}/bin/transcribed "$@"', "sh")
    own = {"TRANSCRIBED_CACHE": str(tmp_path / "cache")}
    with run_server(launcher=instead, settings=own) as server:
        server.upload("test.wav", sentence)
        with connect(server.stream_url, open_timeout=WAIT) as ws:
            ws.send("test.wav")
            ws.send(" ")
            assert list(ws)[-1] == "This is a test."
