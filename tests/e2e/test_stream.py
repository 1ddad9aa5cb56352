"""The WebSocket /stream, on a real server with the real model."""

import itertools
import json
import os
import re
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, Frame, Opcode
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 20
"""Seconds for an answer that comes at once as a rule: the machine may be busy."""
MEGABYTE = 1024 * 1024
SENTENCE_BYTES = 50_732


def opened(server: "Server", query: str = "") -> ClientConnection:
    return connect(server.stream_url + query, open_timeout=WAIT, close_timeout=WAIT, max_size=None)


def closing(ws: ClientConnection) -> Close:
    """How the server closes the connection, whatever it says before."""
    with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - messages may come before
        while True:
            ws.recv(WAIT)
    assert closed.value.rcvd is not None, "the connection broke"
    return closed.value.rcvd


def is_last(message: dict[str, Any]) -> bool:
    return "Done" in message or "Error" in message


def answer(ws: ClientConnection, name: str) -> list[dict[str, Any]]:
    """All messages of the JSON format that answer a name."""
    ws.send(name)
    return rest_of_answer(ws)


def rest_of_answer(ws: ClientConnection) -> list[dict[str, Any]]:
    messages = [json.loads(ws.recv(WAIT))]
    while not is_last(messages[-1]):
        messages.append(json.loads(ws.recv(WAIT)))
    return messages


def results(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        result
        for message in messages
        if "Transcript" in message
        for result in message["Transcript"]["Results"]
    ]


def text(result: dict[str, Any]) -> str:
    said: str = result["Alternatives"][0]["Transcript"]
    return said


def assert_is_the_sentence(messages: list[str]) -> None:
    assert messages[-2:] == ["This is a test.", "This is a test."]
    assert len(messages) > 2
    for earlier, later in itertools.pairwise(messages[:-1]):
        assert len(earlier) < len(later)
        assert later.startswith(earlier.rstrip(".,"))


def text_answer(ws: ClientConnection, name: str) -> list[str]:
    """The messages of the text format that answer the name of a recording of that sentence."""
    ws.send(name)
    messages = [ws.recv(WAIT)]
    while messages[-2:] != ["This is a test."] * 2:
        messages.append(ws.recv(WAIT))
    return [str(message) for message in messages]


