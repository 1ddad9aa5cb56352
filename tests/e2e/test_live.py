"""Live audio on the WebSocket /stream, on a real server."""

import json
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt
import psutil
import pytest
from av.audio.codeccontext import AudioCodecContext
from native_client import answer, decoded, heard, opened, stream
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from transcribed.http.inbox import CONTAINER_AHEAD_BYTES
from transcribed.http.spool import SPOOL_BYTES

if TYPE_CHECKING:
    from tests.conftest import Server

DATA = Path(__file__).parents[1] / "data"
WAIT = 20
SENTENCE = "This is a test."
TIMED_OUT = "Your request timed out because no new audio was received for 1 seconds."


def g711(codec: str, samples: npt.NDArray[np.int16]) -> bytes:
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate, context.layout, context.format = 8_000, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = 8_000
    return b"".join(map(bytes, context.encode(frame) + context.encode(None)))


class Written:
    """A file that cannot seek, as what a recorder writes to."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, data: bytes) -> int:
        self.content += data
        return len(data)


def encoded(content: bytes, container: str, codec: str, rate: int, **options: str) -> bytes:
    """A recording in another container, written as it would be live."""
    target = Written()
    with av.open(target, "w", format=container, container_options=options) as output:  # type: ignore[call-overload]
        voice = output.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(decoded(content, rate).T, format="s16", layout="mono")
        frame.sample_rate = rate
        context = voice.codec_context
        context.open()
        fit = av.AudioResampler(context.format.name, "mono", rate, frame_size=context.frame_size or 1_024)
        for part in [*fit.resample(frame), *fit.resample(None)]:
            output.mux(voice.encode(part))
        output.mux(voice.encode(None))
    return bytes(target.content)


def threads(server: "Server") -> int:
    count: int = psutil.Process(server.process.pid).num_threads()
    return count


# --- Speech in every encoding


@pytest.mark.parametrize("chunk", [3_200, 4_001, 100_000])
def test_pcm_is_heard(server: "Server", sentence: bytes, chunk: int) -> None:
    finals, done = heard(server, "", decoded(sentence, 16_000).tobytes(), chunk)
    assert finals == [SENTENCE]
    assert done["AudioSeconds"] == pytest.approx(1.149, abs=0.002)
    assert done["ProcessingSeconds"] > 0


def test_text_is_the_same_as_of_a_file(server: "Server", sentence: bytes) -> None:
    with connect(server.stream_url, open_timeout=WAIT) as ws:
        stream(ws, decoded(sentence, 16_000).tobytes(), 8_000)
        messages = [ws.recv(WAIT)]
        while messages[-2:] != [SENTENCE] * 2:
            messages.append(ws.recv(WAIT))
        assert str(messages[0]).startswith("This")


def test_what_is_said_comes_before_the_audio_ends(
    server: "Server", repeated: Callable[[int], bytes]
) -> None:
    audio = decoded(repeated(2), 16_000).tobytes()
    with opened(server, "&stability=high") as ws:
        for start in range(0, len(audio), 3_200):
            ws.send(audio[start : start + 3_200])
        (result,) = json.loads(ws.recv(WAIT))["Transcript"]["Results"]
        assert result["IsPartial"]
        assert {"Stable"} <= set(result["Alternatives"][0]["Items"][0])
        ws.send(b"")
        assert answer(ws)[0] == [SENTENCE] * 2


@pytest.mark.parametrize(
    ("query", "made"),
    [
        ("&sample_rate=22050", lambda content: decoded(content, 22_050).tobytes()),
        ("&sample_rate=48000&channels=2", lambda content: decoded(content, 48_000, 2).tobytes()),
        ("&encoding=pcm&language=en-us", lambda content: decoded(content, 16_000).tobytes()),
        ("&encoding=f32", lambda content: (decoded(content, 16_000) / 32_768).astype("<f4").tobytes()),
        ("&encoding=mulaw&sample_rate=8000", lambda content: g711("pcm_mulaw", decoded(content, 8_000))),
        ("&encoding=alaw&sample_rate=8000", lambda content: g711("pcm_alaw", decoded(content, 8_000))),
        ("&sample_rate=22050", lambda content: content),
        (
            "&encoding=auto",
            lambda content: encoded(content, "webm", "libopus", 48_000, live="1", cluster_time_limit="100"),
        ),
        ("&encoding=auto", lambda content: encoded(content, "ogg", "libopus", 48_000)),
        ("&encoding=auto", lambda content: encoded(content, "mp3", "libmp3lame", 44_100)),
        ("&encoding=auto", lambda content: encoded(content, "wav", "pcm_s16le", 16_000)),
        ("&encoding=auto", lambda content: encoded(content, "wav", "pcm_s24le", 44_100)),
        ("&encoding=auto", lambda content: encoded(content, "flac", "flac", 44_100)),
        ("&encoding=auto", lambda content: encoded(content, "adts", "aac", 44_100)),
    ],
    ids=[
        "22050 Hz", "stereo at 48 kHz", "named", "f32", "mulaw", "alaw", "pcm with a WAV header",
        "webm", "ogg", "mp3", "wav", "wav of 24 bits", "flac", "aac",
    ],
)  # fmt: skip
def test_speech_is_heard_in_every_encoding(
    server: "Server", sentence: bytes, query: str, made: Callable[[bytes], bytes]
) -> None:
    finals, done = heard(server, query, made(sentence), 1_001)
    assert finals == [SENTENCE]
    assert done["AudioSeconds"] == pytest.approx(1.149, abs=0.1)


def test_a_recorded_call_is_heard(server: "Server") -> None:
    finals, _ = heard(server, "&encoding=mulaw&sample_rate=8000", (DATA / "telephone.wav").read_bytes())
    assert [final.rstrip(".,") for final in finals] == ["The seventh chapter"]


# --- Several things on one connection


def test_streams_and_names_take_turns_on_one_connection(server: "Server", sentence: bytes) -> None:
    server.upload("live.wav", sentence)
    audio = decoded(sentence, 16_000).tobytes()
    with opened(server) as ws:
        ws.send("live.wav")
        stream(ws, audio)
        ws.send("missing.wav")
        stream(ws, audio + audio)
        ws.send(b"")
        ws.send("live.wav")
        answers = [answer(ws) for _ in range(6)]
        assert [len(finals) for finals, _ in answers] == [1, 1, 0, 1, 0, 1]
        assert answers[2][1]["Code"] == "NotFoundException"
        assert [last.get("AudioSeconds") for _, last in answers] == [
            pytest.approx(1.149, abs=0.01),
            pytest.approx(1.149, abs=0.01),
            None,
            pytest.approx(2.298, abs=0.01),
            0,
            pytest.approx(1.149, abs=0.01),
        ]
        assert len({last["SessionId"] for _, last in answers if "SessionId" in last}) == 5


def test_a_name_ends_the_audio_before_it(server: "Server", sentence: bytes) -> None:
    server.upload("live.wav", sentence)
    with opened(server) as ws:
        ws.send(decoded(sentence, 16_000).tobytes())
        ws.send("live.wav")
        assert [answer(ws)[0] for _ in range(2)] == [[SENTENCE]] * 2


def test_goodbye_in_mid_audio_gives_the_last_words_first(server: "Server", sentence: bytes) -> None:
    with opened(server) as ws:
        ws.send(decoded(sentence, 16_000).tobytes())
        ws.send(" ")
        finals, done = answer(ws)
        assert finals == [SENTENCE]
        assert "SessionId" in done
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(WAIT)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000


# --- Errors


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sample_rate=7999", "sample_rate"),
        ("sample_rate=48001", "sample_rate"),
        ("sample_rate=fast", "sample_rate"),
        ("channels=0", "channels"),
        ("channels=9", "channels"),
        ("encoding=opus", "'pcm', 'f32', 'mulaw', 'alaw' or 'auto'"),
        ("language=de-DE", "Ask for en-US"),
    ],
)
def test_a_query_that_cannot_be_served_is_told_and_closes(server: "Server", query: str, said: str) -> None:
    with opened(server, f"&{query}") as ws:
        error = json.loads(ws.recv(WAIT))["Error"]
        assert error["Code"] == "BadRequestException"
        assert said in error["Message"]
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(WAIT)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize(
    ("query", "data", "said"),
    [
        ("", (DATA / "test.wav").read_bytes(), "Open it with sample_rate=22050"),
        ("&sample_rate=8000", (DATA / "telephone.wav").read_bytes(), "Open it with encoding=mulaw"),
        ("&encoding=auto", np.random.default_rng(2).bytes(300_000), "not in a format"),
    ],
    ids=["rate", "encoding", "noise"],
)
def test_audio_that_is_not_what_it_should_be_is_told_once_and_then_dropped(
    server: "Server", sentence: bytes, query: str, data: bytes, said: str
) -> None:
    server.upload("live.wav", sentence)
    with opened(server, query) as ws:
        ws.send(data)
        finals, error = answer(ws)
        assert (finals, error["Code"]) == ([], "BadRequestException")
        assert said in error["Message"]
        stream(ws, data)
        ws.send("live.wav")
        assert answer(ws)[0] == [SENTENCE]


def test_a_client_that_stays_away_is_told_behind_its_last_words(
    start_server: "Callable[..., Server]", sentence: bytes, eventually: Callable[..., None]
) -> None:
    server = start_server("--audio-timeout", "1")
    webm = encoded(sentence, "webm", "libopus", 48_000, live="1", cluster_time_limit="100")
    heard(server, "", decoded(sentence, 16_000).tobytes())
    idle = threads(server)
    for query, audio in [("", decoded(sentence, 16_000).tobytes()), ("&encoding=auto", webm)]:
        with opened(server, query) as ws:
            begun = time.monotonic()
            ws.send(audio)
            finals, error = answer(ws)
            assert finals == [SENTENCE]
            assert error == {"Code": "BadRequestException", "Message": TIMED_OUT}
            assert 1 <= time.monotonic() - begun < 5
            eventually(lambda: server.streams == 0, 5, "the stream has ended")
            eventually(lambda: threads(server) <= idle, 5, "its thread has ended")
            stream(ws, audio)
            stream(ws, audio)
            assert answer(ws)[0] == [SENTENCE], "the first of these was still the old one"


def test_a_message_that_is_too_large_ends_its_stream_alone(server: "Server", sentence: bytes) -> None:
    audio = decoded(sentence, 16_000).tobytes()
    with opened(server) as ws:
        ws.send(audio)
        ws.send(bytes(2_000_000))
        stream(ws, audio)
        finals, error = answer(ws)
        assert finals == [SENTENCE]
        assert "has 2000000 bytes" in error["Message"]
        stream(ws, audio)
        assert answer(ws)[0] == [SENTENCE]


@pytest.mark.parametrize("fragments", [1, 50])
def test_fifty_megabytes_in_one_message_disturb_nobody_else(
    start_server: "Callable[..., Server]", sentence: bytes, fragments: int
) -> None:
    """The connection ends when the message is seen to be too large, long before all of it has come."""
    server = start_server()
    audio = decoded(sentence, 16_000).tobytes()
    with opened(server) as other, opened(server) as ws:
        other.send(audio[:16_000])
        part = bytes(50_000_000 // fragments)
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - while it is sent, or after
            ws.send(iter([part] * fragments) if fragments > 1 else part)
            while True:
                ws.recv(WAIT)
        # What is in front of the close frame on its way back is lost where the rest comes meanwhile.
        assert closed.value.rcvd is None or closed.value.rcvd.code in {1002, 1009}
        stream(other, audio[16_000:])
        assert answer(other)[0] == [SENTENCE]
    assert psutil.Process(server.process.pid).memory_info().rss < 450_000_000


# --- Clients that go, or send too fast


@contextmanager
def killed_at_last(command: Sequence[str], stdout: Any) -> "Iterator[subprocess.Popen[bytes]]":
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout) as client:
        try:
            yield client
        finally:
            client.kill()


_CLIENT = """
import sys
from websockets.sync.client import ClientConnection, connect
ws = connect(sys.argv[1], legacy=True)
ws.send(sys.stdin.buffer.read())
ws.recv()
print("sent", flush=True)
ws.recv()
"""


@pytest.mark.parametrize("encoding", ["pcm", "auto"])
def test_a_client_that_is_killed_leaves_nothing(
    scripted: "Callable[..., Server]", sentence: bytes, eventually: Callable[..., None], encoding: str
) -> None:
    server = scripted("--threads", "1")
    audio = decoded(sentence, 16_000).tobytes()
    heard(server, "", audio)
    if encoding == "auto":
        audio = encoded(sentence, "mp3", "libmp3lame", 44_100)
    process = psutil.Process(server.process.pid)
    descriptors, idle = process.num_fds(), threads(server)
    for _ in range(3):
        command = [sys.executable, "-c", _CLIENT, f"{server.stream_url}?encoding={encoding}"]
        with killed_at_last(command, stdout=subprocess.PIPE) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(audio)
            client.stdin.close()
            assert client.stdout.readline() == b"sent\n"
            assert server.streams == 1
            assert threads(server) == idle
        eventually(lambda: server.streams == 0, 5, "the stream has ended")
    # Beside it the process that others are forked of, and two that wait for the next container.
    eventually(lambda: len(process.children(recursive=True)) <= 3, 5, "the decoding processes have ended")
    eventually(lambda: process.num_fds() <= descriptors + 2, 5, "the files are closed")


# --- Clients that send faster than they are heard


@pytest.mark.parametrize("encoding", ["pcm", "auto"])
def test_pings_are_answered_while_audio_waits_for_its_turn_and_nothing_of_it_is_lost(
    scripted: "Callable[..., Server]", repeated: Callable[[int], bytes], encoding: str
) -> None:
    """Behind a recording that is read as it would be spoken it waits for as long as that lasts."""
    server = scripted()
    server.upload("two seconds.wav", repeated(1))
    if encoding == "pcm":
        audio, seconds = bytes(900 * 32_000), 900.0
    else:
        audio = encoded(repeated(60), "mp3", "libmp3lame", 44_100)
        seconds = len(decoded(repeated(60))) / 16_000
        assert len(audio) > 4 * CONTAINER_AHEAD_BYTES
    heard(server, "", bytes(32_000))
    before = server.resident
    with opened(server, f"&encoding={encoding}&pace=realtime") as ws:
        begun = time.monotonic()
        ws.send("two seconds.wav")
        stream(ws, audio, 65_536)
        assert ws.ping().wait(WAIT), "the connection is read on"
        assert time.monotonic() - begun < 2.1, "what was asked for first still goes on"
        assert server.resident - before < 60_000_000
        answer(ws)
        finals, done = answer(ws)
    assert finals == ["first", "second"]
    assert done["AudioSeconds"] == pytest.approx(seconds, abs=0.1)


_FLOOD = """
import sys
from websockets.sync.client import ClientConnection, connect
with connect(sys.argv[1]) as ws:
    print("begun", flush=True)
    while True:
        ws.send(bytes(1_000_000))
