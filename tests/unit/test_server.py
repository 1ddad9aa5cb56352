"""The listeners with real sockets, and who may be let in."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from granian.server.embed import Server

from transcribed.errors import ConfigurationError, ForeignHost, ForeignOrigin, TranscribedError
from transcribed.http.connections import Bounds, Connections
from transcribed.http.listening import listen, listener
from transcribed.http.origins import EntryRequest
from transcribed.server import access_keys, entry_rules
from transcribed.service.access_keys import AccessKeys
from transcribed.settings import ServerSettings
from transcribed.tls.certificates import ServerCertificate, local_certificate

WAIT = 20


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


async def no_goodbye() -> None:
    pass


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), WAIT):
        return True
    return False


Listeners = Callable[[], dict[str, Server]]


@pytest.fixture
def ports(free_port: int) -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        return free_port, other.getsockname()[1]


@pytest.fixture
def listeners(ports: tuple[int, int], tmp_path: Path) -> Listeners:
    certificate = local_certificate(tmp_path, "test", [], [])
    return lambda: {
        "--port": listener(app, "127.0.0.1", ports[0], 100),
        "--tls-port": listener(app, "127.0.0.1", ports[1], 100, certificate),
    }


@pytest.fixture
def run(
    listeners: Listeners, ports: tuple[int, int], eventually: Callable[..., None]
) -> Callable[..., None]:
    """Runs both listeners until something ends them."""

    async def running(
        end: Callable[[dict[str, Server], asyncio.Event], None], goodbye: Callable[[], Awaitable[None]]
    ) -> None:
        servers, stopping = listeners(), asyncio.Event()
        task = asyncio.create_task(listen(servers, Connections(Bounds(100, 100)), goodbye, stopping))
        await asyncio.to_thread(eventually, lambda: all(map(listens, ports)), WAIT, "both listen")
        end(servers, stopping)
        async with asyncio.timeout(WAIT):
            await task

    return lambda end, goodbye=no_goodbye: asyncio.run(running(end, goodbye))


@pytest.mark.parametrize("which", ["--port", "--tls-port"])
def test_when_one_listener_ends_both_do_with_an_error(
    run: Callable[..., None], ports: tuple[int, int], which: str
) -> None:
    with pytest.raises(TranscribedError, match="ended by itself"):
        run(lambda servers, _: servers[which].stop())
    assert not any(map(listens, ports))


def test_both_end_when_they_shall_and_not_before_the_goodbye(
    run: Callable[..., None], ports: tuple[int, int], tmp_path: Path
) -> None:
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    answers: list[bytes] = []

    async def goodbye() -> None:
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            plain = await client.get(f"http://localhost:{ports[0]}")
            tls = await client.get(f"https://localhost:{ports[1]}")
        answers.extend([plain.content, tls.content])

    run(lambda _, stopping: stopping.set(), goodbye)
    assert answers == [b"here", b"here"]
    assert not any(map(listens, ports))
    run(lambda _, stopping: stopping.set())  # The ports can be had again at once.


@pytest.mark.parametrize("taken", [0, 1])
def test_neither_listens_when_a_port_is_in_use(
    listeners: Listeners, ports: tuple[int, int], taken: int
) -> None:
    with socket.create_server(("127.0.0.1", ports[taken])):
        with pytest.raises(ConfigurationError, match=["--port", "--tls-port"][taken]):
            asyncio.run(listen(listeners(), Connections(Bounds(100, 100)), no_goodbye, asyncio.Event()))
        assert not listens(ports[1 - taken])


# --- Who may be let in


SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105 - Amazon's own example


async def is_open(keys: AccessKeys) -> bool:
    async with keys.watched(None):
        return keys.open


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
def test_this_machine_needs_no_keys(address: str) -> None:
    assert asyncio.run(is_open(access_keys(ServerSettings(), address)))


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.20", "10.0.0.1", "fe80::1", "2001:db8::1"])  # noqa: S104
def test_others_need_keys_or_a_word(address: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--no-auth"):
        asyncio.run(is_open(access_keys(ServerSettings(), address)))
    assert asyncio.run(is_open(access_keys(ServerSettings(no_auth=True), address)))
    path = tmp_path / "keys"
    path.write_text(f"AKIDEXAMPLE {SECRET}")
    assert not asyncio.run(is_open(access_keys(ServerSettings(access_keys=path), address)))


# --- Under which names


def names(settings: ServerSettings, certificate: ServerCertificate | None = None) -> Callable[[str], bool]:
    rules = entry_rules(settings, "192.0.2.7", certificate)

    def includes(host: str) -> bool:
        try:
            rules.check(EntryRequest("GET", "/audio", "http", [host], []))
        except ForeignHost:
            return False
        return True

    return includes


def test_its_own_names_are_those_of_the_machine_and_of_the_settings() -> None:
    included = names(ServerSettings(host="scribe.lan", allow_host="proxy.example.org, .example.net"))
    machine = socket.gethostname()
    for host in (
        "localhost",
        "192.0.2.7",
        "scribe.lan",
        machine,
        f"{machine}:3000",
        "proxy.example.org",
        "a.example.net",
    ):
        assert included(host)
    assert not included("evil.example")


def test_so_are_those_of_a_certificate() -> None:
    settings = ServerSettings(tls=True, tls_names="more.lan,*.more.lan,192.0.2.8")
    assert not names(settings)("more.lan")
    own = ServerCertificate(Path("certificate"), Path("key"), names=("scribe.example.org",))
    included = names(settings, own)
    assert all(map(included, ("more.lan", "a.more.lan", "scribe.example.org")))
    assert not included("other.example.org")


def test_letting_all_in_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    entry_rules(ServerSettings(), "127.0.0.1")
    assert caplog.messages == []
    rules = entry_rules(ServerSettings(allow_host="*", allow_origin="*"), "127.0.0.1")
    rules.check(EntryRequest("GET", "/audio", "http", ["any.example"], ["https://other.example"]))
    assert ["--allow-host *" in caplog.messages[0], "--allow-origin *" in caplog.messages[1]] == [
        True,
        True,
    ]


def test_pages_of_others_are_those_of_the_settings() -> None:
    rules = entry_rules(ServerSettings(allow_origin="https://app.example.org"), "127.0.0.1")
    rules.check(EntryRequest("GET", "/audio", "http", ["localhost"], ["https://app.example.org"]))
    with pytest.raises(ForeignOrigin):
        rules.check(EntryRequest("GET", "/audio", "http", ["localhost"], ["https://other.example"]))