@contextmanager
def raw_stream(
    server: "Server", query: str = "", receive_buffer: int | None = None
) -> Iterator[socket.socket]:
    """An open WebSocket without a client behind it that would read or answer anything."""
    with socket.socket() as connection:
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(WAIT)
        connection.connect(server.address)
        connection.sendall(
            f"GET /stream{query} HTTP/1.1\r\nHost: localhost\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert b" 101 " in head.splitlines()[0]
        yield connection


def frame(message: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    return Frame(opcode, message, fin=fin).serialize(mask=True)


def connections(server: "Server") -> int:
    """TCP connections of the server's, that of `server.http` apart."""
    found = psutil.Process(server.process.pid).net_connections("tcp")
    return sum(connection.status == psutil.CONN_ESTABLISHED for connection in found) - 1


# --- The session of the README


def test_a_name_is_answered_with_its_transcript_again_and_again(server: "Server", sentence: bytes) -> None:
    server.upload("session.wav", sentence)
    with opened(server) as ws:
        for _ in range(3):
            assert_is_the_sentence(text_answer(ws, "session.wav"))


def test_white_space_ends_the_conversation(server: "Server", sentence: bytes) -> None:
    server.upload("session.wav", sentence)
    for space in [" ", "", "\n", " \t\r\n "]:
        with opened(server) as ws:
            assert_is_the_sentence(text_answer(ws, "session.wav"))
            ws.send(space)
            assert closing(ws) == Close(1000, "")


def test_white_space_around_a_name_does_not_matter(server: "Server", sentence: bytes) -> None:
    server.upload("session.wav", sentence)
    with opened(server) as ws:
        assert_is_the_sentence(text_answer(ws, "session.wav\r\n"))


def test_json_is_amazons_transcript_event(server: "Server", sentence: bytes) -> None:
    server.upload("session.wav", sentence)
    with opened(server, "?format=json") as ws:
        messages = answer(ws, "session.wav")

    found = results(messages)
    assert [result["IsPartial"] for result in found] == [True] * (len(found) - 1) + [False]
    assert len(found) > 1
    assert {result["ResultId"] for result in found} == {found[0]["ResultId"]}
    assert text(found[-1]) == "This is a test."
    assert 0 <= found[-1]["StartTime"] < found[-1]["EndTime"] <= 1.15
    items = found[-1]["Alternatives"][0]["Items"]
    assert [item["Content"] for item in items] == ["This", "is", "a", "test", "."]
    assert {item["Type"] for item in items[:-1]} == {"pronunciation"}
    assert items[-1]["Type"] == "punctuation"
    done = messages[-1]["Done"]
    assert done["AudioSeconds"] == pytest.approx(1.15, abs=0.01)
    assert done["ProcessingSeconds"] > 0
    assert re.fullmatch(r"[0-9a-f-]{36}", done["SessionId"])


def test_no_result_reaches_beyond_the_audio(server: "Server", sentence: bytes) -> None:
    server.upload("session.wav", sentence)
    with opened(server, "?format=json") as ws:
        messages = answer(ws, "session.wav")
    ends = [result["EndTime"] for result in results(messages)]
    assert max(ends) <= messages[-1]["Done"]["AudioSeconds"]


def test_each_answer_has_an_id_of_its_own(server: "Server", sentence: bytes) -> None:
    server.upload("session.wav", sentence)
    with opened(server, "?format=json") as ws:
        ids = [answer(ws, "session.wav")[-1]["Done"]["SessionId"] for _ in range(2)]
    assert ids[0] != ids[1]


def test_the_final_of_each_segment_is_its_last(server: "Server", repeated: Callable[[int], bytes]) -> None:
    server.upload("segments.wav", repeated(5))
    with opened(server, "?format=json") as ws:
        found = results(answer(ws, "segments.wav"))

    segments = [list(group) for _, group in itertools.groupby(found, key=lambda result: result["ResultId"])]
    assert [text(segment[-1]) for segment in segments] == ["This is a test."] * 5
    for segment in segments:
        assert [result["IsPartial"] for result in segment] == [True] * (len(segment) - 1) + [False]
    for number, segment in enumerate(segments):
        begins = number * 2.149
        assert begins - 1 <= segment[-1]["StartTime"] <= begins + 0.3
        assert begins + 0.8 <= segment[-1]["EndTime"] <= begins + 2.149


def test_partials_come_while_the_recording_is_read(
    server: "Server", repeated: Callable[[int], bytes]
) -> None:
    server.upload("growing.wav", repeated(30))
    with opened(server, "?format=json") as ws:
        ws.send("growing.wav")
        begun = time.monotonic()
        ws.recv(WAIT)
        first = time.monotonic() - begun
        rest_of_answer(ws)
        whole = time.monotonic() - begun
    assert first < whole / 4


# --- Pace


def test_realtime_takes_as_long_as_the_audio(server: "Server", repeated: Callable[[int], bytes]) -> None:
    server.upload("realtime.wav", repeated(2))
    with opened(server, "?pace=realtime&format=json") as ws:
        begun = time.monotonic()
        messages = answer(ws, "realtime.wav")
        taken = time.monotonic() - begun

    assert [text(result) for result in results(messages) if not result["IsPartial"]] == [
        "This is a test."
    ] * 2
    assert 4.298 * 0.95 < taken < 4.298 + 3


def test_pace_does_not_change_the_text(server: "Server", sentence: bytes) -> None:
    server.upload("session.wav", sentence)
    finals = []
    for query in ["?format=json", "?format=json&pace=fast", "?format=json&pace=realtime"]:
        with opened(server, query) as ws:
            finals.append(text(results(answer(ws, "session.wav"))[-1]))
    assert finals == ["This is a test."] * 3


# --- Errors, after which the connection lives on


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("unknown.wav", "Upload it"),
        ("../x", "not a valid name"),
        ("/etc/passwd", "not a valid name"),
        ("..", "not a valid name"),
        (".incoming/x", "not a valid name"),
        ("a\x00b", "not a valid name"),
        ("CON", "not a valid name"),
        ("x" * 300, "longer than 255 bytes"),
        ("x" * 5000, "too long"),
        ("ä" * 200, "longer than 255 bytes"),
        ("a\N{DIVISION SLASH}b", "look like"),
        ("a\nb", "not a valid name"),
        (bytes(2_000_000), "has 2000000 bytes"),
    ],
)
def test_an_error_is_told_and_the_conversation_goes_on(
    server: "Server", sentence: bytes, name: str | bytes, said: str
) -> None:
    server.upload("session.wav", sentence)
    with opened(server) as ws:
        ws.send(name)
        told = ws.recv(WAIT)
        assert isinstance(told, str)
        assert told.startswith("error: ")
        assert said in told
        assert len(told) < 500
        assert_is_the_sentence(text_answer(ws, "session.wav"))
    with opened(server, "?format=json") as ws:
        ws.send(name)
        error = json.loads(ws.recv(WAIT))["Error"]
        assert error["Message"] == told.removeprefix("error: ")
        assert error["Code"] == ("NotFoundException" if name == "unknown.wav" else "BadRequestException")
        assert text(results(answer(ws, "session.wav"))[-1]) == "This is a test."


