"""`transcribed doctor amazon`, as who types it sees it, against this server's own Amazon front."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from amazon_client import KEY, SECRET

if TYPE_CHECKING:
    from tests.conftest import Server

CHECKS = ["extra", "credentials", "region", "endpoint", "service", "clock", "stream"]
WELL, FAILED, NOT_TRIED = 0, 1, 3


class Doctor:
    """Runs the command in an environment without Amazon's settings of whoever runs the tests."""

    def __init__(self, run: Callable[..., "subprocess.CompletedProcess[str]"], home: Path) -> None:
        self._run = run
        self.environment = {
            "HOME": str(home),
            "AWS_CONFIG_FILE": str(home / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def __call__(self, *options: str, **settings: str) -> "Findings":
        done = self._run("doctor", "amazon", *options, settings=self.environment | settings)
        assert done.stderr == ""
        assert SECRET not in done.stdout
        return Findings(done.returncode, done.stdout)


class Findings:
    """The lines, by what they are about."""

    def __init__(self, code: int, text: str) -> None:
        self.code, self.text = code, text
        found = re.findall(rf"^(ok|FAILS|-) +({'|'.join(CHECKS)}|profile) +(.+)$", text, re.MULTILINE)
        self.order = [name for _, name, _ in found]
        self.state = {name: state for state, name, _ in found}
        self.said = {name: what for _, name, what in found}

    @property
    def failures(self) -> list[str]:
        return [name for name in self.order if self.state[name] == "FAILS"]


@pytest.fixture
def doctor(run: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path) -> Doctor:
    return Doctor(run, tmp_path)


@pytest.fixture(scope="session")
def service(
    run_server: Callable[..., AbstractContextManager["Server"]],
    script: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator["Server"]:
    """A server that the tests' access key opens; it hears "first" and "second"."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.touch(0o600)
    keys.write_text(f"{KEY} {SECRET}\n")
    options = ("--engine", "scripted", "--script", str(script), "--access-keys", str(keys))
    with run_server(*options) as running:
        yield running


def test_all_is_well(doctor: Doctor, service: "Server") -> None:
    found = doctor("--yes", AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=service.url)
    assert found.code == WELL, found.text
    assert found.order == CHECKS
    assert set(found.state.values()) == {"ok"}
    assert "botocore" in found.said["extra"]
    assert "env" in found.said["credentials"]
    assert found.said["region"] == "us-east-1"
    assert found.said["endpoint"] == f"{service.url}/stream-transcription-websocket"
    assert "HTTP status 200" in found.said["service"], "the page is at the address itself"
    assert '"first second"' in found.said["stream"]
    assert "real stream of 3 seconds" in found.text
    assert "127.0.0.1 is not Amazon's" in found.text


def test_a_wrong_secret_shows_in_the_stream_alone(doctor: Doctor, service: "Server") -> None:
    wrong = {"AWS_SECRET_ACCESS_KEY": "of somebody else"}
    found = doctor("--yes", AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=service.url, **wrong)
    assert found.code == FAILED
    assert found.failures == ["stream"]
    assert "signature" in found.said["stream"]
    assert "of somebody else" not in found.text


def test_an_unknown_key_shows_in_the_stream_alone(doctor: Doctor, service: "Server") -> None:
    found = doctor("--yes", AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=service.url, AWS_ACCESS_KEY_ID="AKIANONE")
    assert found.code == FAILED
    assert found.failures == ["stream"]


def test_without_credentials_no_stream_is_tried(doctor: Doctor, service: "Server") -> None:
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    found = doctor("--yes", AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=service.url, **none)
    assert found.code == FAILED
    assert found.failures == ["credentials"]
    assert "AWS_ACCESS_KEY_ID" in found.said["credentials"]
    assert found.state["stream"] == "-"
    assert found.state["service"] == "ok"


def test_credentials_and_region_may_be_a_profile_s(
    doctor: Doctor, service: "Server", tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text(
        f"[work]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    (tmp_path / "config").write_text(f"[profile work]\nregion = eu-west-1\nendpoint_url = {service.url}\n")
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_REGION": ""}
    found = doctor("--yes", "--amazon-profile", "work", **none)
    assert found.code == WELL, found.text
    assert found.said["region"] == "eu-west-1"
    assert "shared-credentials-file" in found.said["credentials"]


def test_a_profile_that_there_is_not_is_said_to_be_missing(doctor: Doctor) -> None:
    found = doctor("--yes", "--amazon-profile", "nobody")
    assert found.code == FAILED
    assert found.failures == ["profile"]
    assert "nobody" in found.said["profile"]


def test_a_region_is_asked_for(doctor: Doctor, service: "Server") -> None:
    found = doctor("--yes", AWS_REGION="", AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=service.url)
    assert found.code == FAILED
    assert found.failures == ["region"]
    assert "--amazon-region" in found.said["region"]


def test_nobody_at_the_endpoint(doctor: Doctor, free_port: int) -> None:
    found = doctor("--yes", AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=f"http://127.0.0.1:{free_port}")
    assert found.code == FAILED
    assert found.failures == ["service"]
    assert "refused" in found.said["service"]
    assert "clock" not in found.state


def test_an_endpoint_that_is_no_url(doctor: Doctor) -> None:
    found = doctor("--yes", "--amazon-endpoint", "somewhere")
    assert found.code == FAILED
    assert found.failures == ["endpoint"]
    assert "somewhere" in found.said["endpoint"]
    assert "service" not in found.state


def test_no_such_host(doctor: Doctor) -> None:
    found = doctor("--yes", AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING="https://nobody.invalid")
    assert found.failures == ["service"]
    assert "no host of nobody.invalid:8443" in found.said["service"]


def test_a_certificate_must_be_trusted(
    doctor: Doctor,
    run_server: Callable[..., AbstractContextManager["Server"]],
    script: Path,
    new_port: Callable[[], int],
    environment: dict[str, str],
) -> None:
    port = new_port()
    url = f"https://localhost:{port}"
    options = ("--engine", "scripted", "--script", str(script), "--tls", "--tls-port", str(port))
    with run_server(*options):
        found = doctor("--yes", AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=url)
        assert found.code == FAILED
        assert found.failures == ["service"]
        assert "AWS_CA_BUNDLE" in found.said["service"]
        bundle = f"{environment['TRANSCRIBED_CERTIFICATES']}/bundle.pem"
        found = doctor("--yes", AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=url, AWS_CA_BUNDLE=bundle)
        assert found.code == WELL, found.text


@contextmanager
def late(port: int, date: str) -> Iterator[str]:
    """The URL of a server that has its own idea of the time."""

    class Handler(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return date

        def do_GET(self) -> None:
            self.send_error(403)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    with HTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_wrong_clock_is_noticed_before_signatures_are_refused(doctor: Doctor, free_port: int) -> None:
    with late(free_port, "Wed, 21 Oct 2015 07:28:00 GMT") as url:
        found = doctor("--yes", AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=url)
    assert found.code == FAILED
    assert found.failures == ["clock"]
    assert "fast" in found.said["clock"]
    assert found.state["stream"] == "-"


def test_a_service_without_a_clock_is_no_failure(doctor: Doctor, free_port: int) -> None:
    with late(free_port, "some time") as url:
        found = doctor(AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=url)
    assert found.code == NOT_TRIED
    assert "unknown" in found.said["clock"]


def test_where_nobody_can_be_asked_no_stream_is_opened(doctor: Doctor, service: "Server") -> None:
    found = doctor(AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING=service.url)
    assert found.code == NOT_TRIED
    assert found.failures == []
    assert found.state["stream"] == "-"
    assert "--yes" in found.text
    assert "real stream of 3 seconds" in found.text


def test_in_a_terminal_it_asks(
    doctor: Doctor,
    service: "Server",
    transcribed: Path,
    environment: dict[str, str],
    terminal: Callable[..., AbstractContextManager[Any]],
) -> None:
    own = doctor.environment | {"AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING": service.url}
    command = [
        "env",
        *(f"{name}={value}" for name, value in own.items()),
        str(transcribed),
        "doctor",
        "amazon",
    ]
    with terminal(command) as screen:
        screen.wait_for(lambda lines: any("Open it?" in line for line in lines))
        screen.type("y")
        lines = screen.wait_for(lambda lines: any("in good order" in line for line in lines))
    assert any('"first second"' in line for line in lines)


def test_without_the_extra_it_says_what_to_install(doctor: Doctor, tmp_path: Path) -> None:
    program = "import sys; sys.modules['botocore'] = None; from transcribed.cli import main; main()"
    command = [sys.executable, "-c", program, "doctor", "amazon", "--yes"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=doctor.environment)
    assert done.returncode == FAILED, done.stderr
    found = Findings(done.returncode, done.stdout)
    assert found.order == found.failures == ["extra"]
    assert "pip install 'transcribed[amazon]'" in found.said["extra"]
