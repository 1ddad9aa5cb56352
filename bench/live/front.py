"""The WebSocket front end: many streams of small messages, with an engine that costs nothing.

    python bench/live/front.py [--streams 1000] [--seconds 10] [--search] [--json FILE]
    python bench/live/front.py --streams 300 --server transcribed --server amazon --server amazon-signed

Each stream sends 10 messages of 100 ms of audio per second. The scripted engine has a new result for every
half second of audio. The latency is measured from sending the message that makes a result due to reading
that result. The server has core 0 for itself, the load has core 1. --search doubles the streams until p95
exceeds 50 ms, and then searches between.

The load is a single loop over raw sockets. Its frames are masked with the key zero and sent in turn, so
that they are spread evenly over 100 ms, and the results over half a second.
"""

import argparse
import gc
import json
import os
import resource
import select
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from dialects import DIALECTS
from servers import Server, started

BINARY = ("transcribed", "amazon", "amazon-signed")
"""The dialects whose messages with audio are binary."""
PERIOD = 0.1
EVERY = 5
"""Messages from one result to the next."""
BYTES = 3200
LIMIT = 0.05
WARM_UP = 2.0
FINAL_EVERY = 10
REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_CLOSE, _MESSAGES = 8, (1, 2)
_TWO_BYTES, _EIGHT_BYTES = 126, 127  # of length follow


@dataclass(frozen=True, slots=True)
class Load:
    """The figures of a run: latencies in milliseconds, CPU in cores, messages per second.

    `late` is the largest delay of the load itself, `behind` the number of messages that waited because the
    server did not read, `missing` the number of results that did not arrive (newer ones replace unsent
    partials), `lost` the number of closed streams.
    """

    streams: int
    messages_in: float
    messages_out: float
    p50: float
    p95: float
    p99: float
    server_cpu: float
    load_cpu: float
    memory_per_stream: float
    late: float
    behind: int
    missing: int
    lost: int

    @property
    def holds(self) -> bool:
        """Whether the server kept up with the load."""
        return self.p95 <= 1000 * LIMIT and not self.lost


