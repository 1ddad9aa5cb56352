"""Recordings as people have them: what a player lets them hear is recognised, when it lets them hear it."""

import io
import json
import re
import struct
import subprocess
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import srt
from amazon_client import Http2, results
from native_client import decoded, opened, stream

if TYPE_CHECKING:
    from tests.conftest import Server

CASES = Path(__file__).parents[1] / "data" / "cases"
WAIT = 20
A = "it was followed by remorse i tried to drive it away i felt too sick"
B = "black and bitter but welcome enough to the farmers"
C = "poor mortals who wait for a happy day cheer up your hearts"


@dataclass(frozen=True)
class Heard:
    """What was said, and when the first and the last segment of it began; how it ended."""

    words: str
    starts: list[float]
    last: dict[str, Any]
    warnings: list[str]


def words(text: str) -> str:
    # The recogniser takes the one for the other.
    return " ".join(re.findall(r"[a-z']+", text.lower())).replace("cure up", "cheer up")


def content(name: str) -> bytes:
    return (CASES / name).read_bytes()


def heard(server: "Server", query: str, audio: bytes | str) -> Heard:
    """What comes of a recording's name, or of live bytes."""
    said, warnings = list[Mapping[str, Any]](), list[str]()
    with opened(server, query) as ws:
        if isinstance(audio, str):
            ws.send(audio)
        else:
            stream(ws, audio)
        while True:
            message = json.loads(ws.recv(WAIT))
            if "Transcript" in message:
                (result,) = message["Transcript"]["Results"]
                if not result["IsPartial"] and result["Alternatives"][0]["Items"]:
                    said.append(result["Alternatives"][0])
            elif "Warning" in message:
                warnings.append(message["Warning"]["Message"])
            else:
                (last,) = message.values()
                break
    text = words(" ".join(found["Transcript"] for found in said))
    return Heard(text, [found["Items"][0]["StartTime"] for found in said], last, warnings)


def uploaded(server: "Server", name: str, audio: bytes, query: str = "") -> Heard:
    server.upload(name, audio)
    found = heard(server, query, name)
    assert server.http.delete(f"/audio/{name}").is_success
    return found


def cues(server: "Server", found: Heard) -> list[srt.Subtitle]:
    got = server.http.get(f"/transcripts/{found.last['SessionId']}.srt")
    assert got.status_code == 200, got.text
    return list(srt.parse(got.text))


# --- Containers whose sound is not where it would be in most


@pytest.mark.parametrize(
    ("name", "said", "begin", "seconds"),
    [
        ("layout-left-left.caf", B, 0.1, 2.995),
        ("layout-7.1.mov", "the seventh chapter", 0.1, 1.022),
        ("audio-starts-at-5s.mkv", A, 5.2, 10.3),
        ("antiphase.m4a", A, 0.2, 5.25),
        ("film-5.1.m4a", A, 0.2, 5.25),
        ("dc-offset.flac", A, 0.2, 5.25),
        ("index-at-end.m4a", A, 0.2, 5.25),
    ],
)
def test_what_a_player_plays_is_heard_when_it_plays_it(
    server: "Server", name: str, said: str, begin: float, seconds: float
) -> None:
    found = uploaded(server, f"player-{name}", content(name))
    assert found.words == said
    assert found.last["AudioSeconds"] == pytest.approx(seconds, abs=0.1)
    first = cues(server, found)[0]
    assert first.start.total_seconds() == pytest.approx(begin, abs=0.25)


def test_words_behind_a_gap_stand_behind_it(server: "Server") -> None:
    for found in (
        uploaded(server, "gap.webm", content("gap-10s.webm")),
        heard(server, "&encoding=auto", content("gap-10s.webm")),
    ):
        assert found.words == f"{A} {C}"
        shown = cues(server, found)
        assert shown[0].start.total_seconds() == pytest.approx(0.2, abs=0.25)
        (second,) = [cue for cue in shown if cue.content.startswith("Poor")]
        assert second.start.total_seconds() == pytest.approx(15.9, abs=0.25)


@pytest.mark.parametrize("name", ["audio-starts-at-5s.mkv", "dc-offset.flac", "layout-left-left.caf"])
def test_live_it_is_heard_as_well(server: "Server", name: str) -> None:
    found = heard(server, "&encoding=auto", content(name))
    assert found.words == (B if name.startswith("layout") else A)
    assert found.starts[0] == pytest.approx(5.2 if name.startswith("audio") else 0.2, abs=0.25)


def test_the_track_that_is_marked_is_heard_and_another_if_it_is_asked_for(server: "Server") -> None:
    server.upload("tracks.mkv", content("second-track-default.mkv"))
    marked = heard(server, "", "tracks.mkv")
    assert marked.words == A
    assert marked.last["Track"] == 2
    assert [track["Default"] for track in marked.last["Tracks"]] == [False, True]
    assert heard(server, "&track=1", "tracks.mkv").words == C


@pytest.mark.parametrize("output", [[], ["-o", "said.txt"]])
def test_the_command_hears_the_track_that_is_asked_for(
    run: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path, output: list[str]
) -> None:
    done = run("transcribe", *output, "--track", "1", str(CASES / "second-track-default.mkv"))
    assert done.returncode == 0, done.stderr
    assert words((tmp_path / "said.txt").read_text() if output else done.stdout) == C


