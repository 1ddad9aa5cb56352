"""The page in a real browser, with a microphone that says what a recording says."""

import io
import re
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import av
import pytest
from environments import chromium
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

if TYPE_CHECKING:
    from tests.conftest import Server

ROOT = Path(__file__).parents[2]
SPOKEN = ROOT / "tests" / "data" / "cases" / "dc-offset.flac"
RATE = 48000
WAIT_MS = 20_000

expect.set_options(timeout=WAIT_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if chromium() is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="Install chromium, with which pages are tested."))


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
def browser(microphone: Path) -> Iterator[Browser]:
    """Chromium. What no permission was granted for is denied."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium(),
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


@pytest.fixture
def watch(served: "Server") -> Watch:
    return Watch(urlsplit(served.url).netloc)


@pytest.fixture
def new_page(browser: Browser, served: "Server", watch: Watch) -> Iterator[Callable[..., Page]]:
    """Opens pages, each as a browser of its own. They may use the microphone unless a test denies it.

    An error in the console, or a request to another host, fails the test.
    """
    contexts: list[BrowserContext] = []

    def opened(path: str = "/", *, permissions: tuple[str, ...] = ("microphone",), **how: object) -> Page:
        context = browser.new_context(base_url=served.url, permissions=list(permissions), **how)  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        watch.watch(page)
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert watch.unexpected == []


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """The page as somebody finds it who opens it for the first time."""
    return new_page()
