"""The container's image: built, composed, used, stopped and started again, as whoever runs it does."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from amazon_client import KEY, PCM, SECRET, Http2, results
from native_client import decoded
from tests.contracts.conftest import PostgresqlServer, postgresql  # noqa: F401 - a fixture
from websockets.sync.client import connect

from transcribed import __version__

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
WAV = ROOT / "tests" / "data" / "test.wav"
IMAGE = "transcribed-test"
MEGABYTES = 800
WAIT = 60
HARDENED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges:true")


def done(
    *command: str | Path, seconds: float = WAIT, stdin: bytes = b"", code: int = 0, **variables: str
) -> str:
    """What a command writes to standard output, or to both if it shall fail; it must end with this code."""
    run = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"BUILDAH_FORMAT": "docker"} | variables,
        input=stdin,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    output = (run.stdout + run.stderr).decode()
    assert run.returncode == code, output
    return output if code else run.stdout.decode()


def answers(*command: str) -> bool:
    """Whether there is such a command, and it ends well."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Client:
    """What is done to a server in a container, over its published port."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def http(self, method: str, path: str, **how: object) -> httpx.Response:
        answer = httpx.request(method, self.url + path, timeout=WAIT, **how)  # type: ignore[arg-type]
        assert answer.is_success, answer.text
        return answer

    def upload(self, name: str) -> None:
        self.http("POST", "/audio", files={"file": (name, WAV.read_bytes(), "audio/wav")})

    def streamed(self, name: str) -> list[str]:
        """The messages of a recording's transcript, as text."""
        with connect(f"{self.url.replace('http', 'ws')}/stream", open_timeout=WAIT) as ws:
            ws.send(name)
            ws.send(" ")
            return [str(message) for message in ws]

    def heard(self, content: bytes) -> tuple[str, str]:
        """The last text of a live container, and the session's id."""
        query = "format=json&encoding=auto"
        with connect(f"{self.url.replace('http', 'ws')}/stream?{query}", open_timeout=WAIT) as ws:
            for start in range(0, len(content), 4_000):
                ws.send(content[start : start + 4_000])
            ws.send(b"")
            text = ""
            while "Done" not in (message := json.loads(ws.recv(WAIT))):
                (result,) = message["Transcript"]["Results"]
                text = result["Alternatives"][0]["Transcript"]
            return text, message["Done"]["SessionId"]

    def filtered(self, name: str) -> str:
        """The last text of live audio of an Amazon client that asks for a vocabulary filter."""
        asked = {"vocabulary-filter-name": name, "vocabulary-filter-method": "mask"}
        with Http2(("127.0.0.1", self.port), PCM | asked | {"session-id": str(uuid.uuid4())}) as client:
            client.wait_for_headers()
            samples = decoded(WAV.read_bytes()).tobytes()
            for start in range(0, len(samples), 3_200):
                client.send(samples[start : start + 3_200])
            client.end()
            *_, last = results(client.events())
        text: str = last["Alternatives"][0]["Transcript"]
        return text


