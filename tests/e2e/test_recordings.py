# ruff: noqa: RUF001 - names of every script
"""Recordings over HTTP, on a real server."""

import contextlib
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import av
import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server

TEST_WAV = Path(__file__).parents[1] / "data" / "test.wav"
BOUNDARY = "two-hyphens-and-a-boundary"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
MEGABYTE = 1024 * 1024


def multipart(
    name: bytes, content: bytes, content_type: bytes = b"audio/wav", field: bytes = b"file"
) -> bytes:
    """A body whose file name is sent as it is: no client cleans it up."""
    return (
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\nContent-Type: %b\r\n\r\n%b'
        b"\r\n--%b--\r\n"
    ) % (BOUNDARY.encode(), field, name, content_type, content, BOUNDARY.encode())


def post(server: "Server", body: bytes | Iterator[bytes]) -> httpx.Response:
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return server.http.post("/audio", content=body, headers={"Content-Type": kind})


def upload(server: "Server", name: str, content: bytes, content_type: str = "audio/wav") -> httpx.Response:
    return post(server, multipart(name.encode(), content, content_type.encode()))


def names(server: "Server") -> list[str]:
    return [entry["name"] for entry in server.http.get("/audio").json()]


def encoded(sentence: bytes, container: str, codec: str) -> bytes:
    """A recording in another format."""
    target = io.BytesIO()
    with av.open(io.BytesIO(sentence)) as source, av.open(target, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48_000)
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=48_000)
        stream.layout = "stereo"
        for frame in source.decode(audio=0):
            for resampled in resampler.resample(frame):
                output.mux(stream.encode(resampled))
        output.mux(stream.encode(None))
    return target.getvalue()


