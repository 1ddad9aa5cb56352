import json
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from transcribed.errors import StorageFailure, StorageFull
from transcribed.terminal.writing import FileFormat, check_writable, document, write
from transcribed.transcript import Segment

SEGMENTS = [
    Segment("id", 0, 0, 1, "“Déjà vu”, 東京?", final=True, language="en-US"),
    Segment("id", 1, 2, 3, "", final=True, language="en-US"),
    Segment("id", 2, 4, 5, "Yes.", final=True, language="en-US"),
]


_SRT = """1
00:00:00,000 --> 00:00:01,000
“Déjà vu”, 東京?

2
00:00:04,000 --> 00:00:05,000
Yes.

"""
_VTT = """WEBVTT

00:00:00.000 --> 00:00:01.000
“Déjà vu”, 東京?

00:00:04.000 --> 00:00:05.000
Yes.
"""


@pytest.mark.parametrize(
    ("form", "text"), [("text", "“Déjà vu”, 東京?\nYes.\n"), ("srt", _SRT), ("vtt", _VTT)]
)
def test_segments_are_a_document(form: FileFormat, text: str) -> None:
    assert document(SEGMENTS, form) == text


def test_json_is_one_event_with_all_results() -> None:
    results = json.loads(document(SEGMENTS, "json"))["Transcript"]["Results"]
    assert [result["Alternatives"][0]["Transcript"] for result in results] == [s.text for s in SEGMENTS]


@pytest.mark.parametrize(("form", "text"), [("text", ""), ("srt", ""), ("vtt", "WEBVTT\n")])
def test_no_speech_is_a_document_too(form: FileFormat, text: str) -> None:
    assert document([], form) == text
    assert json.loads(document([], "json")) == {"Transcript": {"Results": []}}


# --- Files


def test_a_file_is_replaced_and_nothing_else_left(tmp_path: Path) -> None:
    file = tmp_path / "new" / "talk.srt"
    for text in ("one", "“two”"):
        check_writable(file)
        write(file, text)
        assert file.read_text() == text
        assert list(file.parent.iterdir()) == [file]
    plain = tmp_path / "plain"
    plain.touch()
    assert file.stat().st_mode == plain.stat().st_mode


def test_a_file_keeps_what_it_had_where_writing_fails(tmp_path: Path) -> None:
    file = tmp_path / "talk.srt"
    file.write_text("before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, before[1]))
    try:
        with pytest.raises(StorageFailure, match=r"talk.srt cannot be written \(File too large\)"):
            write(file, "after")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    for text in ("one", "two"):
        write(tmp_path / "link", text)
        assert (tmp_path / "file").read_text() == text
    assert (tmp_path / "link").is_symlink()


def test_a_device_is_not_replaced() -> None:
    check_writable(Path(os.devnull))
    write(Path(os.devnull), "text")
    assert Path(os.devnull).is_char_device()
    with pytest.raises(StorageFull, match="/dev/full"):
        write(Path("/dev/full"), "text")


def test_a_pipe_takes_it(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write(pipe, "text")
    reader.join(20)
    assert read == ["text"]
    assert pipe.is_fifo()


def _in_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "talk.srt"


def _a_folder(folder: Path) -> Path:
    (folder / "talk.srt").mkdir()
    return folder / "talk.srt"


@pytest.mark.parametrize("make", [_in_a_file, _a_folder])
def test_a_place_that_cannot_be_written_is_told_before(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    file = make(tmp_path)
    with pytest.raises(StorageFailure, match=rf"{file} cannot be written \(.*irectory"):
        check_writable(file)