"""


def test_a_client_that_sends_without_end_is_slowed_in_the_end(
    start_server: "Callable[..., Server]", eventually: Callable[..., None]
) -> None:
    server = start_server("--threads", "1")
    with opened(server) as ws:
        stream(ws, bytes(32_000))
        answer(ws)
    before = server.resident
    command = [sys.executable, "-c", _FLOOD, f"{server.stream_url}?encoding=f32&sample_rate=8000"]
    with killed_at_last(command, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"begun\n"
        eventually(lambda: _spooled(server) == SPOOL_BYTES, 3 * WAIT, "the file is full")
        assert server.resident - before < 100_000_000
    server.stop()


def _spooled(server: "Server") -> int:
    """Bytes in files that the server has open and that have no name."""
    size = 0
    for descriptor in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(OSError):
            if descriptor.readlink().name.endswith("(deleted)"):
                size += descriptor.stat().st_size
    return size


# --- Clients that go


def _raw(server: "Server", query: str) -> socket.socket:
    """An open WebSocket without a client that would close it well."""
    connection = socket.create_connection(server.address, WAIT)
    connection.sendall(
        f"GET /stream?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    return connection


def _frame(data: bytes, opcode: Opcode) -> bytes:
    return Frame(opcode, data).serialize(mask=True)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _closed(connection: socket.socket) -> bytes:
    """What comes last of all that comes."""
    received = b""
    with suppress(OSError):
        while data := connection.recv(65_536):
            received += data
    return received


GOING: dict[str, Callable[[socket.socket], object]] = {
    "close": lambda connection: connection.sendall(_frame(b"", Opcode.CLOSE)),
    "close 1000": lambda connection: connection.sendall(_frame(struct.pack("!H", 1000), Opcode.CLOSE)),
    "close 1001": lambda connection: connection.sendall(_frame(struct.pack("!H", 1001), Opcode.CLOSE)),
    "end of stream": lambda connection: connection.shutdown(socket.SHUT_WR),
    "no farewell": lambda connection: connection.close(),
    "not UTF-8": lambda connection: connection.sendall(_frame(b"\xff", Opcode.TEXT)),
    "reset": _reset,
}


@pytest.mark.parametrize("encoding", ["pcm", "auto"])
def test_the_last_words_of_a_client_that_just_goes_are_recognised_and_kept(
    scripted: "Callable[..., Server]",
    repeated: Callable[[int], bytes],
    encoding: str,
    eventually: Callable[..., None],
) -> None:
    server = scripted("--max-sessions", "1")
    audio = bytes(2 * 32_000) if encoding == "pcm" else encoded(repeated(1), "mp3", "libmp3lame", 44_100)
    for way, go in GOING.items():
        connection = _raw(server, f"encoding={encoding}")
        connection.sendall(_frame(audio, Opcode.BINARY))
        server.wait_until_heard(1)  # Of a connection that is reset, what has not been read is gone.
        assert server.streams == 1
        go(connection)
        eventually(lambda: server.streams == 0, 5, f"its place is free after {way}")
        (kept,) = server.http.get("/transcripts", params={"limit": 1}).json()["Transcripts"]
        text = server.http.get(f"/transcripts/{kept['SessionId']}.txt").text
        assert text.splitlines() == ["first", "second"], way
        server.http.delete(f"/transcripts/{kept['SessionId']}")
        connection.close()
    server.assert_no_errors()


def test_audio_that_waited_is_heard_when_its_client_has_gone_and_recordings_are_not_read_for_nobody(
    scripted: "Callable[..., Server]", repeated: Callable[[int], bytes], eventually: Callable[..., None]
) -> None:
    server = scripted()
    server.upload("a minute.wav", repeated(28))
    with opened(server, "&pace=realtime") as ws:
        ws.send("a minute.wav")
        eventually(lambda: server.streams == 1, WAIT, "it has begun")
        stream(ws, bytes(60 * 32_000), 32_000)
        ws.send("a minute.wav")

    def heard_live() -> list[float]:
        kept = server.http.get("/transcripts", params={"source": "live"}).json()["Transcripts"]
        return [each["AudioSeconds"] for each in kept if each["Ended"]]

    eventually(lambda: heard_live() == [60], 10, "the audio was heard")
    eventually(lambda: server.streams == 0, 5, "nothing runs")


@pytest.mark.parametrize(
    "message",
    [
        _frame(b"\xff\xfe", Opcode.TEXT),
        Frame(Opcode.TEXT, b"not masked").serialize(mask=False),
        b"\x83\x80" + bytes(4),
        b"\xc1\x80" + bytes(4),
    ],
    ids=["not UTF-8", "not masked", "no opcode", "a reserved bit"],
)
def test_what_is_no_message_is_told_by_the_close_code(server: "Server", message: bytes) -> None:
    with closing(_raw(server, "")) as connection:
        connection.sendall(message)
        received = _closed(connection)
    assert received[2:4] == struct.pack("!H", 1002)
    assert received[4:].decode().startswith("what arrived is no valid WebSocket message")


# --- Proxies that close what is quiet


class Impatient:
    """A proxy that closes a connection of which either side has said nothing for some seconds."""

    def __init__(self, server: "Server", seconds: float) -> None:
        self._to = server.address
        self._seconds = seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection(self._to) as server:
            ways = {client: server, server: client}
            last = dict.fromkeys(ways, time.monotonic())
            while min(last.values()) + self._seconds > time.monotonic():
                for side in select.select(list(ways), (), (), 0.05)[0]:
                    if not (data := side.recv(65_536)):
                        return
                    ways[side].sendall(data)
                    last[side] = time.monotonic()

    def close(self) -> None:
        self._listener.close()
        self._thread.join(WAIT)


@pytest.mark.skipif(sys.platform != "linux", reason="pings are sent on Linux alone")
def test_a_stream_on_which_nothing_is_said_survives_a_proxy_that_closes_what_is_quiet(
    start_server: "Callable[..., Server]", tmp_path: Path, repeated: Callable[[int], bytes]
) -> None:
    """A recording at the pace of speech, and live audio of which the client sends nothing but the ends."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"events": [{"at": 3.5, "text": "at last", "final": True}]}))
    scripted = ("--engine", "scripted", "--script", str(script))
    server = start_server(*scripted, "--ping-interval", "0.4")
    server.upload("quiet.wav", repeated(2))
    with (
        closing(Impatient(server, 0.2)) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), WAIT) as quiet,
    ):
        assert quiet.recv(1) == b"", "that is what it does"
    with closing(Impatient(server, 1.5)) as proxy:
        url = f"ws://127.0.0.1:{proxy.port}/stream?format=json&pace=realtime"
        with connect(url, ping_interval=None) as ws:
            ws.send("quiet.wav")
            assert answer(ws)[0] == ["at last"]
            ws.send(bytes(3 * 32_000))
            time.sleep(2)
            ws.send(bytes(32_000))
            ws.send(b"")
            assert answer(ws)[0] == ["at last"]
    server.assert_no_errors()