@pytest.mark.parametrize(
    "content",
    [b"This is no recording.", b"", os.urandom(100_000), bytes(100_000), b"RIFF\xff\xff\xff\xffWAVE"],
)
def test_a_file_that_is_no_audio_is_told(server: "Server", sentence: bytes, content: bytes) -> None:
    server.upload("session.wav", sentence)
    (server.audio / "by hand.wav").write_bytes(content)
    with opened(server) as ws:
        ws.send("by hand.wav")
        told = ws.recv(WAIT)
        assert isinstance(told, str)
        assert told.startswith("error: The file")
        assert "Send a" in told
        assert_is_the_sentence(text_answer(ws, "session.wav"))


def test_a_folder_is_not_found(server: "Server", sentence: bytes) -> None:
    server.upload("session.wav", sentence)
    (server.audio / "folder.wav").mkdir()
    with opened(server) as ws:
        ws.send("folder.wav")
        assert str(ws.recv(WAIT)).startswith("error: There is no recording 'folder.wav'")
        assert_is_the_sentence(text_answer(ws, "session.wav"))
    assert "folder.wav" not in server.http.get("/audio").text
    (server.audio / "folder.wav").rmdir()


def test_ten_megabytes_of_text_are_refused(server: "Server", sentence: bytes) -> None:
    """By the application once it is whole, or, if it takes long to come, on its way."""
    server.upload("session.wav", sentence)
    with opened(server) as ws:
        ws.send("x" * 10_000_000)
        told = ws.recv(WAIT)
        assert isinstance(told, str)
        assert told.startswith(("error: The message has 10000000 characters", "error: A message is larger"))
    with opened(server) as ws:
        assert_is_the_sentence(text_answer(ws, "session.wav"))


@pytest.mark.parametrize(
    "query", ["format=xml", "pace=slow", "stability=9", "unknown=1", "format=", "format=json&pace=never"]
)
def test_a_query_that_is_not_valid_is_told_and_closes(server: "Server", query: str) -> None:
    with opened(server, f"?{query}") as ws:
        told = ws.recv(WAIT)
        assert isinstance(told, str)
        if query.startswith("format=json"):
            told = "error: " + json.loads(told)["Error"]["Message"]
        assert told.startswith("error: The query of /stream is not valid: ")
        assert query.rpartition("&")[2].partition("=")[0] in told
        assert closing(ws).code == 1008


# --- Many names


def test_twenty_names_in_a_row_are_answered_in_their_order(server: "Server", sentence: bytes) -> None:
    server.upload("session.wav", sentence)
    names = [f"missing {number}.wav" if number % 3 == 0 else "session.wav" for number in range(20)]
    with opened(server, "?format=json") as ws:
        for name in names:
            ws.send(name)
        answers = [rest_of_answer(ws) for _ in names]

    for name, messages in zip(names, answers, strict=True):
        if name == "session.wav":
            assert text(results(messages)[-1]) == "This is a test."
        else:
            assert repr(name) in messages[-1]["Error"]["Message"]


def test_white_space_waits_for_its_turn(server: "Server", sentence: bytes) -> None:
    server.upload("session.wav", sentence)
    with opened(server) as ws:
        for message in ["session.wav", "missing.wav", " ", "never read.wav"]:
            ws.send(message)
        messages = []
        with suppress(ConnectionClosed):
            while True:
                messages.append(str(ws.recv(WAIT)))
        assert_is_the_sentence(messages[:-1])
        assert messages[-1].startswith("error: There is no recording 'missing.wav'")
        assert closing(ws).code == 1000


