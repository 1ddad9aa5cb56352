"""The commands, run as commands."""

import json
import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import assert_refused, in_terminal
from websockets.sync.client import connect

from transcribed import __version__
from transcribed.settings import RecognitionSettings, ServerSettings

if TYPE_CHECKING:
    from tests.conftest import Server

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def wav(sentence: bytes, tmp_path: Path) -> str:
    (tmp_path / "test.wav").write_bytes(sentence)
    return "test.wav"


# --- transcribe


def test_the_text_goes_to_standard_output_and_nothing_else(run: Run, wav: str) -> None:
    done = run("transcribe", wav)
    assert (done.returncode, done.stdout, done.stderr) == (0, "This is a test.\n", "")


def test_standard_input_is_a_hyphen(run: Run, sentence: bytes) -> None:
    done = run("transcribe", "-", stdin=sentence)
    assert (done.returncode, done.stdout, done.stderr) == (0, "This is a test.\n", "")


def test_standard_input_may_be_large(run: Run, said: list[str], repeated: Callable[[int], bytes]) -> None:
    done = run("transcribe", *said, "-", stdin=repeated(300))
    assert (done.returncode, done.stdout) == (0, "first\nsecond\n")


def test_json_is_a_line_for_each_segment_and_one_at_the_end(
    run: Run, said: list[str], repeated: Callable[[int], bytes]
) -> None:
    done = run("transcribe", "--format", "json", *said, "-", stdin=repeated(2))
    assert done.returncode == 0
    first, second, end = map(json.loads, done.stdout.splitlines())
    for line, text in [(first, "first"), (second, "second")]:
        (result,) = line["Transcript"]["Results"]
        assert (result["IsPartial"], result["Alternatives"][0]["Transcript"]) == (False, text)
    assert end["Done"]["AudioSeconds"] == pytest.approx(4.3, abs=0.01)


def test_several_files_are_told_apart(run: Run, said: list[str], wav: str) -> None:
    done = run("transcribe", *said, wav, wav)
    assert done.returncode == 0
    assert done.stdout == f"==> {wav} <==\nfirst\nsecond\n" * 2


def test_a_file_that_cannot_be_read_does_not_stop_the_others(
    run: Run, said: list[str], wav: str, tmp_path: Path
) -> None:
    (tmp_path / "text.wav").write_text("This is no recording.")
    (tmp_path / "empty.wav").write_bytes(b"")
    done = run("transcribe", *said, "missing.wav", "text.wav", "empty.wav", ".", wav)

    assert done.returncode == 1
    assert done.stdout.endswith(f"==> {wav} <==\nfirst\nsecond\n")
    errors = done.stderr.splitlines()
    assert [error.partition(":")[0] for error in errors] == ["missing.wav", "text.wav", "empty.wav", "."]
    assert "No such file" in errors[0]
    assert "audio" in errors[1]
    assert "folder" in errors[3]


def test_nothing_on_standard_input_is_told(run: Run, said: list[str]) -> None:
    done = run("transcribe", *said, "-")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("-: ")


