"""Every door, whoever comes to it; and how keys come and go while a server runs."""

import json
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import httpx
import psutil
import pytest
from amazon_client import PCM, Http2, Ws
from command_line import assert_refused
from starlette.routing import Mount, Route, WebSocketRoute
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from transcribed.app import Application
from transcribed.settings import ServerSettings

if TYPE_CHECKING:
    from tests.conftest import Server

Run = Callable[..., subprocess.CompletedProcess[str]]

WAIT = 20
REFUSED, UNKNOWN, FORBIDDEN = "no key", "unknown", "forbidden"
READ, TRANSCRIBE, ADMIN, OPEN = "read", "transcribe", "admin", "open"
ROLES = [READ, TRANSCRIBE, ADMIN]


@dataclass(frozen=True)
class Door:
    """A route: who may use it, and what it answers them."""

    role: str
    answer: int | str
    content: bytes | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    pages: bool = False
    """Whether web pages of other origins may ask it too."""


_UNKNOWN_TRANSCRIPT = "103076a7-c6f0-4294-9bce-fcdcc249a801"
DOORS = {
    "GET /openapi.json": Door(OPEN, 200, pages=True),
    "GET /docs": Door(OPEN, 200, pages=True),
    "GET /docs/files/favicon.png": Door(OPEN, 200, pages=True),
    "GET /redoc": Door(OPEN, 200, pages=True),
    "GET /": Door(OPEN, 200),
    "GET /live/{id}": Door(OPEN, 200),
    "GET /web/{file}": Door(OPEN, 200),
    "GET /health": Door(OPEN, 200, pages=True),
    "GET /live": Door(OPEN, 200),
    "GET /ready": Door(OPEN, 200),
    "GET /streams": Door(READ, 200),
    "GET /metrics": Door(ADMIN, 200),
    "POST /tokens": Door(READ, 200, b'{"seconds": 60}'),
    "POST /audio": Door(TRANSCRIBE, 400, b"no form"),
    "GET /audio": Door(READ, 200),
    "GET /audio/{name}": Door(READ, 404),
    "HEAD /audio/{name}": Door(READ, 404),
    "GET /audio/{name}/peaks": Door(READ, 404),
    "PATCH /audio/{name}": Door(TRANSCRIBE, 404, b'{"Name": "other"}'),
    "DELETE /audio/{name}": Door(TRANSCRIBE, 404),
    "GET /transcripts": Door(READ, 200),
    "GET /transcripts/{transcript}": Door(READ, 404),
    "GET /transcripts/{transcript}.{form}": Door(READ, 404),
    "PATCH /transcripts/{transcript}/segments/{number}": Door(TRANSCRIBE, 404, b'{"text": "said"}'),
    "DELETE /transcripts/{transcript}": Door(TRANSCRIBE, 404),
    "POST /jobs": Door(TRANSCRIBE, 400, b"no job"),
    "GET /jobs": Door(READ, 200),
    "GET /jobs/{name}": Door(READ, 404),
    "GET /jobs/{name}/events": Door(READ, 404),
    "DELETE /jobs/{name}": Door(TRANSCRIBE, 404),
    "GET /vocabulary-filters": Door(READ, 200),
    "GET /vocabulary-filters/{name}": Door(READ, 404),
    "PUT /vocabulary-filters/{name}": Door(TRANSCRIBE, 200, b"darn"),
    "DELETE /vocabulary-filters/{name}": Door(TRANSCRIBE, 404),
    "GET /vocabularies": Door(READ, 200),
    "GET /vocabularies/{name}": Door(READ, 404),
    "PUT /vocabularies/{name}": Door(TRANSCRIBE, 200, b"Siobhan"),
    "DELETE /vocabularies/{name}": Door(TRANSCRIBE, 404),
    "POST /v1/audio/transcriptions": Door(TRANSCRIBE, 400, b"no form"),
    "POST /v1/audio/translations": Door(TRANSCRIBE, 400, b"no form"),
    "GET /v1/models": Door(READ, 200),
    "GET /v1/models/{model}": Door(READ, 404),
    "WebSocket /stream": Door(TRANSCRIBE, "it hears", query={"format": "json"}),
    "WebSocket /live/{id}": Door(READ, "it hears"),
    "WebSocket /vosk": Door(TRANSCRIBE, "it hears"),
    "WebSocket /": Door(TRANSCRIBE, "it hears"),
    "POST /v1/realtime/client_secrets": Door(TRANSCRIBE, 200, b"{}"),
    "POST /v1/realtime/transcription_sessions": Door(TRANSCRIBE, 200, b"{}"),
    "WebSocket /v1/realtime": Door(TRANSCRIBE, "it hears"),
    "POST /stream-transcription": Door(TRANSCRIBE, "it hears"),
    "WebSocket /stream-transcription-websocket": Door(TRANSCRIBE, "it hears", query=PCM),
}
NAMES = {"name": "unknown", "transcript": _UNKNOWN_TRANSCRIPT, "form": "txt", "number": "0"} | {
    "id": "unknown",
    "file": "favicon.svg",
    "model": "unknown",
}