def silent_film() -> bytes:
    """A video without a sound track."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return target.getvalue()


def wav_header(samples: int) -> bytes:
    """Of a recording with 16-bit samples at 16 kHz."""
    size = 2 * samples
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)


# --- What it is for


def test_an_upload_is_answered_with_the_name_as_a_json_string(server: "Server", sentence: bytes) -> None:
    answer = upload(server, "answered.wav", sentence)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == '"answered.wav"'
    assert server.http.get("/audio/answered.wav").content == sentence


def test_what_says_it_is_something_else_is_not_allowed(server: "Server", sentence: bytes) -> None:
    for content_type in [
        "text/plain",
        "TEXT/html; charset=utf-8",
        "image/png",
        "application/json",
        "audio",
        "xaudio/wav",
    ]:
        answer = upload(server, "not-allowed.wav", sentence, content_type)
        assert answer.status_code == 400
        assert answer.text == '{"detail":"Only audio files are allowed"}'
    assert "not-allowed.wav" not in names(server)


@pytest.mark.parametrize(
    "content_type",
    [
        "audio/wav",
        "AUDIO/X-WAV",
        "audio/mpeg",
        "audio/wav; rate=16000",
        "video/mp4",
        'Video/WebM;codecs="vp9,opus"',
        "application/octet-stream",
        "Application/Octet-Stream; x=y",
        "binary/octet-stream",
        "application/ogg",
        "",
    ],
)
def test_what_may_be_audio_is_looked_at(server: "Server", sentence: bytes, content_type: str) -> None:
    assert upload(server, "any type.wav", sentence, content_type).status_code == 200
    answer = upload(server, "no audio.wav", b"no audio" * 100, content_type)
    assert answer.status_code == 415


def test_a_part_without_a_type_is_looked_at(server: "Server", sentence: bytes) -> None:
    body = multipart(b"no type.wav", sentence).replace(b"Content-Type: audio/wav\r\n", b"")
    assert post(server, body).json() == "no type.wav"


def test_a_film_is_taken_for_its_sound(server: "Server", sentence: bytes) -> None:
    answer = server.http.post(
        "/audio", files={"file": ("film.mp4", encoded(sentence, "mp4", "aac"), "video/mp4")}
    )
    assert answer.json() == "film.mp4"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("form-data; name=file; filename=unquoted.wav; filename*=utf-8''unquoted.wav", "unquoted.wav"),
        (
            "form-data; name=file; filename=\"=?utf-8?B?TcO8bC53YXY=?=\"; filename*=utf-8''M%C3%BCl.wav",
            "Mül.wav",
        ),
        ('form-data; name="file"; filename="=?utf-8?q?M=C3=BCller_2.wav?="', "Müller 2.wav"),
        (
            'form-data; name="file"; filename="fallback.wav"; filename*=UTF-8\'de\'%E9%8C%B2%E9%9F%B3.wav',
            "録音.wav",
        ),
        ("form-data; name=file; filename*=iso-8859-1''M%FCller%203.wav", "Müller 3.wav"),
        (b'form-data; name="file"; filename="M\xfcller 4.wav"', "Müller 4.wav"),
    ],
)
def test_a_name_is_stored_however_it_is_written(
    server: "Server", sentence: bytes, disposition: str | bytes, name: str
) -> None:
    said = disposition.encode() if isinstance(disposition, str) else disposition
    body = multipart(b"x", sentence)
    start, end = body.index(b"form-data;"), body.index(b"\r\nContent-Type")
    assert post(server, body[:start] + said + body[end:]).json() == name
    assert server.http.get(f"/audio/{quote(name)}").content == sentence


def test_recordings_are_listed_with_what_they_are(server: "Server", sentence: bytes) -> None:
    server.upload("listed b.wav", sentence)
    server.upload("listed a.mp3", encoded(sentence, "mp3", "libmp3lame"))
    server.upload("listed c.webm", encoded(sentence, "webm", "libopus"))
    (server.audio / "listed d.txt").write_text("put here by hand")

    listed = [entry for entry in server.http.get("/audio").json() if entry["name"].startswith("listed ")]

    assert [entry["name"] for entry in listed] == [
        "listed a.mp3",
        "listed b.wav",
        "listed c.webm",
        "listed d.txt",
    ]
    assert listed[1] == {
        "name": "listed b.wav",
        "size": len(sentence),
        "duration": 1.149,
        "format": "wav/pcm_s16le",
        "sample_rate": 22050,
        "channels": 1,
    }
    assert listed[0]["format"] == "mp3/mp3float"
    assert listed[0]["duration"] == pytest.approx(1.149, abs=0.1)
    assert (listed[2]["channels"], listed[2]["sample_rate"]) == (2, 48_000)
    assert (listed[3]["size"], listed[3]["duration"], listed[3]["format"]) == (16, None, None)


def test_an_upload_replaces_what_had_its_name(server: "Server", sentence: bytes) -> None:
    other = encoded(sentence, "flac", "flac")
    server.upload("replaced.wav", sentence)
    server.upload("replaced.wav", other)

    assert server.http.get("/audio/replaced.wav").content == other
    assert names(server).count("replaced.wav") == 1


def test_the_peaks_of_a_recording_are_on_the_timeline_of_its_transcript(
    server: "Server", sentence: bytes
) -> None:
    server.upload("peaks.wav", sentence)
    answer = server.http.get("/audio/peaks.wav/peaks")
    found = answer.json()
    assert (found["SampleRate"], found["SecondsPerPeak"]) == (16000, 0.02)
    assert found["Duration"] == pytest.approx(1.149, abs=0.01)
    assert len(found["Peaks"]) == 2 * 58
    assert max(found["Peaks"]) > 20
    assert min(found["Peaks"]) < -20
    known = {"If-None-Match": answer.headers["etag"]}
    assert server.http.get("/audio/peaks.wav/peaks", headers=known).status_code == 304

    coarse = server.http.get("/audio/peaks.wav/peaks", params={"points": 10}, headers=known).json()
    assert (coarse["SecondsPerPeak"], len(coarse["Peaks"])) == (0.12, 2 * 10)
    assert coarse["Peaks"][1::2] == [max(found["Peaks"][at : at + 12]) for at in range(0, 116, 12)]
    for points in ("0", "20001", "many"):
        assert server.http.get(f"/audio/peaks.wav/peaks?points={points}").status_code == 400


def test_a_renamed_recording_keeps_its_transcripts_and_replaces_none(
    server: "Server", sentence: bytes
) -> None:
    for name in ("former.wav", "taken.wav"):
        server.upload(name, sentence)
    with connect(f"{server.stream_url}?format=json", open_timeout=20) as ws:
        ws.send("former.wav")
        while "Done" not in str(ws.recv(20)):
            pass
    assert server.http.get("/audio/former.wav/peaks").status_code == 200
    for body, status in (
        ({"Name": "taken.wav"}, 409),
        ({"Name": "../x.wav"}, 400),
        ({"name": "x.wav"}, 400),
        ([], 400),
        ({"Name": "x" * 20_000}, 413),
    ):
        answer = server.http.patch("/audio/former.wav", json=body)
        assert answer.status_code == status, body
        assert answer.json()["detail"]
    answer = server.http.patch("/audio/former.wav", json={"Name": "later.wav"})
    assert (answer.status_code, answer.json()) == (200, "later.wav")
    assert server.http.get("/audio/later.wav").content == sentence
    assert server.http.get("/audio/later.wav/peaks").json()["Duration"] == pytest.approx(1.149, abs=0.01)
    for path in ("/audio/former.wav", "/audio/former.wav/peaks"):
        assert server.http.get(path).status_code == 404
    found = server.http.get("/transcripts", params={"recording": "later.wav"}).json()["Transcripts"]
    assert [each["Recording"] for each in found] == ["later.wav"]
    assert server.http.get("/transcripts", params={"recording": "former.wav"}).json()["Transcripts"] == []


def test_what_is_deleted_is_gone(server: "Server", sentence: bytes) -> None:
    server.upload("deleted.wav", sentence)

    answer = server.http.delete("/audio/deleted.wav")

    assert (answer.status_code, answer.content) == (204, b"")
    assert "deleted.wav" not in names(server)
    for method in ["GET", "HEAD", "DELETE"]:
        assert server.http.request(method, "/audio/deleted.wav").status_code == 404
    assert "deleted.wav" in server.http.get("/audio/deleted.wav").json()["detail"]


@pytest.mark.parametrize(
    "name",
    [
        "with space.wav",
        "100%.wav",
        "a#b&c=d;e.wav",
        "日本語 🎙.wav",
        "no extension",
        "👨\u200d👩\u200d👧 familie.wav",
        "می\u200cخواهم.wav",
        "שלום\u200f.wav",
        "テスト：会議｜？.wav",
        "AC\u29f8DC… 3′ 5″ ½.wav",
    ],
)
def test_odd_names_come_back_as_they_are(server: "Server", sentence: bytes, name: str) -> None:
    assert upload(server, name, sentence).json() == name
    assert name in names(server)
    with connect(f"{server.stream_url}?format=json") as stream:
        stream.send(name)
        while "Done" not in (message := json.loads(stream.recv(20))):
            assert "Error" not in message, message
    assert server.http.get("/transcripts", params={"recording": name}).json()["Transcripts"]
    path = "/audio/" + "".join(f"%{byte:02x}" for byte in name.encode())
    assert server.http.get(path).content == sentence
    assert server.http.delete(path).status_code == 204


def test_other_fields_are_passed_over(server: "Server", sentence: bytes) -> None:
    other = b'--%b\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n' % BOUNDARY.encode()
    answer = post(server, other + multipart(b"after a field.wav", sentence))
    assert answer.json() == "after a field.wav"


def test_a_request_without_a_file_is_told_how_to_send_one(server: "Server", sentence: bytes) -> None:
    for answer in [
        server.http.post("/audio"),
        server.http.post("/audio", json={"file": "x.wav"}),
        server.http.post("/audio", content=sentence, headers={"Content-Type": "audio/wav"}),
        server.http.post("/audio", data={"file": "x.wav"}),
        server.http.post("/audio", files={"other": ("x.wav", sentence, "audio/wav")}),
        server.http.post(
            "/audio", content=b"", headers={"Content-Type": "multipart/form-data; boundary=x"}
        ),
    ]:
        assert answer.status_code == 400
        assert "curl -F 'file=@" in answer.json()["detail"]


# --- Download


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-3", 0, 4),
        ("bytes=100-", 100, None),
        ("bytes=-10", -10, None),
        ("bytes=100-99999999", 100, None),
        ("bytes=-99999999", 0, None),
        ("BYTES=5-9", 5, 10),
    ],
)
def test_a_range_is_sent(
    server: "Server", sentence: bytes, asked: str, start: int, end: int | None
) -> None:
    server.upload("ranges.wav", sentence)
    expected = sentence[start:end]

    answer = server.http.get("/audio/ranges.wav", headers={"Range": asked})

    assert answer.status_code == 206
    assert answer.content == expected
    first = start % len(sentence)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(sentence)}"
    assert answer.headers["content-length"] == str(len(expected))


@pytest.mark.parametrize("asked", ["bytes=50732-", "bytes=99999999-", "bytes=-0", "bytes=60000-70000"])
def test_a_range_outside_is_refused(server: "Server", sentence: bytes, asked: str) -> None:
    server.upload("ranges.wav", sentence)

    answer = server.http.get("/audio/ranges.wav", headers={"Range": asked})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(sentence)}"
    assert str(len(sentence)) in answer.json()["detail"]


@pytest.mark.parametrize(
    "asked",
    ["bytes=9-5", "bytes=0-1,5-9", "items=0-3", "bytes=", "bytes=-", "bytes=a-b", "x", "", "bytes=٣-٤"],
)
def test_a_range_of_another_form_is_ignored(server: "Server", sentence: bytes, asked: str) -> None:
    server.upload("ranges.wav", sentence)

    answer = server.http.get("/audio/ranges.wav", headers={"Range": asked.encode()})

    assert (answer.status_code, answer.content) == (200, sentence)


def test_a_range_with_thousands_of_digits_is_answered(server: "Server", sentence: bytes) -> None:
    server.upload("ranges.wav", sentence)
    many = "9" * 5000

    for asked, status in [(f"bytes=0-{many}", 206), (f"bytes={many}-", 416), (f"bytes=-{many}", 206)]:
        answer = server.http.get("/audio/ranges.wav", headers={"Range": asked})
        assert answer.status_code in {status, 200}


def test_a_head_is_the_headers_alone(server: "Server", sentence: bytes) -> None:
    server.upload("head.wav", sentence)

    head, get = server.http.head("/audio/head.wav"), server.http.get("/audio/head.wav")

    assert (head.status_code, head.content) == (200, b"")
    for header in ["content-length", "etag", "accept-ranges", "content-type"]:
        assert head.headers[header] == get.headers[header]
    part = server.http.head("/audio/head.wav", headers={"Range": "bytes=1-2"})
    assert (part.status_code, part.headers["content-length"]) == (206, "2")


def test_a_download_goes_on_where_it_broke_off_or_begins_anew(server: "Server", sentence: bytes) -> None:
    server.upload("resumed.wav", sentence)
    tag = server.http.get("/audio/resumed.wav").headers["etag"]
    rest = {"Range": "bytes=100-", "If-Range": tag}
    on = server.http.get("/audio/resumed.wav", headers=rest)
    assert (on.status_code, on.content) == (206, sentence[100:])

    server.upload("resumed.wav", other := sentence + sentence)
    anew = server.http.get("/audio/resumed.wav", headers=rest)
    assert (anew.status_code, anew.content) == (200, other)
    outside = {"Range": f"bytes={len(other)}-", "If-Range": tag}
    assert server.http.get("/audio/resumed.wav", headers=outside).status_code == 200
    dated = {"Range": "bytes=100-", "If-Range": "Fri, 27 Nov 2026 11:00:00 GMT"}
    assert server.http.get("/audio/resumed.wav", headers=dated).status_code == 200


def test_what_a_client_has_is_not_sent_again(server: "Server", sentence: bytes) -> None:
    server.upload("cached.wav", sentence)
    tag = server.http.get("/audio/cached.wav").headers["etag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        had = server.http.get("/audio/cached.wav", headers={"If-None-Match": known, "Range": "bytes=0-1"})
        assert (had.status_code, had.content, had.headers["etag"]) == (304, b"", tag)
    assert server.http.get("/audio/cached.wav", headers={"If-None-Match": '"other"'}).content == sentence


def test_downloads_are_not_pages(server: "Server", sentence: bytes) -> None:
    """A recording may hold markup; no browser must take it for a page of this server's."""
    server.upload("page.html", sentence)
    assert server.http.get("/audio/page.html").headers["content-type"] == "application/octet-stream"


