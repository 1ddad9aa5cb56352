"""Two listeners, the local authority, and who is let in: with the clients and shells that people use."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from command_line import assert_refused
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from transcribed.tls.authority import Authority

if TYPE_CHECKING:
    from tests.conftest import Server

Run = Callable[..., subprocess.CompletedProcess[str]]
WAIT = 20
SECOND = 32_000
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105 - Amazon's own example
TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE")


@pytest.fixture
def certificates(environment: dict[str, str]) -> Path:
    """The folder of the local authority."""
    return Path(environment["TRANSCRIBED_CERTIFICATES"])


@pytest.fixture
def outside(environment: dict[str, str]) -> dict[str, str]:
    """An environment that trusts what the system trusts."""
    return {name: value for name, value in environment.items() if name not in TRUST}


@dataclass
class Secured:
    """A server with both listeners."""

    server: "Server"
    tls_port: int
    authority: Path

    @property
    def port(self) -> int:
        return self.server.address[1]

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)

    def open(self, *, tls: bool) -> ClientConnection:
        address = f"wss://localhost:{self.tls_port}/stream" if tls else self.server.stream_url
        context = self.context
        # This client reads and writes in two threads. What TLS 1.3 sends behind its handshake is then read
        # while the request is written, which OpenSSL forbids: every hundredth request is lost.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return connect(f"{address}?format=json", ssl=context if tls else None, open_timeout=WAIT)


@pytest.fixture
def secured(
    scripted: "Callable[..., Server]", free_port: int, certificates: Path
) -> Callable[..., Secured]:
    """Starts servers with both listeners."""

    def start(*options: str) -> Secured:
        server = scripted("--tls", "--tls-port", str(free_port), *options)
        return Secured(server, free_port, certificates / "ca.pem")

    return start


@pytest.fixture(scope="module")
def shared(
    run_server: Callable[..., AbstractContextManager["Server"]],
    script: Path,
    new_port: Callable[[], int],
    environment: dict[str, str],
) -> Iterator[Secured]:
    """A server with both listeners and two more names, for all tests that neither stop nor fill it."""
    port = new_port()
    said = ("--engine", "scripted", "--script", str(script))
    names = ("--tls-names", "scribe.lan, 192.168.1.20")
    with run_server(*said, "--tls", "--tls-port", str(port), *names) as server:
        yield Secured(server, port, Path(environment["TRANSCRIBED_CERTIFICATES"]) / "ca.pem")


def curl(*arguments: str, settings: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if name not in TRUST}
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", str(WAIT), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=clean | (settings or {}), check=False
    )


# --- Two listeners


@pytest.mark.parametrize(
    ("url", "option", "version"),
    [
        ("http://localhost:{plain}", "--http1.1", "1.1"),
        ("http://localhost:{plain}", "--http2-prior-knowledge", "2"),
        ("https://localhost:{tls}", "--http1.1", "1.1"),
        ("https://localhost:{tls}", "--http2", "2"),
        ("https://127.0.0.1:{tls}", "--http2", "2"),
    ],
)
def test_both_speak_http_1_and_2(shared: Secured, url: str, option: str, version: str) -> None:
    url = url.format(plain=shared.port, tls=shared.tls_port)
    form = ["-w", "\n%{http_version}", "--cacert", str(shared.authority)]
    answer, found = curl(option, *form, f"{url}/health").stdout.splitlines()
    assert json.loads(answer)["status"] == "ready"
    assert found == version


def test_an_upload_over_http_2_and_tls_is_heard_over_the_plain_port(
    shared: Secured, sentence: bytes, tmp_path: Path
) -> None:
    (tmp_path / "said.wav").write_bytes(sentence)
    file = f"file=@{tmp_path / 'said.wav'};type=audio/wav"
    url = f"https://localhost:{shared.tls_port}/audio"
    done = curl("--http2", "--cacert", str(shared.authority), "-F", file, url)
    assert done.stdout == '"said.wav"', done.stderr
    assert shared.server.http.get("/audio/said.wav").content == sentence


@pytest.mark.parametrize("name", ["localhost", socket.gethostname(), "scribe.lan", "127.0.0.1"])
def test_the_certificate_is_for_every_name_of_the_server(shared: Secured, name: str) -> None:
    found = ["--resolve", f"{name}:{shared.tls_port}:127.0.0.1", "--cacert", str(shared.authority)]
    assert "ready" in curl(*found, f"https://{name}:{shared.tls_port}/health").stdout


def test_and_for_no_other_and_not_for_whom_nobody_told(shared: Secured) -> None:
    elsewhere = f"elsewhere.lan:{shared.tls_port}"
    found = ["--resolve", f"{elsewhere}:127.0.0.1", "--cacert", str(shared.authority)]
    assert curl(*found, f"https://{elsewhere}/health").returncode == 60
    assert curl(f"https://localhost:{shared.tls_port}/health").returncode == 60


def test_tls_is_1_2_or_newer(shared: Secured) -> None:
    def spoken(version: ssl.TLSVersion) -> str | None:
        context = shared.context
        context.minimum_version = context.maximum_version = version
        with (
            socket.create_connection(("127.0.0.1", shared.tls_port), WAIT) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as client,
        ):
            return client.version()

    assert spoken(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert spoken(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    old = ["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", "--cacert", str(shared.authority)]
    refused = curl(*old, f"https://localhost:{shared.tls_port}/health")
    assert refused.returncode == 35
    assert "alert" in refused.stderr, "it is the server that refuses"


def test_what_is_not_tls_does_no_harm(shared: Secured) -> None:
    for nonsense in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(300), bytes(5000)):
        with socket.create_connection(("127.0.0.1", shared.tls_port), WAIT) as raw:
            raw.sendall(nonsense)
    with shared.open(tls=True) as ws:
        assert heard(ws) == ["first", "second"]
    shared.server.assert_no_errors()


def messages(ws: ClientConnection) -> Iterator[dict[str, Any]]:
    while True:
        yield json.loads(ws.recv(WAIT))


def finals(ws: ClientConnection) -> Iterator[str]:
    for message in messages(ws):
        if "Done" in message or "Error" in message:
            return
        (result,) = message["Transcript"]["Results"]
        if not result["IsPartial"]:
            yield result["Alternatives"][0]["Transcript"]


def closing(ws: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        ws.recv(WAIT)
    assert closed.value.rcvd is not None, "the connection broke"
    return closed.value.rcvd.code


def heard(ws: ClientConnection) -> list[str]:
    ws.send(bytes(2 * SECOND))
    ws.send(b"")
    return list(finals(ws))


@pytest.mark.parametrize("tls", [False, True])
def test_both_speak_websocket(shared: Secured, *, tls: bool) -> None:
    with shared.open(tls=tls) as ws:
        assert heard(ws) == ["first", "second"]


def test_behind_both_is_one_engine(
    secured: Callable[..., Secured], eventually: Callable[..., None]
) -> None:
    at = secured("--max-sessions", "1")
    with at.open(tls=True) as ws:
        ws.send(bytes(SECOND))
        eventually(lambda: at.server.streams == 1, WAIT, "the plain port sees the stream")
        with at.open(tls=False) as second:
            second.send(bytes(SECOND))
            assert list(finals(second)) == []
            assert closing(second) == 1013


def test_without_tls_nothing_listens_there(scripted: "Callable[..., Server]") -> None:
    server = scripted()
    found = psutil.Process(server.process.pid).net_connections("tcp")
    listening = {each.laddr for each in found if each.status == psutil.CONN_LISTEN}
    assert listening == {server.address}


# --- Stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_brings_the_last_words_on_both(
    secured: Callable[..., Secured], eventually: Callable[..., None], number: signal.Signals
) -> None:
    at = secured()
    with at.open(tls=False) as plain, at.open(tls=True) as tls, at.open(tls=True) as idle:
        for ws in (plain, tls):
            ws.send(bytes(SECOND))
        eventually(lambda: at.server.streams == 2, WAIT, "both are being heard")
        for ws in (plain, tls):
            assert next(finals(ws)) == "first"
        at.server.stop(number)
        for ws, expected in ((plain, ["second"]), (tls, ["second"]), (idle, [])):
            assert list(finals(ws)) == expected
            assert closing(ws) == 1001


def test_slow_uploads_over_http_2_on_both_do_not_hold_the_stop_up(
    secured: Callable[..., Secured],
    repeated: Callable[[int], bytes],
    tmp_path: Path,
    eventually: Callable[..., None],
) -> None:
    at = secured()
    (tmp_path / "long.wav").write_bytes(repeated(500))
    upload = ["curl", "-sS", "--noproxy", "*", "--limit-rate", "2M", "--cacert", str(at.authority)]
    upload += ["-F", f"file=@{tmp_path / 'long.wav'};type=audio/wav"]
    with ExitStack() as opened:
        for way, url in (
            ("--http2-prior-knowledge", f"{at.server.url}/audio"),
            ("--http2", f"https://localhost:{at.tls_port}/audio"),
        ):
            client = subprocess.Popen([*upload, way, url], stderr=subprocess.DEVNULL)
            opened.enter_context(client)
            opened.callback(client.kill)
        eventually(lambda: len(at.server.staged) == 2, WAIT, "both uploads are under way")
        at.server.stop()
    assert at.server.stored == []


def test_open_connections_without_a_request_do_not_hold_the_stop_up(
    secured: Callable[..., Secured],
) -> None:
    at = secured()
    with ExitStack() as opened:
        for port in (at.port, at.tls_port):
            opened.enter_context(socket.create_connection(("127.0.0.1", port), WAIT))
        raw = opened.enter_context(socket.create_connection(("127.0.0.1", at.tls_port), WAIT))
        opened.enter_context(at.context.wrap_socket(raw, server_hostname="localhost"))
        at.server.stop()
    for port in (at.port, at.tls_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), WAIT)


# --- transcribed env


def exported(shown: str) -> dict[str, str]:
    return dict(re.findall(r"^export (\w+)=(.*)$", shown, re.MULTILINE))


_IN_NODE = "require('https').get(process.argv[1], (a) => a.on('data', (d) => process.stdout.write(d)))"
_IN_PYTHON = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=20).read().decode())"

_IN_BOTOCORE = """
import sys
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.session import Session
session = URLLib3Session(verify=Session().get_config_variable("ca_bundle") or True)
print(session.send(AWSRequest("GET", sys.argv[1]).prepare()).text)
"""


@pytest.mark.parametrize(
    "client",
    [
        ["curl", "-sS"],
        [sys.executable, "-c", _IN_PYTHON],
        [sys.executable, "-c", _IN_BOTOCORE],
        ["node", "-e", _IN_NODE],
    ],
)
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_that_takes_it_over_reaches_the_server(
    secured: Callable[..., Secured],
    transcribed: Path,
    outside: dict[str, str],
    client: list[str],
    shell: str,
) -> None:
    at = secured()
    script = f"""
        eval "$('{transcribed}' env --tls-port {at.tls_port})" || exit 1
        "$@" "$AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING/health"
    """
    command = [shell, "-c", script, shell, *client]
    done = subprocess.run(command, env=outside, capture_output=True, text=True, timeout=WAIT, check=False)
    assert '"status":"ready"' in done.stdout, done.stderr
    refused = subprocess.run(
        [*client, f"https://localhost:{at.tls_port}/health"],
        env=outside,
        capture_output=True,
        timeout=WAIT,
        check=False,
    )
    assert refused.returncode != 0, "without it the client does not trust the server"


def test_fish_takes_it_over(transcribed: Path, outside: dict[str, str]) -> None:
    if shutil.which("fish") is None:
        assert os.environ.get("CI") != "true", "not installed: fish"
        pytest.skip("not installed (on Debian the package fish)")
    script = f"{transcribed} env | source; echo $AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING"
    done = subprocess.run(["fish", "-c", script], env=outside, capture_output=True, text=True, check=True)
    assert done.stdout == "https://localhost:8443\n"


def test_it_needs_no_server_and_says_what_the_server_says_later(
    run: Run,
    scripted: "Callable[..., Server]",
    free_port: int,
    tmp_path: Path,
    eventually: Callable[..., None],
) -> None:
    folder = tmp_path / "a folder" / "it's"
    options = ["--tls-port", str(free_port), "--certificates", str(folder)]
    done = run("env", *options)
    assert done.returncode == 0
    assert folder.is_dir()
    authority = (folder / "ca.pem").read_bytes()
    server = scripted("--tls", *options)
    lines = [line for line in done.stdout.splitlines() if line.startswith("export ")]
    assert len(lines) == 4
    eventually(
        lambda: all(line in server.log.read_text() for line in lines), WAIT, "the server prints the same"
    )
    assert "Any access key" in server.log.read_text()
    assert (folder / "ca.pem").read_bytes() == authority
    assert run("env", *options).stdout == done.stdout


def test_many_at_once_agree(run: Run, tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as shells:
        done = list(shells.map(lambda _: run("env", "--certificates", str(tmp_path / "new")), range(6)))
    assert {each.returncode for each in done} == {0}
    assert len({each.stdout for each in done}) == 1
    assert (tmp_path / "new" / "ca.pem").read_bytes() in (tmp_path / "new" / "bundle.pem").read_bytes()


def test_authorities_that_are_replaced_are_told_beside_what_is_evaluated(
    run: Run, tmp_path: Path, outside: dict[str, str]
) -> None:
    run("env", "--certificates", str(tmp_path / "other"))
    of_others = str(tmp_path / "other" / "ca.pem")
    for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE"):
        done = run("env", settings=dict.fromkeys(TRUST, "") | {name: of_others})
        assert f"{name} was {of_others}" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert of_others not in done.stdout
    ours = exported(done.stdout)["SSL_CERT_FILE"]
    assert run("env", settings=dict.fromkeys(TRUST, ours)).stderr == ""


def test_with_a_certificate_of_ones_own_it_is_the_address_alone(run: Run, tmp_path: Path) -> None:
    options = [
        "--tls-certificate",
        "own.pem",
        "--host",
        "192.0.2.7",
        "--certificates",
        str(tmp_path / "no"),
    ]
    done = run("env", *options)
    assert exported(done.stdout) == {"AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING": "https://192.0.2.7:8443"}
    assert not (tmp_path / "no").exists()


def test_a_folder_that_cannot_be_is_told(run: Run) -> None:
    done = run("env", "--certificates", "/dev/null/certificates")
    assert (done.returncode, done.stdout) == (1, "")
    assert "/dev/null/certificates" in done.stderr
    assert "--certificates" in done.stderr


# --- A certificate of one's own


@pytest.fixture
def own(tmp_path: Path) -> tuple[str, str]:
    """A certificate that an authority elsewhere has issued, and its key."""
    pem = Authority.create("elsewhere", datetime.now(UTC)).issue(["localhost"], datetime.now(UTC))  # noqa: TID251
    key, end, certificate = pem.partition(b"-----END PRIVATE KEY-----\n")
    paths = tmp_path / "own.pem", tmp_path / "own-key.pem"
    for path, content in zip(paths, (certificate, key + end), strict=True):
        path.write_bytes(content)
        path.chmod(0o600)
    return str(paths[0]), str(paths[1])


def test_it_is_what_is_shown(secured: Callable[..., Secured], own: tuple[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "unused"
    at = secured("--tls-certificate", own[0], "--tls-key", own[1], "--certificates", str(folder))
    shown = ssl.get_server_certificate(("localhost", at.tls_port), timeout=WAIT)
    assert ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(Path(own[0]).read_text())
    assert not folder.exists()
    assert "SSL_CERT_FILE" not in at.server.log.read_text()
    assert f"https://localhost:{at.tls_port}" in at.server.log.read_text()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--tls", "--tls-certificate", "{own}"], ["--tls-key"]),
        (["--tls", "--tls-key", "{key}"], ["--tls-certificate"]),
        (["--tls-certificate", "{own}", "--tls-key", "{key}"], ["--tls"]),
        (["--tls", "--tls-certificate", "{key}", "--tls-key", "{key}"], ["{key}", "--tls-key"]),
        (["--tls", "--tls-certificate", "none.pem", "--tls-key", "{key}"], ["none.pem", "No such file"]),
        (
            ["--tls", "--tls-certificate", "{own}", "--tls-key", "{key}", "--tls-names", "a"],
            ["--tls-names"],
        ),
        (["--tls", "--tls-names", "scribe.lan,two words"], ["'two words'", "--tls-names"]),
        (["--tls", "--certificates", "/dev/null/x"], ["/dev/null/x", "--certificates"]),
        (["--tls", "--port", "3999", "--tls-port", "3999"], ["3999", "--tls-port"]),
    ],
)
def test_settings_of_tls_that_cannot_be_are_told(
    run: Run, said: list[str], own: tuple[str, str], options: list[str], parts: list[str]
) -> None:
    files = {"own": own[0], "key": own[1]}
    told = [part.format(**files) for part in parts]
    assert_refused(run("serve", *said, *(option.format(**files) for option in options)), *told)


@pytest.mark.parametrize("option", ["--port", "--tls-port"])
def test_a_port_in_use_is_told(run: Run, said: list[str], free_port: int, option: str) -> None:
    other = "--tls-port" if option == "--port" else "--port"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert_refused(
            run("serve", *said, "--tls", other, str(free_port), option, port), port, "in use", option
        )


# --- Who is let in


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# ours\nAKIDEXAMPLE {SECRET}\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - the point
def test_others_are_not_let_in_by_accident(run: Run, said: list[str], host: str) -> None:
    assert_refused(run("serve", *said, "--host", host), host, "--access-keys", "--no-auth")


def test_who_says_so_lets_everybody_in(scripted: "Callable[..., Server]") -> None:
    server = scripted("--host", "0.0.0.0", "--no-auth")  # noqa: S104 - the point
    assert "whoever can reach 0.0.0.0 may read, replace and delete" in server.log.read_text()
    assert server.http.get("/audio").json() == []


def test_with_keys_others_are_let_in_who_show_one(scripted: "Callable[..., Server]", keys: Path) -> None:
    server = scripted("--host", "0.0.0.0", "--access-keys", str(keys))  # noqa: S104 - the point
    assert server.http.get("/audio").json() == []
    assert httpx.get(f"{server.url}/audio").status_code == 401
    log = server.log.read_text()
    assert "WARNING" not in log
    assert SECRET not in log


def test_keys_that_others_can_read_are_told(scripted: "Callable[..., Server]", keys: Path) -> None:
    keys.chmod(0o644)
    assert f"chmod 600 {keys}" in scripted("--access-keys", str(keys)).log.read_text()


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (f"AKIDEXAMPLE {SECRET} more\n", ["line 1", "an id and its secret"]),
        (f"\nAKIDEXAMPLE={SECRET}\n", ["line 2"]),
        ("", ["no access key"]),
        ("\udcff", ["not text"]),
        (None, ["No such file", "--access-keys"]),
    ],
)
def test_keys_that_cannot_be_are_told_without_their_secrets(
    run: Run, said: list[str], keys: Path, content: str | None, parts: list[str]
) -> None:
    if content is None:
        keys.unlink()
    else:
        keys.write_bytes(os.fsencode(content))
    done = run("serve", *said, "--access-keys", str(keys))
    assert_refused(done, str(keys), *parts)
    assert SECRET not in done.stderr


def test_keys_and_no_keys_contradict_each_other(run: Run, said: list[str], keys: Path) -> None:
    assert_refused(
        run("serve", *said, "--access-keys", str(keys), "--no-auth"), "--access-keys", "--no-auth"
    )


def test_flags_can_be_given_in_the_environment(run: Run, said: list[str], keys: Path) -> None:
    done = run("serve", *said, "--access-keys", str(keys), settings={"TRANSCRIBED_NO_AUTH": "true"})
    assert_refused(done, "--no-auth")
