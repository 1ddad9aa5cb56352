import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from transcribed.terminal.planning import Plan, plan

OLD, NEW = 1_000_000_000, 2_000_000_000


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes files, of one time if it is given, in the working folder."""
    monkeypatch.chdir(tmp_path)

    def make(*paths: str, time: int = OLD, content: bytes = b"12345") -> None:
        for path in paths:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(content)
            os.utime(path, (time, time))

    return make


def _plan(*inputs: str, output: str = "out", force: bool = False) -> Plan:
    return plan(inputs, output, ".srt", force=force)


def _pairs(made: Plan) -> list[tuple[str, str]]:
    assert made.problems == []
    return [(job.recording, str(job.output)) for job in made.jobs]


# --- Where it goes


def test_one_recording_goes_to_the_file_that_is_named(put: Callable[..., None]) -> None:
    put("talk.mp3")
    assert _pairs(_plan("talk.mp3", output="a/talk.vtt")) == [("talk.mp3", "a/talk.vtt")]
    assert _pairs(_plan("-", output="a/talk.vtt")) == [("-", "a/talk.vtt")]


def test_one_recording_goes_into_a_folder_that_is_there_or_meant(put: Callable[..., None]) -> None:
    put("in/talk.mp3", "there/other")
    assert _pairs(_plan("in/talk.mp3", output="there")) == [("in/talk.mp3", "there/talk.srt")]
    assert _pairs(_plan("in/talk.mp3", output="new/")) == [("in/talk.mp3", "new/talk.srt")]


def test_a_folder_is_mirrored(put: Callable[..., None]) -> None:
    put("in/b.MP3", "in/2024/a.wav", "in/2024/deep/a.mkv")
    assert _pairs(_plan("in")) == [
        ("in/b.MP3", "out/b.srt"),
        ("in/2024/a.wav", "out/2024/a.srt"),
        ("in/2024/deep/a.mkv", "out/2024/deep/a.srt"),
    ]


def test_only_recordings_of_a_folder_are_taken_and_all_that_are_named(put: Callable[..., None]) -> None:
    put(
        "in/a.wav",
        "in/notes.txt",
        "in/a.srt",
        "in/.hidden.wav",
        "in/.trash/b.wav",
        "in/wav",
        "odd.name",
        "bare",
    )
    assert _pairs(_plan("in", "odd.name", "bare")) == [
        ("in/a.wav", "out/a.srt"),
        ("odd.name", "out/odd.name.srt"),
        ("bare", "out/bare.srt"),
    ]


def test_transcripts_may_stand_beside_their_recordings(put: Callable[..., None]) -> None:
    put("in/a.wav", "in/b/c.mp4")
    assert _pairs(_plan("in", output="in")) == [("in/a.wav", "in/a.srt"), ("in/b/c.mp4", "in/b/c.srt")]


def test_names_that_differ_in_their_ends_alone_are_told_apart(put: Callable[..., None]) -> None:
    put("in/talk.mp3", "in/TALK.wav", "in/other.wav", "in/deep/talk.wav")
    assert _pairs(_plan("in")) == [
        ("in/TALK.wav", "out/TALK.wav.srt"),
        ("in/other.wav", "out/other.srt"),
        ("in/talk.mp3", "out/talk.mp3.srt"),
        ("in/deep/talk.wav", "out/deep/talk.srt"),
    ]


@pytest.mark.parametrize(
    "files",
    [
        ["a/talk.mp3", "b/talk.mp3"],
        ["a/talk.mp3", "a/talk.wav", "b/talk.mp3.ogg"],
        ["a/\u00e9.mp3", "b/e\u0301.mp3"],
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(put: Callable[..., None], files: list[str]) -> None:
    put(*files, "c/fine.mp3")
    made = _plan(*files, "c/fine.mp3")
    (problem,) = made.problems
    lost = [path for path in files if path not in [job.recording for job in made.jobs]]
    assert len(lost) == 2
    assert problem.startswith(" and ".join(lost) + ": ")
    assert "c/fine.mp3" in [job.recording for job in made.jobs]
    assert len({str(job.output) for job in made.jobs}) == len(made.jobs)


def test_a_recording_that_is_named_twice_is_transcribed_once(put: Callable[..., None]) -> None:
    put("in/a.wav")
    assert _pairs(_plan("in/a.wav", "in", "./in/a.wav", "in/")) == [("in/a.wav", "out/a.srt")]


@pytest.mark.parametrize("output", ["talk.srt", "link/talk.srt"])
def test_no_recording_is_overwritten(put: Callable[..., None], output: str) -> None:
    """Even one with an odd name, and by another name."""
    put("talk.srt")
    Path("link").symlink_to(".")
    made = _plan("talk.srt", output=output, force=True)
    assert made.jobs == []
    assert "would be lost" in made.problems[0]


# --- What is done already


def test_what_is_newer_than_its_recording_is_done(put: Callable[..., None]) -> None:
    put("in/done.wav", "in/older.wav", "in/same.wav", "in/new.wav")
    put("out/done.srt", time=OLD + 1)
    put("out/older.srt", time=OLD - 1)
    put("out/same.srt", time=OLD)
    made = _plan("in")
    assert [job.recording for job in made.done] == ["in/done.wav"]
    assert [job.recording for job in made.jobs] == ["in/new.wav", "in/older.wav", "in/same.wav"]
    assert {job.size for job in made.jobs} == {5}
    assert len(_plan("in", force=True).jobs) == 4


def test_an_empty_transcript_is_one(put: Callable[..., None]) -> None:
    put("in/silence.wav")
    put("out/silence.srt", time=NEW, content=b"")
    assert len(_plan("in").done) == 1


def test_what_is_no_file_is_not_taken_for_done(put: Callable[..., None]) -> None:
    put("talk.wav", time=0)
    assert len(_plan("talk.wav", output=os.devnull).jobs) == 1


# --- What cannot be


def test_what_is_not_there_is_told(put: Callable[..., None]) -> None:
    put("a.wav")
    made = _plan("missing.wav", "a.wav")
    assert made.problems == ["missing.wav: it cannot be opened (No such file or directory)."]
    assert [job.recording for job in made.jobs] == ["a.wav"]


def test_a_folder_without_recordings_is_told(put: Callable[..., None]) -> None:
    put("in/notes.txt")
    assert _plan("in").problems == ["in: it holds no recordings."]


def test_standard_input_has_no_place_in_a_folder(put: Callable[..., None]) -> None:
    put("a.wav", "out/other")
    for made in (_plan("-", "a.wav"), _plan("-")):
        assert made.problems == ["-: standard input has no name. Transcribe it alone, with -o FILE."]


def test_links_lead_to_files_and_not_in_circles(put: Callable[..., None]) -> None:
    put("in/a.wav", "elsewhere/b.wav")
    Path("in/circle").symlink_to("..")
    Path("in/folder").symlink_to("../elsewhere")
    Path("in/b.wav").symlink_to("../elsewhere/b.wav")
    Path("in/nowhere.wav").symlink_to("missing")
    Path("in/self.wav").symlink_to("self.wav")
    made = _plan("in")
    assert [job.recording for job in made.jobs] == ["in/a.wav", "in/b.wav"]
    assert [problem.partition(":")[0] for problem in made.problems] == ["in/nowhere.wav", "in/self.wav"]
    assert _pairs(_plan("in/folder")) == [("in/folder/b.wav", "out/b.srt")]


def test_what_could_be_read_for_ever_is_not_taken(put: Callable[..., None]) -> None:
    put("in/a.wav")
    os.mkfifo("in/pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("in/socket.wav")
        assert [job.recording for job in _plan("in").jobs] == ["in/a.wav"]


@pytest.fixture
def nobody() -> Iterator[None]:
    """Without the rights of root, who may read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_a_folder_that_may_not_be_read_is_told(
    put: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    put("in/a.wav", "in/private/b.wav")
    for folder in (Path.cwd(), *Path.cwd().parents[:-2]):
        mode = folder.stat().st_mode
        request.addfinalizer(lambda folder=folder, mode=mode: folder.chmod(mode))
        folder.chmod(0o755)
    Path("in/private").chmod(0)
    request.addfinalizer(lambda: Path("in/private").chmod(0o755))
    request.getfixturevalue("nobody")
    made = _plan("in")
    assert made.problems == ["in/private: it cannot be opened (Permission denied)."]
    assert [job.recording for job in made.jobs] == ["in/a.wav"]
