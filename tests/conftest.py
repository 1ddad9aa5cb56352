"""A real server, started and stopped as its users do it, and how tests share a machine."""

import fcntl
import hashlib
import io
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
import wave
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from filelock import FileLock
from model_setting import suited

from transcribed.engines import moonshine

TRANSCRIBED = Path(sysconfig.get_path("scripts")) / "transcribed"
TEST_WAV = Path(__file__).parent / "data" / "test.wav"
_START_SECONDS = 60
_STOP_SECONDS = 30
_HEARD_SECONDS = 30


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until the condition holds; fail if it does not within that time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"Not within {seconds} s: {what}")
        time.sleep(0.01)


@dataclass
class Server:
    """One `transcribed serve` and what can be seen of it from outside."""

    process: subprocess.Popen[bytes]
    http: httpx.Client
    audio: Path
    log: Path
    _read: int = 0

    @property
    def url(self) -> str:
        return str(self.http.base_url)

    @property
    def address(self) -> tuple[str, int]:
        assert self.http.base_url.port is not None
        return self.http.base_url.host, self.http.base_url.port

    @property
    def stream_url(self) -> str:
        return f"{self.url.replace('http', 'ws', 1)}/stream"

    @property
    def resident(self) -> int:
        """Bytes of memory in use."""
        size: int = psutil.Process(self.process.pid).memory_info().rss
        return size

    @property
    def streams(self) -> int:
        count: int = self.http.get("/health").json()["streams"]
        return count

    def wait_until_heard(self, seconds: float, streams: int = 1) -> None:
        """Wait until so many streams have received so much audio, but for their last windows."""

        def is_heard() -> bool:
            found = self.http.get("/streams").json()
            return sum(stream["received"] > seconds - 0.05 for stream in found) >= streams

        wait_until(is_heard, _HEARD_SECONDS, f"{seconds:g} s of audio are received")

    @property
    def stored(self) -> list[str]:
        """Every file in the audio folder, staged ones too, but for what is noted beside recordings."""
        files = (str(path.relative_to(self.audio)) for path in self.audio.rglob("*") if path.is_file())
        return sorted(path for path in files if not path.startswith(".notes/"))

    @property
    def staged(self) -> set[str]:
        """What is being uploaded, or was left behind."""
        return {name for name in self.stored if name.startswith(".incoming/")}

    def upload(self, name: str, content: bytes) -> None:
        """Store a recording, which must succeed."""
        answer = self.http.post("/audio", files={"file": (name, content, "audio/wav")})
        assert answer.status_code == 200, answer.text

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, which must go well and leave no error in the log."""
        self.process.send_signal(number)
        assert self.process.wait(_STOP_SECONDS) == 0, self.log.read_text()
        self.assert_no_errors()

    def assert_logged(self, error: str) -> None:
        """Since the last look the log has this error, which then is none to `assert_no_errors`."""
        whole = self.log.read_text()
        log, self._read = whole[self._read :], len(whole)
        assert error in log, log
        assert log.count(" ERROR ") == 1, log

    def pass_over_errors(self) -> None:
        """What the log has so far is as the test wants it."""
        self._read = len(self.log.read_text())

    def assert_no_errors(self) -> None:
        """Whatever clients did since the last look, it was answered, not stumbled over."""
        whole = self.log.read_text()
        log, self._read = whole[self._read :], len(whole)
        assert "Traceback" not in log, log
        assert " ERROR " not in log, log
        assert '"level": "ERROR"' not in log, log
        assert "panicked" not in log, log


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, for much of what tests do is waiting."""
    return len(os.sched_getaffinity(0)) + 1


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, how)
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that is to be alone waits for those that run beside it, and those that follow wait for it.

    The wait is in none of their own times.
    """
    if WORKERS == 1 or item.config.cache is None:
        return (yield)
    folder = item.config.cache.mkdir("alone")
    how = fcntl.LOCK_SH if item.get_closest_marker("alone") is None else fcntl.LOCK_EX
    with ExitStack() as held:
        with _locked(folder / "next", fcntl.LOCK_EX):
            held.enter_context(_locked(folder / "running", how))
        return (yield)


# A shell lets what runs in its background ignore Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Which of the processes that run tests side by side this is."""
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def _own_ports(worker: int, workers: int) -> Iterator[int]:
    """Ports of one worker, from any of them on; they are below those that Linux gives to clients."""
    count = 20_000 // workers
    first, start = 10_000 + worker * count, random.randrange(count)
    return (first + (start + number) % count for number in itertools.count())


_ports = _own_ports(WORKER, WORKERS)


def a_free_port() -> int:
    """A port that nobody listens on, another one each time.

    The kernel's own choice would not do: it gives a port out twice, and to any client, until it is bound.
    """
    while True:
        port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def running_server(
    folder: Path,
    options: Sequence[str],
    launcher: Sequence[str],
    environment: dict[str, str],
    port: int | None = None,
    until: str = "/ready",
) -> Iterator[Server]:
    """A server, as soon as it answers at the path `until` that all is well."""
    port = port or a_free_port()
    audio, log = folder / "audio", folder / "log"
    command = [*launcher, str(TRANSCRIBED), "serve", "--port", str(port), "--audio", str(audio), *options]
    environment = suited(environment, options)
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        process = stack.enter_context(
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=folder
            )
        )
        stack.callback(process.kill)
        base = f"http://127.0.0.1:{port}"
        http = stack.enter_context(httpx.Client(base_url=base, timeout=30, headers=_key_shown(options)))
        wait_until(
            lambda: process.poll() is not None or _well(http, until), _START_SECONDS, "the server is ready"
        )
        assert process.poll() is None, log.read_text()
        server = Server(process, http, audio, log)
        yield server
        if process.poll() is None:
            server.stop()


