"""Transcripts that last, on a real server: kept while they grow, read, searched, corrected, deleted."""

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from transcribed.principal import NOBODY
from transcribed.storage.opening import open_transcripts
from transcribed.storage.transcripts import TranscriptInfo, TranscriptSource
from transcribed.transcript import Segment

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 20
TENTH = bytes(3200)
"""A tenth of a second of audio."""
ALL = "the end of all"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept.db"


@pytest.fixture
def saying(tmp_path: Path, start_server: "Callable[..., Server]") -> "Callable[..., Server]":
    """Starts servers that say these finals, one for every tenth of a second, and ALL at the end."""

    def start(*texts: str, options: tuple[str, ...] = (), **how: object) -> "Server":
        events: list[dict[str, Any]] = [
            {"at": round((number + 1) / 10, 1), "text": text, "final": True}
            for number, text in enumerate(texts)
        ]
        script = tmp_path / "script.json"
        script.write_text(json.dumps({"events": [*events, {"at": "end", "text": ALL, "final": True}]}))
        return start_server("--engine", "scripted", "--script", str(script), *options, **how)

    return start


def opened(server: "Server", query: str = "?format=json") -> ClientConnection:
    return connect(server.stream_url + query, open_timeout=WAIT, close_timeout=WAIT, max_size=None)


def message(ws: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ws.recv(WAIT))
    return found


def answer(ws: ClientConnection) -> list[dict[str, Any]]:
    """All messages up to Done or an error."""
    messages = [message(ws)]
    while not {"Done", "Error"} & messages[-1].keys():
        messages.append(message(ws))
    return messages


