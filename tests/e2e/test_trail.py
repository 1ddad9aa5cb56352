"""What a server tells its operator: log lines by request."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from amazon_client import PCM, Http2, Refused
from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server

Line = dict[str, Any]


@pytest.fixture(scope="module")
def telling(
    run_server: "Callable[..., AbstractContextManager[Server]]", script: Path
) -> "Iterator[Server]":
    """A server that logs all it can as JSON."""
    options = ["--engine", "scripted", "--script", str(script), "--log-format", "json"]
    with run_server(*options, "--log-level", "debug") as running:
        yield running


def logged(server: "Server") -> list[Line]:
    """All lines of the log so far; what the server prints for people is not among them."""
    lines = server.log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def logged_of(server: "Server", request: str) -> list[Line]:
    return [line for line in logged(server) if line.get("request_id") == request]


@contextmanager
def broken(folder: Path) -> Iterator[None]:
    """While it lasts the folder cannot be read."""
    aside = folder.with_name("aside")
    folder.mkdir(exist_ok=True)
    folder.rename(aside)
    folder.write_text("This is no folder.")
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


def test_each_answer_has_an_id_of_its_own(telling: "Server") -> None:
    paths = ["/health", "/health", "/no-such-thing", "/audio/no-such-thing", "/docs"]
    ids = [telling.http.get(path).headers["x-request-id"] for path in paths]
    assert len(set(ids)) == len(paths)
    given = telling.http.get("/health", headers={"X-Request-Id": "my-own.1"})
    assert given.headers["x-request-id"] == "my-own.1"


def test_amazons_id_is_the_same(telling: "Server") -> None:
    answer = httpx.post(f"{telling.url}/stream-transcription")
    assert answer.status_code == 400
    assert answer.headers["x-amzn-request-id"] == answer.headers["x-request-id"]
    (line,) = [
        each for each in logged_of(telling, answer.headers["x-request-id"]) if "refused" in each["message"]
    ]
    assert line["logger"] == "transcribed.http.amazon.routes"
    with Http2(telling.address, PCM) as client:
        client.wait_for_headers()
        assert client.headers["x-amzn-request-id"] == client.headers["x-request-id"]
        client.end()
        list(client.events())


def test_what_fails_has_the_id_under_which_the_log_says_how(telling: "Server") -> None:
    filters = telling.audio.parent / "vocabulary-filters"
    with broken(filters):
        failed = telling.http.get("/vocabulary-filters/unwanted")
        assert failed.status_code == 500
        parameters = PCM | {"vocabulary-filter-name": "unwanted"}
        with Http2(telling.address, parameters) as client, pytest.raises(Refused) as refused:
            list(client.events())
    with broken(telling.audio):
        own = {"X-Request-Id": "socket-1"}
        with connect(f"{telling.stream_url}?format=json", additional_headers=own) as ws:
            ws.send("test.wav")
            error = json.loads(ws.recv(20))["Error"]["Message"]
    told = {
        failed.headers["x-request-id"]: failed.json()["detail"],
        client.headers["x-amzn-request-id"]: refused.value.text,
        "socket-1": error,
    }
    for request, detail in told.items():
        assert detail.endswith(f" Request id: {request}.")
        assert "Not a directory" in json.dumps(logged_of(telling, request))
    telling.pass_over_errors()
