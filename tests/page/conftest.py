"""The page in real browsers, with a microphone that says what a recording says."""

import io
import json
import os
import re
import shutil
import subprocess
import wave
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import av
import pytest
from environments import chromium, firefox
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

if TYPE_CHECKING:
    from tests.conftest import Server

ROOT = Path(__file__).parents[2]
SPOKEN = ROOT / "tests" / "data" / "cases" / "dc-offset.flac"
RATE = 48000
WAIT_MS = 20_000

expect.set_options(timeout=WAIT_MS)


def installed(command: str | None, package: str) -> str:
    """What the package brings. Without it the test is skipped, but not where everything must be tested."""
    if command is None:
        assert os.environ.get("CI") != "true", f"not installed: {package}"
        pytest.skip(f"Pages are tested with {package}, which is not installed")
    return command


@pytest.fixture(scope="session")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's microphone hears, from its opening on, again and again: a WAV file."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    said = io.BytesIO()
    with av.open(SPOKEN) as source:
        for frame in (*source.decode(audio=0), None):
            for piece in resampler.resample(frame):
                said.write(piece.to_ndarray().tobytes())
    path = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    with wave.open(str(path), "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(RATE)
        target.writeframes(bytes(RATE) + said.getvalue() + bytes(4 * RATE))
    return path


# A running Playwright has an event loop in the tests' thread, which tests of other modules must not find.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright, microphone: Path) -> Iterator[Browser]:
    """Chromium. What no permission was granted for is denied."""
    started = playwright.chromium.launch(
        executable_path=installed(chromium(), "chromium"),
        args=[
            "--no-sandbox",
            "--deny-permission-prompts",
            "--host-resolver-rules=MAP 192.0.2.1 127.0.0.1",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        ],
    )
    yield started
    started.close()


@pytest.fixture
def launch(playwright: Playwright) -> Iterator[Callable[..., Browser]]:
    """Starts Chromium with other options, without a microphone that hears something."""
    running: list[Browser] = []

    def start(*arguments: str, **how: Any) -> Browser:
        command = installed(chromium(), "chromium")
        started = playwright.chromium.launch(
            executable_path=command, args=["--no-sandbox", *arguments], **how
        )
        running.append(started)
        return started

    yield start
    for one in running:
        one.close()


@pytest.fixture(scope="module")
def sound(
    tmp_path_factory: pytest.TempPathFactory, eventually: Callable[..., None]
) -> Iterator[dict[str, str]]:
    """A machine's sound: a loudspeaker that nobody hears, and a microphone.

    It hears what is played to the device `spoken`. Firefox has no such things of its own. The value is the
    environment of programs that use them.
    """
    installed(shutil.which("pulseaudio"), "pulseaudio")
    folder = tmp_path_factory.mktemp("sound")
    socket = folder / "socket"
    own = os.environ | {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    modules = [
        f"module-native-protocol-unix socket={socket} auth-anonymous=1",
        "module-null-sink sink_name=loudspeaker",
        f"module-null-sink sink_name=spoken rate={RATE} channels=1",
        "module-remap-source master=spoken.monitor source_name=microphone",
    ]
    command = [
        "pulseaudio",
        "-n",
        "--daemonize=no",
        "--exit-idle-time=-1",
        "--use-pid-file=no",
        "--disable-shm=yes",
    ]
    for module in modules:
        command += ["-L", module]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=own, stdout=log, stderr=log) as process,
    ):
        try:
            clients = own | {"PULSE_SERVER": f"unix:{socket}"}
            for choice in ("set-default-sink loudspeaker", "set-default-source microphone"):
                eventually(
                    lambda choice=choice: (
                        subprocess.run(
                            ["pactl", *choice.split()],
                            env=clients,
                            capture_output=True,
                            timeout=10,
                            check=False,
                        ).returncode
                        == 0
                    ),
                    20,
                    "there is sound",
                )
            yield clients
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def firefox_browser(playwright: Playwright, sound: dict[str, str]) -> Iterator[Browser]:
    """Firefox. Pages may use its microphone."""
    started = playwright.firefox.launch(
        channel="moz-firefox",  # One that is not Playwright's own, over WebDriver BiDi.
        executable_path=installed(firefox(), "firefox-esr"),
        env=dict(sound),
        firefox_user_prefs={"media.navigator.permission.disabled": True},
    )
    yield started
    started.close()


