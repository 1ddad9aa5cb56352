"""`transcribed listen`, run as a command: pipes that are still open, and microphones that are not there."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Listen = Callable[..., Any]

DATA = Path(__file__).parents[1] / "data"
FAKES = Path(__file__).parents[1] / "fakes"
WAIT = 20
SECOND = 2 * 16_000
PCM = ["--encoding", "pcm"]


@pytest.fixture
def listen(transcribed: Path, environment: dict[str, str], tmp_path: Path) -> Listen:
    """Starts the command with a pipe as its standard input."""

    @contextmanager
    def start(*options: str, **how: Any) -> Iterator["subprocess.Popen[bytes]"]:
        command = [transcribed, "listen", *options]
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
        how["env"] = environment | how.get("env", {})
        process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=tmp_path, **how)
        # Whatever it waits for: a test does not.
        guard = threading.Timer(3 * WAIT, process.kill)
        guard.start()
        try:
            with process:
                yield process
                if process.stdin is not None:
                    process.stdin.close()
        finally:
            guard.cancel()
            process.kill()

    return start


def write(process: "subprocess.Popen[bytes]", data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.flush()


def in_real_time(process: "subprocess.Popen[bytes]", data: bytes, rate: int) -> None:
    """Write data of so many bytes a second."""
    begun = time.monotonic()
    for start in range(0, len(data), rate // 10):
        time.sleep(max(0.0, begun + start / rate - time.monotonic()))
        write(process, data[start : start + rate // 10])


def samples(recording: bytes) -> tuple[bytes, list[str]]:
    """A WAV file's samples, and the options that say how they are written."""
    with wave.open(io.BytesIO(recording)) as source:
        options = ["--encoding", "pcm", "--sample-rate", str(source.getframerate())]
        return source.readframes(source.getnframes()), options


def rest(process: "subprocess.Popen[bytes]") -> tuple[str, str]:
    """What it still says, at its end."""
    output, errors = process.communicate(timeout=WAIT)
    return output.decode(), errors.decode()


# --- A pipe