def _key_shown(options: Sequence[str]) -> dict[str, str]:
    """The header that shows the first key of a server's file, where it has one."""
    if "--access-keys" not in options:
        return {}
    keys = Path(options[options.index("--access-keys") + 1]).read_text()
    first = next(line for line in keys.splitlines() if line and not line.startswith("#"))
    return {"Authorization": f"Bearer {first.split()[1]}"}


def _well(http: httpx.Client, path: str) -> bool:
    try:
        return http.get(path).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], object], float, str], None]:
    """Waits for a condition; fails where it does not hold within some seconds."""
    return wait_until


@pytest.fixture(scope="session")
def new_port() -> Callable[[], int]:
    """Finds ports on which nothing listens."""
    return a_free_port


@pytest.fixture
def free_port() -> int:
    """A port on which nothing listens."""
    return a_free_port()


@pytest.fixture(scope="session")
def transcribed() -> Path:
    """The command."""
    return TRANSCRIBED


def _key(folder: Path) -> str:
    """Another one whenever a file in there is."""
    digest = hashlib.sha256(version("onnxruntime").encode())
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def model_cache(pytestconfig: pytest.Config, environment_alone: dict[str, str]) -> Path:
    """Where the prepared model is: made for the first who needs it, and anew when its source changes."""
    assert pytestconfig.cache is not None
    key = _key(Path(moonshine.__file__).parent)
    folder = pytestconfig.cache.mkdir("model") / key
    with FileLock(folder.with_name("lock"), timeout=100):
        if not folder.exists():
            for old in folder.parent.glob("?" * len(key)):
                shutil.rmtree(old)
            unfinished = folder.with_name("unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            own = environment_alone | {"TRANSCRIBED_CACHE": str(unfinished)}
            command = [TRANSCRIBED, "transcribe", TEST_WAV]
            done = subprocess.run(
                command, env=own, capture_output=True, text=True, timeout=100, check=False
            )
            assert (done.returncode, done.stdout) == (0, "This is a test.\n"), done.stderr
            unfinished.rename(folder)
    return folder


@pytest.fixture(scope="session")
def environment_alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment without the settings of whoever runs the tests, and without a prepared model."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRANSCRIBED_")}
    # Many processes are started; without bytecode each would compile everything anew.
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    # All tests are one address to a server, and many of them show it what is no key.
    own["TRANSCRIBED_FAILED_SIGN_INS"] = "0"
    return own | {"TRANSCRIBED_CERTIFICATES": str(tmp_path_factory.mktemp("certificates"))}


@pytest.fixture(scope="session")
def environment(environment_alone: dict[str, str], model_cache: Path) -> dict[str, str]:
    """The environment without the settings of whoever runs the tests; the model is prepared once."""
    return environment_alone | {"TRANSCRIBED_CACHE": str(model_cache)}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[Server]:
    """A server with its default settings, shared by the tests: give recordings names of your own."""
    with running_server(tmp_path_factory.mktemp("server"), (), (), environment) as running:
        yield running


@pytest.fixture(scope="session")
def run_server(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Callable[..., AbstractContextManager[Server]]:
    """Servers with options of one's own, for as long as a context lasts."""

    def run(
        *options: str,
        launcher: Sequence[str] = (),
        settings: dict[str, str] | None = None,
        port: int | None = None,
        until: str = "/ready",
    ) -> AbstractContextManager[Server]:
        own = environment | (settings or {})
        return running_server(tmp_path_factory.mktemp("server"), options, launcher, own, port, until)

    return run


@pytest.fixture
def start_server(
    run_server: Callable[..., AbstractContextManager[Server]],
) -> Iterator[Callable[..., Server]]:
    """Starts servers with options of a test's own, and stops them at its end."""
    with ExitStack() as running:

        def start(*options: str, **how: Any) -> Server:
            return running.enter_context(run_server(*options, **how))

        yield start


@pytest.fixture(scope="session")
def sentence() -> bytes:
    """A recording, tests/data/test.wav: "This is a test.", 1.15 s."""
    return TEST_WAV.read_bytes()


@pytest.fixture(scope="session")
def repeated(sentence: bytes) -> Callable[[int], bytes]:
    """Recordings of that sentence said some number of times, each followed by a second of silence."""

    def repeat(times: int) -> bytes:
        with wave.open(io.BytesIO(sentence)) as source:
            parameters, said = source.getparams(), source.readframes(source.getnframes())
        pause = bytes(parameters.framerate * parameters.sampwidth * parameters.nchannels)
        with io.BytesIO() as content:
            with wave.open(content, "wb") as target:
                target.setparams(parameters)
                target.writeframes((said + pause) * times)
            return content.getvalue()

    return repeat
