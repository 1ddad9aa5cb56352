"""Live audio when things go wrong: clients that die, vanish, flood or do not read, and one too many."""

import io
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import psutil
import pytest
from native_client import decoded
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from tests.conftest import Server

DATA = Path(__file__).parents[1] / "data"
WAIT = 20
SENTENCE = "This is a test."
SECOND = 32_000
"""Bytes of a second of audio."""
PAUSE = bytes(SECOND)
REFUSAL_SECONDS = 0.2
MEGABYTE = 1024 * 1024


def opened(server: "Server", query: str = "") -> ClientConnection:
    return connect(
        f"{server.stream_url}?format=json{query}", open_timeout=WAIT, close_timeout=WAIT, max_size=None
    )


def message(ws: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ws.recv(WAIT))
    return found


def results(ws: ClientConnection) -> Iterator[tuple[str, bool]]:
    """Texts and whether they are final, until Done."""
    while "Done" not in (found := message(ws)):
        assert "Transcript" in found, found
        (result,) = found["Transcript"]["Results"]
        yield result["Alternatives"][0]["Transcript"], not result["IsPartial"]


def finals(ws: ClientConnection) -> list[str]:
    return [text for text, final in results(ws) if final]


def closing(ws: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        ws.recv(WAIT)
    assert closed.value.rcvd is not None, "the connection broke"
    return closed.value.rcvd.code, closed.value.rcvd.reason


def broken(ws: ClientConnection) -> None:
    """Reset the connection, as the kernel does for a process that is killed with something unread."""
    ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ws.socket.shutdown(socket.SHUT_RD)  # Wakes the client's own thread, which would hold the socket open.
    ws.socket.close()


@pytest.fixture(scope="session")
def said(sentence: bytes) -> bytes:
    """The sentence, as samples of 16 kHz."""
    return decoded(sentence).tobytes()


def in_real_time(ws: ClientConnection, audio: bytes) -> Iterator[float]:
    """Send audio as it would be spoken, in chunks of 0.1 s; yields the seconds that were sent."""
    begun, chunk = time.monotonic(), SECOND // 10
    for start in range(0, len(audio), chunk):
        time.sleep(max(0.0, begun + (start + chunk) / SECOND - time.monotonic()))
        ws.send(audio[start : start + chunk])
        yield min(len(audio), start + chunk) / SECOND
    ws.send(b"")


# --- Clients that die


_CLIENTS = """
import socket, sys
host, port, query, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
audio = sys.stdin.buffer.read()
request = (f"GET /stream?{query} HTTP/1.1\\r\\nHost: localhost\\r\\n"
    "Connection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
    "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n").encode()
clients = []
for _ in range(count):
    client = socket.create_connection((host, port))
    clients.append(client)
    client.sendall(request)
    while not client.recv(4096).endswith(b"\\r\\n\\r\\n"):
        pass
    client.sendall(b"\\x82\\xfe" + len(audio).to_bytes(2, "big") + bytes(4) + audio)
for client in clients:
    client.recv(1)
print("heard", flush=True)
sys.stdin.close()
while clients[0].recv(4096):
    pass
"""


@contextmanager
def _dying(server: "Server", query: str, count: int, audio: bytes) -> Iterator["subprocess.Popen[bytes]"]:
    """A process with so many clients, each of them in the middle of its stream."""
    host, port = server.address
    command = [sys.executable, "-c", _CLIENTS, host, str(port), query, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(audio)
            process.stdin.close()
            assert process.stdout.readline() == b"heard\n"
            yield process
        finally:
            process.kill()


def _mp3(sentence: bytes) -> bytes:
    target = io.BytesIO()
    with av.open(io.BytesIO(sentence)) as source, av.open(target, "w", format="mp3") as output:
        voice = output.add_stream("libmp3lame", rate=22_050, layout="mono")
        for frame in source.decode(audio=0):
            frame.pts = None
            output.mux(voice.encode(frame))
        output.mux(voice.encode(None))
    return target.getvalue()


def test_two_hundred_clients_that_are_killed_leave_nothing(
    scripted: "Callable[..., Server]", said: bytes, sentence: bytes, eventually: Callable[..., None]
) -> None:
    server = scripted()
    process = psutil.Process(server.process.pid)
    kinds = [("encoding=pcm", said), ("encoding=auto", _mp3(sentence))]

    def kill(query: str, audio: bytes, clients: int) -> None:
        with _dying(server, query, clients, audio) as dying:
            assert server.streams == clients
            dying.send_signal(signal.SIGKILL)
        eventually(lambda: server.streams == 0, 5, "the streams have ended")

    for query, audio in kinds:  # What is made for the first of them may stay.
        kill(query, audio, 20)
    threads, descriptors = _idle(process), process.num_fds()
    for _ in range(5):
        for query, audio in kinds:
            kill(query, audio, 20)
    eventually(lambda: process.num_threads() <= threads, 5, "the threads have ended")
    eventually(lambda: process.num_fds() <= descriptors, 5, "the files are closed")
    server.assert_no_errors()
    with opened(server) as ws:
        ws.send(said)
        ws.send(b"")
        assert finals(ws) == ["first", "second"]


def _idle(process: psutil.Process) -> int:
    """How many threads it has once their number has not changed for a moment."""
    before = -1
    while (count := process.num_threads()) != before:
        before = count
        time.sleep(0.3)
    return count


def test_connections_that_break_one_after_the_other_leave_nothing(
    scripted: "Callable[..., Server]", said: bytes, eventually: Callable[..., None]
) -> None:
    server = scripted("--max-sessions", "1")
    process = psutil.Process(server.process.pid)

    def stream_and_break() -> None:
        with opened(server) as ws:
            ws.send(said)
            assert "Transcript" in message(ws)
            broken(ws)
        eventually(lambda: server.streams == 0, 5, "the stream has ended")

    stream_and_break()
    threads, descriptors = _idle(process), process.num_fds()
    for _ in range(50):
        stream_and_break()  # Each needs the only place.
    eventually(lambda: process.num_threads() <= threads, 5, "the threads have ended")
    eventually(lambda: process.num_fds() <= descriptors, 5, "the files are closed")
    server.assert_no_errors()


def test_a_client_that_vanishes_loses_its_place_when_it_has_been_silent_for_too_long(
    scripted: "Callable[..., Server]", said: bytes, eventually: Callable[..., None]
) -> None:
    """Its machine has lost its power, or its network: no packet says that the connection ends.

    Here this end stays silent, and the kernel acknowledges in its name what the server says. Where nobody
    does, the server's kernel ends the connection, because what the server said last never arrived.
    """
    server = scripted("--max-sessions", "1", "--audio-timeout", "1")
    with _dying(server, "encoding=pcm", 1, said) as vanished:
        vanished.send_signal(signal.SIGSTOP)
        with opened(server) as ws:
            ws.send(said)
            assert message(ws)["Error"]["Code"] == "LimitExceededException"
        eventually(lambda: server.streams == 0, 5, "the stream has ended")
        with opened(server) as ws:
            ws.send(said)
            ws.send(b"")
            assert finals(ws) == ["first", "second"]


# --- One too many


def _refused(server: "Server", query: str, first: bytes | str) -> dict[str, Any]:
    """What is said to a client that is refused, which must be soon."""
    with opened(server, query) as ws:
        begun = time.monotonic()
        ws.send(first)
        error: dict[str, Any] = message(ws)["Error"]
        assert closing(ws) == (1013, "try again later")
        assert time.monotonic() - begun < REFUSAL_SECONDS
    return error


FULL = {
    "Code": "LimitExceededException",
    "Message": "No more live streams can be served well: 2 are being served. Try again later.",
    "RetryAfter": 5,
}


@pytest.mark.alone
def test_one_live_stream_too_many_is_refused_at_once_and_the_others_go_on(
    scripted: "Callable[..., Server]", sentence: bytes, said: bytes
) -> None:
    server = scripted("--max-sessions", "2")
    server.upload("sentence.wav", sentence)
    assert server.http.get("/health").json()["places"] == 2
    with opened(server) as one, opened(server) as other:
        for ws in (one, other):
            ws.send(said)
            assert "Transcript" in message(ws)
        for query in ("", "&encoding=auto"):
            assert _refused(server, query, said) == FULL
        assert _refused(server, "&pace=realtime", "sentence.wav") == FULL
        with opened(server) as fast:
            for _ in range(3):
                fast.send("sentence.wav")
                assert finals(fast) == ["first", "second"]
        assert server.streams == 2
        for ws in (one, other):
            ws.send(b"")
            assert finals(ws) == ["second"]


@pytest.mark.parametrize("way", ["end", "close", "break", "kill", "error", "next request"])
@pytest.mark.alone
def test_a_place_is_free_whichever_way_its_stream_ends(
    scripted: "Callable[..., Server]",
    sentence: bytes,
    said: bytes,
    eventually: Callable[..., None],
    way: str,
) -> None:
    server = scripted("--max-sessions", "1")
    server.upload("sentence.wav", sentence)
    with ExitStack() as stack:
        if way == "kill":
            process = stack.enter_context(_dying(server, "encoding=pcm", 1, said))
        else:
            ws = stack.enter_context(opened(server, "&encoding=auto" if way == "error" else ""))
            ws.send(sentence if way == "error" else said)
            assert "Transcript" in message(ws)
        _refused(server, "", said)
        if way == "kill":
            process.kill()
        elif way == "close":
            ws.close()
        elif way == "break":
            broken(ws)
        elif way == "error":
            ws.send(bytes(2_000_000))
            while "Error" not in message(ws):
                pass
        else:
            ws.send(b"" if way == "end" else "sentence.wav")
            assert finals(ws) == ["second"]
        # The connections of the last three stand as before.
        eventually(lambda: server.streams == 0, 5, "the stream has ended")
        with opened(server) as following:
            following.send(said)
            following.send(b"")
            assert finals(following) == ["first", "second"]


def test_where_more_come_than_fit_those_that_are_let_in_are_served_to_their_last_word(
    start_server: "Callable[..., Server]", said: bytes
) -> None:
    server = start_server("--threads", "1", "--max-sessions", "3")
    audio = (said + PAUSE) * 3

    def speak(_: int) -> list[str] | None:
        with opened(server) as ws:
            try:
                for _ in in_real_time(ws, audio):
                    pass
            except ConnectionClosed:
                return None
            return finals(ws)

    with ThreadPoolExecutor(7) as clients:
        heard = list(clients.map(speak, range(7)))
    assert heard.count(None) == 4
    assert [texts for texts in heard if texts is not None] == [[SENTENCE] * 3] * 3
    assert server.streams == 0


# --- Clients that send too much


_FLOOD = """
import sys
from websockets.sync.client import connect
audio = sys.stdin.buffer.read()
with connect(sys.argv[1], legacy=True) as ws:
    print("begun", flush=True)
    while True:
        for start in range(0, len(audio), 32_000):
            ws.send(audio[start : start + 32_000])
"""


@pytest.mark.alone
def test_a_client_much_faster_than_real_time_delays_nobody_else(
    start_server: "Callable[..., Server]", said: bytes
) -> None:
    server = start_server("--threads", "1")
    spoken = (said + PAUSE) * 4
    with opened(server) as ws:
        ws.send(said)
        ws.send(b"")
        finals(ws)
    before = server.resident
    command = [sys.executable, "-c", _FLOOD, server.stream_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as flood:
        try:
            assert flood.stdin is not None
            assert flood.stdout is not None
            flood.stdin.write(spoken)
            flood.stdin.close()
            assert flood.stdout.readline() == b"begun\n"
            with opened(server) as ws:
                delays = _delays(ws, spoken, len(said) / SECOND)
                finals(ws)
            assert server.resident - before < 60 * MEGABYTE
        finally:
            flood.kill()
    assert len(delays) == 4
    # The endpoint is 0.6 s behind the last word. The rest is one step of the other's, and a busy machine.
    assert max(delays) < 0.6 + 1.0


def _delays(ws: ClientConnection, audio: bytes, sentence: float) -> list[float]:
    """Seconds from the end of each sentence to its final, while audio is sent in real time."""
    heard: list[float] = []
    begun = time.monotonic()

    def listen() -> None:
        while len(heard) < 4:
            found = message(ws)
            if not found["Transcript"]["Results"][0]["IsPartial"]:
                heard.append(time.monotonic())

    listening = threading.Thread(target=listen)
    listening.start()
    for _ in in_real_time(ws, audio):
        pass
    listening.join(WAIT)
    return [at - begun - number * (sentence + 1.0) - sentence for number, at in enumerate(heard)]


# --- Clients that do not read


@pytest.fixture
def talkative(tmp_path: Path, start_server: "Callable[..., Server]") -> "Callable[[], Server]":
    """Starts a server that says 40 MB about twenty seconds: much more than lies between it and a client."""
    word = "word" * 50_000
    events = [
        {"at": round(0.1 * number, 1), "text": f"{number} {word}", "final": number % 10 == 0}
        for number in range(1, 201)
    ]
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"events": events}))
    # So long a text is kept nowhere.
    return lambda: start_server("--engine", "scripted", "--script", str(script), "--transcripts", "none")


