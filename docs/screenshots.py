# ruff: noqa: INP001, S603
"""Takes the pictures of the page in docs/images: `make screenshots`. Requires chromium.

The page is that of a server with the default model, whose microphone hears a recording of the tests.
"""

import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
import urllib.request
import wave
from contextlib import suppress
from pathlib import Path

import av
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
SPOKEN = ROOT / "tests" / "data" / "jfk.mp3"
START_SECONDS = 60
RATE = 48000


def main() -> None:
    """Start a server and a browser, and take the pictures."""
    IMAGES.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spoken(folder / "microphone.wav")
        command = [Path(sysconfig.get_path("scripts")) / "transcribed", "serve", "--port", str(port)]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [*command, "--audio", str(folder / "audio")], cwd=folder, stdout=log, stderr=log
            ) as server,
        ):
            try:
                wait_for(f"http://127.0.0.1:{port}/ready")
                with sync_playwright() as playwright:
                    browser = playwright.chromium.launch(
                        executable_path=shutil.which("chromium"),
                        args=[
                            "--no-sandbox",
                            "--use-fake-device-for-media-stream",
                            f"--use-file-for-fake-audio-capture={folder / 'microphone.wav'}",
                        ],
                    )
                    take(browser, f"http://127.0.0.1:{port}")
            finally:
                server.terminate()


def take(browser: Browser, url: str) -> None:
    """Take the pictures of each state."""

    def opened(path: str, width: int, height: int, scheme: str) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            permissions=["microphone"],
        )
        page = context.new_page()
        page.goto(url + path)
        return page

    page = opened("/", 1000, 620, "light")
    page.locator(".listen-button").click()
    page.get_by_role("button", name="For developers").click()
    page.locator(".line.open .settled").filter(has_text="country").first.wait_for()
    page.screenshot(path=IMAGES / "listen.png")
    page = opened("/", 360, 640, "dark")
    page.locator(".listen-button").click()
    page.locator(".line.open .settled").filter(has_text="country").first.wait_for()
    page.screenshot(path=IMAGES / "phone.png")


def spoken(path: Path) -> None:
    """Write what the microphone hears: the recording, then silence."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(SPOKEN) as source, wave.open(str(path), "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(RATE)
        for frame in (*source.decode(audio=0), None):
            for piece in resampler.resample(frame):
                target.writeframes(piece.to_ndarray().tobytes())
        target.writeframes(bytes(8 * RATE))


def wait_for(url: str) -> None:
    """Wait until the server is ready."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - of this machine
            if answer.status == 200:  # noqa: PLR2004
                return
        time.sleep(0.1)
    raise SystemExit(f"The server is not ready within {START_SECONDS} s.")


if __name__ == "__main__":
    main()