def test_a_refusal_is_heard_by_clients_that_are_still_sending(server: "Server") -> None:
    """Nor does it spoil the connection for what they ask next."""
    for size in [1000, 100_000, 300_000] * 8:
        with httpx.Client(base_url=server.url) as http:
            refused = http.post("/audio", files={"file": ("x.wav", bytes(size), "text/plain")})
            assert refused.text == '{"detail":"Only audio files are allowed"}'
            assert http.get("/live").status_code == 200


def test_a_boundary_that_is_too_long_is_refused(server: "Server", sentence: bytes) -> None:
    kind = f"multipart/form-data; boundary={'x' * 300}"
    answer = server.http.post("/audio", content=sentence, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert "multipart" in answer.json()["detail"]


# --- What is refused, with nothing left behind


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(PNG, "", id="a picture"),
        pytest.param(b"This is no recording. " * 1000, "", id="text"),
        pytest.param(np.random.default_rng(1).bytes(300_000), "", id="random bytes"),
        pytest.param(bytes(100_000), "", id="zeros"),
        pytest.param(silent_film(), "no audio track", id="a film without sound"),
        pytest.param(wav_header(16_000), "", id="a header without audio"),
        pytest.param(b"RIFF", "", id="four bytes"),
        pytest.param(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "", id="a playlist"),
        pytest.param(b"ffconcat version 1.0\nfile /etc/passwd\n", "", id="a list of files"),
    ],
)
def test_what_is_no_audio_is_refused(server: "Server", content: bytes, reason: str) -> None:
    before = server.stored

    answer = upload(server, "called.wav", content)

    assert answer.status_code == 415
    assert reason in answer.json()["detail"]
    assert "Send a " in answer.json()["detail"]
    assert server.stored == before


