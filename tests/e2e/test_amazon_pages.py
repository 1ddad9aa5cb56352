"""What the pages in docs/amazon show is what their reader gets."""

import json
import logging
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from environments import (
    CLIENTS,
    chromium,
    missing_for_a_browser,
    newer_python,
    node_environment,
    python_environment,
)
from moto.server import ThreadedMotoServer
from pages import SITE, Reader

if TYPE_CHECKING:
    from tests.conftest import Server

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text() for path in (ROOT / "docs" / "amazon").glob("*.md")}
WAIT = 30
ENDPOINT = "AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING"
PAGES_OF_BROWSERS = ["--allow-origin", "http://localhost:8000"]


# --- The servers


@pytest.fixture(scope="module")
def tls_port(new_port: Callable[[], int]) -> int:
    return new_port()


@pytest.fixture(scope="module")
def site_port(new_port: Callable[[], int]) -> int:
    """In place of the page's 8000."""
    return new_port()


@pytest.fixture(scope="module")
def secured(
    run_server: "Callable[..., AbstractContextManager[Server]]", tls_port: int, site_port: int
) -> "Iterator[Server]":
    """With what the pages start, and the browser's, whose page is of another origin, beside."""
    site = f"http://localhost:{site_port}"
    with run_server("--tls", "--tls-port", str(tls_port), "--allow-origin", site) as server:
        yield server
        assert server.streams == 0
        server.assert_no_errors()


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
def settings(environment: dict[str, str], tls_port: int, tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has no keys and settings of Amazon's."""
    own = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    return own | {"HOME": str(tmp_path), "TRANSCRIBED_TLS_PORT": str(tls_port), "NODE_NO_WARNINGS": "1"}


# --- The pages

PYTHON = {"python-amazon-transcribe": "python_awslabs", "boto3": "python_boto3"}
# As in test_amazon_sdks: where there is no such Python, this client is none of those that are tested.
NEWER_PYTHON = {"python-aws-sdk": "python_smithy"}


def test_every_page_is_tried() -> None:
    # The page about the engine is of no client's: it is about this server as a client of Amazon's.
    assert {*PAGES} - {"engine"} == {*PYTHON, *NEWER_PYTHON, "node", "browser", "aws-cli"}


@pytest.mark.parametrize("page", [*PYTHON, *(NEWER_PYTHON if newer_python() else ())])
def test_python(page: str, folder: Path, settings: dict[str, str], secured: "Server") -> None:
    name = (PYTHON | NEWER_PYTHON)[page]
    python = newer_python() if page in NEWER_PYTHON else sys.executable
    assert python is not None
    for packages in python_environment(name, python).parents[1].iterdir():
        (folder / "client" / packages.name).symlink_to(packages)
    reader = Reader(
        folder, settings, secured, ["--tls"], (CLIENTS / name / "requirements.txt").read_text(), ENDPOINT
    )
    reader.read(PAGES[page])
    assert set(reader.used) == set(reader.programs)


def _with_node(folder: Path, settings: dict[str, str], secured: "Server", *options: str) -> Reader:
    node_environment()
    (folder / "client" / "node_modules").symlink_to(CLIENTS / "javascript" / "node_modules")
    lock = (CLIENTS / "javascript" / "package-lock.json").read_text()
    return Reader(folder, settings, secured, ["--tls", *options], lock, ENDPOINT)


def test_node(folder: Path, settings: dict[str, str], secured: "Server", tls_port: int) -> None:
    settings |= {
        "NODE_OPTIONS": f"--import {CLIENTS / 'javascript' / 'port_8443.mjs'}",
        "PORT_FOR_8443": str(tls_port),
    }
    reader = _with_node(folder, settings, secured)
    reader.read(PAGES["node"])
    assert set(reader.used) == set(reader.programs)


# A microphone drops samples that nobody has time for.
@pytest.mark.alone
def test_browser(
    folder: Path,
    settings: dict[str, str],
    secured: "Server",
    tls_port: int,
    site_port: int,
    eventually: Callable[..., None],
) -> None:
    if missing := missing_for_a_browser():
        assert os.environ.get("CI") != "true", f"not installed: {missing}"
        pytest.skip(f"not installed (on Debian the packages {' and '.join(missing)})")
    page = PAGES["browser"]
    reader = _with_node(folder, settings, secured, *PAGES_OF_BROWSERS)
    reader.read(page)
    assert set(reader.used) == {"client/captions.mjs"}

    (address,) = re.findall(r"<(http://localhost:8000/.*)>", page)
    log = folder / "site.log"
    site = [*shlex.split(SITE.replace("8000", str(site_port)))]
    with (
        log.open("wb") as output,
        subprocess.Popen(site, cwd=folder, stdout=output, stderr=output) as serving,
    ):
        try:
            eventually(lambda: _answers(site_port), WAIT, "the page is served")
            asked = {
                "url": address.replace("8000", str(site_port)),
                "port": tls_port,
                "said": str(ROOT / "tests" / "data" / "test.wav"),
                "until": "This is a test.",
            }
            seen = subprocess.run(
                ["node", CLIENTS / "javascript" / "page.mjs", json.dumps(asked)],
                env=settings | {"CHROMIUM": chromium() or ""},
                capture_output=True,
                text=True,
                timeout=2 * WAIT,
                check=False,
            )
        finally:
            serving.terminate()
    assert seen.stdout == "This is a test.\n", seen.stderr + log.read_text()
    assert all(
        f"GET {name.removeprefix('client')} " in log.read_text()
        for name in set(reader.programs) - {"client/captions.mjs"}
    )


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_aws_cli(
    folder: Path,
    settings: dict[str, str],
    free_port: int,
    wscat: list[str],
    run_server: "Callable[..., AbstractContextManager[Server]]",
) -> None:
    """With version 1, which is on PyPI; the commands of version 2 are the same."""
    programs = python_environment("python_boto3", sys.executable).parent
    (folder / "node_modules").symlink_to(CLIENTS / "node_modules")
    with _s3(free_port) as amazon:
        settings |= amazon | {"PATH": f"{programs}{os.pathsep}{settings['PATH']}"}
        options = ["--audio", "s3://my-bucket/recordings"]
        launcher = ["env", *(f"{name}={value}" for name, value in amazon.items())]
        with run_server(*options, launcher=launcher) as server:
            Reader(folder, settings, server, options, "").read(PAGES["aws-cli"])
            server.assert_no_errors()


@contextmanager
def _s3(port: int) -> Iterator[dict[str, str]]:
    """The settings for a service that has the page's bucket."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        settings = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        s3 = boto3.resource(
            "s3",
            region_name="us-east-1",
            endpoint_url=settings["AWS_ENDPOINT_URL"],
            aws_access_key_id="any",
            aws_secret_access_key="any",  # noqa: S106
        )
        s3.create_bucket(Bucket="my-bucket")
        s3.meta.client.close()
        yield settings
    finally:
        server.stop()