def test_a_recorder_that_began_again_is_heard_twice(server: "Server") -> None:
    for found in (
        uploaded(server, "restarted.mp4", content("recorder-restarted.mp4")),
        heard(server, "&encoding=auto", content("recorder-restarted.mp4")),
    ):
        assert found.words == f"{A} {C}"
        assert found.starts == sorted(found.starts)


def test_a_clause_that_is_said_three_times_does_not_end_the_segment(server: "Server") -> None:
    found = uploaded(server, "clause.flac", content("clause-three-times.flac"))
    assert found.words == " ".join(["i felt too sick"] * 3 + [B])


# --- WAV files that say one thing and hold another


def made_wav(declared: int | None = None, behind: bytes = b"") -> bytes:
    """A as a WAV whose header declares so many bytes of samples, with something behind these."""
    written = io.BytesIO()
    with wave.open(written, "wb") as target:
        target.setparams((1, 2, 16_000, 0, "NONE", ""))
        target.writeframes(decoded(content("dc-offset.flac")).tobytes())
    whole = written.getvalue()
    if declared is not None:
        whole = whole[:40] + struct.pack("<I", declared) + whole[44:]
    return whole + behind


def test_what_stands_behind_the_samples_is_no_sound(server: "Server") -> None:
    picture = b"id3 " + struct.pack("<I", 90_000) + bytes(range(256)) * 352
    for found in (
        uploaded(server, "picture.wav", made_wav(behind=picture)),
        heard(server, "&encoding=auto", made_wav(behind=picture)),
        heard(server, "", made_wav(behind=picture)),
    ):
        assert found.words == A
        assert found.last["AudioSeconds"] == pytest.approx(5.25, abs=0.01)


@pytest.mark.parametrize("declared", [0, 4096, 0xFFFFFFFF])
def test_a_header_that_was_never_finished_hides_nothing(server: "Server", declared: int) -> None:
    found = uploaded(server, f"unfinished-{declared}.wav", made_wav(declared))
    assert found.words == A
    assert found.last["AudioSeconds"] == pytest.approx(5.25, abs=0.01)


# --- What cannot be heard, and what stands beside it


def test_an_index_at_the_end_cannot_be_live_and_the_error_says_so(server: "Server") -> None:
    found = heard(server, "&encoding=auto", content("index-at-end.m4a"))
    assert found.last["Code"] == "BadRequestException"
    assert "index" in found.last["Message"]


def test_a_track_that_nobody_can_decode_is_refused_in_a_sentence(server: "Server") -> None:
    answered = server.http.post(
        "/audio", files={"file": ("unknown.m4a", content("codec-unknown.m4a"), "audio/mp4")}
    )
    assert answered.status_code == 415
    detail = answered.json()["detail"]
    assert detail[0].isupper()
    assert detail.endswith(".")


def test_it_spoils_no_list_and_no_stream_but_its_own(server: "Server") -> None:
    (server.audio / "odd-unknown.m4a").write_bytes(content("codec-unknown.m4a"))
    server.upload("odd-good.flac", content("dc-offset.flac"))
    listed = server.http.get("/audio")
    assert listed.status_code == 200
    assert {"odd-unknown.m4a", "odd-good.flac"} <= {found["name"] for found in listed.json()}
    assert heard(server, "", "odd-unknown.m4a").last["Code"] == "BadRequestException"
    assert heard(server, "", "odd-good.flac").words == A
    for name in ("odd-unknown.m4a", "odd-good.flac"):
        assert server.http.delete(f"/audio/{name}").is_success


def test_it_spoils_no_batch(
    run: Callable[..., subprocess.CompletedProcess[str]], said: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "unknown.m4a").write_bytes(content("codec-unknown.m4a"))
    (folder / "late.mkv").write_bytes(content("audio-starts-at-5s.mkv"))
    done = run("transcribe", *said, "--format", "srt", "-o", "out", "in")
    assert done.returncode == 1
    assert "1 written, 0 done before, 1 failed" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["late.srt"]


# --- Two who speak at once


def test_the_voices_of_a_call_are_told_apart(server: "Server") -> None:
    parameters = {
        "language-code": "en-US", "sample-rate": "8000", "media-encoding": "flac",
        "enable-channel-identification": "true", "number-of-channels": "2",
        "session-id": "00000000-0000-4000-8000-00000000ca11",
    }  # fmt: skip
    call = content("call-overlapping.flac")
    with Http2(server.address, parameters) as client:
        client.wait_for_headers()
        for start in range(0, len(call), 4_000):
            client.send(call[start : start + 4_000])
        client.end()
        finals = [found for found in results(client.events()) if not found["IsPartial"]]
    assert {found["ChannelId"] for found in finals} == {"ch_0", "ch_1"}
    got = server.http.get(f"/transcripts/{parameters['session-id']}.srt")
    assert got.status_code == 200, got.text
    shown = list(srt.parse(got.text))
    assert all(cue.content.startswith("-- ") for cue in shown)
    # Each stands at its own time, though they overlap.
    one, other = shown[:2]
    assert one.content.startswith("-- All the witnesses")
    assert other.content.startswith("-- Adam understood")
    assert one.start.total_seconds() == pytest.approx(0.26, abs=0.1)
    assert other.start.total_seconds() == pytest.approx(0.69, abs=0.1)
    assert one.end > other.start
    assert [cue.start for cue in shown] == sorted(cue.start for cue in shown)