def test_a_type_that_lies_does_not_matter(server: "Server", sentence: bytes) -> None:
    assert (
        upload(server, "lies.ogg", encoded(sentence, "mp3", "libmp3lame"), "audio/ogg").status_code == 200
    )
    listed = {entry["name"]: entry["format"] for entry in server.http.get("/audio").json()}
    assert listed["lies.ogg"] == "mp3/mp3float"

    assert upload(server, "lies.wav", b"<html></html>", "audio/wav").status_code == 415


def test_a_truncated_mp3_is_taken_as_far_as_it_goes(server: "Server", sentence: bytes) -> None:
    whole = encoded(sentence, "mp3", "libmp3lame")

    assert upload(server, "truncated.mp3", whole[: len(whole) // 2 + 1]).status_code == 200
    assert upload(server, "stump.mp3", whole[:50]).status_code == 415


def test_one_byte_too_many_is_refused(scripted: "Callable[..., Server]", sentence: bytes) -> None:
    server = scripted("--max-upload-bytes", str(len(sentence)))
    assert upload(server, "fits.wav", sentence).status_code == 200

    answer = upload(server, "too large.wav", sentence + b"x")

    assert answer.status_code == 413
    assert str(len(sentence)) in answer.json()["detail"]
    assert server.stored == ["fits.wav"]


def test_far_too_many_bytes_are_refused_before_they_have_all_come(
    scripted: "Callable[..., Server]",
) -> None:
    server = scripted("--max-upload-bytes", str(MEGABYTE))
    head = (
        f"POST /audio HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**12}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    with socket.create_connection(server.address, timeout=20) as connection:
        connection.sendall(head.encode() + multipart(b"x.wav", wav_header(10**9))[:-40])
        try:
            for _ in range(64):
                connection.sendall(bytes(MEGABYTE))
        except (BrokenPipeError, ConnectionResetError):
            pass  # It has been refused, and the connection closed.
        else:
            assert b" 413 " in connection.recv(1000).splitlines()[0]
    assert server.stored == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"   ", id="spaces"),
        pytest.param(b".", id="dot"),
        pytest.param(b"..", id="dots"),
        pytest.param(b"../up.wav", id="up"),
        pytest.param(b"..\\\\up.wav", id="up with backslash"),
        pytest.param(b"/etc/passwd", id="absolute"),
        pytest.param(rb"C:\x.wav", id="absolute on Windows"),
        pytest.param(rb"\\server\share\x.wav", id="on another server"),
        pytest.param(b"a/b.wav", id="slash"),
        pytest.param(b".hidden.wav", id="hidden"),
        pytest.param(b".incoming/x", id="staging"),
        pytest.param(b"a\x00b.wav", id="NUL"),
        pytest.param(b"a\x1bb.wav", id="escape"),
        pytest.param(b"a\tb.wav", id="tab"),
        pytest.param(b"a" * 296 + b".wav", id="300 characters"),
        pytest.param("ä".encode() * 200, id="400 bytes"),
        pytest.param(b"CON", id="device"),
        pytest.param(b"nul.wav", id="device with ending"),
        pytest.param("a\N{DIVISION SLASH}b.wav".encode(), id="division slash"),
        pytest.param("\N{ONE DOT LEADER}\N{ONE DOT LEADER}".encode(), id="dot leaders"),
        pytest.param("\N{TWO DOT LEADER}".encode(), id="two dot leader"),
        pytest.param("a\N{FULLWIDTH SOLIDUS}b.wav".encode(), id="full-width slash"),
        pytest.param("\N{FULLWIDTH FULL STOP}\N{FULLWIDTH FULL STOP}".encode(), id="full-width dots"),
        pytest.param("a\N{RIGHT-TO-LEFT OVERRIDE}gnp.wav".encode(), id="right-to-left"),
        pytest.param("a\N{ZERO WIDTH SPACE}b.wav".encode(), id="zero-width space"),
        pytest.param(b"a\xff\x81.wav", id="neither UTF-8 nor Latin-1"),
    ],
)
def test_bad_names_are_refused(server: "Server", sentence: bytes, name: bytes) -> None:
    before = server.stored

    answer = post(server, multipart(name, sentence))

    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert server.stored == before
    assert not any((server.audio.parent / made).exists() for made in ["up.wav", "x.wav"])