# --- Closing a segment before its time, and when speech starts and ends


def _messages(ws: ClientConnection) -> list[dict[str, Any]]:
    """All up to Done, partials left out."""
    found: list[dict[str, Any]] = []
    while not found or "Done" not in found[-1]:
        message = json.loads(ws.recv(WAIT))
        if "Transcript" not in message or not message["Transcript"]["Results"][0]["IsPartial"]:
            found.append(message)
    return found


def _kinds(messages: Sequence[dict[str, Any]]) -> list[str]:
    return [kind for message in messages for kind in message]


def test_a_flush_makes_a_final_without_waiting_for_silence(server: "Server", sentence: bytes) -> None:
    audio = decoded(sentence, 16_000).tobytes()
    with opened(server) as ws:
        ws.send('{"Flush":{}}')  # Nothing is open.
        ws.send(audio)
        ws.send('{ "Flush": {} }')
        while (
            "Transcript" not in (first := json.loads(ws.recv(WAIT)))
            or (first["Transcript"]["Results"][0]["IsPartial"])
        ):
            pass
        assert first["Transcript"]["Results"][0]["Alternatives"][0]["Transcript"] == SENTENCE
        ws.send(audio)
        ws.send(b"")
        (second, done) = _messages(ws)
    (result,) = second["Transcript"]["Results"]
    assert result["Alternatives"][0]["Transcript"] == SENTENCE
    assert result["StartTime"] >= first["Transcript"]["Results"][0]["EndTime"]
    assert done["Done"]["AudioSeconds"] == pytest.approx(2 * 1.149, abs=0.002)