def doors_of(router: Any) -> Iterator[str]:
    """All routes that an application has, as the table names them."""
    for route in router.routes:
        if isinstance(route, WebSocketRoute):
            yield f"WebSocket {route.path}"
        elif isinstance(route, Mount):
            yield f"GET {route.path}/favicon.png"
        elif (included := getattr(route, "original_router", None)) is not None:
            yield from doors_of(included)
        else:
            assert isinstance(route, Route), f"{route} is a door of no known kind"
            methods = set(route.methods or ())
            # Starlette's own routes answer HEAD as GET.
            methods -= {"HEAD"} if type(route) is Route else set()
            yield from (f"{method} {route.path_format}" for method in methods)


def test_every_door_has_its_row(tmp_path: Path) -> None:
    application = Application(ServerSettings(audio=str(tmp_path)))
    assert sorted(doors_of(application.asgi)) == sorted(DOORS)


# --- A server that has keys


@dataclass(frozen=True)
class Locked:
    """A server with a key of each role and one that was removed, by their ids."""

    server: "Server"
    folder: Path
    secrets: Mapping[str, str]
    keys: Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def locked(
    run_server: "Callable[..., AbstractContextManager[Server]]",
    script: Path,
    tmp_path_factory: pytest.TempPathFactory,
    transcribed: Path,
    environment: dict[str, str],
) -> Iterator[Locked]:
    """A server whose keys are in its database."""
    folder = tmp_path_factory.mktemp("locked")
    settings = {
        "TRANSCRIBED_TRANSCRIPTS": str(folder / "transcripts.db"),
        "TRANSCRIBED_KEYS_KEY": str(folder / "apart" / "keys-key"),
        "TRANSCRIBED_VOCABULARY_FILTERS": str(folder / "filters"),
        "TRANSCRIBED_VOCABULARIES": str(folder / "vocabularies"),
        "TRANSCRIBED_FAILED_SIGN_INS": "0",
        "TRANSCRIBED_LOG_LEVEL": "debug",
    }

    def keys(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [transcribed, "keys", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=environment | settings,
            cwd=folder,
            timeout=60,
            check=False,
        )

    secrets = {role: keys("add", role, "--role", role).stdout.strip() for role in ROLES}
    options = ("--engine", "scripted", "--script", str(script))
    with run_server(*options, settings=settings) as server:
        secrets["removed"] = keys("add", "removed").stdout.strip()
        assert get(server, "/audio", secrets["removed"]) == 200
        assert keys("remove", "removed").returncode == 0
        yield Locked(server, folder, secrets, keys)


def get(server: "Server", path: str, secret: str) -> int:
    return httpx.get(f"{server.url}{path}", headers=bearer(secret), timeout=WAIT).status_code


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"} if secret else {}


def test_secrets_are_made_as_they_should_be(locked: Locked) -> None:
    assert len(set(locked.secrets.values())) == len(locked.secrets)
    assert all(re.fullmatch(r"tr_[A-Za-z0-9]{40}", secret) for secret in locked.secrets.values())


@pytest.fixture(scope="session")
def expired(locked: Locked, eventually: Callable[..., None]) -> str:
    """A token that was good for a second."""
    token = made_token(locked, ADMIN, seconds=1)
    eventually(lambda: get(locked.server, "/audio", token) == 401, WAIT, "the token has expired")
    return token


def made_token(locked: Locked, key: str, **wanted: object) -> str:
    answer = locked.server.http.post("/tokens", json=wanted, headers=bearer(locked.secrets[key]))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    token: str = answer.json()["token"]
    return token


# --- Who comes to which door


def expected(door: Door, who: str) -> int | str:
    if door.role == OPEN or (who in ROLES and ROLES.index(who) >= ROLES.index(door.role)):
        return door.answer
    if isinstance(door.answer, str):
        return FORBIDDEN if who in ROLES else REFUSED if who == "nobody" else UNKNOWN
    return 403 if who in ROLES else 401


def came(server: "Server", name: str, door: Door, secret: str) -> int | str:
    """How somebody fares at a door."""
    method, _, path = name.partition(" ")
    path = path.format(**NAMES | ({"name": "kept"} if method == "PUT" else {}))
    if method != "WebSocket":
        amazons = path == "/stream-transcription"
        with httpx.Client(http1=False, http2=True, timeout=WAIT) as client:
            headers = bearer(secret)
            if amazons:
                headers |= {f"x-amzn-transcribe-{key}": value for key, value in PCM.items()}
            answer = client.request(method, f"{server.url}{path}", headers=headers, content=door.content)
        if isinstance(door.answer, int):
            if answer.status_code == 401:
                assert answer.headers["www-authenticate"].startswith("Bearer")
            return answer.status_code
        return "it hears" if answer.status_code == 200 else meaning(answer.headers["x-amzn-errortype"])
    query = urlencode(door.query)
    url = f"{server.url.replace('http', 'ws', 1)}{path}?{query}"
    with connect(url, additional_headers=bearer(secret), open_timeout=WAIT, close_timeout=WAIT) as ws:
        with suppress(ConnectionClosed):
            ws.send('{"eof": 1}' if path in {"/", "/vosk"} else b"")
        said = ""
        # Of Amazon's a stream of no audio has nothing to say.
        with suppress(ConnectionClosed):
            said = str(ws.recv(WAIT))
        fares = told(said) if said or "transcription" in path else "nothing"
        if fares != "it hears":
            with pytest.raises(ConnectionClosed):
                ws.recv(WAIT)
            assert ws.close_code == (1000 if "transcription" in path else 1008)
    return fares


def told(said: str) -> str:
    for part, meant in (
        ("needs a key", REFUSED),
        ("is not signed", REFUSED),
        ("does not know", UNKNOWN),
        ("has expired", UNKNOWN),
        ("and this needs", FORBIDDEN),
    ):
        if part in said:
            return meant
    return "it hears"


def meaning(code: str) -> str:
    return {
        "MissingAuthenticationTokenException": REFUSED,
        "UnrecognizedClientException": UNKNOWN,
        "AccessDeniedException": FORBIDDEN,
    }[code]


@pytest.mark.parametrize("who", ["nobody", "somebody", *ROLES, "expired", "removed"])
def test_each_door_opens_for_those_for_whom_it_should(locked: Locked, expired: str, who: str) -> None:
    others = {"nobody": "", "somebody": f"tr_{'x' * 40}", "expired": expired}
    secret = others.get(who) if who in others else locked.secrets[who]
    assert secret is not None
    # At once: what is not known is looked for once a second, for all who ask.
    with ThreadPoolExecutor(8) as pool:
        coming = {
            name: pool.submit(came, locked.server, name, door, secret) for name, door in DOORS.items()
        }
    fared = {name: each.result() for name, each in coming.items()}
    assert fared == {name: expected(door, who) for name, door in DOORS.items()}


def test_whoever_has_the_link_and_a_key_watches_a_shared_session(locked: Locked) -> None:
    shared = f"{locked.server.stream_url}?format=json&share=true"
    with connect(shared, additional_headers=bearer(locked.secrets[TRANSCRIBE])) as speaker:
        speaker.send(bytes(32_000))
        link = json.loads(speaker.recv(WAIT))["Started"]["Live"]
        url = locked.server.url.replace("http", "ws", 1) + link
        with connect(url, additional_headers=bearer(locked.secrets[READ])) as viewer:
            assert "first" in str(viewer.recv(WAIT))
            speaker.send(b"")
            assert "Done" in [*map(str, viewer)][-1]
            assert viewer.close_code == 1000
        for secret, says in (("", "needs a key"), (f"tr_{'x' * 40}", "does not know")):
            with connect(url, additional_headers=bearer(secret)) as viewer:
                assert says in str(viewer.recv(WAIT))


def asked_by_a_browser(client: httpx.Client, name: str, door: Door, headers: Mapping[str, str]) -> int:
    """The status with which a door answers what has a browser's headers."""
    method, _, path = name.partition(" ")
    url = f"{path.format(**NAMES)}?{urlencode(door.query)}"
    if method == "WebSocket":
        method = "GET"
        headers = {
            **headers,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
        }
        headers["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    return client.request(method, url, headers=headers, content=door.content).status_code


def test_no_door_opens_for_other_pages_nor_under_another_name(locked: Locked) -> None:
    key, page = bearer(locked.secrets[ADMIN]), {"Origin": "http://evil.example"}
    frame = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    with httpx.Client(base_url=locked.server.url, headers=key, timeout=WAIT) as client:
        for name, door in DOORS.items():
            for headers in ({}, page):
                by_another_name = asked_by_a_browser(client, name, door, {"Host": "evil.example"} | headers)
                # Granian says 403 of all WebSockets that are not let in.
                assert by_another_name == (403 if name.startswith("WebSocket") else 421), name
            for headers in (page, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, frame):
                status = asked_by_a_browser(client, name, door, headers)
                assert status == (door.answer if door.pages else 403), (name, headers)


# --- How a key is shown


def ways(key: str, secret: str) -> dict[str, dict[str, Any]]:
    """What a GET is made with that shows a key, by the way."""
    return {
        "bearer": {"headers": bearer(secret)},
        "basic": {"auth": (key, secret)},
        "in the URL": {"params": {"access_token": secret}},
    }


def test_a_key_and_its_token_are_shown_in_many_ways(locked: Locked) -> None:
    secret = locked.secrets[READ]
    for shown in (secret, made_token(locked, READ, seconds=60)):
        for way, asked in ways(READ, shown).items():
            assert httpx.get(f"{locked.server.url}/transcripts", **asked).status_code == 200, way
        for query, protocols in (
            (f"?access_token={shown}", None),
            ("", ["transcribed", f"transcribed.bearer.{shown}"]),
            ("", [f"transcribed.bearer.{shown}", "transcribed"]),
        ):
            with connect(f"{locked.server.stream_url}{query}", subprotocols=protocols) as ws:  # type: ignore[arg-type]
                assert "the role read, and this needs transcribe" in str(ws.recv(WAIT))
                assert ws.subprotocol == (protocols and "transcribed")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"auth": (ADMIN, "{read}")}, "not belong to the same key"),
        ({"auth": (READ, "no secret at all")}, "does not know"),
        ({"headers": {"Authorization": "Basic nonsense!"}}, "Base64"),
        ({"headers": {"Authorization": "Basic bm9uc2Vuc2U="}}, "not ID:SECRET"),
        ({"headers": {"Authorization": "Digest {read}"}}, "is not supported"),
        ({"headers": {"Authorization": "{read}"}}, "is not supported"),
        ({"headers": {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}}, "Amazon's endpoints"),
        ({"headers": {"Authorization": "Bearer"}}, "is not supported|does not know"),
        ({"params": {"access_token": ""}}, "does not know"),
        ({"params": {"access_token": ["{read}", "{read}"]}}, "more than one secret"),
        ({"params": {"access_token": "{read}"}, "auth": (READ, "{read}")}, "more than one secret"),
    ],
)
def test_what_shows_no_key_is_told(locked: Locked, asked: Any, says: str) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(filled, value))
        return value.replace("{read}", locked.secrets[READ])

    answer = httpx.get(f"{locked.server.url}/transcripts", **filled(asked))
    assert answer.status_code == 401
    assert re.search(says, answer.json()["detail"])
    assert locked.secrets[READ] not in answer.text