@pytest.mark.parametrize(
    "path", ["..%2f..%2fetc%2fpasswd", "..%5cx", "%2e%2e%2fx", "a%00b", ".incoming", "CON"]
)
def test_bad_names_in_paths_are_refused(server: "Server", path: str) -> None:
    for method in ["GET", "DELETE"]:
        answer = server.http.request(method, f"/audio/{path}")
        assert answer.status_code in {400, 404}
        assert "detail" in answer.json()


# --- What breaks off


@pytest.mark.parametrize("declared", [True, False], ids=["content-length", "chunked"])
def test_a_body_that_stops_half_way_leaves_what_was_there(
    server: "Server", sentence: bytes, declared: bool, eventually: Callable[..., None]
) -> None:
    server.upload("half.wav", sentence)
    before = server.stored
    body = multipart(b"half.wav", wav_header(10_000_000) + bytes(20_000_000))[: 3 * MEGABYTE]
    length = f"Content-Length: {len(body) * 2}" if declared else "Transfer-Encoding: chunked"
    head = f"POST /audio HTTP/1.1\r\nHost: localhost\r\n{length}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"

    with socket.create_connection(server.address, timeout=20) as connection:
        connection.sendall(head.encode())
        connection.sendall(body if declared else b"%x\r\n%b" % (len(body) * 2, body))
        eventually(lambda: server.stored != before, 5, "the upload has begun")

    eventually(lambda: server.stored == before, 5, "nothing of the upload is left")
    assert server.http.get("/audio/half.wav").content == sentence