def results(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [
        result for each in messages if "Transcript" in each for result in each["Transcript"]["Results"]
    ]
    return [result for result in found if not result["IsPartial"]]


def text(result: dict[str, Any]) -> str:
    said: str = result["Alternatives"][0]["Transcript"]
    return said


def final(ws: ClientConnection) -> dict[str, Any]:
    """The next message, which must be a final."""
    (result,) = results([found := message(ws)]) or [None]
    assert result is not None, found
    return dict(result)


def session(result: dict[str, Any]) -> str:
    transcript, _, _ = result["ResultId"].rpartition("-")
    return str(transcript)


def speak(server: "Server", seconds: float = 0.1) -> tuple[str, list[dict[str, Any]]]:
    """A live stream of so many seconds: the transcript's id, and the finals."""
    with opened(server) as ws:
        ws.send(TENTH * round(seconds * 10))
        ws.send(b"")
        messages = answer(ws)
        return messages[-1]["Done"]["SessionId"], results(messages)


def transcript(server: "Server", name: str) -> dict[str, Any]:
    got = server.http.get(f"/transcripts/{name}")
    assert got.status_code == 200, got.text
    found: dict[str, Any] = got.json()
    return found


def listed(server: "Server", **query: str | int) -> list[str]:
    """The ids of a page."""
    got = server.http.get("/transcripts", params=query)
    assert got.status_code == 200, got.text
    return [found["SessionId"] for found in got.json()["Transcripts"]]


def detail(server: "Server", method: str, path: str, status: int, **more: Any) -> str:
    """What is said to a request that is refused."""
    got = server.http.request(method, path, **more)
    assert got.status_code == status, got.text
    said: str = got.json()["detail"]
    return said


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process writes, and does not come to its end."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


# --- What is kept


def test_a_recording_leaves_a_transcript(server: "Server", sentence: bytes) -> None:
    server.upload("kept.wav", sentence)
    with opened(server) as ws:
        ws.send("kept.wav")
        messages = answer(ws)
    done = messages[-1]["Done"]

    found = transcript(server, done["SessionId"])

    assert found["Transcript"] == {"Results": results(messages)}
    assert found["Transcript"]["Results"] != []
    started, ended = (datetime.fromisoformat(found[name]) for name in ("Started", "Ended"))
    assert timedelta(0) < ended - started < timedelta(seconds=WAIT)
    known = {name: value for name, value in found.items() if name not in {"Transcript", "Started", "Ended"}}
    assert known == {
        "SessionId": done["SessionId"],
        "Source": "file",
        "Recording": "kept.wav",
        "Engine": "moonshine",
        "LanguageCode": "en-US",
        "AudioSeconds": done["AudioSeconds"],
    }
    assert listed(server, recording="kept.wav") == [done["SessionId"]]
    assert server.http.get(f"/transcripts/{done['SessionId']}.txt").text == "This is a test.\n"


def test_live_audio_leaves_a_transcript_from_its_first_final_on(saying: "Callable[..., Server]") -> None:
    server = saying("one", "two")
    with opened(server) as ws:
        ws.send(TENTH)
        one = final(ws)
        growing = transcript(server, session(one))
        assert (growing["Source"], growing["Recording"], growing["Ended"]) == ("live", None, None)
        assert (growing["Transcript"], growing["AudioSeconds"]) == ({"Results": [one]}, 0.1)
        ws.send(TENTH)
        two = final(ws)
        assert transcript(server, session(one))["Transcript"] == {"Results": [one, two]}
        ws.send(b"")
        messages = answer(ws)
    ended = transcript(server, session(one))
    assert ended["Transcript"] == {"Results": [one, two, *results(messages)]}
    assert ended["Ended"] is not None
    assert (ended["AudioSeconds"], messages[-1]["Done"]["SessionId"]) == (0.2, session(one))


def test_a_transcript_that_has_not_changed_is_not_sent_again(
    saying: "Callable[..., Server]",
) -> None:
    server = saying("one", "two")

    def asked(path: str, tags: str) -> tuple[int, str, str]:
        got = server.http.get(path, headers={"If-None-Match": tags})
        return got.status_code, got.text, got.headers["etag"]

    with opened(server) as ws:
        ws.send(TENTH)
        path = f"/transcripts/{session(final(ws))}"
        tag = server.http.get(path).headers["etag"]
        assert asked(path, f'"other", {tag}') == (304, "", tag)
        # Other formats have tags of their own, whichever way they are asked for.
        assert asked(f"{path}.json", tag) == (304, "", tag)
        status, said, text_tag = asked(f"{path}.txt", tag)
        assert (status, said) == (200, "one\n")
        assert server.http.get(path, headers={"Accept": "text/plain"}).headers["etag"] == text_tag != tag
        ws.send(TENTH)
        final(ws)
        assert asked(f"{path}.txt", text_tag)[:2] == (200, "one\ntwo\n")
        tags = [tag, asked(path, tag)[2]]
        ws.send(b"")
        answer(ws)
    tags.append(asked(path, tags[-1])[2])
    assert len(set(tags)) == 3
    server.http.patch(f"{path}/segments/0", json={"text": "1"})
    status, _, tag = asked(f"{path}.txt", ", ".join(tags))
    assert status == 200
    assert asked(f"{path}.txt", tag) == (304, "", tag)
    assert server.http.delete(path).status_code == 204
    assert server.http.get(path, headers={"If-None-Match": tag}).status_code == 404


def test_where_nothing_was_said_there_is_no_transcript(
    tmp_path: Path, start_server: "Callable[..., Server]"
) -> None:
    (tmp_path / "script.json").write_text('{"events": []}')
    server = start_server("--engine", "scripted", "--script", str(tmp_path / "script.json"))
    name, finals = speak(server, 1)
    assert finals == []
    assert listed(server) == []
    for suffix in ("", ".json", ".txt", ".srt", ".vtt"):
        assert "no transcript" in detail(server, "GET", f"/transcripts/{name}{suffix}", 404)


def test_a_client_that_goes_leaves_what_it_heard(
    saying: "Callable[..., Server]", eventually: Callable[..., None]
) -> None:
    server = saying("one", "two")
    with opened(server) as ws:
        ws.send(TENTH)
        one = final(ws)
    eventually(lambda: transcript(server, session(one))["Ended"] is not None, WAIT, "it has an end")
    assert transcript(server, session(one))["Transcript"] == {"Results": [one]}


def test_a_stop_keeps_the_last_words(saying: "Callable[..., Server]", file: Path) -> None:
    server = saying("one", options=("--transcripts", str(file)))
    with opened(server) as ws:
        ws.send(TENTH)
        name = session(final(ws))
        server.stop()
        assert text(final(ws)) == ALL
    server = saying(options=("--transcripts", str(file)))
    found = transcript(server, name)
    assert [text(result) for result in found["Transcript"]["Results"]] == ["one", ALL]
    assert found["Ended"] is not None


SCRIPTS = [
    "Größe und Maß.",
    "你好,世界。",
    "שלום עולם",
    "नमस्ते दुनिया",
    "مرحبا",
    "𠮷野家",
    "e\u0301te\u0301",
    "👋🏽 ok",
]


def test_texts_of_any_script_are_kept_and_found(saying: "Callable[..., Server]") -> None:
    server = saying(*SCRIPTS)
    name, finals = speak(server, 1)
    assert transcript(server, name)["Transcript"]["Results"] == finals
    assert server.http.get(f"/transcripts/{name}.txt").text.splitlines() == [*SCRIPTS, ALL]
    for words in ("größe", "你好", "שלום", "दुनिया", "مرحبا", "été", "ok"):
        assert listed(server, q=words) == [name], words


def test_a_recording_of_any_name_is_found_by_it(saying: "Callable[..., Server]", sentence: bytes) -> None:
    server = saying()
    for name in ("größe.wav", "gro\u0308ße 2.wav"):
        server.upload(name, sentence)
        with opened(server) as ws:
            ws.send(name)
            found = answer(ws)[-1]["Done"]["SessionId"]
        assert listed(server, recording=name) == [found]


def test_two_servers_may_share_a_file(saying: "Callable[..., Server]", file: Path) -> None:
    servers = [saying(*"abcde", options=("--transcripts", str(file))) for _ in range(2)]
    names = [speak(server, 0.5)[0] for server in servers * 3]
    for server in servers:
        assert listed(server) == names[::-1]


# --- Crashes and faults


@pytest.mark.parametrize("heard", [1, 7, 40])
def test_no_final_that_a_client_has_seen_is_lost_when_the_server_is_killed(
    saying: "Callable[..., Server]", file: Path, heard: int
) -> None:
    options = ("--transcripts", str(file))
    server = saying(*map(str, range(200)), options=options)
    seen: list[dict[str, Any]] = []
    with opened(server) as ws:
        ws.send(TENTH * 210)
        while len(seen) < heard:
            seen.append(final(ws))
        server.process.send_signal(signal.SIGKILL)
        try:
            while True:
                seen += results([message(ws)])
        except ConnectionClosed:
            pass
    server.process.wait(WAIT)

    found = transcript(saying(options=options), session(seen[0]))

    # More of them may be there: some were kept, and not sent any more.
    assert found["Transcript"]["Results"][: len(seen)] == seen
    assert found["Ended"] is None


def test_a_transcript_that_is_deleted_while_it_is_written_stays_deleted(
    saying: "Callable[..., Server]",
) -> None:
    server = saying("one", "two", "three")
    with opened(server) as ws:
        ws.send(TENTH)
        name = session(final(ws))
        assert server.http.delete(f"/transcripts/{name}").status_code == 204
        ws.send(TENTH * 2)
        ws.send(b"")
        warning, *messages = answer(ws)
    assert warning == {
        "Warning": {
            "Code": "NotFoundException",
            "Message": "The transcript was deleted while it was written. Nothing more of it is kept.",
        }
    }
    assert [text(result) for result in results(messages)] == ["two", "three", ALL]
    assert "Done" in messages[-1]
    assert listed(server) == []
    detail(server, "GET", f"/transcripts/{name}", 404)


def test_captions_go_on_while_another_process_locks_the_database(
    saying: "Callable[..., Server]", file: Path, eventually: Callable[..., None]
) -> None:
    server = saying("one", "two", "three", "four", options=("--transcripts", str(file)))
    with opened(server) as ws, opened(server, "") as in_text:
        for client in (ws, in_text):
            client.send(TENTH)
        name = session(final(ws))
        assert in_text.recv(WAIT) == "one"
        with locked(file):
            for client in (ws, in_text):
                client.send(TENTH * 2)
            warning = message(ws)["Warning"]
            assert warning["Code"] == "ServiceUnavailableException"
            assert "Captions go on" in warning["Message"]
            assert [text(final(ws)) for _ in range(2)] == ["two", "three"]
            assert [in_text.recv(WAIT) for _ in range(2)] == ["two", "three"]
        for client in (ws, in_text):
            client.send(TENTH)
            client.send(b"")
        assert [text(result) for result in results(answer(ws))] == ["four", ALL]
        assert [in_text.recv(WAIT) for _ in range(2)] == ["four", ALL]
    expected = ["one", "two", "three", "four", ALL]

    def kept() -> bool:
        return all(
            server.http.get(f"/transcripts/{name}.txt").text.splitlines() == expected
            for name in listed(server)
        )

    eventually(kept, WAIT, "what was said meanwhile is kept")
    assert len(listed(server)) == 2
    assert name in listed(server)
    assert server.log.read_text().count("cannot be kept") == 2


_NARROW = "import os, resource as r, sys; r.setrlimit(r.RLIMIT_FSIZE, (200_000, 200_000)); "


def test_captions_go_on_where_the_file_cannot_grow(saying: "Callable[..., Server]") -> None:
    """The operating system refuses to let any file grow beyond a limit."""
    long = [f"{number}" + " very" * 2_000 for number in range(60)]
    launcher = [sys.executable, "-c", _NARROW + "os.execv(sys.argv[1], sys.argv[1:])"]
    server = saying(*long, launcher=launcher)
    with opened(server) as ws:
        ws.send(TENTH * 61)
        ws.send(b"")
        messages = answer(ws)
    assert [text(result) for result in results(messages)] == [*long, ALL]
    assert len([found for found in messages if "Warning" in found]) == 1
    assert "Done" in messages[-1]
    server.process.send_signal(signal.SIGTERM)  # Not `stop`, since it must say what it has lost.
    assert server.process.wait(2 * WAIT) == 0
    assert "are lost" in server.log.read_text()


def _mounting(size: str = "300k") -> list[list[str]]:
    """The ways in which this machine lets a process have a small disk of its own."""
    script = f'mkdir -p disk && mount -t tmpfs -o size={size} tmpfs disk && exec "$@"'
    ways = [["unshare", "--mount", *more, "sh", "-c", script, "sh"] for more in ([], ["--map-root-user"])]
    for way in ways:
        here = {"cwd": os.environ.get("TMPDIR", "/tmp")}  # noqa: S108
        with suppress(OSError):
            if subprocess.run([*way, "true"], capture_output=True, check=False, **here).returncode == 0:
                return [way]
    return []


@pytest.mark.parametrize("launcher", _mounting(), ids=lambda _: "tmpfs")
def test_captions_go_on_where_the_disk_is_full(
    saying: "Callable[..., Server]", launcher: list[str]
) -> None:
    long = [f"{number}" + " very" * 2_000 for number in range(60)]
    server = saying(*long, options=("--transcripts", "disk/kept.db"), launcher=launcher)
    with opened(server) as ws:
        ws.send(TENTH * 61)
        ws.send(b"")
        messages = answer(ws)
    assert [text(result) for result in results(messages)] == [*long, ALL]
    (warning,) = [found["Warning"] for found in messages if "Warning" in found]
    assert "no room" in warning["Message"]
    name = session(results(messages)[0])
    kept = [text(result) for result in transcript(server, name)["Transcript"]["Results"]]
    assert 0 < len(kept) < len(long)
    assert kept == long[: len(kept)]
    body = {"json": {"text": "short " * 1000}}
    assert "no room" in detail(server, "PATCH", f"/transcripts/{name}/segments/0", 507, **body)
    server.process.send_signal(signal.SIGTERM)  # Not `stop`, since it must say what it has lost.
    assert server.process.wait(2 * WAIT) == 0
    assert "are lost" in server.log.read_text()


@pytest.mark.parametrize("launcher", _mounting("6m"), ids=lambda _: "tmpfs")
def test_a_transcript_can_be_deleted_where_the_disk_is_full(
    saying: "Callable[..., Server]", launcher: list[str]
) -> None:
    server = saying("some words " * 1_000, options=("--transcripts", "disk/kept.db"), launcher=launcher)
    name, _ = speak(server)
    disk = Path(f"/proc/{server.process.pid}/root") / server.audio.parent.relative_to("/") / "disk"
    with (disk / "other").open("wb", buffering=0) as other, suppress(OSError):
        while other.write(bytes(4096)) == 4096:
            pass
    body = {"json": {"text": "other " * 3_000}}
    assert "no room" in detail(server, "PATCH", f"/transcripts/{name}/segments/0", 507, **body)
    server.assert_logged("There is no room left for the transcripts")
    assert server.http.delete(f"/transcripts/{name}").status_code == 204
    assert listed(server) == []


def test_a_damaged_database_ends_the_start_with_what_to_do(
    run: "Callable[..., subprocess.CompletedProcess[str]]", said: list[str], file: Path
) -> None:
    file.write_bytes(os.urandom(50_000))
    before = file.read_bytes()
    done = run("serve", "--transcripts", str(file), *said)
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert str(file) in error
    assert "the file is damaged" in error
    assert "Traceback" not in done.stderr
    assert file.read_bytes() == before


def test_a_place_that_cannot_be_written_ends_the_start(
    run: "Callable[..., subprocess.CompletedProcess[str]]", said: list[str], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    for place in (tmp_path, tmp_path / "taken" / "kept.db"):
        done = run("serve", "--transcripts", str(place), *said)
        assert done.returncode == 1
        assert f"Error: Transcripts cannot be kept in {place}" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_password_is_in_no_output_and_warned_of_on_the_command_line(
    run: "Callable[..., subprocess.CompletedProcess[str]]", said: list[str]
) -> None:
    place = "postgresql://user:s3cret@127.0.0.1:1/base"
    done = run("serve", "--transcripts", place, "--log-level", "debug", *said)
    assert done.returncode == 1
    assert "is on the command line" in done.stderr
    settings = {"TRANSCRIBED_TRANSCRIPTS": place}
    other = run("serve", "--log-level", "debug", *said, settings=settings)
    assert other.returncode == 1
    assert "is on the command line" not in other.stderr
    for output in (done.stdout, done.stderr, other.stdout, other.stderr):
        assert "s3cret" not in output
    assert "postgresql://user@127.0.0.1:1/base cannot be reached" in other.stderr


# --- Settings


def test_none_keeps_nothing_at_all(saying: "Callable[..., Server]", sentence: bytes) -> None:
    server = saying("one", options=("--transcripts", "none"))
    server.upload("nothing.wav", sentence)
    name, finals = speak(server)
    assert [text(result) for result in finals] == ["one", ALL]
    for method, path in [
        ("GET", ""),
        ("GET", f"/{name}"),
        ("GET", f"/{name}.txt"),
        ("PATCH", f"/{name}/segments/0"),
        ("DELETE", f"/{name}"),
    ]:
        body = {"content": b'{"text": "two"}'} if method == "PATCH" else {}
        assert "keeps no transcripts" in detail(server, method, f"/transcripts{path}", 404, **body)
    files = [path for path in server.audio.parent.rglob("*") if path.is_file()]
    assert {path.name for path in files if path.parent.name != ".notes"} == {"log", "nothing.wav"}
    assert "Transcripts are in:   nowhere" in server.log.read_text()


def test_what_is_older_than_keep_days_is_deleted_at_the_start(
    saying: "Callable[..., Server]", file: Path, eventually: Callable[..., None]
) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - as what is kept
    ages = {days: str(uuid.uuid4()) for days in (0, 6, 8, 800)}

    async def fill() -> None:
        whole = await open_transcripts(str(file))
        store = whole.of(NOBODY)
        for days, name in ages.items():
            then = now - timedelta(days=days)
            await store.add(TranscriptInfo(name, TranscriptSource.LIVE, "scripted", "en-US", then))
            await store.append(Segment(name, 0, 0.0, 1.0, "once upon a time", True, "en-US"))
            await store.end(name, then, 1.0)
        await whole.aclose()

    asyncio.run(fill())
    for_ever = saying(options=("--transcripts", str(file)))
    assert listed(for_ever) == list(ages.values())
    for_ever.stop()
    server = saying(options=("--transcripts", str(file), "--keep-days", "7"))
    eventually(lambda: listed(server) == [ages[0], ages[6]], WAIT, "the old ones are deleted")
    assert listed(server, q="once") == [ages[0], ages[6]]


# --- Reading, searching, correcting


@pytest.fixture(scope="module")
def name(server: "Server", sentence: bytes) -> str:
    """A transcript on the shared server: "This is a test."."""
    server.upload("read.wav", sentence)
    with opened(server) as ws:
        ws.send("read.wav")
        found: str = answer(ws)[-1]["Done"]["SessionId"]
        return found


def test_a_correction_is_found_and_what_was_recognised_stays(saying: "Callable[..., Server]") -> None:
    server = saying("recognise speech", "wreck a nice beach")
    name, finals = speak(server, 0.2)
    path = f"/transcripts/{name}/segments/1"

    got = server.http.patch(path, json={"text": "  recognise\n nice   speech "})

    assert got.status_code == 200, got.text
    corrected = got.json()
    new, old = corrected["Alternatives"]
    assert (new["Transcript"], [old]) == ("recognise nice speech", finals[1]["Alternatives"])
    assert [item["Content"] for item in new["Items"]] == ["recognise", "nice", "speech"]
    assert {**corrected, "Alternatives": None} == {**finals[1], "Alternatives": None}
    assert transcript(server, name)["Transcript"]["Results"] == [finals[0], corrected, finals[2]]
    lines = ["recognise speech", "recognise nice speech", ALL]
    assert server.http.get(f"/transcripts/{name}.txt").text.splitlines() == lines
    assert (listed(server, q="beach"), listed(server, q="nice speech")) == ([], [name])

    assert server.http.patch(path, json={"text": None}).json() == finals[1]

    assert transcript(server, name)["Transcript"]["Results"] == finals
    assert (listed(server, q="beach"), listed(server, q="nice speech")) == ([name], [])


def test_segments_can_be_made_empty(saying: "Callable[..., Server]") -> None:
    server = saying("one")
    name, _ = speak(server)
    got = server.http.patch(f"/transcripts/{name}/segments/0", json={"text": " "}).json()
    assert [each["Transcript"] for each in got["Alternatives"]] == ["", "one"]
    assert server.http.get(f"/transcripts/{name}.txt").text == f"{ALL}\n"
    server.http.patch(f"/transcripts/{name}/segments/1", json={"text": ""})
    assert server.http.get(f"/transcripts/{name}.txt").text == ""
    assert server.http.get(f"/transcripts/{name}.srt").text == ""
    assert server.http.get(f"/transcripts/{name}.vtt").text == "WEBVTT\n"


@pytest.mark.parametrize(
    ("number", "body", "status", "says"),
    [
        ("0", b'{"text": 5}', 400, "text: Input should be a valid string"),
        ("0", b"{}", 400, "text: Field required"),
        ("0", b'{"text": "a", "words": []}', 400, "words: this name is not known; there are text"),
        ("0", b'{"text": "\\u0007"}', 400, "control characters"),
        ("0", b'{"text": "\\ud800"}', 400, "Send the text as JSON"),
        ("0", b'{"text": "\xff"}', 400, "Send the text as JSON"),
        ("0", b"It's a test.", 400, 'for example {"text": "This is a test."}'),
        ("0", b"", 400, "Send the text as JSON"),
        ("0", b'{"text": "' + b"a" * 30_000 + b'"}', 400, "too long"),
        ("0", b'{"text": "' + b"a" * 70_000 + b'"}', 413, "larger than 65536 bytes"),
        ("7", b'{"text": "seven"}', 404, "no segment 7"),
        ("9" * 30, b'{"text": "many"}', 404, "no segment 9"),
        ("-1", b'{"text": "before"}', 400, "number: Input should be greater"),
        ("one", b'{"text": "one"}', 400, "number: Input should be a valid integer"),
    ],
)
def test_a_correction_that_is_none_is_refused_and_changes_nothing(
    server: "Server", name: str, number: str, body: bytes, status: int, says: str
) -> None:
    before = transcript(server, name)
    assert says in detail(server, "PATCH", f"/transcripts/{name}/segments/{number}", status, content=body)
    assert transcript(server, name) == before


def test_a_transcript_is_read_in_the_form_that_is_asked_for(server: "Server", name: str) -> None:
    bodies = {
        "application/json": server.http.get(f"/transcripts/{name}.json").text,
        "text/plain": "This is a test.\n",
        "application/x-subrip": server.http.get(f"/transcripts/{name}.srt").text,
        "text/vtt": server.http.get(f"/transcripts/{name}.vtt").text,
    }
    assert re.fullmatch(
        r"1\n00:00:00,\d+ --> 00:00:01,\d+\nThis is a test\.\n\n", bodies["application/x-subrip"]
    )
    assert re.fullmatch(
        r"WEBVTT\n\n00:00:00\.\d+ --> 00:00:01\.\d+\nThis is a test\.\n", bodies["text/vtt"]
    )
    assert json.loads(bodies["application/json"])["SessionId"] == name

    def assert_is(got: Any, kind: str) -> None:
        assert got.status_code == 200, got.text
        assert got.headers["content-type"].partition(";")[0] == kind
        assert got.text == bodies[kind]
        assert got.headers["x-content-type-options"] == "nosniff"

    for suffix, kind in zip((".json", ".txt", ".srt", ".vtt"), bodies, strict=True):
        # The suffix is what counts.
        got = server.http.get(f"/transcripts/{name}{suffix}", headers={"Accept": "text/html"})
        assert_is(got, kind)
    for accept, kind in [
        ("*/*", "application/json"),
        ("text/plain", "text/plain"),
        ("text/html, text/*;q=0.5", "text/plain"),
        ("application/x-subrip", "application/x-subrip"),
        ("text/vtt, */*;q=0.1", "text/vtt"),
    ]:
        got = server.http.get(f"/transcripts/{name}", headers={"Accept": accept})
        assert_is(got, kind)
        assert got.headers["vary"] == "Accept"


def test_a_form_that_there_is_not_is_refused(server: "Server", name: str) -> None:
    said = detail(server, "GET", f"/transcripts/{name}.docx", 400)
    assert "'docx'" in said
    assert ".json" in said
    said = detail(server, "GET", f"/transcripts/{name}", 406, headers={"Accept": "text/html"})
    assert "application/json" in said


@pytest.mark.parametrize(
    "unknown",
    ["nobody", str(uuid.UUID(int=4)), "%00", "a%22b'--", "%f0%9f%8e%99", "x" * 5000, "..%2f..%2fetc"],
)
def test_a_transcript_that_there_is_not_is_not_found(server: "Server", unknown: str) -> None:
    for suffix in ("", ".txt"):
        assert server.http.get(f"/transcripts/{unknown}{suffix}").status_code == 404
    assert server.http.delete(f"/transcripts/{unknown}").status_code == 404
    body = {"text": "words"}
    assert server.http.patch(f"/transcripts/{unknown}/segments/0", json=body).status_code == 404


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("limit=0", "limit: Input should be greater"),
        ("limit=201", "limit: Input should be less"),
        ("limit=many", "limit: Input should be a valid integer"),
        ("source=radio", "source: Input should be 'file', 'live', 'openai' or 'job'"),
        ("from=yesterday", "from is 'yesterday'. Give a date, 2026-11-25"),
        ("to=2026-13-01", "to is '2026-13-01'"),
        ("to=9999-12-31", "to is '9999-12-31'"),
        ("from=2026-11-25T10:00:00+01:00", "written %2B"),
        ("before=nothing", "No page gave 'nothing'"),
        ("recording=a/b", "a/b"),
        ("q=" + "a" * 1001, "q: String should have at most 1000 characters"),
        ("q=!", "letter"),
        ("query=test", "query: this name is not known"),
    ],
)
def test_a_query_that_is_none_is_refused_with_what_to_do(server: "Server", query: str, says: str) -> None:
    assert says in detail(server, "GET", f"/transcripts?{query}", 400)