class Connection:
    """One stream: its socket, unsent data, and the part of a frame read so far."""

    def __init__(self, server: Server) -> None:
        port = server.port
        path, self._wrap = DIALECTS[server.name].connection(port)
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(REQUEST.format(path=path, port=port).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = self.socket.recv(4096)
            if not piece:
                break
            answer += piece
        if not answer.startswith(b"HTTP/1.1 101"):
            raise SystemExit(f"The server did not take the connection: {answer[:200]!r}")
        self.socket.setblocking(False)
        self.waiting = b""
        self.read = b""
        self.sent: list[float] = []

    def send(self) -> bool:
        """Send a message after unsent data. Return False if something remains unsent."""
        message = self._wrap(bytes(BYTES))
        frame = b"\x82" + bytes([0x80 | _TWO_BYTES]) + struct.pack("!H", len(message)) + bytes(4) + message
        data = self.waiting + frame if self.waiting else frame
        try:
            done = self.socket.send(data)
        except BlockingIOError:
            done = 0
        self.waiting = data[done:]
        return not self.waiting

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """Yield opcode and payload of each received frame. Raises ConnectionError at the end."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError
        data = self.read + data if self.read else data
        at = 0
        while len(data) >= at + 4:
            size, start = data[at + 1], at + 2
            if size == _TWO_BYTES:
                (size,) = struct.unpack_from("!H", data, start)
                start += 2
            elif size == _EIGHT_BYTES:
                break  # no result is that long
            if len(data) < start + size:
                break
            yield data[at] & 15, data[start : start + size]
            at = start + size
        self.read = data[at:]


class Loop:
    """Sends the messages of all streams on schedule, and reads their results."""

    def __init__(self, connections: list[Connection], begin: float) -> None:
        self._connections = connections
        self._begin = begin
        self._step = PERIOD / len(connections)
        self._open = {connection.socket.fileno(): connection for connection in connections}
        self._poll = select.epoll()
        for number in self._open:
            self._poll.register(number, select.EPOLLIN)
        self._turn = 0
        self.latencies: list[float] = []
        self.late = 0.0
        self.behind = self.sent = self.results = self.due = self.lost = 0

    def run_until(self, end: float) -> None:
        """Keep up the load until a time."""
        while (now := time.monotonic()) < end:
            due = self._begin + self._turn * self._step
            while due <= now:
                self._send(now, due)
                due = self._begin + self._turn * self._step
                now = time.monotonic()
            for number, _ in self._poll.poll(max(0.0, due - now)):
                self._receive(number)

    def reset(self) -> None:
        """Reset all figures after the start-up phase."""
        self.latencies.clear()
        self.late = 0.0
        self.behind = self.sent = self.results = self.due = 0

    def close(self) -> None:
        """Close all connections."""
        for connection in self._open.values():
            connection.socket.close()
        self._poll.close()

    def _send(self, now: float, due: float) -> None:
        round_, number = divmod(self._turn, len(self._connections))
        self._turn += 1
        connection = self._connections[number]
        if round_ < number % EVERY or connection.socket.fileno() not in self._open:
            return  # it begins a little later, so that the results do not all fall due at once
        connection.sent.append(now)
        self.late = max(self.late, now - due)
        self.sent += 1
        self.due += len(connection.sent) % EVERY == 0
        try:
            self.behind += not connection.send()
        except OSError:
            self._lose(connection)

    def _receive(self, number: int) -> None:
        connection = self._open[number]
        try:
            for kind, payload in connection.messages():
                if kind == _CLOSE:
                    raise ConnectionError
                if kind in _MESSAGES:
                    self._count(connection, payload, time.monotonic())
        except BlockingIOError:
            pass
        except OSError:
            self._lose(connection)

    def _count(self, connection: Connection, payload: bytes, now: float) -> None:
        at = payload.find(b'"EndTime":')
        if at < 0:
            print(f"unexpected: {payload[:300]!r}", file=sys.stderr)
            return
        end = float(payload[at + 10 : payload.index(b",", at)])
        self.results += 1
        self.latencies.append(now - connection.sent[round(end / PERIOD) - 1])

    def _lose(self, connection: Connection) -> None:
        number = connection.socket.fileno()
        del self._open[number]
        self._poll.unregister(number)
        connection.socket.close()
        self.lost += 1


def measure(server: Server, count: int, seconds: float) -> Load:
    """Run a number of streams and return the figures."""
    idle = server.resident()
    loop = Loop([Connection(server) for _ in range(count)], time.monotonic() + 0.2)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        begin = time.monotonic()
        loop.run_until(begin + WARM_UP)
        loop.reset()
        before = (time.monotonic(), server.cpu_seconds(), time.process_time())
        loop.run_until(begin + WARM_UP + seconds)
        after = (time.monotonic(), server.cpu_seconds(), time.process_time())
        grown = server.resident() - idle
    finally:
        gc.enable()
        loop.close()
    took, cpu, own = (b - a for a, b in zip(before, after, strict=True))
    p50, p95, p99 = np.percentile(loop.latencies or [seconds], (50, 95, 99)) * 1000
    return Load(
        streams=count,
        messages_in=round(loop.sent / took),
        messages_out=round(loop.results / took),
        p50=round(float(p50), 2),
        p95=round(float(p95), 2),
        p99=round(float(p99), 2),
        server_cpu=round(cpu / took, 3),
        load_cpu=round(own / took, 3),
        memory_per_stream=round(grown / count, 3),
        late=round(1000 * loop.late, 1),
        behind=loop.behind,
        missing=max(0, loop.due - loop.results),
        lost=loop.lost,
    )


def script(seconds: float) -> dict[str, object]:
    """Return a script with one more word every half second, and a final every five seconds."""
    events = []
    for number in range(1, round(seconds / (EVERY * PERIOD)) + 1):
        words = (number - 1) % FINAL_EVERY + 1
        final = words == FINAL_EVERY
        events.append({"at": number * EVERY * PERIOD, "text": "word " * words, "final": final})
    return {"events": events}


def main() -> None:
    """Measure once, or search for the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--server", action="append", choices=BINARY, help="may be repeated")
    parser.add_argument("--search", action="store_true", help="find the limit")
    parser.add_argument("--option", action="append", default=[], help="for the server's command")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--log", type=Path, help="keep what the server says")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    print(" " * 13, *(f"{name:>17}" for name in Load.__slots__))
    loads = []
    for name in given.server or ["transcribed"]:
        loads += list(_search(given, name) if given.search else [_run(given, name, given.streams)])
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps([asdict(load) for load in loads], indent=1))


def _search(given: argparse.Namespace, name: str) -> Iterator[Load]:
    good, bad = 0, given.streams
    while (load := _run(given, name, bad)).holds:
        good, bad = bad, 2 * bad
        yield load
    yield load
    while bad - good > max(50, good // 8):
        load = _run(given, name, (good + bad) // 2)
        good, bad = (load.streams, bad) if load.holds else (good, load.streams)
        yield load
    print(f"p95 stays within {1000 * LIMIT:g} ms up to {good} streams")


def _run(given: argparse.Namespace, name: str, count: int) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "script.json")
        path.write_text(json.dumps(script(given.seconds + WARM_UP + 30)))
        options = ["--engine", "scripted", "--script", str(path), *given.option]
        os.sched_setaffinity(0, {0})  # which the server inherits
        with started(name, options, given.log) as server:
            os.sched_setaffinity(0, {1})
            load = measure(server, count, given.seconds)
    print(f"{name:>13}", *(f"{value:17}" for value in asdict(load).values()), flush=True)
    return load


if __name__ == "__main__":
    main()
