"""What a server tells its operator: log lines by request, and the trail of what somebody did."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from amazon_client import KEY, PCM, SECRET, Http2, Refused, Ws, results
from native_client import answer
from websockets.sync.client import connect

from transcribed.service.trail import Action

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


# --- The trail


class Somebody:
    """A client whose requests all have the same id."""

    def __init__(self, server: "Server", request_id: str) -> None:
        self.server = server
        self._headers = {"X-Request-Id": request_id, "Authorization": f"Bearer {SECRET}"}

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        answer = self.server.http.request(method, path, headers=self._headers, **how)
        assert answer.is_success, answer.text
        return answer

    def converse(self, *messages: str | bytes) -> str:
        """The id of the session that some messages on /stream begin."""
        url = f"{self.server.stream_url}?format=json"
        with connect(url, additional_headers=self._headers) as ws:
            for message in messages:
                ws.send(message)
            _, done = answer(ws)
        session: str = done["SessionId"]
        return session

    def upload(self) -> None:
        content = (Path(__file__).parents[1] / "data" / "test.wav").read_bytes()
        self.ask("POST", "/audio", files={"file": ("trail.wav", content, "audio/wav")})

    def correct(self) -> None:
        session = self.converse("trail.wav")
        self.ask("PATCH", f"/transcripts/{session}/segments/0", json={"text": "secret words"})

    def share(self, viewers: int) -> None:
        url = f"{self.server.stream_url}?format=json&share=true"
        with connect(url, additional_headers=self._headers) as ws:
            ws.send(bytes(32_000))
            ws.send(b"")
            link = json.loads(ws.recv(20))["Started"]["Live"]
            for _ in range(viewers):
                live = self.server.stream_url.removesuffix("/stream") + link
                with connect(live, additional_headers=self._headers) as viewer:
                    viewer.recv(20)

    def with_newest(self, method: str) -> None:
        (newest,) = self.ask("GET", "/transcripts?limit=1").json()["Transcripts"]
        self.ask(method, f"/transcripts/{newest['SessionId']}")

    def run_a_job(self) -> None:
        self.ask("POST", "/jobs", json={"Recording": "trail.wav", "Name": "trail"})
        self.ask("GET", "/jobs/trail/events")

    def come_without_a_key(self) -> None:
        url = self.server.stream_url.removesuffix("/stream") + "/stream-transcription-websocket"
        own = {"X-Request-Id": self._headers["X-Request-Id"]}
        with connect(f"{url}?language-code=en-US", additional_headers=own) as ws:
            ws.recv(20)


DONE: dict[Action, Callable[[Somebody], object]] = {
    Action.RECORDING_UPLOADED: Somebody.upload,
    Action.RECORDING_READ: lambda who: who.ask("GET", "/audio/trail.wav"),
    Action.FILTER_STORED: lambda who: who.ask("PUT", "/vocabulary-filters/unwanted", content="darn"),
    Action.FILTER_READ: lambda who: who.ask("GET", "/vocabulary-filters/unwanted"),
    Action.FILTER_DELETED: lambda who: who.ask("DELETE", "/vocabulary-filters/unwanted"),
    Action.VOCABULARY_STORED: lambda who: who.ask("PUT", "/vocabularies/names", content="Siobhan"),
    Action.VOCABULARY_READ: lambda who: who.ask("GET", "/vocabularies/names"),
    Action.VOCABULARY_DELETED: lambda who: who.ask("DELETE", "/vocabularies/names"),
    Action.SESSION_OPENED: lambda who: who.converse(bytes(32_000), b""),
    Action.SESSION_ENDED: lambda who: who.converse("trail.wav"),
    Action.SESSION_SHARED: lambda who: who.share(viewers=0),
    Action.SESSION_VIEWED: lambda who: who.share(viewers=1),
    Action.TRANSCRIPTS_SEARCHED: lambda who: who.ask("GET", "/transcripts?q=first&recording=trail.wav"),
    Action.TRANSCRIPT_READ: lambda who: who.with_newest("GET"),
    Action.TRANSCRIPT_CORRECTED: Somebody.correct,
    Action.TRANSCRIPT_DELETED: lambda who: who.with_newest("DELETE"),
    Action.JOB_SUBMITTED: Somebody.run_a_job,
    Action.JOB_READ: lambda who: who.ask("GET", "/jobs/trail"),
    Action.JOBS_LISTED: lambda who: who.ask("GET", "/jobs?name=trail"),
    Action.JOB_DELETED: lambda who: who.ask("DELETE", "/jobs/trail"),
    Action.RECORDING_RENAMED: lambda who: who.ask("PATCH", "/audio/trail.wav", json={"Name": "new.wav"}),
    Action.RECORDING_DELETED: lambda who: who.ask("DELETE", "/audio/new.wav"),
    Action.TOKEN_MADE: lambda who: who.ask("POST", "/tokens", json={"seconds": 60}),
    Action.ACCESS_REFUSED: Somebody.come_without_a_key,
}
"""What makes each action happen, once, in an order that works."""

RUN = {Action.JOB_STARTED, Action.JOB_ENDED}
"""What happens in the background, after a request."""

READER, READERS_SECRET = "reader", "a-secret-of-a-reader"
KEYS_BEFORE = "removed a-secret-of-key-1\nrotated a-secret-of-key-2\nchanged a-secret-of-key-3 read\n"
KEYS_AFTER = "added a-secret-of-key-4\nrotated a-secret-of-key-5\nchanged a-secret-of-key-3 admin\n"
NOTICED = {
    Action.KEY_ADDED: "added",
    Action.KEY_ROTATED: "rotated",
    Action.KEY_CHANGED: "changed",
    Action.KEY_REMOVED: "removed",
}
"""What the server notices by itself, and the key that it is told of."""


def trail(server: "Server", action: Action | None = None, request: str | None = None) -> list[Line]:
    """What a server has told, of an action and of a request."""
    return [
        line
        for line in logged(server)
        if line["logger"] == "transcribed.trail"
        and (action is None or line["action"] == action.value)
        and (request is None or line.get("request_id") == request)
    ]


@pytest.fixture(scope="module")
def told(
    run_server: "Callable[..., AbstractContextManager[Server]]",
    script: Path,
    tmp_path_factory: pytest.TempPathFactory,
    eventually: Callable[..., None],
) -> "Server":
    """A server that has ended, to which all of DONE was done."""
    path = tmp_path_factory.mktemp("keys") / "keys"
    always = f"{KEY} {SECRET}\n{READER} {READERS_SECRET} read\n"
    path.write_text(always + KEYS_BEFORE)
    path.chmod(0o600)
    keys = ["--access-keys", str(path)]
    options = ["--engine", "scripted", "--script", str(script), *keys, "--log-format", "json"]
    with run_server(*options, "--log-level", "error") as server:
        path.write_text(always + KEYS_AFTER)
        reader = {"Authorization": f"Bearer {READERS_SECRET}", "X-Request-Id": READER}
        assert server.http.delete("/audio/trail.wav", headers=reader).status_code == 403
        for action, do in DONE.items():
            do(Somebody(server, action.value))
        for action in Action:
            request = None if action in NOTICED or action in RUN else action.value
            eventually(lambda: trail(server, action, request), 10, f"{action} is told")  # noqa: B023
    return server


@pytest.mark.parametrize("action", Action, ids=lambda action: action.value)
def test_each_action_is_told_once(told: "Server", action: Action) -> None:
    (line,) = trail(told, action, None if action in NOTICED or action in RUN else action.value)
    assert line["time"]
    assert line["outcome"] == ("refused" if action is Action.ACCESS_REFUSED else "ok")
    who = line["owner"], line["key"], line["by"], line["address"]
    if action in NOTICED:
        assert (line["subject"], *who) == (NOTICED[action], NOTICED[action], None, "the server", None)
        assert "request_id" not in line
    elif action in RUN:
        assert (line["subject"], *who) == ("trail", KEY, KEY, KEY, None)
    elif action is Action.ACCESS_REFUSED:
        assert line["subject"] == "GET /stream-transcription-websocket"
        assert who == (None, None, "unknown", "127.0.0.1")
    else:
        assert line["subject"]
        assert who == (KEY, KEY, KEY, "127.0.0.1")


def test_who_is_refused_is_named_where_they_are_known(told: "Server") -> None:
    (line,) = trail(told, request=READER)
    assert (line["action"], line["subject"]) == ("access.refused", "DELETE /audio/trail.wav")
    assert (line["outcome"], line["key"], line["owner"]) == ("refused", READER, READER)
    assert line["error"] == "AccessDeniedException"


def test_a_session_is_told_with_its_engine_and_seconds(told: "Server") -> None:
    (live,) = trail(told, Action.SESSION_ENDED, Action.SESSION_OPENED.value)
    assert (live["engine"], live["seconds"], live["recording"], live["error"]) == (
        "scripted",
        1,
        None,
        None,
    )
    (of_file,) = trail(told, Action.SESSION_ENDED, Action.SESSION_ENDED.value)
    assert of_file["recording"] == "trail.wav"
    assert of_file["seconds"] == pytest.approx(1.149, abs=0.01)


def test_nothing_that_was_said_or_is_secret_is_told(told: "Server") -> None:
    log = told.log.read_text()
    assert not any(
        secret in log for secret in (SECRET, *(f"a-secret-of-key-{number}" for number in range(1, 6)))
    )
    assert not any(said in line["message"] for line in trail(told) for said in ("secret words", "first"))


@pytest.mark.parametrize("kind", [Http2, Ws])
def test_each_door_tells_of_its_sessions(
    telling: "Server", kind: Any, eventually: Callable[..., None]
) -> None:
    before = len(trail(telling))
    with kind(telling.address, PCM) as client:
        client.send(bytes(32_000))
        client.end()
        list(results(client.events()))
    eventually(lambda: len(trail(telling)) == before + 2, 10, "the session is told")
    assert [line["action"] for line in trail(telling)[before:]] == ["session.opened", "session.ended"]
    assert [line["outcome"] for line in trail(telling)[before:]] == ["ok", "ok"]


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_file_that_is_transcribed_is_a_session(
    telling: "Server", sentence: bytes, stream: str, eventually: Callable[..., None]
) -> None:
    answer = telling.http.post(
        "/v1/audio/transcriptions",
        files={"file": ("said.wav", sentence)},
        data={"model": "any", "stream": stream},
        headers={"X-Request-Id": f"file-{stream}"},
    )
    assert answer.status_code == 200, answer.text
    ended = partial(trail, telling, Action.SESSION_ENDED, f"file-{stream}")
    eventually(ended, 10, "it is told")
    (line,) = ended()
    assert (line["outcome"], line.get("error")) == ("ok", None)


def test_how_a_session_ended_is_told(telling: "Server", eventually: Callable[..., None]) -> None:
    with Http2(telling.address, PCM) as client:
        client.raw(b"This is no message." * 2)
        with pytest.raises(Refused):
            list(results(client.events()))
    with connect(f"{telling.stream_url}?format=json", additional_headers={"X-Request-Id": "gone"}) as ws:
        ws.send(bytes(3200))
        telling.wait_until_heard(0.1)
    amazons = client.headers["x-amzn-request-id"]
    for request in (amazons, "gone"):
        eventually(lambda: trail(telling, Action.SESSION_ENDED, request), 10, "it is told")  # noqa: B023
    (malformed,) = trail(telling, Action.SESSION_ENDED, amazons)
    assert (malformed["outcome"], malformed["error"]) == ("failed", "BadRequestException")
    (gone,) = trail(telling, Action.SESSION_ENDED, "gone")
    assert (gone["outcome"], gone["error"]) == ("ok", "the client has gone")