@pytest.mark.parametrize(
    "quoted", ['"', "'", '"a" OR "', "test*", "NEAR(a b)", "words: AND", "-test", "(", "a\x00b"]
)
def test_a_search_has_no_operators(server: "Server", name: str, quoted: str) -> None:
    got = server.http.get("/transcripts", params={"q": quoted})
    assert got.status_code in {200, 400}, got.text


def test_what_was_searched_is_shown_where_it_stands(server: "Server", name: str) -> None:
    for words in ("test", "TEST", "a test", '"is a test"'):
        got = server.http.get("/transcripts", params={"q": words, "recording": "read.wav"}).json()
        (found,) = got["Transcripts"]
        (excerpt,) = found["Excerpts"]
        assert (found["SessionId"], excerpt["Segment"], excerpt["StartTime"]) == (name, 0, 0.0)
        assert "".join(piece["Text"] for piece in excerpt["Pieces"]) == "This is a test."
        assert excerpt["Pieces"][-2]["Text"].endswith("test")
        assert [piece["Hit"] for piece in excerpt["Pieces"][-2:]] == [True, False]
    assert listed(server, q='"test a"', recording="read.wav") == []
    got = server.http.get("/transcripts", params={"q": "", "recording": "read.wav"}).json()
    assert got["Transcripts"][0]["Excerpts"][0]["Pieces"] == [{"Text": "This is a test.", "Hit": False}]


