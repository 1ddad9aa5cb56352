"""What the pages in docs/openai show is what their reader gets."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from environments import CLIENTS, node_environment, python_environment
from pages import Reader, blocks

if TYPE_CHECKING:
    from tests.conftest import Server

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text() for path in (ROOT / "docs" / "openai").glob("*.md")}
README = (ROOT / "README.md").read_text()
COMMANDS = (ROOT / "docs" / "cli.md").read_text()
PYTHON = {"python": "python_openai", "livekit": "python_livekit", "pipecat": "python_pipecat"}
CONFIGURED = ("README", "curl", "open-webui", "n8n", "home-assistant")


def test_every_page_is_tried() -> None:
    assert {*PAGES} == {*PYTHON, *CONFIGURED, "node"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Like that of the project, and empty else."""
    path = tmp_path / "transcribed"
    path.mkdir()
    (path / ".venv").symlink_to(sys.prefix)
    (path / "tests").symlink_to(ROOT / "tests")
    (path / "client").mkdir()
    return path


@pytest.fixture
def settings(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has no keys and settings of OpenAI's."""
    own = {name: value for name, value in environment.items() if not name.startswith("OPENAI_")}
    return own | {"HOME": str(tmp_path)}


@pytest.mark.parametrize("page", PYTHON)
def test_python(page: str, folder: Path, settings: dict[str, str], server: "Server") -> None:
    name = PYTHON[page]
    for packages in python_environment(name, sys.executable).parents[1].iterdir():
        (folder / "client" / packages.name).symlink_to(packages)
    reader = Reader(folder, settings, server, [], (CLIENTS / name / "requirements.txt").read_text())
    reader.read(PAGES[page])
    assert set(reader.used) == set(reader.programs)
    server.assert_no_errors()


def test_the_readme(folder: Path, settings: dict[str, str], server: "Server") -> None:
    (program,) = re.findall(
        r"^## OpenAI's clients\n.*?^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL
    )
    address = "{}:{}".format(*server.address)
    done = subprocess.run(
        [
            python_environment("python_openai", sys.executable),
            "-c",
            program.replace("localhost:3000", address),
        ],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "This is a test.\n", done.stderr


@pytest.fixture(scope="module")
def tls_port(new_port: Callable[[], int]) -> int:
    return new_port()


@pytest.fixture(scope="module")
def secured(
    run_server: "Callable[..., AbstractContextManager[Server]]", tls_port: int
) -> "Iterator[Server]":
    with run_server("--tls", "--tls-port", str(tls_port), "--model", "auto") as server:
        yield server
        server.assert_no_errors()


def test_node(folder: Path, settings: dict[str, str], secured: "Server", tls_port: int) -> None:
    node_environment()
    (folder / "client" / "node_modules").symlink_to(CLIENTS / "javascript" / "node_modules")
    lock = (CLIENTS / "javascript" / "package-lock.json").read_text()
    settings |= {"TRANSCRIBED_TLS_PORT": str(tls_port), "NODE_NO_WARNINGS": "1"}
    reader = Reader(folder, settings, secured, ["--tls"], lock)
    reader.read(PAGES["node"])
    assert set(reader.used) == set(reader.programs)


@pytest.mark.parametrize("page", CONFIGURED)
def test_what_is_configured(page: str, folder: Path, settings: dict[str, str], server: "Server") -> None:
    """Commands print what is shown, and each address is one that the server has."""
    reader = Reader(folder, settings, server, [], "")
    for block in blocks(PAGES[page]):
        if block.language == "console":
            reader.enter(block)
        elif block.language == "sh":
            assert set(re.findall(r"--[a-z-]+", block.text)) <= set(re.findall(r"--[a-z-]+", COMMANDS))
    addresses = set(re.findall(r"\bhttp://localhost:3000(/[\w/]*)", PAGES[page]))
    assert addresses
    for path in addresses - {"/v1"}:
        assert server.http.post(path).status_code == 400, path