def test_a_body_that_ends_before_the_file_does_is_refused(server: "Server", sentence: bytes) -> None:
    before = server.stored
    whole = multipart(b"cut.wav", sentence)
    for body in [whole[:-8], whole[:-30], whole[:20_000], whole[:120]]:
        answer = post(server, body)
        assert answer.status_code == 400
        assert answer.json()["detail"]
    assert server.stored == before


def test_a_body_in_the_smallest_pieces_is_put_together(server: "Server", sentence: bytes) -> None:
    body = multipart(b"pieces.wav", sentence)
    pieces = [body[i : i + 1] for i in range(300)] + [body[300:-60]]
    pieces += [body[i : i + 1] for i in range(len(body) - 60, len(body))]

    assert post(server, iter(pieces)).json() == "pieces.wav"
    assert server.http.get("/audio/pieces.wav").content == sentence


def test_a_full_disk_is_told(scripted: "Callable[..., Server]", sentence: bytes) -> None:
    """The operating system refuses to let any file grow beyond a limit."""
    limited = "import os, resource as r, sys; r.setrlimit(r.RLIMIT_FSIZE, (3 << 20, 3 << 20)); "
    server = scripted(launcher=[sys.executable, "-c", limited + "os.execv(sys.argv[1], sys.argv[1:])"])
    server.upload("before.wav", sentence)

    answer = upload(server, "large.wav", wav_header(5 * MEGABYTE) + bytes(10 * MEGABYTE))

    assert answer.status_code == 507
    assert "no room" in answer.json()["detail"]
    assert server.stored == ["before.wav"]
    server.upload("after.wav", sentence)


ROOM = "mount -t tmpfs -o size=1m tmpfs audio"
READ_ONLY = f'{ROOM} && cp "$KEPT" audio/kept.wav && mount -o remount,ro audio'


def _mounting(prepared: str = ROOM) -> list[list[str]]:
    """The ways in which this machine lets a process have a small disk of its own."""
    script = f'mkdir -p audio && {prepared} && exec "$@"'
    ways = [["unshare", "--mount", *more, "sh", "-c", script, "sh"] for more in ([], ["--map-root-user"])]
    for way in ways:
        try:
            done = subprocess.run(
                [*way, "true"],
                capture_output=True,
                check=False,
                cwd=os.environ.get("TMPDIR", "/tmp"),  # noqa: S108
                env=os.environ | {"KEPT": str(TEST_WAV)},
            )
            if done.returncode == 0:
                return [way]
        except OSError:
            pass
    return []


@pytest.mark.parametrize("launcher", _mounting(), ids=lambda _: "tmpfs")
def test_a_disk_with_no_room_left_is_told(
    scripted: "Callable[..., Server]", sentence: bytes, launcher: list[str]
) -> None:
    server = scripted(launcher=launcher)
    server.upload("before.wav", sentence)

    for _ in range(3):
        answer = upload(server, "large.wav", wav_header(MEGABYTE) + bytes(2 * MEGABYTE))
        assert answer.status_code == 507
        assert "no room" in answer.json()["detail"]

    assert names(server) == ["before.wav"]
    # It would not fit if anything of the refused ones were left.
    fits = wav_header(400_000) + bytes(800_000)
    assert upload(server, "fits.wav", fits).status_code == 200