def test_pages_and_filters(saying: "Callable[..., Server]", sentence: bytes) -> None:
    server = saying("one")
    server.upload("some.wav", sentence)
    names = [speak(server)[0] for _ in range(6)]
    with opened(server) as ws:
        ws.send("some.wav")
        recorded = answer(ws)[-1]["Done"]["SessionId"]
    newest_first = [recorded, *reversed(names)]
    assert listed(server) == newest_first
    assert listed(server, source="file") == listed(server, recording="some.wav") == [recorded]
    assert listed(server, source="live") == newest_first[1:]

    seen: list[str] = []
    query: dict[str, str | int] = {"limit": 3}
    while True:
        page = server.http.get("/transcripts", params=query).json()
        seen += [found["SessionId"] for found in page["Transcripts"]]
        assert len(page["Transcripts"]) <= 3
        if page["Next"] is None:
            break
        query["before"] = page["Next"]
        speak(server)  # Does not shift the pages.
    assert seen == newest_first

    started = transcript(server, names[3])["Started"]
    day = started[:10]
    inside = {*newest_first}
    assert inside <= {*listed(server, **{"from": day})}
    assert inside <= {
        *listed(server, **{"from": day, "to": datetime.fromisoformat(started).isoformat()[:10]})
    }
    assert [n for n in listed(server, **{"from": started}) if n in inside] == newest_first[:4]
    assert listed(server, to=started) == newest_first[4:]
    in_tokyo = datetime.fromisoformat(started).astimezone(timezone(timedelta(hours=9))).isoformat()
    assert listed(server, to=in_tokyo) == newest_first[4:]
    assert listed(server, to="2001-01-01") == []


