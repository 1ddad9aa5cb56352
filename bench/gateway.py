"""The cost of a gateway: a server with the Amazon engine, between clients and an upstream.

    python bench/gateway.py [latency] [capacity] [cpu]        all of them where none is named

The upstream is another server of this project, whose scripted engine has a new result for every half second
of audio at no cost. Each stream sends 10 messages of 100 ms of audio per second.

latency     from the message that makes a result due to that result, with and without the gateway
capacity    the most streams that a gateway on one core serves with a p95 of at most 50 ms
cpu         the cost of a stream over TLS: of a whole gateway, of the engine alone, and of amazon-transcribe

The measured gateway or client has core 0 for itself; the upstream and the load share core 1.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "live"))
from dialects import ACCESS_KEY, SECRET
from front import LIMIT, WARM_UP, Load, measure, script
from servers import Server, started

from running import machine

LOAD = Path(__file__).with_name("gateway_load.py")
MOST = 4000
TLS_PORT = 18443
ROUNDS = 3
SDK_STREAMS = (1, 8, 16)
"""It asks for news all the time, so that a stream costs more the fewer there are."""
OUR_STREAMS = 100


@contextmanager
def service(seconds: float, certificates: Path | None = None) -> Iterator[Server]:
    """Start the upstream on core 1, with TLS if a folder for certificates is given."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "script.json")
        path.write_text(json.dumps(script(seconds + WARM_UP + 60)))
        options = ["--engine", "scripted", "--script", str(path), "--max-sessions", str(MOST)]
        if certificates is not None:
            options += ["--tls", "--tls-port", str(TLS_PORT), "--certificates", str(certificates)]
        with pinned(1), started("amazon", [*options, "--transcripts", "none"]) as server:
            yield server


@contextmanager
def gateway(endpoint: str, bundle: Path | None = None) -> Iterator[Server]:
    """Start the gateway on core 0."""
    before = dict(os.environ)
    os.environ.update(environment(endpoint, bundle))
    options = ["--engine", "amazon", "--amazon-streams", str(MOST), "--max-sessions", str(MOST)]
    try:
        with pinned(0), started("amazon", [*options, "--transcripts", "none"]) as server, pinned(1):
            yield server
    finally:
        os.environ.clear()
        os.environ.update(before)


def environment(endpoint: str, bundle: Path | None) -> dict[str, str]:
    """Return the environment with the endpoint and the keys."""
    found = {
        "AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING": endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }
    return (
        found if bundle is None else found | dict.fromkeys(("SSL_CERT_FILE", "AWS_CA_BUNDLE"), str(bundle))
    )


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Pin processes that are started within the context to one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def latency(streams: Sequence[int], seconds: float) -> None:
    """Measure both in turns, so that other load on the machine affects both."""
    for count in streams:
        loads: dict[str, list[Load]] = {"without": [], "through": []}
        for _ in range(ROUNDS):
            with service(seconds) as behind:
                with pinned(1):
                    loads["without"].append(measure(behind, count, seconds))
                with gateway(f"http://127.0.0.1:{behind.port}") as server:
                    loads["through"].append(measure(server, count, seconds))
        for name, found in loads.items():
            for load in found:
                told(name, load)
        added = [
            [getattr(b, p) - getattr(a, p) for a, b in zip(*loads.values(), strict=True)]
            for p in ("p50", "p95")
        ]
        middle = [sorted(values)[len(values) // 2] for values in added]
        print(f"{count} streams: added {middle[0]:.1f} ms at p50, {middle[1]:.1f} ms at p95 {added}\n")


def capacity(first: int, seconds: float) -> None:
    """Double the streams until the gateway does not keep up, then search between."""
    good, bad, count = 0, 0, first
    while not bad or bad - good > max(25, good // 10):
        with (
            service(seconds) as behind,
            gateway(f"http://127.0.0.1:{behind.port}") as server,
        ):
            before = behind.cpu_seconds()
            load = measure(server, count, seconds)
            used = (behind.cpu_seconds() - before) / (seconds + WARM_UP)
        told("capacity", load, f"service {used:.2f} cores")
        good, bad = (count, bad) if load.holds else (good, count)
        count = (good + bad) // 2 if bad else 2 * good
    print(f"p95 stays within {1000 * LIMIT:g} ms up to {good} streams\n")


def cpu(seconds: float) -> None:
    """Measure the cost of a stream over TLS."""
    clients = [("sdk", count) for count in SDK_STREAMS]
    clients += [(kind, OUR_STREAMS) for kind in ("connection", "engine")]
    costs: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        bundle, endpoint = Path(folder, "bundle.pem"), f"https://localhost:{TLS_PORT}"
        with service(seconds, Path(folder)):
            for _ in range(ROUNDS):
                for kind, streams in clients:
                    cost = _client(kind, streams, seconds, environment(endpoint, bundle))
                    costs[f"{streams} {kind}"].append(cost)
                with gateway(endpoint, bundle) as server:
                    load = measure(server, OUR_STREAMS, seconds)
                told("gateway", load)
                costs[f"{OUR_STREAMS} gateway"].append(1000 * load.server_cpu / load.streams)
    middle = {name: sorted(found)[len(found) // 2] for name, found in costs.items()}
    cheapest = min(cost for name, cost in middle.items() if name.endswith("sdk"))
    print("ms of CPU a second and stream, and how many times that is in the sdk's at its best")
    for name, cost in middle.items():
        print(f"{name:>14} {cost:8.2f} {cheapest / cost:6.1f}")


def _client(kind: str, streams: int, seconds: float, own: dict[str, str]) -> float:
    endpoint = own["AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING"]
    command = [sys.executable, str(LOAD), kind, endpoint, str(streams), str(seconds)]
    with pinned(0):
        done = subprocess.run(command, env=os.environ | own, check=True, capture_output=True, text=True)
    print(f"{kind:>12} {done.stdout}", end="", flush=True)
    found: dict[str, float] = json.loads(done.stdout)
    return 1000 * found["cpu_per_stream"]


def told(name: str, load: Load, more: str = "") -> None:
    """Print a line of figures."""
    print(
        f"{name:>12} {load.streams:5} streams, p50 {load.p50} p95 {load.p95} p99 {load.p99} ms, "
        f"CPU {load.server_cpu} of a core, {load.memory_per_stream} MiB a stream, "
        f"missing {load.missing}, lost {load.lost}, load {load.load_cpu} late {load.late} ms {more}",
        flush=True,
    )


def main() -> None:
    """Run the named measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT", default=["latency", "capacity", "cpu"])
    parser.add_argument("--streams", type=int, nargs="+", default=[10, 100], help="for latency")
    parser.add_argument("--first", type=int, default=200, help="streams that capacity begins with")
    parser.add_argument("--seconds", type=float, default=6)
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    print(machine())
    for name in given.what:
        match name:
            case "latency":
                latency(given.streams, given.seconds)
            case "capacity":
                capacity(given.first, given.seconds)
            case "cpu":
                cpu(given.seconds)
            case _:
                parser.error(f"{name} is none of latency, capacity and cpu")


if __name__ == "__main__":
    main()