def test_who_asks_is_told_when_speech_starts_and_ends(
    server: "Server", repeated: Callable[[int], bytes]
) -> None:
    with opened(server, "&events=speech") as ws:
        stream(ws, decoded(repeated(2), 16_000).tobytes())
        messages = _messages(ws)
    said = ["SpeechStarted", "SpeechEnded", "Transcript"]
    assert _kinds(messages) == [*said, *said, "Done"]
    times = [event["Time"] for message in messages for kind, event in message.items() if "Speech" in kind]
    assert times == sorted(times)
    assert times[0] < 0.3


def test_a_stream_chooses_the_silence_that_ends_its_segments(
    server: "Server", repeated: Callable[[int], bytes]
) -> None:
    audio = decoded(repeated(2), 16_000).tobytes()
    assert len(heard(server, "&endpoint_silence=5", audio)[0]) == 1
    assert len(heard(server, "&endpoint_silence=0.2", audio)[0]) >= 2


@pytest.mark.parametrize("query", ["events=speech", "format=json&events=all", "endpoint_silence=0.1"])
def test_what_cannot_be_asked_for_is_refused(server: "Server", query: str) -> None:
    with connect(f"{server.stream_url}?{query}", open_timeout=WAIT) as ws:
        assert "speech" in (message := str(ws.recv(WAIT))) or "endpoint_silence" in message
        with pytest.raises(ConnectionClosed):
            ws.recv(WAIT)


def test_a_client_of_text_cannot_flush(server: "Server") -> None:
    with connect(server.stream_url, open_timeout=WAIT) as ws:
        ws.send('{"Flush":{}}')
        assert "is not a valid name" in str(ws.recv(WAIT))


def test_flushes_alone_keep_no_stream_alive(
    run_server: Callable[..., AbstractContextManager["Server"]],
) -> None:
    with run_server("--audio-timeout", "1") as server, opened(server) as ws:
        ws.send(bytes(3_200))
        started = time.monotonic()
        while time.monotonic() - started < 3:
            ws.send('{"Flush":{}}')
            with suppress(TimeoutError):
                assert json.loads(ws.recv(0.1))["Error"]["Message"] == TIMED_OUT
                return
    pytest.fail("The stream lives on flushes.")
