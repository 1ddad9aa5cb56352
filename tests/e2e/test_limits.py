"""What one key, and one address, may have: real servers, told in each protocol when to come back."""

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from amazon_client import PCM, Http2
from native_client import WAIT, answer
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from transcribed.clock import utc_now
from transcribed.scheduling.accounts import seconds_left

if TYPE_CHECKING:
    from tests.conftest import Server

SECRETS = {
    name: f"a-secret-of-the-key-{name}" for name in ("admin", "greedy", "modest", "day", "files", "again")
}
DAY_SECONDS = 3
SECOND = bytes(32_000)
TRIES = 10
TEST_SECONDS = 30


@pytest.fixture(autouse=True)
def within_one_day() -> None:
    """A test that begins right before midnight in UTC would find another day's account at its end."""
    left = seconds_left(utc_now())
    if left < TEST_SECONDS:
        time.sleep(left + 1)


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    roles = {"admin": "admin"}
    path.write_text(
        "".join(f"{name} {secret} {roles.get(name, 'transcribe')}\n" for name, secret in SECRETS.items())
    )
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def limited(
    run_server: "Callable[..., AbstractContextManager[Server]]", script: Path, key_file: Path
) -> "Callable[..., AbstractContextManager[Server]]":
    """Servers with keys that may have little each, and an engine that hears "first" and "second"."""

    def run(*options: str) -> "AbstractContextManager[Server]":
        engine = ("--engine", "scripted", "--script", str(script))
        limits = (
            "--key-streams",
            "1",
            "--key-seconds-a-day",
            str(DAY_SECONDS),
            "--failed-sign-ins",
            str(TRIES),
        )
        return run_server(*engine, "--access-keys", str(key_file), *limits, *options)

    return run


@pytest.fixture(scope="module")
def shared(limited: "Callable[..., AbstractContextManager[Server]]") -> "Iterator[Server]":
    with limited() as running:
        yield running
        running.assert_no_errors()


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def shown(name: str) -> dict[str, str]:
    return bearer(SECRETS[name])


@contextmanager
def opened(
    server: "Server", key: str | dict[str, str], path: str = "/stream?format=json"
) -> Iterator[ClientConnection]:
    """A connection with a key, by its id or by the header that shows it."""
    url = server.url.replace("http", "ws", 1) + path
    headers = shown(key) if isinstance(key, str) else key
    with connect(url, additional_headers=headers, open_timeout=WAIT, close_timeout=WAIT) as ws:
        yield ws


def refused(server: "Server", name: str, message: bytes | str = SECOND) -> dict[str, Any]:
    """What a key is told that is given no stream; then the connection ends."""
    with opened(server, name) as ws:
        ws.send(message)
        error: dict[str, Any] = json.loads(ws.recv(WAIT))["Error"]
        assert error["Code"] == "LimitExceededException"
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(WAIT)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
    return error


def metric(server: "Server", name: str, labels: str = "") -> float:
    found = re.search(rf"^{name}{re.escape(labels)} (.*)$", server.http.get("/metrics").text, re.MULTILINE)
    assert found, name
    return float(found[1])


def test_a_key_has_its_streams_and_others_are_served(shared: "Server") -> None:
    with opened(shared, "greedy") as first:
        first.send(SECOND)
        assert "Transcript" in json.loads(first.recv(WAIT))
        error = refused(shared, "greedy")
        assert error["Message"].startswith("1 streams of the key greedy are being served")
        assert error["RetryAfter"] == 5
        with opened(shared, "modest") as other:
            other.send(SECOND)
            other.send(b"")
            finals, done = answer(other)
            assert (finals, done["AudioSeconds"]) == (["first", "second"], 1.0)
        assert metric(shared, "transcribed_key_streams", '{key="greedy"}') == 1
        first.send(b"")
        assert answer(first)[1]["AudioSeconds"] == 1.0
    assert metric(shared, "transcribed_key_streams", '{key="greedy"}') == 0
    assert metric(shared, "transcribed_key_refused_total", '{key="greedy"}') == 1
    assert metric(shared, "transcribed_key_streams_opened_total", '{key="greedy"}') == 1
    assert metric(shared, "transcribed_key_audio_today_seconds", '{key="greedy"}') == 1