@dataclass(frozen=True)
class Engine:
    """Docker, or podman."""

    name: str

    def __call__(self, *arguments: str, **how: object) -> str:
        return done(self.name, *arguments, **how)  # type: ignore[arg-type]

    @property
    def compose(self) -> list[str]:
        if self.name == "docker":
            return ["docker", "compose"]
        return [str(Path(sysconfig.get_path("scripts")) / "podman-compose"), "--no-ansi", "--in-pod=false"]

    def log(self, container: str) -> str:
        """What it has written to standard output and standard error."""
        return done("sh", "-c", f"{self.name} logs {container} 2>&1")

    def wait_until_healthy(self, container: str) -> None:
        """Wait until the image's own check says so. Without systemd podman makes it only when asked."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            if self.name == "podman":
                if answers("podman", "healthcheck", "run", container):
                    return
            elif self("inspect", "--format={{.State.Health.Status}}", container).strip() == "healthy":
                return
            assert self("inspect", "--format={{.State.Running}}", container).strip() == "true", self.log(
                container
            )
            time.sleep(0.2)
        pytest.fail(f"{container} is not healthy:\n{self.log(container)}")

    def assert_well(self, container: str) -> None:
        """It has stopped by itself, and nothing went wrong before."""
        log = self.log(container)
        assert self("inspect", "--format={{.State.ExitCode}}", container).strip() == "0", log
        assert "Traceback" not in log, log
        assert " ERROR " not in log, log


@pytest.fixture(scope="session")
def engine() -> Engine:
    """What runs containers here."""
    for name in ("docker", "podman"):
        if answers(name, "info"):
            return Engine(name)
    pytest.fail("These tests need Docker or podman. On Debian, as root: tests/image/containers.sh")


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """The image, built as `make image` does."""
    done(sys.executable, ROOT / "docker" / "build.py", f"--tag={IMAGE}", seconds=580)
    return IMAGE


@dataclass(frozen=True)
class Composition:
    """compose.yaml, as a project of the tests' own."""

    engine: Engine
    variables: dict[str, str]
    client: Client

    def __call__(self, *arguments: str, seconds: float = 300) -> str:
        return done(*self.engine.compose, *arguments, seconds=seconds, **self.variables)

    @property
    def container(self) -> str:
        label = f"label=com.docker.compose.project={self.variables['COMPOSE_PROJECT_NAME']}"
        (name,) = self.engine("ps", "--all", "--quiet", "--no-trunc", f"--filter={label}").split()
        return name

    def up(self, *options: str) -> None:
        self("up", "--detach", *options)
        self.engine.wait_until_healthy(self.container)


@pytest.fixture(scope="session")
def composition(engine: Engine, image: str, new_port: Callable[[], int]) -> Iterator[Composition]:
    """It runs, with TLS too, and a build of compose's own has come before."""
    port, tls_port = new_port(), new_port()
    variables = {
        "COMPOSE_PROJECT_NAME": f"transcribed-test-{os.getpid()}",
        "TRANSCRIBED_IMAGE": image,
        "TRANSCRIBED_PORT": str(port),
        "TRANSCRIBED_TLS": "true",
        "TRANSCRIBED_TLS_PORT": str(tls_port),
    }
    composed = Composition(engine, variables, Client(port))
    try:
        composed.up("--build")
        yield composed
    finally:
        composed("down", "--volumes")


@pytest.fixture
def run(engine: Engine, image: str, new_port: Callable[[], int]) -> Iterator[Callable[..., Client]]:
    """Starts containers of the image, as safe as they can be, and waits until they are healthy."""
    containers = []

    def start(*options: str, arguments: tuple[str, ...] = ()) -> Client:
        port = new_port()
        container = engine(
            *(
                "run",
                "--detach",
                *HARDENED,
                "--env=TRANSCRIBED_NO_AUTH=true",
                f"--publish=127.0.0.1:{port}:3000",
            ),
            *(*options, image, "serve", *arguments),
        ).split()[-1]
        containers.append(container)
        engine.wait_until_healthy(container)
        return Client(port)

    yield start
    for container in containers:
        engine("stop", container)
        engine.assert_well(container)
        engine("rm", "--volumes", container)


