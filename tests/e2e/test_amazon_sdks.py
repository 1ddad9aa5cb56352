"""Amazon's own clients, unchanged, against a real server: each as its users run it, a process for each.

Every client is in an environment of its own, installed from a lock file below tests/clients where it is not
there yet. All are told what to do in the same JSON, and tell in the same what happens.
"""

import itertools
import json
import os
import queue
import subprocess
import sys
import sysconfig
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest
from amazon_client import KEY, PCM, SECRET, Http2, Refused, finals, results
from environments import (
    chromium,
    missing_for_a_browser,
    newer_python,
    node_environment,
    python_environment,
    run,
)
from native_client import decoded
from native_client import native as natively

if TYPE_CHECKING:
    from tests.conftest import Server

CLIENTS = Path(__file__).parents[1] / "clients"
DATA = Path(__file__).parents[1] / "data"
WAIT = 30
SECOND = 32_000
RECORDINGS = ["test.wav", "jfk.mp3", "common_voice.mp3", "telephone.wav"]


# --- The clients


@dataclass(frozen=True)
class Client:
    """A client and the way that it takes."""

    command: Callable[[], list[str]]
    transport: str = "http2"
    tls: bool = True
    browser: bool = False

    @property
    def websocket(self) -> bool:
        return self.transport != "http2"


def _awslabs() -> list[str]:
    return [str(python_environment("python_awslabs", sys.executable)), _script("python_awslabs/client.py")]


def _smithy() -> list[str]:
    python = newer_python()
    assert python is not None
    return [str(python_environment("python_smithy", python)), _script("python_smithy/client.py")]


def _node() -> list[str]:
    node_environment()
    return ["node", "--no-deprecation", _script("javascript/node.mjs")]


def _browser() -> list[str]:
    node_environment()
    return ["node", "--no-deprecation", _script("javascript/browser.mjs")]


def _script(name: str) -> str:
    return str(CLIENTS / name)


ALL = {
    "amazon-transcribe": Client(_awslabs),
    "javascript-http2": Client(_node),
    "javascript-h2c": Client(_node, tls=False),
    "javascript-websocket": Client(_node, "websocket"),
    "javascript-signed-websocket": Client(_node, "signed websocket"),
    "chromium": Client(_browser, "websocket", browser=True),
}
# Debian 12 and Ubuntu 22.04 have no Python 3.12, and no tests are to be skipped: where there is none, this
# client is none of those that are tested.
if newer_python() is not None:
    ALL["aws-sdk-transcribe-streaming"] = Client(_smithy)

every = pytest.mark.parametrize("name", ALL)
# Another way to write the same messages has the same errors.
each_sdk = pytest.mark.parametrize(
    "name", [name for name in ALL if name not in {"javascript-h2c", "javascript-signed-websocket"}]
)
signing = pytest.mark.parametrize(
    "name", [name for name, client in ALL.items() if client.transport != "websocket"]
)


@dataclass
class Heard:
    """What a client told of its stream."""

    started: dict[str, Any] | None = None
    results: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    done: bool = False

    @property
    def finals(self) -> list[str]:
        return [result["text"] for result in self.results if not result["partial"]]

    def take(self, line: dict[str, Any]) -> None:
        match line:
            case {"started": started}:
                self.started = started
            case {"result": result}:
                self.results.append(result)
            case {"error": error}:
                self.error = error
            case _:
                self.done = line["done"]