def test_a_day_that_is_full_ends_a_stream_behind_its_last_words(shared: "Server") -> None:
    with opened(shared, "day") as ws:
        for _ in range(DAY_SECONDS + 2):
            ws.send(SECOND)
        finals, error = answer(ws)
    assert finals == ["first", "second"]
    assert error["Message"].startswith("The key day has had its 3 s of audio for today.")
    assert 0 < error["RetryAfter"] <= 86_400
    assert (
        DAY_SECONDS
        <= metric(shared, "transcribed_key_audio_seconds_total", '{key="day"}')
        <= DAY_SECONDS + 0.5
    )
    (kept,) = shared.http.get("/transcripts", headers=shown("day")).json()["Transcripts"]
    text = shared.http.get(f"/transcripts/{kept['SessionId']}.txt", headers=shown("day")).text
    assert text.split() == ["first", "second"]

    # Whatever comes today is refused at once, in each protocol.
    assert refused(shared, "day")["RetryAfter"] <= error["RetryAfter"]
    with opened(shared, "day", "/vosk") as vosk:
        vosk.send(SECOND)
        told = json.loads(vosk.recv(WAIT))
    assert told["error"].startswith("The key day has had its 3 s")
    assert 0 < told["retry_after"] <= 86_400
    with Http2(shared.address, PCM, key="day", secret=SECRETS["day"]) as amazon:
        headers = amazon.wait_for_headers()
    assert (headers[":status"], headers["x-amzn-errortype"]) == ("429", "LimitExceededException")
    assert 0 < int(headers["retry-after"]) <= 86_400
    with opened(shared, "modest") as other:
        other.send(SECOND)
        other.send(b"")
        assert answer(other)[0] == ["first", "second"]


def test_a_recording_breaks_off_where_the_day_is_full(shared: "Server", silent_wav: bytes) -> None:
    upload = {"file": ("long.wav", silent_wav, "audio/wav")}
    assert shared.http.post("/audio", files=upload, headers=shown("files")).status_code == 200
    with opened(shared, "files") as ws:
        ws.send("long.wav")
        finals, error = answer(ws)
    assert finals == ["first", "second"]
    assert error["Message"].startswith("The key files has had its 3 s of audio for today.")
    refused(shared, "files", "long.wav")
    assert (
        DAY_SECONDS
        <= metric(shared, "transcribed_key_audio_seconds_total", '{key="files"}')
        <= DAY_SECONDS + 0.6
    )


@pytest.fixture(scope="session")
def silent_wav() -> bytes:
    """Ten seconds."""
    data = bytes(320_000)
    sizes = [(36 + len(data)).to_bytes(4, "little"), len(data).to_bytes(4, "little")]
    form = (
        b"fmt \x10\0\0\0\x01\0\x01\0"
        + (16_000).to_bytes(4, "little")
        + (32_000).to_bytes(4, "little")
        + b"\x02\0\x10\0"
    )
    return b"RIFF" + sizes[0] + b"WAVE" + form + b"data" + sizes[1] + data


def test_a_restart_goes_on_with_the_day_and_the_list_of_keys_tells_of_it(
    limited: "Callable[..., AbstractContextManager[Server]]",
    run: "Callable[..., subprocess.CompletedProcess[str]]",
    tmp_path: Path,
) -> None:
    place = ("--transcripts", str(tmp_path / "transcripts.db"))
    own = ("--keys-key", str(tmp_path / "keys-key"))
    added = run("keys", "add", "free", "--seconds-a-day", "0", *place, *own)
    secret = added.stdout.strip()
    with limited(*place, *own) as server:
        for shown_by, seconds in ((shown("again"), DAY_SECONDS), (bearer(secret), DAY_SECONDS + 1)):
            with opened(server, shown_by) as ws:
                for _ in range(seconds):
                    ws.send(SECOND)
                ws.send(b"")
                assert answer(ws)[1]["AudioSeconds"] == seconds
    with limited(*place, *own) as server:
        assert refused(server, "again")["Message"].startswith("The key again has had its 3 s")
        assert metric(server, "transcribed_key_audio_today_seconds", '{key="again"}') == DAY_SECONDS
    listed = {each["Key"]: each for each in json.loads(run("keys", "list", "--json", *place).stdout)}
    for name, seconds, role in (("again", DAY_SECONDS, None), ("free", DAY_SECONDS + 1, "transcribe")):
        used = {"AudioSeconds": seconds, "Streams": 1}
        assert (listed[name]["Today"], listed[name]["Last30Days"]) == (used, used)
        assert listed[name]["LastUsed"] is not None
        assert listed[name]["Role"] == role
    rows = [line.split() for line in run("keys", "list", *place).stdout.splitlines()]
    assert [row[:3] for row in rows[1:]] == [["again", "-", "-"], ["free", "free", "transcribe"]]
    assert rows[1][-6:] == ["3", "s", "1", "3", "s", "1"]