def test_thousands_of_names_are_all_answered(server: "Server") -> None:
    """More than the server takes ahead: the sender waits, and nothing is lost."""
    before = server.resident
    with opened(server) as ws:
        for number in range(3000):
            ws.send(f"{number}.wav")
        for number in range(3000):
            assert f"'{number}.wav'" in str(ws.recv(WAIT))
    assert server.resident - before < 30 * MEGABYTE


def test_what_waits_for_its_turn_takes_little_memory(
    server: "Server", repeated: Callable[[int], bytes], eventually: Callable[..., None]
) -> None:
    server.upload("busy.wav", repeated(30))
    before = server.resident
    with raw_stream(server, "?pace=realtime") as connection:
        connection.sendall(frame(b"busy.wav"))
        assert connection.recv(1)
        large = frame(b"x" * 1_000_000)
        for _ in range(200):
            connection.sendall(large)
        used = psutil.Process(server.process.pid).cpu_times

        def read_all() -> bool:
            seen = used()
            time.sleep(0.2)
            return used() == seen

        eventually(read_all, 10, "the messages have been taken")
        assert server.resident - before < 40 * MEGABYTE


def test_a_name_in_fragments_is_one_name(server: "Server", sentence: bytes) -> None:
    server.upload("session.wav", sentence)
    with opened(server) as ws:
        ws.send(iter(["ses", "", "sion", ".wav"]))
        assert str(ws.recv(WAIT)).startswith("This")


def test_several_clients_do_not_disturb_each_other(
    server: "Server", repeated: Callable[[int], bytes]
) -> None:
    server.upload("several.wav", repeated(6))
    with ExitStack() as stack:
        clients = [stack.enter_context(opened(server, "?format=json")) for _ in range(4)]
        for ws in clients:
            ws.send("several.wav")
        for ws in clients:
            finals = [text(result) for result in results(rest_of_answer(ws)) if not result["IsPartial"]]
            assert finals == ["This is a test."] * 6


# --- Clients that go, or do not read


@pytest.mark.parametrize("pace", ["fast", "realtime"])
@pytest.mark.parametrize("way", ["reset", "end of stream", "close"])
def test_the_work_for_a_client_that_goes_stops_at_once(
    server: "Server", repeated: Callable[[int], bytes], eventually: Callable[..., None], way: str, pace: str
) -> None:
    server.upload("ten minutes.wav", repeated(280))
    with raw_stream(server, f"?pace={pace}") as connection:
        connection.sendall(frame(b"ten minutes.wav"))
        assert connection.recv(1)
        assert server.streams == 1
        if way == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif way == "close":
            connection.sendall(frame(struct.pack("!H", 1001), Opcode.CLOSE))
            eventually(lambda: server.streams == 0, 5, "the stream has ended")
    eventually(lambda: server.streams == 0, 5, "the stream has ended")

    process = psutil.Process(server.process.pid)
    used = sum(process.cpu_times()[:2])
    with pytest.raises(psutil.TimeoutExpired):
        process.wait(0.5)
    assert sum(process.cpu_times()[:2]) - used < 0.25, "still computing for nobody"


@pytest.mark.parametrize(
    ("names", "seconds"), [pytest.param(200, 1, marks=pytest.mark.alone), (10_000, 30)]
)
def test_a_client_that_goes_takes_its_waiting_names_along(
    start_server: "Callable[..., Server]",
    repeated: Callable[[int], bytes],
    eventually: Callable[..., None],
    names: int,
    seconds: int,
) -> None:
    """Of a flood, what has arrived already is read before its end is seen."""
    server = start_server()
    server.upload("ten minutes.wav", repeated(280))
    with raw_stream(server) as connection:
        connection.sendall(frame(b"ten minutes.wav") * names)
        assert connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: server.streams == 0, seconds, "the stream has ended")
    eventually(lambda: connections(server) == 0, WAIT, "the connection has ended")