def test_speech_is_shown_while_the_pipe_is_open(listen: Listen, repeated: Callable[[int], bytes]) -> None:
    """In real time, with the real model: the first sentence stands there before the second is written."""
    speech, options = samples(repeated(2))
    half = len(speech) // 4 * 2
    with listen("-", *options) as process:
        in_real_time(process, speech[:half], 2 * 22_050)
        assert process.stdout.readline() == b"This is a test.\n"
        write(process, speech[half:])
        assert rest(process) == ("This is a test.\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("recording", ["jfk.mp3", "steamers.ogg", "telephone.wav"])
def test_a_container_is_told_by_its_content_and_heard_while_it_comes(
    listen: Listen, said: list[str], recording: str
) -> None:
    content = (DATA / recording).read_bytes()
    with listen(*said, "-") as process:
        write(process, content[: -len(content) // 4])
        assert process.stdout.readline() == b"first\n"
        write(process, content[-len(content) // 4 :])
        assert rest(process) == ("second\n", "")
    assert process.returncode == 0


def test_numbers_are_written_as_it_is_asked(
    transcribed: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    script, recording = tmp_path / "script.json", tmp_path / "silence.wav"
    events = [{"at": "end", "text": "We paid twelve dollars and 5 cents.", "final": True}]
    script.write_text(json.dumps({"language": "en-US", "events": events}))
    with wave.open(str(recording), "wb") as target:
        target.setparams((1, 2, 16_000, 0, "NONE", ""))
        target.writeframes(bytes(SECOND))
    said = ["--engine", "scripted", "--script", str(script), "--model", "auto"]
    for command, form, text in (
        (["listen", "-"], "written", "We paid $12.05."),
        (["transcribe", str(recording)], "spoken", "We paid twelve dollars and five cents."),
        (["transcribe", str(recording), "-o", "out/"], "written", ""),
    ):
        done = subprocess.run(
            [transcribed, *command, *said, "--transcript-format", form],
            input=recording.read_bytes(),
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            timeout=WAIT,
            check=True,
        )
        assert done.stdout.decode().strip() == text
    assert (tmp_path / "out" / "silence.txt").read_text() == "We paid $12.05.\n"


def test_a_pipe_faster_than_speech_waits_and_loses_nothing(
    listen: Listen, said: list[str], repeated: Callable[[int], bytes]
) -> None:
    with listen(*said, "--format", "json", "-") as process:
        output, errors = process.communicate(repeated(300), timeout=3 * WAIT)
    lines = [json.loads(line) for line in output.splitlines()]
    texts = [line["Transcript"]["Results"][0]["Alternatives"][0]["Transcript"] for line in lines[:-1]]
    assert (texts, errors, process.returncode) == (["first", "second"], b"", 0)
    assert lines[-1]["Done"]["AudioSeconds"] == pytest.approx(300 * 2.1494, abs=0.1)


def test_a_file_and_nothing_at_all_are_pipes_too(run: Run, said: list[str], sentence: bytes) -> None:
    for stdin, text in [(sentence, "first\nsecond\n"), (b"", "")]:
        done = run("listen", *said, "-", stdin=stdin)
        assert (done.returncode, done.stdout, done.stderr) == (0, text, "")


def test_ctrl_c_ends_the_audio_and_prints_the_last_words(listen: Listen, said: list[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with listen(*said, *PCM, "-") as process:
            write(process, bytes(SECOND))
            assert process.stdout.readline() == b"first\n"
            process.send_signal(number)
            assert process.wait(WAIT) == 0, "though the pipe is open"
            assert process.stdout.read() == b"second\n"
            assert process.stderr.read() == b""


def test_ctrl_c_in_the_midst_of_a_container(listen: Listen, said: list[str]) -> None:
    """While the thread that decodes it waits for more."""
    with listen(*said, "-") as process:
        write(process, (DATA / "jfk.mp3").read_bytes()[:40_000])
        assert process.stdout.readline() == b"first\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 0
        assert process.stdout.read() == b"second\n"


def test_a_reader_that_goes_is_no_accident(listen: Listen, said: list[str]) -> None:
    """As in `… | transcribed listen - | head -1`."""
    with listen(*said, *PCM, "-") as process:
        write(process, bytes(SECOND // 2))
        assert process.stdout.readline() == b"first\n"
        process.stdout.close()
        process.stdin.close()
        assert process.wait(WAIT) in {0, 1}
        assert process.stderr.read() == b""


def test_audio_that_is_none_is_told(run: Run, said: list[str], sentence: bytes) -> None:
    done = run("listen", *said, "-", stdin=b"This is no audio. " * 1_000)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The stream is not in a format that can be read as audio")
    done = run("listen", *said, *PCM, "-", stdin=sentence)
    assert done.returncode == 1
    assert "encoding=auto" in done.stderr


@pytest.mark.parametrize("redirected", [False, True])
def test_a_terminal_shows_the_growing_text(listen: Listen, said: list[str], redirected: bool) -> None:
    """Also where the lines themselves go elsewhere."""
    ours, theirs = pty.openpty()
    shown = b""
    outputs = {"stdout": subprocess.PIPE if redirected else theirs, "stderr": theirs}
    with listen(*said, *PCM, "-", env={"TERM": "xterm", "COLUMNS": "100"}, **outputs) as process:
        os.close(theirs)
        write(process, bytes(SECOND))
        while not re.search(rb"sec(?!ond)", shown):
            shown += os.read(ours, 65536)
        assert b"second" not in shown
        assert b"standard input: Ctrl-C ends" in shown
        process.stdin.close()
        with suppress(OSError):  # The terminal's other end is closed.
            while part := os.read(ours, 65536):
                shown += part
        assert process.wait(WAIT) == 0
        if redirected:
            assert process.stdout.read() == b"first\nsecond\n"
    os.close(ours)
    assert (b"second\r\n" in shown) is not redirected
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l"), "the cursor is not given back"


def test_a_keyboard_is_no_audio(terminal: Callable[..., Any], transcribed: Path, said: list[str]) -> None:
    command = ["sh", "-c", '"$@"; echo "code $?"', "sh", str(transcribed), "listen", *said, "-"]
    with terminal(command) as shown:
        lines = shown.wait_for(lambda lines: "code 1" in lines)
    assert "Pipe audio into it" in " ".join(lines)


# --- Options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["talk.mp3"], "transcribed transcribe talk.mp3"),
        (["--encoding", "pcm"], "standard input"),
        (["-", "--device", "1"], "--device"),
        (["-", "--sample-rate", "8000"], "--encoding"),
        (["-", "--encoding", "auto", "--channels", "2"], "--encoding"),
        (["-", "--encoding", "pcm", "--sample-rate", "7000"], "8000<=x<=48000"),
        (["-", "--encoding", "opus"], "mulaw"),
    ],
)
def test_options_that_have_no_effect_are_told(run: Run, options: Sequence[str], said: str) -> None:
    done = run("listen", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


# --- The microphone


def fake(sound: object) -> dict[str, str]:
    return {"PYTHONPATH": str(FAKES), "FAKE_SOUND": str(sound)}


@pytest.mark.parametrize("option", [[], ["--devices"], ["--device", "1"]])
@pytest.mark.parametrize(
    ("missing", "parts"),
    [
        ("no package", ["pip install 'transcribed[microphone]'"]),
        ("no library", ["apt install libportaudio2"]),
        ("no device", ["No microphone found", "transcribed listen --devices"]),
    ],
)
def test_what_is_missing_is_told(run: Run, missing: str, parts: list[str], option: list[str]) -> None:
    done = run("listen", *option, settings=fake(missing))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    for part in [*parts, "pipe audio: ffmpeg -i talk.mp3 -f wav - | transcribed listen -"]:
        assert part in done.stderr


def test_without_a_microphone_it_does_not_start(run: Run, environment: dict[str, str]) -> None:
    """On whatever machine this runs: ALSA and JACK are shown nothing, where there are any."""
    nothing = {"ALSA_CONFIG_PATH": "/dev/null", "JACK_NO_START_SERVER": "1", "PULSE_SERVER": "none"}
    done = run("listen", "--device", "no such microphone", settings=nothing)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")


def test_microphones_are_listed(run: Run, sentence: bytes, tmp_path: Path) -> None:
    done = run("listen", "--devices", settings=fake(tmp_path))
    assert (done.returncode, done.stdout) == (0, "1  Desk Mic (Fake)\n2  Head Mic (Fake)\n")


def test_a_microphone_is_heard_until_ctrl_c(
    listen: Listen, repeated: Callable[[int], bytes], tmp_path: Path
) -> None:
    (tmp_path / "sound").write_bytes(samples(repeated(1))[0])
    with listen("--device", "Desk", env=fake(tmp_path / "sound")) as process:
        assert process.stdout.readline() == b"This is a test.\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 0
        assert process.stderr.read() == b""


def test_a_microphone_in_use_is_told(run: Run, said: list[str], tmp_path: Path) -> None:
    done = run("listen", *said, "--device", "2", settings=fake(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Head Mic cannot be opened" in done.stderr