# --- Failed sign-ins


def at(server: "Server", address: str) -> httpx.Client:
    """A client that connects from an address of this machine."""
    return httpx.Client(base_url=server.url, transport=httpx.HTTPTransport(local_address=address))


def test_an_address_that_tries_secrets_is_refused_for_a_while(shared: "Server") -> None:
    with at(shared, "127.0.0.9") as attacker, at(shared, "127.0.0.8") as other:

        def tried(number: int) -> int:
            wrong = {"Authorization": f"Bearer wrong-secret-number-{number}"}
            return attacker.get("/transcripts", headers=wrong).status_code

        # At once, which is no way around the limit.
        with ThreadPoolExecutor(2 * TRIES) as threads:
            answers = sorted(threads.map(tried, range(2 * TRIES)))
        assert answers == [401] * TRIES + [429] * TRIES
        for headers in ({"Authorization": "Bearer wrong-secret"}, shown("modest")):
            late = attacker.get("/transcripts", headers=headers)
            assert late.status_code == 429
            assert late.json()["detail"].startswith("10 sign-ins from 127.0.0.9 failed within a minute.")
            assert 0 < int(late.headers["retry-after"]) <= 60
        body = attacker.post(
            "/audio", files={"file": ("a.wav", SECOND, "audio/wav")}, headers=shown("modest")
        )
        assert body.status_code == 429
        near = socket.create_connection(shared.address, WAIT, ("127.0.0.9", 0))
        url = f"{shared.stream_url}?format=json"
        with connect(url, sock=near, additional_headers=shown("modest"), open_timeout=WAIT) as ws:
            error = json.loads(ws.recv(WAIT))["Error"]
            assert error["Code"] == "LimitExceededException"
            assert 0 < error["RetryAfter"] <= 60
        # What asks for no key is open to it, and who shows none is told that one is asked for.
        assert attacker.get("/health").status_code == 200
        assert attacker.get("/transcripts").status_code == 401
        for _ in range(TRIES + 1):
            assert other.get("/transcripts").status_code == 401
        assert other.get("/transcripts", headers=shown("modest")).status_code == 200
    assert metric(shared, "transcribed_sign_ins_failed_total") == TRIES
    assert metric(shared, "transcribed_sign_ins_refused_total") == TRIES + 4
    assert shared.log.read_text().count("sign-ins from 127.0.0.9 failed within a minute") == 1


def test_a_page_cannot_lock_its_reader_out(shared: "Server") -> None:
    """What a page of another origin can have a browser send: what every page may read, and links."""
    follow = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    wrong = {"access_token": "wrong-secret-of-a-page"}
    with at(shared, "127.0.0.7") as reader:

        def answers(path: str, headers: dict[str, str], **query: str) -> set[int]:
            given = {"headers": headers, "params": wrong | query}
            return {reader.get(path, **given).status_code for _ in range(TRIES + 1)}  # type: ignore[arg-type]

        assert answers("/health", image) == answers("/docs", follow) == {200}
        assert answers("/transcripts", image) == {403}
        assert answers("/transcripts", follow) <= {401, 429}
        assert reader.get("/transcripts", headers=shown("modest")).status_code == 200
        key = shown("modest")["Authorization"].removeprefix("Bearer ")
        assert reader.get("/transcripts", params={"access_token": key}).status_code == 429
        url = f"{shared.stream_url}?access_token={key}"
        near = socket.create_connection(shared.address, WAIT, ("127.0.0.7", 0))
        with connect(url, sock=near, open_timeout=WAIT) as ws:
            ws.send("no-such.wav")
            assert "no-such.wav" in str(ws.recv(WAIT))