def test_a_client_that_never_reads_is_held_up_and_then_cut_off(
    start_server: "Callable[..., Server]",
    sentence: bytes,
    repeated: Callable[[int], bytes],
    tmp_path: Path,
    eventually: Callable[..., None],
) -> None:
    """The script says 100 MB about ten minutes; what nobody reads must be held back, not stored up."""
    script = tmp_path / "script.json"
    events = [
        {"at": 0.1 * number, "text": f"{number} " + "word " * 300, "final": True} for number in range(6000)
    ]
    script.write_text(json.dumps({"events": events}))
    server = start_server("--engine", "scripted", "--script", str(script))
    server.upload("ten minutes.wav", repeated(280))
    server.upload("short.wav", sentence)
    with opened(server, "?format=json") as ws:
        expected = answer(ws, "short.wav")
    eventually(lambda: connections(server) == 0, WAIT, "the first client has gone")
    before = server.resident

    with raw_stream(server, "?format=json", receive_buffer=4096) as connection:
        connection.sendall(frame(b"ten minutes.wav"))
        begun = time.monotonic()
        eventually(lambda: server.streams == 1, 5, "the stream has begun")
        while server.streams:
            with opened(server, "?format=json") as ws:
                asked = time.monotonic()
                assert len(answer(ws, "short.wav")) == len(expected)
                assert time.monotonic() - asked < 2
            assert server.resident - before < 30 * MEGABYTE
            assert time.monotonic() - begun < 30
        # Freed by the server, not by this end, which still holds its own open. What it says in parting may
        # take some seconds, since nobody reads that either.
        eventually(lambda: connections(server) == 0, WAIT, "the connection is closed")


# --- Recordings that change under the reader


@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_a_recording_that_goes_while_it_is_read_is_heard_to_its_end(
    server: "Server", repeated: Callable[[int], bytes], change: str
) -> None:
    server.upload("changing.wav", repeated(2))
    with opened(server, "?pace=realtime&format=json") as ws:
        ws.send("changing.wav")
        assert "Transcript" in json.loads(ws.recv(WAIT))
        if change == "deleted":
            assert server.http.delete("/audio/changing.wav").status_code == 204
        else:
            server.upload("changing.wav", repeated(3))
        messages = rest_of_answer(ws)
        said = [text(result) for result in results(messages) if not result["IsPartial"]]
        assert (said, "Done" in messages[-1]) == (["This is a test."] * 2, True)
        rest = answer(ws, "changing.wav")
    if change == "deleted":
        assert rest[-1]["Error"]["Code"] == "NotFoundException"
    else:
        assert len([result for result in results(rest) if not result["IsPartial"]]) == 3


def test_a_recording_that_is_cut_short_while_it_is_read_is_told(
    server: "Server", sentence: bytes, repeated: Callable[[int], bytes]
) -> None:
    server.upload("session.wav", sentence)
    server.upload("cut short.wav", repeated(10))
    with opened(server, "?pace=realtime&format=json") as ws:
        ws.send("cut short.wav")
        assert "Transcript" in json.loads(ws.recv(WAIT))
        os.truncate(server.audio / "cut short.wav", 10_000)
        error = rest_of_answer(ws)[-1]["Error"]
        assert "cut short.wav" in error["Message"]
        assert error["Code"] == "ConflictException"
        assert text(results(answer(ws, "session.wav"))[-1]) == "This is a test."


# --- The end of the server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_in_good_order_while_it_transcribes(
    start_server: "Callable[..., Server]", repeated: Callable[[int], bytes], number: signal.Signals
) -> None:
    """Whether its clients read or not."""
    server = start_server()
    server.upload("ten minutes.wav", repeated(280))
    with ExitStack() as stack:
        for query in ["", "?pace=realtime", "?format=json"]:
            connection = stack.enter_context(raw_stream(server, query))
            connection.sendall(frame(b"ten minutes.wav"))
            assert connection.recv(1)
        stack.enter_context(raw_stream(server))
        server.stop(number)


def test_clients_are_told_that_the_server_ends(
    start_server: "Callable[..., Server]", repeated: Callable[[int], bytes]
) -> None:
    server = start_server()
    server.upload("ten minutes.wav", repeated(280))
    with opened(server) as busy, opened(server) as idle:
        busy.send("ten minutes.wav")
        busy.recv(WAIT)
        server.stop()
        for ws in (busy, idle):
            assert closing(ws).code in {1001, 1012}