def test_a_key_in_the_url_is_for_reading(locked: Locked) -> None:
    answer = httpx.delete(f"{locked.server.url}/audio/any", params={"access_token": locked.secrets[ADMIN]})
    assert answer.status_code == 401


def test_amazons_clients_sign_with_a_key_of_the_database(locked: Locked) -> None:
    for kind in (Http2, Ws):
        with kind(locked.server.address, PCM, key=TRANSCRIBE, secret=locked.secrets[TRANSCRIBE]) as client:
            client.send(bytes(32000))
            client.end()
            said = json.dumps([body for _, body in client.events()])
            assert "first" in said
            assert "second" in said


# --- Tokens


@pytest.mark.parametrize(
    ("wanted", "key", "status"),
    [
        (b'{"seconds": 60, "role": "read"}', TRANSCRIBE, 200),
        (b'{"seconds": 86400}', ADMIN, 200),
        (b'{"seconds": 60, "role": "admin"}', TRANSCRIBE, 403),
        (b'{"seconds": 0}', ADMIN, 400),
        (b'{"seconds": 86401}', ADMIN, 400),
        (b'{"seconds": "60"}', ADMIN, 400),
        (b'{"seconds": 60, "role": "root"}', ADMIN, 400),
        (b'{"seconds": 60, "owner": "other"}', ADMIN, 400),
        (b"nonsense", ADMIN, 400),
        (b"", ADMIN, 400),
        (b" " * 5000, ADMIN, 413),
    ],
)
def test_a_token_is_no_more_than_its_key(locked: Locked, wanted: bytes, key: str, status: int) -> None:
    answer = locked.server.http.post("/tokens", content=wanted, headers=bearer(locked.secrets[key]))
    assert answer.status_code == status, answer.text