@pytest.fixture
def speak(sound: dict[str, str], microphone: Path) -> Iterator[Callable[[], None]]:
    """Says the recording into Firefox's microphone."""
    speaking: list[subprocess.Popen[bytes]] = []

    def say() -> None:
        speaking.append(subprocess.Popen(["paplay", "--device=spoken", microphone], env=sound))

    yield say
    for one in speaking:
        one.terminate()
        one.wait(10)


@dataclass
class Watch:
    """What went wrong in a page, as the browser tells it."""

    origin: str
    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Patterns of messages that a test provokes."""

    def watch(self, page: Page) -> None:
        page.on("console", lambda message: message.type == "error" and self.note(message.text))
        page.on("pageerror", lambda error: self.note(str(error)))
        page.on("request", lambda request: self.check(request.url))
        page.on("websocket", lambda socket: self.check(socket.url))

    def note(self, text: str) -> None:
        self.problems.append(text)

    def check(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"blob", "data"} and parts.netloc != self.origin:
            self.note(f"a request to another host: {address}")

    @property
    def unexpected(self) -> list[str]:
        return [text for text in self.problems if not any(re.search(one, text) for one in self.expected)]


@pytest.fixture
def served(server: "Server") -> "Server":
    """The server whose page is looked at: the shared one, unless a test's module has another."""
    return server


SCRIPT = [
    {"at": 0.1, "text": "Said"},
    {"at": 0.3, "text": "Said once.", "final": True},
    {"at": "end", "text": "Said last.", "final": True},
]


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """Makes the options of a server that hears the same in each stream, whatever is said."""

    def options(*events: dict[str, object]) -> list[str]:
        path = tmp_path_factory.mktemp("script") / "script.json"
        path.write_text(json.dumps({"events": events}))
        return ["--engine", "scripted", "--script", str(path)]

    return options


@pytest.fixture(scope="session")
def scripted_server(
    run_server: "Callable[..., AbstractContextManager[Server]]", script: Callable[..., list[str]]
) -> "Iterator[Server]":
    """A server for tests that are not about words: it hears `SCRIPT` in each stream."""
    with run_server(*script(*SCRIPT)) as server:
        yield server


@pytest.fixture
def scripted(scripted_server: "Server", watch: "Watch") -> "Server":
    watch.origin = "{}:{}".format(*scripted_server.address)
    return scripted_server


KEYS = {"anna": "tr_of_anna_0123456789", "boss": "tr_of_the_boss_0123456789"}


@pytest.fixture(scope="session")
def guarded_server(
    run_server: "Callable[..., AbstractContextManager[Server]]",
    script: Callable[..., list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> "Iterator[Server]":
    """The same as `scripted_server`, but with `KEYS`, of which the boss's is an admin's."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"anna {KEYS['anna']}\nboss {KEYS['boss']} admin\n")
    with run_server("--access-keys", str(keys), *script(*SCRIPT)) as server:
        yield server


@pytest.fixture
def guarded(guarded_server: "Server", watch: "Watch") -> "Server":
    watch.origin = "{}:{}".format(*guarded_server.address)
    return guarded_server


@pytest.fixture
def watch(served: "Server") -> Watch:
    return Watch(urlsplit(served.url).netloc)


def _opening(
    browser: Browser, served: "Server", watch: Watch, *always: str
) -> Iterator[Callable[..., Page]]:
    contexts: list[BrowserContext] = []

    def opened(
        path: str = "/",
        *,
        permissions: tuple[str, ...] = always,
        before: str = "",
        of: Browser = browser,
        **how: object,
    ) -> Page:
        context = of.new_context(base_url=served.url, permissions=list(permissions), **how)  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        context.add_init_script(before)
        page = context.new_page()
        watch.watch(page)
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert watch.unexpected == []


@pytest.fixture
def new_page(browser: Browser, served: "Server", watch: Watch) -> Iterator[Callable[..., Page]]:
    """Opens pages, each as a browser of its own. They may use the microphone unless a test denies it.

    `before` is a program that runs in each document before those of the page; `of` is another browser.
    An error in the console, or a request to another host, fails the test.
    """
    yield from _opening(browser, served, watch, "microphone")


@pytest.fixture
def new_firefox_page(
    firefox_browser: Browser, served: "Server", watch: Watch
) -> Iterator[Callable[..., Page]]:
    """Opens pages in Firefox, as `new_page` does in Chromium."""
    yield from _opening(firefox_browser, served, watch)


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """The page as somebody finds it who opens it for the first time."""
    return new_page()
