"""Web pages of other origins in a real browser, and proxies in front of the server."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from amazon_client import PCM, SECRET, Http2, Refused, Ws, finals
from environments import CLIENTS, chromium, node_environment
from tests.conftest import TEST_WAV
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 20
PAGES = ["neighbour", "elsewhere", "opaque", "rebound"]
OWN = [f"{page}.wav" for page in PAGES]
ELSEWHERE, REBOUND = "elsewhere.example", "rebound.example"


def test_pages_of_others_can_do_nothing_and_all_where_they_are_let_in(
    scripted: "Callable[..., Server]", new_port: Callable[[], int], sentence: bytes
) -> None:
    if chromium() is None:
        assert os.environ.get("CI") != "true", "Chromium is not installed: apt-get install chromium"
        pytest.skip("Chromium is not installed (on Debian the package chromium)")
    node_environment()
    site = new_port()
    origins = f"http://localhost:{site},http://{ELSEWHERE}:{site},null"
    servers = {
        "closed": scripted(),
        "open": scripted("--allow-origin", origins, "--allow-host", REBOUND),
    }
    for server in servers.values():
        for name in OWN:
            server.upload(name, sentence)
    asked = {
        "site": site,
        "elsewhere": ELSEWHERE,
        "rebound": REBOUND,
        "recording": str(TEST_WAV),
        "servers": {kind: server.url for kind, server in servers.items()},
    }
    done = subprocess.run(
        ["node", "origins.mjs", json.dumps(asked)],
        cwd=CLIENTS / "javascript",
        env=os.environ | {"CHROMIUM": chromium() or ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, dict[str, dict[str, Any]]] = json.loads(done.stdout)

    # Whether an upload has succeeded a page of another origin is not told: the store knows.
    for page in PAGES:
        could = {what for what, succeeded in seen["closed"][page].items() if succeeded}
        # Who follows a link sees for himself, and the page nothing.
        assert ("link" in could) == (page != "rebound"), page
        could.discard("link")
        assert could <= {"upload", "post a form"}, page
    assert servers["closed"].stored == sorted(OWN)
    log = servers["closed"].log.read_text()
    for why in (f"--allow-origin http://localhost:{site}", f"--allow-host {REBOUND}", "(Origin: null)"):
        assert why in log

    for page in PAGES:
        failed = {what for what, succeeded in seen["open"][page].items() if not succeeded}
        # Without CORS a browser does not say which page plays something, nor tells it what is answered.
        assert failed == (set() if page == "rebound" else {"play", "upload"}), (page, done.stderr)
    planted = [f"{page}-{how}.wav" for page in PAGES for how in ("planted", "posted")]
    assert servers["open"].stored == sorted(planted)


# --- Proxies, which the tests play: their clients' requests come from 127.0.0.1

PROXIED = "scribe.example.org"
FORWARDED = {"X-Forwarded-Host": PROXIED, "X-Forwarded-Proto": "https"}


@pytest.fixture(scope="module")
def behind(
    run_server: "Callable[..., AbstractContextManager[Server]]", script: Path, keys: list[str]
) -> "Iterator[Server]":
    """A server with the tests' access key that believes a proxy on this machine."""
    with run_server(
        *("--engine", "scripted", "--script", str(script), *keys, "--allow-host", PROXIED),
        *("--proxies", "127.0.0.1", "--max-sessions", "20", "--client-share", "0.05"),
    ) as running:
        yield running
        running.assert_no_errors()


@pytest.mark.parametrize("kind", [Http2, Ws])
def test_what_was_signed_for_a_proxys_name_is_verified_with_it(
    behind: "Server", guarded: "Server", kind: type[Http2 | Ws]
) -> None:
    with kind(behind.address, PCM, proxied=PROXIED) as stream:
        stream.end()
        assert finals(stream.events()) == []
    # Nobody has named a proxy here.
    with (
        kind(guarded.address, PCM, proxied=PROXIED) as stream,
        pytest.raises(Refused, match=r"(?i)signature"),
    ):
        finals(stream.events())


def test_the_clients_of_a_proxy_are_counted_one_by_one(
    behind: "Server", eventually: Callable[..., None]
) -> None:
    def open_for(client: str) -> ClientConnection:
        url = f"{behind.stream_url}?format=json&encoding=pcm"
        headers = {"X-Forwarded-For": client, "Authorization": f"Bearer {SECRET}"}
        socket: ClientConnection = stack.enter_context(connect(url, additional_headers=headers))
        socket.send(bytes(32_000))
        return socket

    with ExitStack() as stack:
        for client in ("203.0.113.7", "198.51.100.1, 203.0.113.8"):
            open_for(client)
        eventually(lambda: behind.streams == 2, WAIT, "each has its stream")
        # One address may have no more.
        error = json.loads(open_for("198.51.100.1, 203.0.113.7").recv(WAIT))
        assert error["Error"]["Code"] == "LimitExceededException"
    eventually(lambda: behind.streams == 0, WAIT, "all have ended")


def test_a_page_behind_a_proxy_is_of_the_proxys_origin(behind: "Server", guarded: "Server") -> None:
    def asked(server: "Server", origin: str, **more: str) -> int:
        headers = FORWARDED | {"Origin": origin} | more
        return server.http.request("DELETE", "/audio/none.wav", headers=headers).status_code

    assert asked(behind, f"https://{PROXIED}") == 404
    assert asked(behind, f"http://{PROXIED}") == 403
    assert asked(behind, "https://other.example.org") == 403
    assert asked(guarded, f"https://{PROXIED}") == 403