def test_a_token_makes_no_tokens(locked: Locked) -> None:
    token = made_token(locked, ADMIN, seconds=60)
    answer = locked.server.http.post("/tokens", json={"seconds": 60}, headers=bearer(token))
    assert answer.status_code == 403
    assert "makes no tokens" in answer.json()["detail"]


def test_where_there_are_no_keys_there_are_no_tokens(server: "Server") -> None:
    assert server.http.post("/tokens", json={"seconds": 60}).status_code == 400
    assert server.http.get("/transcripts", params={"access_token": "whatever it is"}).status_code == 200


# --- While the server runs


def heard(ws: ClientConnection) -> list[str]:
    """All that is said up to the end."""
    said = []
    with suppress(ConnectionClosed):
        while True:
            said.append(str(ws.recv(WAIT)))
    return said


@pytest.mark.parametrize("how", ["remove", "rotate"])
@pytest.mark.parametrize("shown", ["the key", "a token"])
def test_what_is_open_with_a_key_ends_with_it(locked: Locked, how: str, shown: str) -> None:
    name = f"{how}-{shown[-3:]}"
    secret = locked.keys("add", name).stdout.strip()
    if shown == "a token":
        asked = {"json": {"seconds": 60}, "headers": bearer(secret)}
        secret = locked.server.http.post("/tokens", **asked).json()["token"]
    urls = {path: f"{locked.server.url.replace('http', 'ws', 1)}{path}" for path in ("/stream", "/vosk")}
    with ExitStack() as stack:
        sockets = {
            path: stack.enter_context(connect(url, additional_headers=bearer(secret)))
            for path, url in urls.items()
        }
        for socket in sockets.values():
            socket.send(bytes(24000))
        began = time.monotonic()
        done = locked.keys(how, name)
        assert done.returncode == 0, done.stderr
        for path, socket in sockets.items():
            said = heard(socket)
            assert "was removed or rotated" in said[-1], path
            assert path != "/stream" or "first" in said[0], "its last words come"
        # The command itself takes its time, too.
        assert time.monotonic() - began < 5 + 3
        assert sockets["/stream"].close_code == 1008
    assert get(locked.server, "/audio", secret) == 401
    if how == "rotate":
        assert get(locked.server, "/audio", done.stdout.strip()) == 200