def _first_words(texts: Sequence[tuple[str, bool]], *, final: bool) -> list[int]:
    return [int(text.split(" ", 1)[0]) for text, is_final in texts if is_final is final]


@contextmanager
def _reluctant(server: "Server") -> Iterator[socket.socket]:
    """A client that has opened a stream in the text format and reads nothing more of its own accord."""
    host, port = server.address
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(WAIT)
        client.connect((host, port))
        client.sendall(
            b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        yield client


def _connections(server: "Server") -> int:
    """TCP connections of the server's, that of `server.http` apart."""
    found = psutil.Process(server.process.pid).net_connections("tcp")
    return sum(connection.status == psutil.CONN_ESTABLISHED for connection in found) - 1


def _masked(data: bytes) -> bytes:
    length = bytes([0xFE]) + len(data).to_bytes(2, "big") if data else b"\x80"
    return b"\x82" + length + bytes(4) + data


def _texts(client: socket.socket, seconds: float) -> list[int]:
    """The number at the start of each message, to the last."""
    numbers: list[int] = []
    client.settimeout(seconds)
    with client.makefile("rb") as stream:
        while len(head := stream.read(2)) == 2:
            length = head[1] & 0x7F
            if length >= 126:
                length = int.from_bytes(stream.read(2 if length == 126 else 8), "big")
            payload = stream.read(length)
            numbers.append(int(payload[:5].split(b" ", 1)[0]))
            if numbers[-1] == 200:
                break
    return numbers


def test_a_client_that_reads_late_loses_partials_and_no_final(
    talkative: "Callable[[], Server]", eventually: Callable[..., None]
) -> None:
    server = talkative()
    with _reluctant(server) as client:
        for _ in range(200):
            client.sendall(_masked(bytes(SECOND // 10)))
        eventually(
            lambda: (
                [(s["received"], s["lag"]) for s in server.http.get("/streams").json()] == [(20.0, 0.0)]
            ),
            WAIT,
            "all audio has been recognised, though nothing is read",
        )
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MEGABYTE)
        client.sendall(_masked(b""))
        numbers = _texts(client, WAIT)
    heard = set(numbers)
    assert numbers == sorted(numbers)
    assert {number for number in heard if number % 10 == 0} == set(range(10, 201, 10))
    assert len(heard) < 100, "most of the 180 partials were out of date before they could be sent"


def test_a_client_that_never_reads_is_cut_off_and_others_notice_nothing(
    talkative: "Callable[[], Server]", eventually: Callable[..., None]
) -> None:
    """It takes as long as the server waits for it: 20 s."""
    server = talkative()
    with opened(server) as ws:
        ws.send(bytes(SECOND))
        ws.send(b"")
        list(results(ws))
    before = server.resident
    with _reluctant(server) as client, opened(server) as other:
        begun = time.monotonic()
        for _ in range(150):
            client.sendall(_masked(bytes(SECOND // 10)))
        heard: list[tuple[str, bool]] = []
        reading = threading.Thread(target=lambda: heard.extend(results(other)))
        reading.start()
        for _ in in_real_time(other, bytes(20 * SECOND)):
            assert server.resident - before < 100 * MEGABYTE
        reading.join(WAIT)
        assert _first_words(heard, final=True) == list(range(10, 201, 10))
        assert len(_first_words(heard, final=False)) > 150
        eventually(lambda: server.streams == 0, 10, "the stream has ended")
        assert 15 < time.monotonic() - begun < 35
        # Freed by the server, not by this end, which still holds its own open.
        eventually(lambda: _connections(server) == 1, 5, "the connection is closed")
    server.assert_no_errors()
