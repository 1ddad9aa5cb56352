"""What belongs to whom, behind every door of a real server."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from amazon_client import PCM, Ws, finals
from native_client import WAIT, answer, stream
from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server

KEYS = {
    "anna": ("transcribe", "anna"),
    "annas-phone": ("read", "anna"),
    "bert": ("transcribe", "bert"),
    "boss": ("admin", "boss"),
}
"""The role and owner of each key."""
AUDIO = bytes(32_000)


def _secret(key: str) -> str:
    return f"the-secret-of-{key}"


@dataclass(frozen=True)
class Client:
    """Somebody with a key."""

    server: "Server"
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {_secret(self.key)}"}

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        return self.server.http.request(method, path, headers=self.headers, **how)

    def told(self, path: str) -> Any:
        answered = self.ask("GET", path)
        assert answered.status_code == 200, answered.text
        return answered.json()

    def upload(self, name: str, content: bytes) -> None:
        files = {"file": (name, content, "audio/wav")}
        assert self.ask("POST", "/audio", files=files).status_code == 200

    def converse(self, *messages: str | bytes) -> dict[str, Any]:
        """Done, or the error, of what some messages on /stream begin."""
        url = f"{self.server.stream_url}?format=json"
        with connect(url, additional_headers=self.headers, open_timeout=WAIT, close_timeout=WAIT) as ws:
            for message in messages:
                ws.send(message)
            return answer(ws)[1]

    def transcripts(self, query: str = "") -> list[tuple[str, str | None]]:
        """The ids and owners of a page."""
        page = self.told(f"/transcripts{query}")
        return [(entry["SessionId"], entry.get("Owner")) for entry in page["Transcripts"]]


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    lines = [f"{key} {_secret(key)} {role} {owner}\n" for key, (role, owner) in KEYS.items()]
    path.write_text("".join(lines))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def shared(
    run_server: "Callable[..., AbstractContextManager[Server]]", script: Path, key_file: Path
) -> "Iterator[Server]":
    """A server with keys of several owners."""
    with run_server(
        "--engine", "scripted", "--script", str(script), "--access-keys", str(key_file)
    ) as running:
        yield running


@pytest.fixture
def client(shared: "Server") -> Callable[[str], Client]:
    return partial(Client, shared)


def test_recordings_of_one_name(client: Callable[[str], Client], repeated: Callable[[int], bytes]) -> None:
    anna, phone, bert, boss = map(client, KEYS)
    content = {"anna": repeated(1), "bert": repeated(2)}
    anna.upload("same.wav", content["anna"])
    bert.upload("same.wav", content["bert"])
    for each, owner in ((anna, "anna"), (phone, "anna"), (bert, "bert")):
        assert each.ask("GET", "/audio/same.wav").content == content[owner]
        (listed,) = each.told("/audio")
        assert (listed["name"], listed["size"], listed["owner"]) == ("same.wav", len(content[owner]), owner)
        assert each.told(f"/audio?owner={owner}") == [listed]
    assert [(each["owner"], each["size"]) for each in boss.told("/audio")] == [
        (owner, len(content[owner])) for owner in ("anna", "bert")
    ]
    assert boss.ask("GET", "/audio/same.wav").status_code == 404
    assert boss.ask("GET", "/audio/same.wav?owner=bert").content == content["bert"]
    assert boss.ask("GET", "/audio/same.wav?owner=").status_code == 404
    for method, path in (("GET", "/audio"), ("GET", "/audio/same.wav"), ("DELETE", "/audio/same.wav")):
        assert bert.ask(method, f"{path}?owner=anna").status_code == 403
        assert bert.ask(method, f"{path}?owner=").status_code == 403
    assert bert.ask("DELETE", "/audio/same.wav").status_code == 204
    assert bert.ask("GET", "/audio/same.wav").status_code == 404
    assert anna.ask("GET", "/audio/same.wav").content == content["anna"]
    assert bert.converse("same.wav")["Code"] == "NotFoundException"
    assert anna.converse("same.wav")["AudioSeconds"] > 2
    assert boss.ask("DELETE", "/audio/same.wav?owner=anna").status_code == 204
    assert boss.told("/audio") == []


def test_transcripts_of_one_session_id(client: Callable[[str], Client], shared: "Server") -> None:
    """Two owners' streams at once, through Amazon's protocol, which lets clients choose the id."""
    session = str(uuid.uuid4())
    parameters = PCM | {"session-id": session}
    anna, phone, bert, boss = map(client, KEYS)
    with (
        Ws(shared.address, parameters, key="anna", secret=_secret("anna")) as annas,
        Ws(shared.address, parameters, key="bert", secret=_secret("bert")) as berts,
    ):
        for ws in (annas, berts):
            ws.send(AUDIO)
        for ws in (annas, berts):
            ws.end()
            assert finals(ws.events())[-1] == "second"
    path = f"/transcripts/{session}"
    for each, owner in ((anna, "anna"), (phone, "anna"), (bert, "bert")):
        assert (session, owner) in each.transcripts()
        assert (session, owner) in each.transcripts("?q=second")
        assert {found for _, found in each.transcripts()} == {owner}
        assert each.told(path)["SessionId"] == session
    assert boss.ask("GET", path).status_code == 404
    assert {(session, "anna"), (session, "bert")} <= set(boss.transcripts())
    assert {owner for _, owner in boss.transcripts("?owner=bert&q=second")} == {"bert"}

    assert anna.ask("PATCH", f"{path}/segments/0", json={"text": "hers"}).status_code == 200
    assert anna.ask("GET", f"{path}.txt").text.startswith("hers")
    assert "hers" not in bert.ask("GET", f"{path}.txt").text
    assert boss.ask("GET", f"{path}.txt?owner=anna").text.startswith("hers")
    correction = {"json": {"text": "the boss's"}}
    assert boss.ask("PATCH", f"{path}/segments/1?owner=bert", **correction).status_code == 200
    assert "boss" in bert.ask("GET", f"{path}.txt").text
    for method, tried in (("GET", path), ("GET", f"{path}.txt"), ("GET", "/transcripts"), ("DELETE", path)):
        assert bert.ask(method, f"{tried}?owner=anna").status_code == 403
    assert bert.ask("PATCH", f"{path}/segments/0?owner=anna", **correction).status_code == 403
    assert bert.ask("DELETE", path).status_code == 204
    assert bert.ask("GET", path).status_code == 404
    assert anna.told(path)["SessionId"] == session
    assert phone.ask("DELETE", path).status_code == 403, "a key that only reads"
    assert boss.ask("DELETE", f"{path}?owner=anna").status_code == 204


@pytest.mark.parametrize("door", ["native", "vosk"])
def test_what_is_said_at_each_door_is_its_speakers(client: Callable[[str], Client], door: str) -> None:
    anna, _, bert, boss = map(client, KEYS)
    known = set(boss.transcripts())
    if door == "native":
        bert.converse(AUDIO, b"")
    else:
        url = bert.server.stream_url.replace("/stream", "/vosk")
        with connect(url, additional_headers=bert.headers, open_timeout=WAIT, close_timeout=WAIT) as ws:
            ws.send(AUDIO)
            ws.send(json.dumps({"eof": 1}))
            while "second" not in str(ws.recv(WAIT)):
                pass
    ((session, owner),) = set(boss.transcripts()) - known
    assert owner == "bert"
    assert bert.told(f"/transcripts/{session}")["SessionId"] == session
    assert anna.ask("GET", f"/transcripts/{session}").status_code == 404


def test_a_stream_that_runs_is_its_owners(client: Callable[[str], Client], shared: "Server") -> None:
    anna, phone, bert, boss = map(client, KEYS)
    with connect(shared.stream_url, additional_headers=anna.headers, close_timeout=WAIT) as ws:
        ws.send(AUDIO)
        ws.recv(WAIT)
        for each, query in ((anna, ""), (phone, ""), (boss, ""), (boss, "?owner=anna")):
            (running,) = each.told(f"/streams{query}")
            assert (running["owner"], running["engine"]) == ("anna", "scripted")
        assert bert.told("/streams") == boss.told("/streams?owner=bert") == []
        assert bert.ask("GET", "/streams?owner=anna").status_code == 403
        ws.send(b"")


def test_only_its_owner_continues_what_is_shared(client: Callable[[str], Client]) -> None:
    anna, bert = client("anna"), client("bert")

    def shares(whose: Client, share: str, end: bytes | None = b"") -> dict[str, str]:
        """Started, of a live stream that ends, or whose connection is closed before its end."""
        url = f"{whose.server.stream_url}?format=json&share={share}"
        with connect(url, additional_headers=whose.headers, open_timeout=WAIT, close_timeout=WAIT) as ws:
            ws.send(AUDIO)
            started: dict[str, str] = json.loads(ws.recv(WAIT))["Started"]
            if end is not None:
                ws.send(end)
                answer(ws)
            return started

    broken_off = shares(anna, "true", end=None)
    of_bert = shares(bert, broken_off["Continuation"])
    assert of_bert["Live"] != broken_off["Live"]
    assert of_bert["Continuation"] != broken_off["Continuation"]
    continued = shares(anna, broken_off["Continuation"])
    assert continued["Live"] == broken_off["Live"]
    assert continued["From"] > 0


def test_filters_of_one_name(client: Callable[[str], Client]) -> None:
    anna, phone, bert, boss = map(client, KEYS)
    path = "/vocabulary-filters/same"
    anna.ask("PUT", path, content="first")
    bert.ask("PUT", path, content="second")
    assert phone.told(path) == anna.told(path) == {"name": "same", "words": ["first"]}
    assert bert.told(path)["words"] == ["second"]
    assert bert.told("/vocabulary-filters") == ["same"]
    assert boss.told("/vocabulary-filters") == [
        {"name": "same", "owner": "anna"},
        {"name": "same", "owner": "bert"},
    ]
    assert boss.told("/vocabulary-filters?owner=bert") == ["same"]
    assert boss.ask("GET", path).status_code == 404
    assert boss.ask("PUT", f"{path}?owner=bert", content="first\nsecond").status_code == 200
    assert bert.told(path)["words"] == ["first", "second"]
    for method in ("GET", "PUT", "DELETE"):
        content = {"content": "x"} if method == "PUT" else {}
        assert bert.ask(method, f"{path}?owner=anna", **content).status_code == 403
    assert bert.ask("GET", "/vocabulary-filters?owner=anna").status_code == 403
    heard = {}
    for name in ("anna", "bert"):
        parameters = PCM | {"vocabulary-filter-name": "same", "vocabulary-filter-method": "mask"}
        with Ws(anna.server.address, parameters, key=name, secret=_secret(name)) as ws:
            ws.send(AUDIO)
            ws.end()
            heard[name] = finals(ws.events())
    assert heard == {"anna": ["***", "second"], "bert": ["***", "***"]}
    assert bert.ask("DELETE", path).status_code == 204
    assert anna.told(path)["words"] == ["first"]
    anna.ask("DELETE", path)


def test_keys_that_come_and_go(
    run_server: "Callable[..., AbstractContextManager[Server]]",
    said: list[str],
    key_file: Path,
    tmp_path: Path,
    sentence: bytes,
) -> None:
    """What was made without keys is an admin's when there are some, and nothing is lost when they go."""
    options = [*said, "--audio", str(tmp_path / "audio"), "--transcripts", str(tmp_path / "t.db")]
    options += ["--vocabulary-filters", str(tmp_path / "filters")]
    paths = ("/audio", "/vocabulary-filters", "/transcripts", "/streams")
    with run_server(*options) as server:
        server.upload("old.wav", sentence)
        server.http.put("/vocabulary-filters/old", content="first")
        with connect(f"{server.stream_url}?format=json", open_timeout=WAIT, close_timeout=WAIT) as ws:
            stream(ws, AUDIO)
            old = answer(ws)[1]["SessionId"]
        before = {path: server.http.get(path).json() for path in paths}
        assert "wner" not in json.dumps(before)
        session = server.http.get(f"/transcripts/{old}").json()
    with run_server(*options, "--access-keys", str(key_file)) as server:
        anna, boss = Client(server, "anna"), Client(server, "boss")
        assert anna.told("/audio") == anna.told("/vocabulary-filters") == anna.transcripts() == []
        assert boss.told("/audio") == [before["/audio"][0] | {"owner": ""}]
        assert boss.told("/vocabulary-filters") == [{"name": "old", "owner": ""}]
        assert boss.transcripts() == [(old, "")]
        assert boss.told(f"/transcripts/{old}?owner=") == session
        assert boss.ask("GET", "/audio/old.wav?owner=").content == sentence
        for path in ("/audio/old.wav", "/vocabulary-filters/old", f"/transcripts/{old}"):
            assert anna.ask("GET", path).status_code == 404
            assert anna.ask("GET", f"{path}?owner=").status_code == 403
        anna.upload("new.wav", sentence)
        new = anna.converse("new.wav")["SessionId"]
        assert [path.name for path in (tmp_path / "audio").glob("*.wav")] == ["old.wav"]
    with run_server(*options) as server:
        listed = {each["name"]: each.get("owner") for each in server.http.get("/audio").json()}
        assert listed == {"old.wav": None, "new.wav": "anna"}
        page = server.http.get("/transcripts").json()["Transcripts"]
        assert {each["SessionId"]: each.get("Owner") for each in page} == {old: None, new: "anna"}
        assert server.http.get("/audio/new.wav").status_code == 404
        assert server.http.get("/audio/new.wav?owner=anna").content == sentence
        assert server.http.get("/vocabulary-filters").json() == ["old"]