def test_the_image_is_small_and_says_what_it_is(engine: Engine, image: str) -> None:
    (found,) = json.loads(engine("image", "inspect", image))
    assert found["Size"] <= MEGABYTES * 1_000_000
    labels = found["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "transcribed"
    assert labels["org.opencontainers.image.version"] == __version__
    assert engine("run", "--rm", image, "--version") == f"transcribed, version {__version__}\n"
    listed = json.loads(engine("run", "--rm", "--entrypoint=cat", image, "/opt/transcribed/sbom.cdx.json"))
    inside = {part["name"].lower().replace("_", "-"): part["version"] for part in listed["components"]}
    assert {"av", "botocore", "granian", "moonshine-voice", "onnxruntime"} <= inside.keys()
    assert not {"hatchling", "onnx", "pip", "setuptools", "sounddevice"} & inside.keys()


def test_the_session_of_the_readme_outlives_the_container(composition: Composition) -> None:
    client = composition.client
    client.upload("test.wav")
    recordings = client.http("GET", "/audio").json()
    assert recordings == [
        {
            "name": "test.wav",
            "size": 50732,
            "duration": 1.149,
            "format": "wav/pcm_s16le",
            "sample_rate": 22050,
            "channels": 1,
        }
    ]
    assert client.streamed("test.wav")[-1] == "This is a test."
    said, session = client.heard(WAV.read_bytes())
    assert said == "This is a test."
    client.http("PUT", "/vocabulary-filters/words", content="test\n")
    assert client.filtered("words") == "This is a ***."
    client.http("PUT", "/vocabularies/names", content="Peter Schoeffer\n")
    bundle = composition("exec", "-T", "transcribed", "cat", "/data/certificates/bundle.pem")
    trust = ssl.create_default_context(cadata=bundle)
    encrypted = f"https://localhost:{composition.variables['TRANSCRIBED_TLS_PORT']}/ready"
    assert httpx.get(encrypted, verify=trust).status_code == 200

    composition("stop")
    composition.engine.assert_well(composition.container)
    composition("down")
    composition.up()

    assert client.http("GET", "/audio").json() == recordings
    assert client.streamed("test.wav")[-1] == "This is a test."
    assert client.http("GET", f"/transcripts/{session}.txt").text == "This is a test.\n"
    assert client.filtered("words") == "This is a ***."
    assert "Schoeffer" in client.http("GET", "/vocabularies/names").text
    assert httpx.get(encrypted, verify=trust).status_code == 200


def test_any_user_can_run_it(run: Callable[..., Client]) -> None:
    client = run("--user=12345:23456")
    client.upload("test.wav")
    assert client.streamed("test.wav")[-1] == "This is a test."
    said, session = client.heard(WAV.read_bytes())
    assert said == "This is a test."
    assert client.http("GET", f"/transcripts/{session}.txt").text == "This is a test.\n"
    client.http("PUT", "/vocabulary-filters/words", content="test\n")
    assert client.filtered("words") == "This is a ***."
    client.http("PUT", "/vocabularies/names", content="Peter Schoeffer\n")


def test_a_folder_that_it_cannot_write_is_told(engine: Engine, image: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    mounted = ("--env=TRANSCRIBED_NO_AUTH=true", f"--volume={tmp_path}:/data/transcripts", "--user=12345")
    told = engine("run", "--rm", *HARDENED, *mounted, image, code=1)
    assert "/data/transcripts" in told
    assert "Traceback" not in told


def test_amazon_as_the_engine(engine: Engine, image: str, composition: Composition) -> None:
    """The server in the other container is in Amazon's place."""
    variables = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING": "http://127.0.0.1:3000",
    }
    account = [f"--env={name}={value}" for name, value in variables.items()]
    beside = f"--network=container:{composition.container}"
    command = ("transcribe", "--engine=amazon", "--amazon-speed=100", "-")
    heard = engine(
        "run", "--rm", "--interactive", *HARDENED, *account, beside, image, *command, stdin=WAV.read_bytes()
    )
    assert heard == "This is a test.\n"


def test_the_ways_to_amazon_credentials_are_all_there(engine: Engine, image: str) -> None:
    """The services that botocore asks for credentials are those whose data was left in."""
    asks = (
        "import botocore.session; session = botocore.session.get_session(); "
        "[session.create_client(name, 'us-east-1') for name in ('signin', 'sso', 'sso-oidc', 'sts')]"
    )
    engine("run", "--rm", "--entrypoint=python", *HARDENED, image, "-c", asks)


def test_transcripts_in_postgresql(
    run: Callable[..., Client],
    postgresql: PostgresqlServer,  # noqa: F811
) -> None:
    place = postgresql.new_database().replace(f"host={postgresql.folder}", "host=/postgresql")
    owner = f"--user={postgresql.folder.stat().st_uid}"
    client = run(
        f"--volume={postgresql.folder}:/postgresql", owner, f"--env=TRANSCRIBED_TRANSCRIPTS={place}"
    )
    _, session = client.heard(WAV.read_bytes())
    assert postgresql.sql("test0", "select count(*) from segments") == "1"
    assert client.http("GET", f"/transcripts/{session}.txt").text == "This is a test.\n"
