"""What comes in to the application, what is answered in its place, and what every answer has."""

import asyncio
import logging
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message, Scope
from starlette.websockets import WebSocket

from transcribed.http.entrance import entrance
from transcribed.http.origins import EntryRules, Hosts, Origins
from transcribed.http.proxies import Proxies
from transcribed.http.request_ids import RequestIds
from transcribed.http.security_headers import DEFAULT_POLICY, with_security_headers
from transcribed.request_context import REQUEST
from transcribed.scheduling.admission import CLIENT

OTHER = {"Origin": "https://app.example.org"}
PREFLIGHT = OTHER | {
    "Access-Control-Request-Method": "PATCH",
    "Access-Control-Request-Headers": "authorization, x-amz-date, content-type",
}


async def seen(request: Request) -> JSONResponse:
    context = REQUEST.get()
    told = {
        "client": request.client and request.client.host,
        "counted": CLIENT.get(),
        "logged": context and context.address,
        "url": str(request.url),
    }
    return JSONResponse(
        told, headers={"Referrer-Policy": "origin"} if "own" in request.query_params else None
    )


async def fails(request: Request) -> JSONResponse:
    raise ValueError


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


ROUTES = [
    Route("/seen", seen, methods=["GET", "POST", "PATCH"]),
    Route("/fails", fails),
    WebSocketRoute("/socket", socket),
]


def application(origins: str = "", hosts: str = "", proxies: str = "") -> Any:
    entry = EntryRules(Hosts.of(hosts.split()), Origins.of(origins.split()))
    inside = entrance(Starlette(routes=ROUTES), entry, Proxies.of(proxies.split()))
    return RequestIds(with_security_headers(inside, shared=entry.origins.every))


def ask(
    app: Any, path: str = "/seen", method: str = "GET", peer: str = "10.0.0.7", **headers: str
) -> httpx.Response:
    async def asking() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:3000") as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, headers=named)

    return asyncio.run(asking())


# --- Refused


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ({"Host": "evil.example"}, 421, "--allow-host evil.example"),
        ({"Origin": "http://evil.example"}, 403, "--allow-origin http://evil.example"),
        ({"Origin": "null"}, 403, "Origin: null"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "another origin"),
    ],
)
def test_what_is_refused_never_comes_in_and_hears_why(
    headers: dict[str, str], status: int, told: str
) -> None:
    came = []

    async def inside(scope: Scope, receive: Any, send: Any) -> None:
        came.append(scope)

    for method in ("GET", "POST", "OPTIONS"):
        answer = ask(
            entrance(inside, EntryRules(Hosts.of([]), Origins.of([])), Proxies()), method=method, **headers
        )
        assert answer.status_code == status
        assert told in answer.json()["detail"]
        assert answer.json()["Message"] == answer.json()["detail"]
        assert "access-control-allow-origin" not in answer.headers
    assert came == []


@pytest.mark.parametrize("header", [(b"origin", b"http://evil.example"), (b"host", b"evil.example")])
def test_a_websocket_is_refused_before_it_is_open(header: tuple[bytes, bytes]) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost:3000"), header][header[0] == b"host" :]
    scope = {
        "type": "websocket",
        "path": "/socket",
        "scheme": "ws",
        "headers": headers,
        "client": ("::1", 1),
    }
    asyncio.run(application()(scope, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]

    own = [(b"host", b"localhost:3000"), (b"origin", b"http://localhost:3000")]
    sent.clear()
    asyncio.run(application()(scope | {"headers": own, "query_string": b""}, receive, send))
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]


def test_the_log_says_it_once_and_not_without_end(caplog: pytest.LogCaptureFixture) -> None:
    app = application()
    with caplog.at_level(logging.WARNING):
        for number in range(300):
            ask(app, Host=f"{number // 2}.evil.example")
    told = [record.getMessage() for record in caplog.records if record.name.endswith("entrance")]
    assert len(told) == len(set(told)) == 100
    assert "0.evil.example" in told[0]


# --- CORS


def test_an_allowed_page_is_let_in_and_shown_what_is_answered() -> None:
    app = application("https://app.example.org")
    answer = ask(app, method="POST", **OTHER)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == OTHER["Origin"]
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers
    assert "access-control-allow-origin" not in ask(app).headers


@pytest.mark.parametrize("allowed", ["https://app.example.org", "*"])
def test_it_may_ask_before(allowed: str) -> None:
    answer = ask(application(allowed), method="OPTIONS", **PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in {OTHER["Origin"], "*"}
    assert answer.headers["access-control-allow-headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert {"DELETE", "PATCH", "PUT"} < set(answer.headers["access-control-allow-methods"].split(", "))


def test_without_a_word_nobody_may() -> None:
    assert ask(application(), method="OPTIONS", **PREFLIGHT).status_code == 403
    assert "access-control-allow-origin" not in ask(application()).headers


# --- Proxies

FORWARDED = {
    "X-Forwarded-For": "198.51.100.1, 203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "scribe.lan",
}


def test_a_named_proxy_is_believed() -> None:
    app = application(hosts="scribe.lan", proxies="10.0.0.0/8")
    answer = ask(app, method="POST", Host="10.1.1.1", Origin="https://scribe.lan", **FORWARDED)
    assert answer.json() == {
        "client": "203.0.113.7",
        "counted": "203.0.113.7",
        "logged": "203.0.113.7",
        "url": "https://scribe.lan/seen",
    }
    # The rules are for what it says, too.
    assert ask(app, Host="10.1.1.1", **FORWARDED | {"X-Forwarded-Host": "evil.example"}).status_code == 421
    assert ask(app, Host="10.1.1.1", Origin="http://scribe.lan", **FORWARDED).status_code == 403


def test_nobody_else_is() -> None:
    own = {"client": "10.0.0.7", "counted": None, "logged": "10.0.0.7", "url": "http://localhost:3000/seen"}
    for proxies in ("", "10.0.0.8"):
        app = application(hosts="scribe.lan", proxies=proxies)
        assert ask(app, **FORWARDED).json() == own
        assert ask(app, Host="evil.example", **FORWARDED).status_code == 421
        assert ask(app, Origin="https://scribe.lan", **FORWARDED).status_code == 403


def test_a_proxy_that_says_nothing_is_a_client() -> None:
    assert ask(application(proxies="10.0.0.7")).json()["client"] == "10.0.0.7"


# --- Headers of every answer


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/seen", {}, 200),
        ("/nowhere", {}, 404),
        ("/fails", {}, 500),
        ("/seen", {"Host": "evil.example"}, 421),
    ],
)
def test_every_answer_has_them(path: str, headers: dict[str, str], status: int) -> None:
    answer = ask(application(), path, **headers)
    assert answer.status_code == status
    assert answer.headers["content-security-policy"] == DEFAULT_POLICY
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["permissions-policy"].endswith("microphone=(self)")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"


def test_what_an_answer_says_itself_goes_before() -> None:
    assert ask(application(), "/seen?own").headers.get_list("referrer-policy") == ["origin"]


def test_resources_are_open_where_all_pages_are_let_in() -> None:
    def policy(allowed: str) -> str:
        return ask(application(allowed)).headers["cross-origin-resource-policy"]

    assert policy("*") == "cross-origin"
    # On plain HTTP nothing else tells which page shows or plays something without CORS.
    assert policy("https://app.example.org") == "same-origin"