def test_with_the_first_key_all_are_asked_for_one(
    scripted: "Callable[..., Server]", run: Run, tmp_path: Path
) -> None:
    place = ("--transcripts", str(tmp_path / "transcripts.db"), "--keys-key", str(tmp_path / "keys-key"))
    server = scripted(*place)
    with connect(server.stream_url) as ws:
        added = run("keys", "add", "first", *place)
        secret = added.stdout.strip()
        assert "asks for keys now" in heard(ws)[-1]
    assert server.http.get("/audio").status_code == 401
    assert get(server, "/audio", secret) == 200
    assert run("keys", "remove", "first", *place).returncode == 0
    assert server.http.get("/audio").status_code == 401, "nobody is let in because the last key is gone"


# --- The command


def test_keys_are_listed_without_secrets(locked: Locked) -> None:
    assert (
        locked.keys("add", "listed", "--role", "read", "--owner", "anna", "--streams", "2").returncode == 0
    )
    try:
        listed = locked.keys("list")
        row = next(line.split() for line in listed.stdout.splitlines() if line.startswith("listed "))
        assert row[:3] == ["listed", "anna", "read"]
        described = {each["Key"]: each for each in json.loads(locked.keys("list", "--json").stdout)}
        assert described["listed"]["Streams"] == 2
        assert described["listed"]["LastUsed"] is None
        assert {TRANSCRIBE, READ, ADMIN} <= set(described)
    finally:
        assert locked.keys("remove", "listed").returncode == 0