class Running:
    """A client at work."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.heard = Heard()
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors.extend(self.process.stderr)

    def wait_for(self, seen: Callable[[Heard], object]) -> Self:
        while not seen(self.heard):
            try:
                line = self._lines.get(timeout=WAIT)
            except queue.Empty:
                line = None
            assert line is not None, f"{self.heard} {''.join(self._errors)}"
            self.heard.take(json.loads(line))
        return self

    def to_the_end(self) -> Heard:
        return self.wait_for(lambda heard: heard.done or heard.error).heard

    def refusal(self) -> dict[str, Any]:
        error = self.to_the_end().error
        assert error is not None, f"{self.heard} {''.join(self._errors)}"
        return error


@dataclass
class Secured:
    """A server with TLS beside the plain port, and how clients find and trust it."""

    server: "Server"
    tls_port: int
    certificates: Path
    home: Path
    sites: Iterator[int]
    """Ports on which pages are allowed to stand, in turn: two are there at once at most."""

    @contextmanager
    def running(
        self, name: str, audio: Path, settings: Mapping[str, str] | None = None, **asked: Any
    ) -> Iterator[Running]:
        client = ALL[name]
        if client.websocket:
            endpoint = "https://localhost"  # The SDK appends port 8443.
        elif client.tls:
            endpoint = f"https://localhost:{self.tls_port}"
        else:
            endpoint = self.server.url
        defaults = {
            "endpoint": endpoint,
            "port": self.tls_port,
            "site": next(self.sites),
            "transport": client.transport,
            "audio": str(audio),
            "language": "en-US",
            "rate": 16_000,
            "channels": 1,
            "session": None,
            "format": None,
            "chunk": SECOND // 10,
            "pause": 0,
            "hold": False,
            "wait": client.websocket,
            "fault": None,
        }
        bundle = str(self.certificates / "bundle.pem")
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "SSL_CERT_FILE": bundle,
            "NODE_EXTRA_CA_CERTS": bundle,
            "CHROMIUM": chromium() or "",
        }
        if client.browser:
            environment["HOME"] = str(self.home)
        with subprocess.Popen(
            [*client.command(), json.dumps(defaults | asked)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | dict(settings or {}),
        ) as process:
            try:
                yield Running(process)
            finally:
                process.terminate()  # A browser's driver ends its browser.
                try:
                    process.wait(WAIT)
                finally:
                    process.kill()

    def heard(self, name: str, audio: Path, **asked: Any) -> Heard:
        with self.running(name, audio, **asked) as running:
            return running.to_the_end()

    def refused(self, name: str, audio: Path, **asked: Any) -> dict[str, Any]:
        with self.running(name, audio, **asked) as running:
            return running.refusal()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """A home whose certificate store, which Chromium reads, trusts the local authority."""
    home = tmp_path_factory.mktemp("home")
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    transcribed = Path(sysconfig.get_path("scripts")) / "transcribed"
    subprocess.run([transcribed, "env"], env=environment, check=True, capture_output=True, timeout=WAIT)
    authority = Path(environment["TRANSCRIBED_CERTIFICATES"]) / "ca.pem"
    certutil = ["certutil", "-d", f"sql:{database}"]
    run([*certutil, "-N", "--empty-password"])
    run([*certutil, "-A", "-t", "C,,", "-n", "transcribed", "-i", str(authority)])
    return home


@pytest.fixture
def installed(name: str) -> None:
    """The client, with its environment made; in CI each can run."""
    if ALL[name].browser and (missing := missing_for_a_browser()):
        assert os.environ.get("CI") != "true", f"not installed: {missing}"
        pytest.skip(f"not installed (on Debian the packages {' and '.join(missing)})")
    ALL[name].command()


Start = Callable[..., AbstractContextManager[Secured]]


@pytest.fixture(scope="session")
def secured(
    run_server: "Callable[..., AbstractContextManager[Server]]",
    new_port: Callable[[], int],
    environment: dict[str, str],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Start:
    """Starts servers with TLS and the tests' access key."""
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(f"{KEY} {SECRET}\n")
    path.chmod(0o600)

    @contextmanager
    def start(*options: str) -> Iterator[Secured]:
        port = new_port()
        home = path.parent if missing_for_a_browser() else request.getfixturevalue("store")
        sites = [new_port(), new_port()]
        pages = ",".join(f"http://localhost:{site}" for site in sites)
        own = ["--tls", "--tls-port", str(port), "--access-keys", str(path), "--allow-origin", pages]
        with run_server(*own, *options) as server:
            certificates = Path(environment["TRANSCRIBED_CERTIFICATES"])
            yield Secured(server, port, certificates, home, itertools.cycle(sites))

    return start


@pytest.fixture(scope="module")
def real(secured: Start) -> Iterator[Secured]:
    """A server with its default engine."""
    with secured() as running:
        yield running


