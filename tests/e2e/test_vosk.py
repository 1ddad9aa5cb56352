"""Vosk's protocol: with the package vosk's own client, and message by message."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from environments import CLIENTS, python_environment
from native_client import decoded
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 20
TEST = Path(__file__).parents[1] / "data" / "test.wav"
CONFIG = {"config": {"sample_rate": 16000}}
# The command decodes with FFmpeg's; not every machine has it.
FFMPEG = """#!{python}
import sys
sys.stdout.buffer.write(open({audio!r}, "rb").read())
"""


def _url(server: "Server", path: str = "/vosk") -> str:
    return server.stream_url.removesuffix("/stream") + path


def _opened(server: "Server") -> ClientConnection:
    return connect(_url(server), open_timeout=WAIT, close_timeout=WAIT)


def _asked(ws: ClientConnection, message: bytes | dict[str, Any]) -> dict[str, Any]:
    """The one answer to a message."""
    ws.send(message if isinstance(message, bytes) else json.dumps(message))
    answer: dict[str, Any] = json.loads(ws.recv(WAIT))
    return answer


def _closed(ws: ClientConnection) -> bool:
    with pytest.raises(ConnectionClosed):
        ws.recv(WAIT)
    return True


@pytest.mark.parametrize("path", ["/vosk", "/"])
@pytest.mark.parametrize("kind", ["txt", "srt"])
def test_vosk_transcriber_reads_a_recording(server: "Server", tmp_path: Path, path: str, kind: str) -> None:
    python = python_environment("python_vosk", sys.executable)
    audio, ffmpeg, out = tmp_path / "audio", tmp_path / "ffmpeg", tmp_path / f"out.{kind}"
    audio.write_bytes(decoded(TEST.read_bytes()).tobytes())
    ffmpeg.write_text(FFMPEG.format(python=sys.executable, audio=str(audio)))
    ffmpeg.chmod(0o700)
    program = CLIENTS / "python_vosk" / "transcriber.py"
    command = [python, program, _url(server, path), "-i", TEST, "-o", out]
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [*command, "-t", kind], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert text == "This is a test.\n" if kind == "txt" else "\nThis is a test.\n" in text, text
    assert kind == "txt" or text.startswith(("0\n00:00:00,", "1\n00:00:00,")), text


def test_each_message_has_one_answer_and_words_their_times(server: "Server", sentence: bytes) -> None:
    audio = decoded(sentence).tobytes()
    with _opened(server) as ws:
        ws.send(json.dumps(CONFIG))
        answers = [_asked(ws, audio[at : at + 8000]) for at in range(0, len(audio), 8000)]
        last = _asked(ws, {"eof": 1})
        assert _closed(ws)
    assert all(set(answer) in ({"partial"}, {"result", "text"}) for answer in answers)
    words = [word for answer in [*answers, last] for word in answer.get("result", [])]
    text = " ".join(answer["text"] for answer in [*answers, last] if answer.get("text"))
    assert " ".join(word["word"] for word in words) == text != ""
    assert all(set(word) == {"conf", "start", "end", "word"} for word in words)
    times = [time for word in words for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert times[-1] <= len(audio) / 32_000


@pytest.fixture(scope="module")
def scripted_server(script: Path, run_server: "Callable[..., AbstractContextManager[Server]]") -> Any:
    with run_server("--engine", "scripted", "--script", str(script)) as server:
        yield server
        server.assert_no_errors()


def test_partials_finals_and_the_end(scripted_server: "Server") -> None:
    quarter = bytes(8000)
    with _opened(scripted_server) as ws:
        ws.send(json.dumps({"config": CONFIG["config"] | {"words": False}}))
        told = [_asked(ws, quarter)]
        while "text" not in told[-1]:
            told.append(_asked(ws, bytes(320)))
        assert told[-1] == {"text": "first"}
        assert all(answer == {"partial": ""} for answer in told[:-1])
        told = [_asked(ws, quarter)]
        while told[-1] != {"partial": "sec"}:
            told.append(_asked(ws, bytes(3200)))
        assert _asked(ws, {"eof": 1}) == {"text": "second"}
        assert _closed(ws)


CONFIGS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"result", "text"}),
    ({"phrase_list": ["first"]}, {"result", "text"}),
    ({"words": False}, {"text"}),
    ({"max_alternatives": 2, "words": False}, {"alternatives"}),
]


@pytest.mark.parametrize(("more", "members"), CONFIGS)
def test_a_result_has_what_was_configured(
    scripted_server: "Server", more: dict[str, Any], members: set[str]
) -> None:
    with _opened(scripted_server) as ws:
        ws.send(json.dumps({"config": CONFIG["config"] | more}))
        while "partial" in (answer := _asked(ws, bytes(3200))):
            pass
        assert _asked(ws, {"eof": 1}).keys() <= members
    assert set(answer) == members
    (one,) = answer.get("alternatives", [answer])
    assert one["text"] == "first"
    assert [word["word"] for word in one.get("result", [])] == ["first"] * ("result" in members)


def test_without_audio_there_is_nothing(scripted_server: "Server") -> None:
    with _opened(scripted_server) as ws:
        assert _asked(ws, {"eof": 1}) == {"text": ""}
        assert _closed(ws)


REFUSED: list[tuple[Any, str]] = [
    ({"config": {"sample_rate": 1}}, "The message is not valid: Input should be greater than"),
    ({"reset": 1}, 'Send {"config": {"sample_rate": 16000}}, binary audio, or {"eof": 1}.'),
    (bytes(2**20 + 1), "Send at most 1048576 bytes of audio in a message."),
]


@pytest.mark.parametrize(("message", "reason"), REFUSED)
def test_what_cannot_be_is_told_and_ends_the_stream(
    scripted_server: "Server", message: Any, reason: str
) -> None:
    with _opened(scripted_server) as ws:
        assert _asked(ws, message)["error"].startswith(reason)
        assert _closed(ws)


def test_a_stream_that_has_no_room_is_told(script: Path, run_server: Any) -> None:
    with (
        run_server("--engine", "scripted", "--script", str(script), "--max-sessions", "1") as server,
        _opened(server) as one,
        _opened(server) as other,
    ):
        assert _asked(one, bytes(320)) == {"partial": ""}
        assert _asked(other, bytes(320))["error"].startswith("No more live streams can be served well")