def test_a_secret_of_ones_own(locked: Locked) -> None:
    own = "a/secret+of=my.own:16"
    done = locked.keys("add", "own", "--secret-file", "-", stdin=f"{own}\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert own not in done.stderr
    try:
        assert get(locked.server, "/audio", own) == 200
        assert get(locked.server, f"/audio?access_token={quote(own, safe='')}", "") == 200
        assert_refused(locked.keys("add", "other", "--secret-file", "-", stdin=own), "has this secret")
    finally:
        assert locked.keys("remove", "own").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (["add", READ], "", "Rotate it"),
        (["add", "a/b"], "", "cannot be the id"),
        (["add", "new", "--owner", "a b"], "", "cannot be the owner"),
        (["add", "new", "--secret-file", "-"], "short", "16 to 128"),
        (["add", "new", "--secret-file", "/nowhere"], "", "/nowhere"),
        (["rotate", "unknown"], "", "keys list"),
        (["remove", "unknown"], "", "keys list"),
        (["list", "--transcripts", "elsewhere.db"], "", "--transcripts"),
        (["list", "--transcripts", "none"], "", "--access-keys"),
    ],
)
def test_what_cannot_be_done_with_keys_is_told(
    locked: Locked, arguments: list[str], stdin: str, says: str
) -> None:
    assert_refused(locked.keys(*arguments, stdin=stdin), says)


def test_keys_and_no_auth_contradict_each_other(run: Run, said: list[str], tmp_path: Path) -> None:
    place = ("--transcripts", str(tmp_path / "transcripts.db"), "--keys-key", str(tmp_path / "keys-key"))
    assert run("keys", "add", "first", *place).returncode == 0
    assert_refused(run("serve", *said, "--no-auth", *place), "--no-auth", "keys list")
    (tmp_path / "keys-key").unlink()
    assert_refused(run("serve", *said, *place), "--keys-key")


# --- Nowhere


def test_secrets_are_nowhere(locked: Locked, expired: str) -> None:
    """Last in this file: all doors were used in all ways, and the log is at its most talkative."""
    server = locked.server
    other = f"tr_{'x' * 40}"
    token = made_token(locked, ADMIN, seconds=60)
    told = [httpx.get(f"{server.url}/transcripts", **asked).text for asked in ways(ADMIN, other).values()]
    told += [httpx.get(f"{server.url}/nowhere", **asked).text for asked in ways(ADMIN, token).values()]
    told.append(server.http.get("/metrics", headers=bearer(locked.secrets[ADMIN])).text)
    told += [locked.keys("list").stdout, locked.keys("list", "--json").stdout]
    process = psutil.Process(server.process.pid)
    told += [
        " ".join([*each.cmdline(), *each.environ().values()]) for each in (process, *process.children())
    ]
    log = server.log.read_text()
    assert "GET /transcripts" in log or "access" in log
    files = [path for path in locked.folder.rglob("*") if path.is_file() and path.name != "keys-key"]
    assert any(path.name.endswith("-wal") for path in files)
    with closing(sqlite3.connect(locked.folder / "transcripts.db")) as database:
        assert database.execute("SELECT count(*) FROM keys").fetchone() > (2,)
    kept = b"".join(path.read_bytes() for path in files)
    for secret in (*locked.secrets.values(), other, token, expired):
        assert secret not in log
        assert secret.encode() not in kept
        assert not any(secret in text for text in told)
    seal = (locked.folder / "apart" / "keys-key").read_bytes()
    assert seal not in kept