# --- Memory, and many at once


def test_memory_does_not_grow_with_an_upload_or_a_download(
    scripted: "Callable[..., Server]", sentence: bytes
) -> None:
    server = scripted()
    upload(server, "warm-up.wav", sentence)
    size = 200 * MEGABYTE
    before = server.resident
    seen: list[int] = []

    def body() -> Iterator[bytes]:
        start, end = multipart(b"large.wav", b"CONTENT").split(b"CONTENT")
        yield start + wav_header(size // 2)
        for _ in range(size // MEGABYTE):
            yield bytes(MEGABYTE)
            seen.append(server.resident)
        yield end

    assert post(server, body()).status_code == 200
    with server.http.stream("GET", "/audio/large.wav") as answer:
        received = 0
        for chunk in answer.iter_bytes(MEGABYTE):
            received += len(chunk)
            seen.append(server.resident)

    assert received == size + 44
    assert max(seen) - before < 30 * MEGABYTE


def test_memory_does_not_grow_with_what_a_client_does_not_read(
    scripted: "Callable[..., Server]", eventually: Callable[..., None]
) -> None:
    server = scripted()
    size = 50 * MEGABYTE
    content = wav_header(size // 2) + bytes(size)
    assert upload(server, "large.wav", content).status_code == 200
    del content
    before = server.resident
    with socket.create_connection(server.address) as connection:
        connection.sendall(b"GET /audio/large.wav HTTP/1.1\r\nHost: localhost\r\n\r\n")
        first = connection.recv(1)
        samples = [server.resident]
        eventually(
            lambda: samples.append(server.resident) or len(samples) > 100,
            20,
            "a hundred looks at the memory",
        )

    assert first == b"H"
    assert max(samples) - before < 30 * MEGABYTE


def test_readers_see_the_old_or_the_new_and_never_a_mix(server: "Server") -> None:
    versions = [wav_header(MEGABYTE) + bytes([number]) * 2 * MEGABYTE for number in (1, 2)]
    server.upload("swapped.wav", versions[0])
    done = threading.Event()

    def read() -> set[int]:
        seen = set()
        with httpx.Client(base_url=server.url) as http:
            while not done.is_set():
                answer = http.get("/audio/swapped.wav")
                assert answer.status_code == 200
                seen.add(versions.index(answer.content))
        return seen

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for number in range(1, 31):
                server.upload("swapped.wav", versions[number % 2])
        finally:
            done.set()
        assert set().union(*(reader.result() for reader in readers)) == {0, 1}


def test_uploads_of_one_name_at_once_end_with_one_of_them(server: "Server") -> None:
    versions = [wav_header(100_000) + bytes([number]) * 200_000 for number in range(8)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(partial(upload, server, "contended.wav"), versions))

    assert [answer.status_code for answer in answers] == [200] * 8
    assert server.http.get("/audio/contended.wav").content in versions
    assert names(server).count("contended.wav") == 1


def test_uploads_deletions_and_downloads_at_once_are_all_answered(
    server: "Server", sentence: bytes
) -> None:
    def churn(number: int) -> list[int]:
        mine, others = f"/audio/churn {number % 3}.wav", f"/audio/churn {(number + 1) % 3}.wav"
        with httpx.Client(base_url=server.url) as http:
            return [
                http.post("/audio", files={"file": (mine[7:], sentence, "audio/wav")}).status_code,
                http.get(mine).status_code,
                http.get("/audio").status_code,
                http.get(others).status_code,
                http.delete(others).status_code,
            ]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(churn, range(60)))

    for uploaded, downloaded, listed, *gone in answers:
        assert (uploaded, listed) == (200, 200)
        assert downloaded in {200, 404}
        assert set(gone) <= {200, 204, 404}


@pytest.mark.parametrize("sent", [b"", b"GET /live HT", b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_idle_connections_do_not_keep_others_out(scripted: "Callable[..., Server]", sent: bytes) -> None:
    server = scripted()
    with ExitStack() as stack:
        for _ in range(300):
            connection = stack.enter_context(socket.create_connection(server.address, timeout=10))
            connection.sendall(sent)
        with httpx.Client(base_url=server.url, timeout=10) as http:
            assert http.get("/live").status_code == 200


@pytest.mark.parametrize("direction", ["up", "down"])
def test_the_server_ends_in_good_order_while_a_transfer_stands_still(
    scripted: "Callable[..., Server]", eventually: Callable[..., None], direction: str
) -> None:
    server = scripted()
    content = wav_header(10 * MEGABYTE) + bytes(20 * MEGABYTE)
    assert upload(server, "large.wav", content).status_code == 200
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(server.address)
        if direction == "down":
            connection.sendall(b"GET /audio/large.wav HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(1)
        else:
            head = f"POST /audio HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**8}\r\n"
            head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
            connection.sendall(head.encode() + multipart(b"other.wav", content)[:MEGABYTE])
            eventually(lambda: server.staged, 5, "the upload has begun")
        server.stop()


# --- What else is under /


def test_the_api_describes_itself(server: "Server") -> None:
    described = server.http.get("/openapi.json").json()

    assert server.http.get("/docs").status_code == 200
    body = described["paths"]["/audio"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert body["schema"]["required"] == ["file"]
    assert json.dumps("test.wav") in json.dumps(described["paths"]["/audio"]["post"]["responses"]["200"])


def test_health_says_what_runs(server: "Server") -> None:
    health = server.http.get("/health").json()

    assert health["status"] == "ready"
    assert (health["engine"], health["languages"], health["streams"]) == ("moonshine", ["en-US"], 0)
    assert server.http.get("/live").status_code == 200
    assert server.http.get("/ready").json() == {"status": "ready"}


# --- Stores that fail


@pytest.mark.parametrize("way", _mounting(READ_ONLY), ids=lambda _: "tmpfs")
def test_a_folder_that_cannot_be_written_is_told_at_the_start_and_serves_what_it_has(
    scripted: "Callable[..., Server]", sentence: bytes, way: list[str]
) -> None:
    server = scripted(launcher=way, settings={"KEPT": str(TEST_WAV)})

    assert "cannot be written" in server.log.read_text()
    assert names(server) == ["kept.wav"]
    assert server.http.get("/audio/kept.wav").content == sentence
    for answer in [upload(server, "new.wav", sentence), server.http.delete("/audio/kept.wav")]:
        assert answer.status_code == 503
        assert "log" in answer.json()["detail"]
        assert "/" not in answer.json()["detail"]
        assert ".incoming" not in answer.json()["detail"]
    assert names(server) == ["kept.wav"]
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0


@pytest.mark.parametrize("launcher", _mounting(), ids=lambda _: "tmpfs")
def test_a_recording_can_be_deleted_on_a_full_disk(
    scripted: "Callable[..., Server]", sentence: bytes, launcher: list[str]
) -> None:
    server = scripted(launcher=launcher)
    server.upload("before.wav", sentence)
    disk = Path(f"/proc/{server.process.pid}/root{server.audio}")
    with (disk / "filling").open("wb", buffering=0) as filling, contextlib.suppress(OSError):
        while True:
            filling.write(bytes(512))
    assert upload(server, "more.wav", sentence).status_code == 507

    assert server.http.delete("/audio/before.wav").status_code == 204
    assert names(server) == ["filling"]


def test_an_object_store_that_does_not_answer_holds_up_nothing_but_itself(
    scripted: "Callable[..., Server]", sentence: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        sooner = (
            "import sys; from datetime import timedelta; import transcribed.storage.objects as o; "
            "o._ANSWERING = timedelta(seconds=2); sys.argv = sys.argv[1:]; "
            "from transcribed.cli import main; main()"
        )
        server = scripted(
            "--audio",
            "s3://bucket/prefix",
            launcher=[sys.executable, "-c", sooner],
            settings={
                "AWS_ENDPOINT_URL": f"http://{address}",
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "any",
                "AWS_SECRET_ACCESS_KEY": "any",
            },
        )
        with ThreadPoolExecutor(12) as pool:
            waiting = [pool.submit(server.http.get, "/audio") for _ in range(8)]
            waiting += [
                pool.submit(server.http.get, "/audio/a.wav"),
                pool.submit(server.http.delete, "/audio/a.wav"),
            ]
            with connect(f"{server.stream_url}?format=json") as stream:
                stream.send(bytes(64_000))
                stream.send(b"")
                while "Done" not in json.loads(stream.recv(10)):
                    pass
            assert not waiting[0].done(), "the stream did not wait for the store"
            for answer in (each.result() for each in waiting):
                assert answer.status_code == 503
                assert address not in answer.text
                assert "bucket" not in answer.text
            # The stop does not wait for an upload that the store does not take.
            with socket.create_connection(server.address) as uploading:
                body = multipart(b"a.wav", sentence)
                head = f"POST /audio HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
                head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
                uploading.sendall(head.encode() + body)
                began = time.monotonic()
                server.process.send_signal(signal.SIGTERM)
                assert server.process.wait(40) == 0
                assert time.monotonic() - began < 20
        log = server.log.read_text()
        assert "What earlier uploads left" in log
        assert "Traceback" not in log