@contextmanager
def spoken(server: "Server", query: str, sentences: bytes) -> Iterator[ClientConnection]:
    """A stream in the midst of those sentences: live audio, or a recording at the pace of speech."""
    with opened(server, f"?format=json{query}") as ws:
        if query == "&pace=realtime":
            server.upload("slow.wav", sentences)
            ws.send("slow.wav")
        else:
            ws.send(sentences[: SENTENCE_BYTES * 4 // 5])
        assert text(results([json.loads(ws.recv(WAIT))])[0]).startswith("This")
        yield ws


@pytest.mark.parametrize("query", ["&sample_rate=22050", "&encoding=auto", "&pace=realtime"])
def test_what_is_being_said_at_the_stop_is_finalised_and_sent(
    start_server: "Callable[..., Server]", repeated: Callable[[int], bytes], query: str
) -> None:
    """Long before the grace is over."""
    server = start_server("--stop-grace", "60")
    sentences = repeated(20) if query == "&pace=realtime" else repeated(1)
    with spoken(server, query, sentences) as ws:
        server.process.send_signal(signal.SIGTERM)
        messages = rest_of_answer(ws)
        assert closing(ws) == Close(1001, "the server is stopping")
    found = results(messages)
    assert not found[-1]["IsPartial"]
    # Where the stop cuts a sentence depends on the machine; its beginning has been said.
    assert text(found[-1]).startswith("This is")
    assert messages[-1]["Error"]["Code"] == "ServiceUnavailableException"
    assert "The server is stopping" in messages[-1]["Error"]["Message"]
    assert server.process.wait(WAIT) == 0
    server.assert_no_errors()


@contextmanager
def unread(
    start_server: "Callable[..., Server]", tmp_path: Path, content: bytes, grace: str
) -> Iterator["Server"]:
    """A server with a client that reads nothing of the much that it is told.

    It is more than a stream holds unread, so that the stream lasts.
    """
    script = tmp_path / "script.json"
    script.write_text(
        json.dumps({"events": [{"at": 0, "text": "x" * 400_000, "final": True} for _ in range(100)]})
    )
    server = start_server("--engine", "scripted", "--script", str(script), "--stop-grace", grace)
    server.upload("long.wav", content)
    with raw_stream(server, receive_buffer=4096) as connection:
        connection.sendall(frame(b"long.wav"))
        assert connection.recv(1)
        yield server


def test_nothing_new_begins_during_the_grace_which_holds_up_no_longer_than_it_is(
    start_server: "Callable[..., Server]",
    sentence: bytes,
    tmp_path: Path,
    eventually: Callable[..., None],
) -> None:
    with unread(start_server, tmp_path, sentence, "4") as server, opened(server) as idle:
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: server.http.get("/ready").status_code == 503, 5, "the server is not ready")
        assert server.http.get("/ready").json()["status"] == "stopping"
        health = server.http.get("/health").json()
        assert (health["status"], health["streams"]) == ("stopping", 1)
        assert closing(idle).code == 1001
        for message in ("long.wav", bytes(1_000)):
            with opened(server, "?format=json") as late:
                with suppress(ConnectionClosed):
                    late.send(message)
                assert "stopping" in json.loads(late.recv(WAIT))["Error"]["Message"]
                assert closing(late).code == 1001
        assert server.process.poll() is None
        assert server.process.wait(WAIT) == 0
        assert 4 <= time.monotonic() - begun < 4 + 5
        server.assert_no_errors()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(
    start_server: "Callable[..., Server]",
    sentence: bytes,
    tmp_path: Path,
    eventually: Callable[..., None],
    number: signal.Signals,
) -> None:
    with unread(start_server, tmp_path, sentence, "600") as server:
        server.process.send_signal(number)
        eventually(lambda: server.http.get("/ready").status_code == 503, 5, "the server is not ready")
        server.process.send_signal(number)
        assert server.process.wait(2) == 128 + number


def test_without_a_grace_streams_end_where_they_are(
    start_server: "Callable[..., Server]", repeated: Callable[[int], bytes]
) -> None:
    server = start_server("--stop-grace", "0")
    with spoken(server, "&sample_rate=22050", repeated(1)) as ws:
        server.stop()
        assert "Error" in rest_of_answer(ws)[-1]
        assert closing(ws).code == 1001