def test_deleting_leaves_the_others(saying: "Callable[..., Server]", sentence: bytes) -> None:
    server = saying("one")
    names = [speak(server)[0] for _ in range(3)]
    assert server.http.delete(f"/transcripts/{names[1]}").status_code == 204
    assert listed(server) == listed(server, q="one") == [names[2], names[0]]
    assert "no transcript" in detail(server, "DELETE", f"/transcripts/{names[1]}", 404)


def test_all_is_described_with_examples(server: "Server") -> None:
    described = server.http.get("/openapi.json").json()
    operations = {
        (method, path): operation
        for path, methods in described["paths"].items()
        if path.startswith("/transcripts")
        for method, operation in methods.items()
    }
    assert len(operations) == 5
    for operation in operations.values():
        assert operation["summary"]
        assert operation["description"]
        assert {"404", "503"} <= operation["responses"].keys()
        assert "422" not in operation["responses"]
    for path in ("/transcripts/{transcript}", "/transcripts/{transcript}.{form}"):
        forms = operations["get", path]["responses"]["200"]["content"]
        assert all("example" in form for form in forms.values())
        assert {"application/json", "text/plain", "application/x-subrip", "text/vtt"} == forms.keys()
    corrected = operations["patch", "/transcripts/{transcript}/segments/{number}"]
    assert "example" in corrected["responses"]["200"]["content"]["application/json"]
    assert "text" in json.dumps(corrected["requestBody"])
