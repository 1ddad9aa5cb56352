"""Starts the servers to measure, each in a process of its own on a free port, with its default settings.

WhisperLive's wheel has no command. It is started like by its run_server.py, with one model for all clients
(the default for a custom model) and without the limit of four clients. WhisperLiveKit is started with
LocalAgreement, since its default policy needs another model format. The numbers of threads are the
defaults.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from dialects import ACCESS_KEY, SECRET
from peers import model_folder, offline, python_of

OURS = (
    *("transcribed", "amazon", "amazon-signed"),
    *("settled-low", "settled-high", "openai", "openai-minimal"),
)
"""The names of this server, by its dialects."""
START_SECONDS = 120.0
STOP_SECONDS = 20.0

_WHISPERLIVE = """
import sys
from whisper_live.server import TranscriptionServer
TranscriptionServer().run("127.0.0.1", port=int(sys.argv[1]), backend="faster_whisper",
    faster_whisper_custom_model_path=sys.argv[2], single_model=True, max_clients=1000)
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: the name of its dialect, its port and its process."""

    name: str
    port: int
    process: psutil.Process

    def family(self) -> list[psutil.Process]:
        """The process and its children."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """The CPU time used so far by all processes, including those that have ended."""
        total = 0.0
        for process in self.family():
            times = process.cpu_times()
            total += times.user + times.system
        return total

    def resident(self) -> float:
        """The resident memory of all processes in MiB."""
        return sum(process.memory_info().rss for process in self.family()) / 2**20


@contextmanager
def started(name: str, options: Sequence[str] = (), log: Path | None = None) -> Iterator[Server]:
    """Start a server, and stop it on exit. `options` are for its command line, `log` is for its output."""
    port = _free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        (log or Path(os.devnull)).open("ab") as sink,
        subprocess.Popen(
            [*_COMMANDS[name](port), *options],
            env=_environment(name, Path(folder)),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        ) as process,
    ):
        try:
            _wait_for(name, port, process)
            yield Server(name, port, psutil.Process(process.pid))
        finally:
            _stop(process)


def _transcribed(port: int) -> list[str]:
    return [sys.executable, "-m", "transcribed", "serve", "--port", str(port)]


def _whisperlive(port: int) -> list[str]:
    python, model = python_of("whisperlive"), model_folder("whisperlive")
    return [str(python), "-c", _WHISPERLIVE, str(port), str(model)]


def _whisperlivekit(port: int) -> list[str]:
    python, model = python_of("whisperlivekit"), model_folder("whisperlivekit")
    server = [str(python), "-m", "whisperlivekit.basic_server", "--host", "127.0.0.1", "--port", str(port)]
    backend = ["--backend", "faster-whisper", "--backend-policy", "localagreement"]
    return [*server, *backend, "--model_dir", str(model), "--lan", "en", "--pcm-input", "--warmup-file", ""]


_COMMANDS: dict[str, Callable[[int], list[str]]] = {
    **dict.fromkeys(OURS, _transcribed),
    "whisperlive": _whisperlive,
    "whisperlivekit": _whisperlivekit,
}


def _environment(name: str, folder: Path) -> dict[str, str]:
    if name not in OURS:
        return offline()
    own = {
        "TRANSCRIBED_AUDIO": f"{folder}/audio",
        "TRANSCRIBED_TRANSCRIPTS": f"{folder}/transcripts.db",
        "TRANSCRIBED_LOG_LEVEL": "warning",
    }
    if name == "amazon-signed":
        keys = folder / "keys"
        keys.touch(0o600)
        keys.write_text(f"{ACCESS_KEY} {SECRET}\n")
        own["TRANSCRIBED_ACCESS_KEYS"] = str(keys)
    return os.environ | own


def _wait_for(name: str, port: int, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + START_SECONDS
    while not _is_ready(name, port):
        if process.poll() is not None or time.monotonic() > limit:
            raise SystemExit(f"{name} did not start. --log FILE keeps what it says.")
        time.sleep(0.1)


def _is_ready(name: str, port: int) -> bool:
    if name == "whisperlive":  # the model is loaded for the first client
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
    path = "ready" if name in OURS else "health"
    try:
        return httpx.get(f"http://127.0.0.1:{port}/{path}").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
