"""`transcribed transcribe -o`, run as a command."""

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import pytest
import srt
import webvtt
from command_line import in_terminal

Run = Callable[..., subprocess.CompletedProcess[str]]
WAIT = 60


@pytest.fixture
def data() -> Path:
    """The recordings described in tests/data/README.md."""
    return Path(__file__).parents[1] / "data"


@pytest.fixture
def folder(data: Path, tmp_path: Path) -> Path:
    """Three recordings in two folders."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    shutil.copy(data / "test.wav", tmp_path / "in")
    shutil.copy(data / "jfk.mp3", tmp_path / "in")
    shutil.copy(data / "telephone.wav", tmp_path / "in" / "deep")
    return tmp_path / "in"


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- What is written


def test_a_folder_becomes_subtitles(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run("transcribe", "--format", "srt", "-o", "out", "in")
    assert (done.returncode, done.stdout) == (0, "")
    *lines, summary = done.stderr.splitlines()
    assert sorted(lines) == [
        "in/deep/telephone.wav → out/deep/telephone.srt",
        "in/jfk.mp3 → out/jfk.srt",
        "in/test.wav → out/test.srt",
    ]
    assert summary == "3 written, 0 done before, 0 failed"
    assert _files(tmp_path / "out") == ["deep/telephone.srt", "jfk.srt", "test.srt"]
    (cue,) = srt.parse((tmp_path / "out" / "test.srt").read_text())
    assert cue.content == "This is a test."
    spoken = " ".join(cue.content for cue in srt.parse((tmp_path / "out" / "jfk.srt").read_text()))
    assert "what you can do for your country" in spoken.replace("\n", " ")


def test_what_is_done_is_skipped_until_it_is_forced_or_old(run: Run, folder: Path, tmp_path: Path) -> None:
    command = ["transcribe", "--format", "json", "-o", "out", "in"]

    def result() -> tuple[str, dict[str, int]]:
        """What the last line says, and which file each transcript is."""
        done = run(*command)
        assert done.returncode == 0
        inodes = {name: (tmp_path / "out" / name).stat().st_ino for name in _files(tmp_path / "out")}
        return done.stderr.splitlines()[-1], inodes

    told, first = result()
    assert told == "3 written, 0 done before, 0 failed"
    assert result() == ("0 written, 3 done before, 0 failed", first)
    (folder / "test.wav").touch()
    told, second = result()
    assert told == "1 written, 2 done before, 0 failed"
    assert [name for name in first if first[name] != second[name]] == ["test.json"]
    command.append("--force")
    assert result()[0] == "3 written, 0 done before, 0 failed"
    (tmp_path / "out" / "jfk.json").unlink()
    command.remove("--force")
    assert result()[0] == "1 written, 2 done before, 0 failed"


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("text", "first\nsecond\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:01,500\nfirst second\n\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nfirst second\n"),
    ],
)
def test_one_recording_becomes_the_file_that_is_named(
    *, run: Run, said: list[str], sentence: bytes, tmp_path: Path, form: str, content: str
) -> None:
    (tmp_path / "talk.wav").write_bytes(sentence)
    done = run("transcribe", *said, "--format", form, "-o", "new/talk", "talk.wav")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "talk.wav → new/talk\n")
    assert _told(tmp_path / "new" / "talk") == _told_text(content)
    done = run("transcribe", *said, "--format", form, "-o", "new/talk", "-", stdin=sentence)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "- → new/talk\n")
    done = run("transcribe", *said, "--format", form, "-o", "-", "talk.wav")
    assert (done.returncode, done.stderr) == (0, "")
    assert _told_text(done.stdout) == _told_text(content)


def _told(file: Path) -> list[str]:
    return _told_text(file.read_text())


def _told_text(content: str) -> list[str]:
    """Without the times, which are those of the recording."""
    return [line for line in content.splitlines() if "-->" not in line]


def test_json_in_a_file_is_one_event(run: Run, said: list[str], sentence: bytes, tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(sentence)
    assert run("transcribe", *said, "--format", "json", "-o", "out/", "talk.wav").returncode == 0
    results = json.loads((tmp_path / "out" / "talk.json").read_text())["Transcript"]["Results"]
    assert [result["Alternatives"][0]["Transcript"] for result in results] == ["first", "second"]


def test_a_recording_without_words_is_done_too(run: Run, data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "trumpet.ogg", tmp_path)
    assert run("transcribe", "--format", "vtt", "-o", "out/", "trumpet.ogg").returncode == 0
    assert (tmp_path / "out" / "trumpet.vtt").read_text() == "WEBVTT\n"
    assert len(webvtt.read(tmp_path / "out" / "trumpet.vtt")) == 0
    assert run("transcribe", "--format", "srt", "-o", "-", "trumpet.ogg").stdout == ""


# --- What goes wrong


def _silent_film(path: Path) -> None:
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        for packet in (*stream.encode(av.VideoFrame(64, 64, "yuv420p")), *stream.encode()):
            film.mux(packet)


def test_what_cannot_be_read_does_not_stop_the_rest(
    run: Run, said: list[str], folder: Path, tmp_path: Path
) -> None:
    (folder / "aa.wav").write_text("This is no recording.")
    (folder / "empty.mp3").write_bytes(b"")
    (folder / "gone.wav").symlink_to("nowhere")
    _silent_film(folder / "film.mp4")
    (tmp_path / "other").mkdir()
    done = run("transcribe", *said, "-o", "out", "in", "missing.wav", "other")
    assert done.returncode == 1
    *lines, summary = done.stderr.splitlines()
    assert summary == "3 written, 0 done before, 6 failed"
    assert _files(tmp_path / "out") == ["deep/telephone.txt", "jfk.txt", "test.txt"]
    told = dict(line.split(": ", 1) for line in lines if " → " not in line)
    assert sorted(told) == [
        "in/aa.wav",
        "in/empty.mp3",
        "in/film.mp4",
        "in/gone.wav",
        "missing.wav",
        "other",
    ]
    assert "no audio track" in told["in/film.mp4"]
    assert "No such file" in told["missing.wav"]


def test_a_failing_recogniser_leaves_no_file(run: Run, sentence: bytes, tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(sentence)
    events = [{"at": 0.5, "text": "one", "final": True}, {"at": 1.0, "error": "it fell over"}]
    (tmp_path / "script.json").write_text(json.dumps({"events": events}))
    done = run("transcribe", "--engine", "scripted", "--script", "script.json", "-o", "out/", "talk.wav")
    assert (done.returncode, done.stderr) == (1, "talk.wav: it fell over\n")
    assert _files(tmp_path / "out") == []


def test_a_full_disk_ends_it(run: Run, said: list[str], sentence: bytes, tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(sentence)
    done = run("transcribe", *said, "-o", "/dev/full", "talk.wav")
    assert done.returncode == 1
    assert done.stderr == "Error: /dev/full cannot be written (No space left on device).\n"


def test_a_place_that_cannot_be_written_is_told(
    run: Run, said: list[str], folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    done = run("transcribe", *said, "-o", "out", "in")
    assert done.returncode == 1
    assert "out/test.txt cannot be written (Not a directory)" in done.stderr
    assert done.stderr.endswith("0 written, 0 done before, 3 failed\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--force", "talk.wav"], "-o"),
        (["--format", "srt", "a.wav", "b.wav"], "-o FOLDER"),
        (["-o", "-", "a.wav", "b.wav"], "-o FOLDER"),
        (["-o", "", "a.wav"], "-o is empty"),
        (["-o", "out", ""], "empty"),
        (["--format", "doc", "a.wav"], "srt"),
        ([], "FILE"),
    ],
)
def test_a_wrong_command_is_told(run: Run, arguments: list[str], told: str) -> None:
    done = run("transcribe", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_ctrl_c_leaves_what_is_whole_and_nothing_else(
    transcribed: Path,
    environment: dict[str, str],
    sentence: bytes,
    repeated: Callable[[int], bytes],
    tmp_path: Path,
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("long.wav", "longer.wav"):
        (tmp_path / "in" / name).write_bytes(repeated(500))
    (tmp_path / "in" / "short.wav").write_bytes(sentence)
    command = [transcribed, "transcribe", "--threads", "3", "-o", "out", "in"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, env=environment, cwd=tmp_path, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "in/short.wav → out/short.txt\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 130
        assert process.stderr.read() == ""
    assert _files(tmp_path / "out") == ["short.txt"]


# --- What is seen


def test_a_terminal_shows_a_bar_for_each_and_one_for_all(
    transcribed: Path, environment: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    (folder / "text[red].wav").write_text("This is no recording.")
    code, shown, _ = in_terminal([transcribed, "transcribe", "-o", "out", "in"], environment, tmp_path)
    screen = shown.decode()
    assert code == 1
    assert "4 recordings" in screen
    assert "%" in screen
    assert "in/test.wav → out/test.txt\r\n" in screen
    assert "in/text[red].wav: " in screen
    assert "3 written, 0 done before, 1 failed\r\n" in screen
    assert screen.rfind("\x1b[?25h") > screen.rfind("\x1b[?25l"), "the cursor is not given back"


def test_recordings_are_transcribed_at_the_same_time(
    run: Run, sentence: bytes, tmp_path: Path, repeated: Callable[[int], bytes]
) -> None:
    """The short one is done before the long one, which was begun before it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "long.wav").write_bytes(repeated(40))
    (tmp_path / "in" / "short.wav").write_bytes(sentence)

    def order(threads: int) -> list[str]:
        done = run("transcribe", "--threads", str(threads), "--force", "-o", "out", "in")
        return [line.partition(" ")[0] for line in done.stderr.splitlines()[:2]]

    assert order(1) == ["in/long.wav", "in/short.wav"]
    assert order(2) == ["in/short.wav", "in/long.wav"]


def test_a_pipe_can_be_named(
    transcribed: Path, environment: dict[str, str], said: list[str], sentence: bytes, tmp_path: Path
) -> None:
    """As in `transcribed transcribe <(…)`."""
    (tmp_path / "talk.wav").write_bytes(sentence)
    done = subprocess.run(
        ["bash", "-c", '"$0" transcribe "$@" <(cat talk.wav)', transcribed, *said],
        capture_output=True,
        env=environment,
        cwd=tmp_path,
        timeout=WAIT,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"first\nsecond\n", b"")
