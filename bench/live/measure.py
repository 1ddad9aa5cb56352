"""One run: a number of clients at one server, and the cost."""

import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from client import CHUNK_SECONDS, LAST_WORDS, Plan, Stream
from material import Material
from servers import Server

TICK = 0.25


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a run: CPU seconds of the server, of the clients and of everything else on the machine.

    Memory is resident, in MiB: before the first stream, and the maximum under load.
    """

    server_cpu: float
    client_cpu: float
    others_cpu: float
    seconds: float
    idle: float
    peak: float


def drive(server: Server, materials: list[Material], spread: float, seed: str) -> tuple[list[Stream], Cost]:
    """Run a client for each material, with starts spread over `spread` seconds.

    Different clients send their chunks at different times within each 100 ms.
    """
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(server.port, server.name, [])
        for number, material in enumerate(materials):
            path = Path(folder, f"{number}.pcm")
            path.write_bytes(material.samples.tobytes())
            after = spread * number / len(materials) + chance.uniform(0, CHUNK_SECONDS)
            plan.streams.append(Stream(str(path), after))
        limit = spread + max(m.seconds for m in materials) + 2 * LAST_WORDS
        return _watched(server, plan, limit)


def _watched(server: Server, plan: Plan, limit: float) -> tuple[list[Stream], Cost]:
    idle = peak = server.resident()
    ticks = [(time.monotonic(), server.cpu_seconds(), _busy())]
    command = [sys.executable, str(Path(__file__).with_name("client.py"))]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said) as client,
    ):
        assert client.stdin is not None  # noqa: S101 - for the type checker
        client.stdin.write(json.dumps(asdict(plan)).encode())
        client.stdin.close()
        try:
            while client.poll() is None:
                if time.monotonic() > ticks[0][0] + limit:
                    raise SystemExit("The clients did not end.")
                time.sleep(TICK)
                ticks.append((time.monotonic(), server.cpu_seconds(), _busy()))
                peak = max(peak, server.resident())
        finally:
            client.kill()
        if client.wait() != 0:
            raise SystemExit("The clients failed.")
        said.seek(0)
        report = json.load(said)
    streams = [Stream(**stream) for stream in report["streams"]]
    end = max(stream.last for stream in streams)
    first, last = ticks[0], next((tick for tick in ticks if tick[0] >= end), ticks[-1])
    server_cpu = last[1] - first[1]
    others = last[2] - first[2] - server_cpu - report["cpu"]
    return streams, Cost(server_cpu, report["cpu"], max(0.0, others), last[0] - first[0], idle, peak)


def _busy() -> float:
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq
