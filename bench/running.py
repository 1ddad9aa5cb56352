"""Starts a server to measure, in a process of its own on a free port, with its own recordings."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from websockets.sync.client import connect


@dataclass
class RunningServer:
    """A server: its address, its process, and how long it took to be ready."""

    address: str
    process: psutil.Process
    ready_after: float

    def upload(self, path: Path) -> str:
        """Upload a recording and return its name on the server."""
        with path.open("rb") as file:
            answer = httpx.post(
                f"{self.address}/audio", files={"file": (path.name, file, "audio/wav")}, timeout=60
            )
        answer.raise_for_status()
        return str(answer.json())

    def results(self, name: str) -> Iterator[tuple[float, dict[str, Any]]]:
        """Yield the messages about a recording, each with the seconds since its name was sent."""
        url = self.address.replace("http", "ws", 1) + "/stream?format=json"
        with connect(url, max_size=None) as socket_:
            sent = time.perf_counter()
            socket_.send(name)
            while True:
                message = json.loads(socket_.recv(timeout=300))
                yield time.perf_counter() - sent, message
                if "Transcript" not in message:
                    return

    def memory(self) -> float:
        """Return the resident memory in MiB."""
        return float(self.process.memory_info().rss) / 2**20


@contextmanager
def running_server(cache: Path | None = None, options: Sequence[str] = ()) -> Iterator[RunningServer]:
    """Start a server, and stop it on exit."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "TRANSCRIBED_AUDIO": f"{folder}/audio",
            "TRANSCRIBED_TRANSCRIPTS": f"{folder}/transcripts.db",
            "TRANSCRIBED_LOG_LEVEL": "error",
        }
        if cache is not None:
            environment["TRANSCRIBED_CACHE"] = str(cache)
        command = [sys.executable, "-m", "transcribed", "serve", "--port", str(port), *options]
        started = time.perf_counter()
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            try:
                while not _is_ready(address):
                    if process.poll() is not None:
                        raise RuntimeError("The server did not start.")
                    time.sleep(0.01)
                ready_after = time.perf_counter() - started
                yield RunningServer(address, psutil.Process(process.pid), ready_after)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(20)


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def transcript_of(message: dict[str, Any]) -> tuple[str, bool]:
    """Return the text of a result and whether it is final."""
    (result,) = message["Transcript"]["Results"]
    return str(result["Alternatives"][0]["Transcript"]), not result["IsPartial"]


def machine() -> str:
    """Return a description of this machine."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    return f"{model}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
