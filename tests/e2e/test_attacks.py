"""What hostile clients do before the application hears of them: others are served, and memory stays."""

import json
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 10
TEST_WAV = Path(__file__).parents[1] / "data" / "test.wav"
MEMORY = 100 * 1024 * 1024
_OTHERS_WAIT = 4.0


def others_are_served(server: "Server") -> None:
    """A new client, who is in no hurry, is answered."""
    began = time.monotonic()
    with closing(socket.create_connection(server.address, WAIT)) as other:
        other.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert other.recv(100).startswith(b"HTTP/1.1 200")
    assert time.monotonic() - began < _OTHERS_WAIT


@contextmanager
def bounded_memory(server: "Server") -> Iterator[None]:
    """Whatever is done here, the server takes little memory for it."""
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    yield
    assert process.memory_info().rss - before < MEMORY


@contextmanager
def many(server: "Server", count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that say so much, and no more."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(count):
            sockets.append(stack.enter_context(closing(socket.create_connection(server.address, WAIT))))
            sockets[-1].sendall(said)
        yield sockets


# --- WebSocket messages that are never whole

_FIRST, _MORE = 0x02, 0x00


def unfinished(websocket: ClientConnection, size: int, pieces: int) -> None:
    """Send the beginning of a binary message: frames of which none is the last. They are masked with 0."""
    for number in range(pieces):
        head = bytes([_MORE if number else _FIRST, 0x80 | 127]) + struct.pack(">Q", size) + bytes(4)
        websocket.socket.sendall(head + bytes(size))


@pytest.fixture(scope="module")
def attacked(
    script: Path,
    run_server: "Callable[..., AbstractContextManager[Server]]",
    new_port: Callable[[], int],
    environment: dict[str, str],
) -> "Iterator[tuple[Server, str, ssl.SSLContext]]":
    """A server with few places, its address with TLS, and what trusts it."""
    port = str(new_port())
    options = ["--engine", "scripted", "--script", str(script), "--max-sessions", "2"]
    with run_server(*options, "--tls", "--tls-port", port) as server:
        authority = Path(environment["TRANSCRIBED_CERTIFICATES"]) / "ca.pem"
        yield server, f"wss://localhost:{port}/stream", ssl.create_default_context(cafile=authority)


Attacked = tuple["Server", str, ssl.SSLContext]


@pytest.mark.parametrize("tls", [False, True])
def test_a_websocket_message_that_is_never_whole_is_cut_at_a_bound(attacked: Attacked, tls: bool) -> None:
    server, secure, context = attacked
    url = secure if tls else server.stream_url
    with bounded_memory(server), ExitStack() as stack:
        for _ in range(10):
            websocket = connect(f"{url}?format=json", ssl=context if tls else None, close_timeout=0)
            stack.enter_context(websocket)
            with suppress(OSError):
                unfinished(websocket, 1 << 20, 24)
            with suppress(ConnectionClosed):  # What is still on its way may be in the way of the word.
                error = json.loads(websocket.recv(WAIT))["Error"]
                assert "larger than any that is taken here" in error["Message"]
            with pytest.raises(ConnectionClosed):
                websocket.recv(WAIT)
        others_are_served(server)
    assert "WebSocket messages that were too large or never whole" in server.log.read_text()


def test_a_message_as_large_as_may_be_is_heard_whole(attacked: Attacked) -> None:
    server, *_ = attacked
    with connect(f"{server.stream_url}?format=json") as websocket:
        for _ in range(3):
            websocket.send([bytes(1024)] * 1024)
        websocket.send(b"")
        while "Done" not in (message := json.loads(websocket.recv(WAIT))):
            assert "Error" not in message
        assert message["Done"]["AudioSeconds"] == pytest.approx(3 * 2**20 / 32_000, abs=0.001)


# --- Places that are taken for nothing


def test_streams_that_send_next_to_nothing_give_way(attacked: Attacked) -> None:
    server, *_ = attacked
    url = f"{server.stream_url}?format=json"
    with connect(url) as idle, connect(url) as speaking:
        began = time.monotonic()
        while time.monotonic() - began < 5.5:
            idle.send(b"\0\0")
            speaking.send(bytes(32_000))
            time.sleep(0.5)
        with connect(url) as other:
            other.send(bytes(32_000))
            other.send(b"")
            assert "Transcript" in json.loads(other.recv(WAIT))
            said = []
            with suppress(ConnectionClosed):
                said.extend(json.loads(idle.recv(WAIT)) for _ in range(10))
            assert "another has its place" in said[-1]["Error"]["Message"]
            assert idle.close_code == 1013
        speaking.send(b"")
        while "Done" not in (message := json.loads(speaking.recv(WAIT))):
            assert "Error" not in message


# --- Connections that say nothing, and header lists that are small on the wire alone

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def test_silent_connections_keep_nobody_out(scripted: "Callable[..., Server]") -> None:
    few = ["bash", "-c", 'ulimit -n 300 && exec "$@"', "--"]
    server = scripted(launcher=few)
    assert "This process may open 300 files" in server.log.read_text()
    process = psutil.Process(server.process.pid)
    for said in (b"", _PREFACE):
        with many(server, 150, said), bounded_memory(server):
            others_are_served(server)
            used = sum(process.cpu_times()[:2])
            time.sleep(0.5)
            assert sum(process.cpu_times()[:2]) - used < 0.4
            assert process.num_fds() < 300
    assert "were quiet while others wanted in were closed" in server.log.read_text()


def test_a_header_list_is_bounded_as_it_is_unpacked(attacked: Attacked) -> None:
    """HPACK: a header once, and then a byte for each time that it comes again."""
    server, *_ = attacked
    pseudo = {":method": "POST", ":scheme": "http", ":path": "/audio", ":authority": "localhost"}
    plain = b"".join(
        bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in pseudo.items()
    )
    value = b"a" * 3900
    length = bytes([0x7F, (len(value) - 127) % 128 | 128, (len(value) - 127) // 128])
    block = plain + b"\x40\x01x" + length + value + b"\xbe" * 4000
    said = _PREFACE + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    with bounded_memory(server), many(server, 5, said) as connections:
        for connection in connections:
            head = struct.pack(">I", len(block))[1:] + bytes([1, 4]) + struct.pack(">I", 1)
            connection.sendall(head + block)
            heard = b""
            with suppress(ConnectionResetError):
                while b"\0\0\0\1\1" not in heard and (some := connection.recv(10_000)):
                    heard += some
            assert b"header_list" in heard or b"431" in heard, heard
        others_are_served(server)


# --- A stop, whatever hangs


def test_a_stop_ends_in_time_though_the_stores_hang(
    scripted: "Callable[..., Server]", free_port: int
) -> None:
    """An upload to an S3 that has stopped answering, and silent connections."""
    with (
        subprocess.Popen([sys.executable, "-c", _S3, str(free_port)], stdout=subprocess.PIPE) as s3,
        ExitStack() as stack,
    ):
        stack.callback(s3.kill)
        assert s3.stdout is not None
        s3.stdout.readline()
        settings = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_REGION": "us-east-1",
        }
        server = scripted("--audio", "s3://bucket/audio", "--stop-grace", "0", settings=settings)
        s3.send_signal(signal.SIGSTOP)
        head = (
            b"POST /audio HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        )
        part = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        body = part + b"Content-Type: audio/wav\r\n\r\n" + TEST_WAV.read_bytes() + b"\r\n--B--\r\n"
        said = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        with many(server, 3, said), many(server, 20):
            time.sleep(1)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(20)
            assert time.monotonic() - began < 15, server.log.read_text()
            assert server.process.returncode == 0


_S3 = """
import sys, urllib.request
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", int(sys.argv[1]), verbose=False)
server.start()
made = urllib.request.Request(f"http://127.0.0.1:{sys.argv[1]}/bucket", method="PUT")
urllib.request.urlopen(made).read()
print("here", flush=True)
server._thread.join()
"""