def test_a_reader_that_goes_is_no_accident(
    transcribed: Path, environment: dict[str, str], said: list[str], wav: str, tmp_path: Path
) -> None:
    """As in `transcribed transcribe … | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(
            [transcribed, "transcribe", *said, wav],
            stdout=gone,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=tmp_path,
            timeout=30,
            check=False,
        )
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.parametrize("redirected", [False, True])
def test_a_terminal_shows_progress_and_the_growing_text(
    *,
    transcribed: Path,
    environment: dict[str, str],
    said: list[str],
    wav: str,
    tmp_path: Path,
    redirected: bool,
) -> None:
    """Also where the lines themselves go elsewhere, as in `transcribed transcribe … > talk.txt`."""
    command = [transcribed, "transcribe", *said, wav]
    code, shown, written = in_terminal(command, environment, tmp_path, redirected=redirected)
    assert code == 0
    assert written == (b"first\nsecond\n" if redirected else b"")
    assert wav.encode() in shown
    assert b"%" in shown
    assert (b"first\r\n" in shown) is not redirected
    assert (b"second\r\n" in shown) is not redirected
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l"), "the cursor is not given back"


# --- help


def test_help_teaches(run: Run) -> None:
    told = run("--help").stdout
    for line in [
        "  transcribed serve                  run a server on http://localhost:3000\n",
        "  transcribed transcribe talk.mp3    print the text of a recording\n",
        "  transcribed listen                 print captions of the microphone\n",
        "  transcribed env                    print the environment for Amazon's clients\n",
    ]:
        assert line in told


@pytest.mark.parametrize(
    ("command", "settings", "example"),
    [
        ("serve", ServerSettings, "curl -F 'file=@talk.wav;type=audio/wav' http://localhost:3000/audio"),
        ("transcribe", RecognitionSettings, "transcribed transcribe talk.mp3 > talk.txt"),
        ("listen", RecognitionSettings, "arecord -f S16_LE -r 16000 | transcribed listen - --encoding pcm"),
    ],
)
def test_help_names_every_setting_twice(
    run: Run, command: str, settings: type[RecognitionSettings], example: str
) -> None:
    done = run(command, "--help", settings={"COLUMNS": "500"})
    assert done.returncode == 0
    assert example in [line.strip() for line in done.stdout.splitlines()]
    assert "\\b" not in done.stdout
    for name, field in settings.model_fields.items():
        assert f"--{name.replace('_', '-')} " in done.stdout
        assert f"TRANSCRIBED_{name.upper()}]" in done.stdout
        assert field.description is not None
        assert field.description in " ".join(done.stdout.split())


def test_the_version_is_told(run: Run) -> None:
    assert __version__ in run("--version").stdout


def test_an_option_that_does_not_exist_is_told(run: Run) -> None:
    done = run("serve", "--prot", "1")
    assert done.returncode == 2
    assert "--port" in done.stderr


# --- serve


def test_a_port_in_use_is_told(run: Run, said: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", *said, "--port", port, settings={"RUST_BACKTRACE": "1"})
    assert_refused(done, "127.0.0.1", port, "in use", "--port")


def test_the_port_of_another_server_is_told(
    run: Run, scripted: "Callable[..., Server]", said: list[str]
) -> None:
    """Even of one like itself: two must never share a port."""
    port = str(scripted().address[1])
    done = run("serve", *said, "--port", port, settings={"RUST_BACKTRACE": "1"})
    assert_refused(done, port, "in use", "--port")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_here_is_told(run: Run, said: list[str], host: str) -> None:
    options = ["--host", host, "--port", "3999", "--no-auth"]
    done = run("serve", *said, *options, settings={"RUST_BACKTRACE": "1"})
    assert_refused(done, host, "--host")
    assert "keys" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"TRANSCRIBED_PORT": "abc"}, ["TRANSCRIBED_PORT", "--port", "'abc'"]),
        ({"TRANSCRIBED_ENGINE": "guess"}, ["TRANSCRIBED_ENGINE", "moonshine", "scripted"]),
        ({"TRANSCRIBED_ENDPOINT_SILENCE": "9"}, ["TRANSCRIBED_ENDPOINT_SILENCE", "5"]),
        ({"TRANSCRIBED_AUDIO": "/dev/null/audio"}, ["/dev/null/audio", "Name a folder"]),
    ],
)
def test_a_setting_that_cannot_be_is_told(run: Run, settings: dict[str, str], parts: Sequence[str]) -> None:
    assert_refused(run("serve", settings=settings), *parts)


def test_an_option_goes_before_the_environment(run: Run, said: list[str], wav: str) -> None:
    settings = {"TRANSCRIBED_ENGINE": "guess", "TRANSCRIBED_SCRIPT": "missing.json"}
    assert run("transcribe", *said, wav, settings=settings).stdout == "first\nsecond\n"


def test_the_environment_will_do(run: Run, script: Path, wav: str) -> None:
    settings = {"TRANSCRIBED_ENGINE": "scripted", "TRANSCRIBED_SCRIPT": str(script)}
    assert run("transcribe", wav, settings=settings).stdout == "first\nsecond\n"


# --- the scripted engine


def test_a_script_is_what_clients_are_told(
    scripted: "Callable[..., Server]", repeated: Callable[[int], bytes]
) -> None:
    server = scripted()
    server.upload("any.wav", repeated(1))
    with connect(server.stream_url) as ws:
        ws.send("any.wav")
        assert [ws.recv(20) for _ in range(3)] == ["first", "sec", "second"]
    assert server.http.get("/health").json()["engine"] == "scripted"


def test_the_scripted_engine_needs_a_script(run: Run) -> None:
    assert_refused(run("serve", "--engine", "scripted"), "--script")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("{", "JSON"),
        ('{"events": [{"at": 2, "text": "a"}, {"at": 1, "text": "b"}]}', "order of their times"),
        ('{"events": [{"at": 1, "text": "a", "fnal": true}]}', "events.0.fnal"),
    ],
)
def test_a_broken_script_is_told(run: Run, tmp_path: Path, script: str, said: str) -> None:
    (tmp_path / "broken.json").write_text(script)
    done = run("serve", "--engine", "scripted", "--script", "broken.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: The script broken.json is not valid: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "pydantic" not in done.stderr


def test_a_missing_script_is_told(run: Run) -> None:
    done = run("serve", "--engine", "scripted", "--script", "missing.json")
    assert_refused(done, "missing.json", "No such file")


def test_an_error_in_a_script_ends_the_file_alone(run: Run, tmp_path: Path, wav: str) -> None:
    events = [{"at": 0.5, "text": "heard", "final": True}, {"at": 1.0, "error": "fell over"}]
    (tmp_path / "failing.json").write_text(json.dumps({"events": events}))
    done = run("transcribe", "--engine", "scripted", "--script", "failing.json", wav)
    assert (done.returncode, done.stdout, done.stderr) == (1, "heard\n", f"{wav}: fell over\n")