@pytest.fixture(scope="session")
def failing(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of an engine that says what it hears for 2 s, and fails."""
    events = [
        {"at": 0.5, "text": "first", "final": True},
        {"at": 1.0, "text": "sec"},
        {"at": 2.0, "error": "the recogniser fell over"},
    ]
    path = tmp_path_factory.mktemp("script") / "script.json"
    path.write_text(json.dumps({"events": events}))
    return ["--engine", "scripted", "--script", str(path)]


@pytest.fixture(scope="module")
def single(secured: Start, failing: list[str]) -> Iterator[Secured]:
    """A server that serves one stream at once, with a scripted engine."""
    with secured(*failing, "--max-sessions", "1") as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest, eventually: Callable[..., None]) -> Iterator[None]:
    yield
    for shared in {"real", "single", "counting"} & set(request.fixturenames):
        server = request.getfixturevalue(shared).server
        eventually(lambda server=server: server.streams == 0, 10, "all streams have ended")
        server.assert_no_errors()


# --- Audio


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Those of tests/data as clients send them."""
    folder = tmp_path_factory.mktemp("recordings")
    found = {}
    for name in RECORDINGS:
        found[name] = folder / f"{name}.pcm"
        found[name].write_bytes(decoded((DATA / name).read_bytes()).tobytes())
    return found


@pytest.fixture(scope="session")
def said(recordings: dict[str, Path]) -> Path:
    """ "This is a test.", 1.15 s."""
    return recordings["test.wav"]


@pytest.fixture(scope="module")
def native(real: Secured, recordings: dict[str, Path]) -> dict[str, list[str]]:
    """The text of each recording, by the native front end."""
    key = f"&access_token={SECRET}"
    return {name: natively(real.server, path.read_bytes(), key) for name, path in recordings.items()}


# --- Whole runs


def _without_commas(texts: list[str]) -> list[str]:
    """The texts without the marks that may depend on when the audio of a live stream arrived."""
    return [text.replace(",", "") for text in texts]


@every
@pytest.mark.usefixtures("installed")
def test_the_text_is_that_of_the_native_front_end(
    real: Secured, recordings: dict[str, Path], native: dict[str, list[str]], name: str
) -> None:
    with ThreadPoolExecutor(2) as pool:
        heard = dict(
            zip(
                recordings,
                pool.map(lambda path: real.heard(name, path), recordings.values()),
                strict=True,
            )
        )
    assert {recording: each.error for recording, each in heard.items()} == dict.fromkeys(heard)
    finals = {recording: _without_commas(each.finals) for recording, each in heard.items()}
    assert finals == {recording: _without_commas(texts) for recording, texts in native.items()}
    for each in heard.values():
        assert all(result["text"] and result["items"] for result in each.results)
        finals = [result["id"] for result in each.results if not result["partial"]]
        assert len(finals) == len(set(finals))
        assert {result["id"] for result in each.results} == set(finals), "a segment keeps its ResultId"


@every
@pytest.mark.usefixtures("installed")
def test_in_real_time_partials_come_while_it_is_spoken(real: Secured, said: Path, name: str) -> None:
    session = str(uuid.uuid4())
    heard = real.heard(name, said, pause=0.1, session=session)
    assert heard.finals == ["This is a test."]
    assert any(result["partial"] for result in heard.results)
    assert session in {result["id"][:36] for result in heard.results}
    if not ALL[name].websocket:
        assert heard.started == {"session": session, "rate": 16_000}
    assert real.server.http.get(f"/transcripts/{session}.txt").text.strip() == "This is a test."


@pytest.fixture(scope="module")
def counting(secured: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A server that hears numbers."""
    script = tmp_path_factory.mktemp("script") / "script.json"
    events = [{"at": "end", "text": "It was $50, at 10:30 AM.", "final": True}]
    script.write_text(json.dumps({"events": events}))
    with secured("--engine", "scripted", "--script", str(script)) as running:
        yield running


# amazon-transcribe is older than the parameter.
@pytest.mark.parametrize("name", [name for name in ALL if name != "amazon-transcribe"])
@pytest.mark.usefixtures("installed")
def test_numbers_are_words(counting: Secured, said: Path, name: str) -> None:
    heard = counting.heard(name, said, format="spoken")
    assert heard.finals == ["It was fifty dollars, at ten thirty a m."]


@each_sdk
@pytest.mark.usefixtures("installed")
def test_channels_are_told_apart(real: Secured, said: Path, tmp_path: Path, name: str) -> None:
    left = np.frombuffer(said.read_bytes(), "<i2")
    stereo = tmp_path / "stereo.pcm"
    stereo.write_bytes(np.stack([left, np.roll(left, 4000)], axis=1).tobytes())
    heard = real.heard(name, stereo, channels=2, chunk=SECOND // 5)
    texts = {result["channel"]: result["text"] for result in heard.results if not result["partial"]}
    assert set(texts) == {"ch_0", "ch_1"}
    assert texts["ch_0"] == "This is a test."


@pytest.mark.parametrize("name", [name for name, client in ALL.items() if client.transport == "websocket"])
@pytest.mark.usefixtures("installed")
def test_the_last_words_of_a_client_that_closes_at_once_are_kept(
    real: Secured, said: Path, name: str, eventually: Callable[..., None]
) -> None:
    """As the SDK does over a WebSocket, when the generator of its audio ends."""
    session = str(uuid.uuid4())
    real.heard(name, said, session=session, wait=False)
    kept = f"/transcripts/{session}.txt"
    eventually(lambda: real.server.http.get(kept).text.strip() == "This is a test.", 10, "it is kept")


# --- Errors, each as the SDK's own type


@each_sdk
@pytest.mark.usefixtures("installed")
def test_bad_request(single: Secured, said: Path, name: str) -> None:
    error = single.refused(name, said, language="de-DE")
    assert error["type"] == "BadRequestException"
    assert "de-DE" in error["text"]


@contextmanager
def trickling(client: Http2) -> Iterator[None]:
    """Sends an eighth of the audio that a stream in real time has: one that sends less gives way."""
    over = threading.Event()

    def trickle() -> None:
        while not over.wait(0.16):
            client.send(bytes(640))

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(trickle)
        try:
            yield
        finally:
            over.set()
        sending.result()


@each_sdk
@pytest.mark.usefixtures("installed")
def test_limit_exceeded(single: Secured, said: Path, name: str) -> None:
    with Http2(single.server.address, PCM) as other:
        other.wait_for_headers()
        with trickling(other):
            error = single.refused(name, said)
        assert error["type"] == "LimitExceededException"
        assert "1 are being served" in error["text"]
        other.end()
        assert finals(other.events()) in ([], ["first"])


@each_sdk
@pytest.mark.usefixtures("installed")
def test_conflict(single: Secured, said: Path, name: str) -> None:
    session = str(uuid.uuid4())
    with single.running(name, said, session=session, hold=True) as older:
        older.wait_for(lambda heard: heard.finals)
        with Http2(single.server.address, PCM | {"session-id": session}) as newer:
            newer.wait_for_headers()
            assert older.refusal()["type"] == "ConflictException"
            newer.end()
            list(results(newer.events()))


@each_sdk
@pytest.mark.usefixtures("installed")
def test_internal_failure(single: Secured, recordings: dict[str, Path], name: str) -> None:
    with single.running(name, recordings["jfk.mp3"], pause=0.01) as running:
        error = running.refusal()
    assert error["type"] == "InternalFailureException"
    assert running.heard.finals == ["first"], "what was heard before comes before"


@each_sdk
@pytest.mark.usefixtures("installed")
def test_service_unavailable(secured: Start, script: Path, said: Path, name: str) -> None:
    with secured("--engine", "scripted", "--script", str(script)) as at:
        with at.running(name, said, hold=True) as running:
            running.wait_for(lambda heard: heard.results)
            at.server.wait_until_heard(1.1)
            at.server.stop()
            error = running.refusal()
        assert error["type"] == "ServiceUnavailableException"
        assert running.heard.finals == ["first", "second"], "the last words come first"


def _assert_not_let_in(name: str, error: dict[str, Any], code: str) -> None:
    """No SDK has a type for it; over a WebSocket, where there is no status, it is the nearest of theirs."""
    if ALL[name].websocket:
        assert error["type"] == "BadRequestException"
    else:
        assert code in error["code"]
    assert SECRET not in error["text"]


@every
@pytest.mark.usefixtures("installed")
def test_a_wrong_secret(single: Secured, said: Path, name: str) -> None:
    wrong = {"AWS_SECRET_ACCESS_KEY": "another-secret-of-the-tests"}
    error = single.refused(name, said, settings=wrong)
    _assert_not_let_in(name, error, "InvalidSignatureException")


@each_sdk
@pytest.mark.usefixtures("installed")
def test_an_unknown_key(single: Secured, said: Path, name: str) -> None:
    error = single.refused(name, said, settings={"AWS_ACCESS_KEY_ID": "AKIAOTHER"})
    _assert_not_let_in(name, error, "UnrecognizedClientException")


@each_sdk
@pytest.mark.usefixtures("installed")
def test_an_expired_signature(single: Secured, said: Path, name: str) -> None:
    error = single.refused(name, said, fault="old signature")
    _assert_not_let_in(name, error, "InvalidSignatureException")
    if ALL[name].websocket or name == "amazon-transcribe":
        assert "expired" in error["text"]


@signing
@pytest.mark.usefixtures("installed")
def test_a_chunk_that_was_tampered_with(single: Secured, said: Path, name: str) -> None:
    error = single.refused(name, said, fault="tampered chunk")
    assert error["type"] == "BadRequestException"
    assert "signature" in error["text"]


# --- Clients that go


@every
@pytest.mark.usefixtures("installed")
def test_a_client_that_is_killed_gives_its_place_back(
    single: Secured, said: Path, name: str, eventually: Callable[..., None]
) -> None:
    session = str(uuid.uuid4())
    with single.running(name, said, session=session, hold=True) as running:
        running.wait_for(lambda heard: heard.finals)
        assert single.server.streams == 1
        if ALL[name].browser:
            running.process.terminate()  # The driver kills its browser: a driver that is killed leaves it.
        else:
            running.process.kill()
        eventually(lambda: single.server.streams == 0, 10, "its place is given back")
    kept = f"/transcripts/{session}.txt"
    eventually(lambda: "first" in single.server.http.get(kept).text, 10, "what it said is kept")
    with Http2(single.server.address, PCM) as following:
        following.wait_for_headers()
        following.end()
        try:
            list(results(following.events()))
        except Refused as refused:
            pytest.fail(f"there is no place for another: {refused}")
