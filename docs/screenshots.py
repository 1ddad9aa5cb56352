# ruff: noqa: INP001, S603
"""Takes the pictures of the page in docs/images: `make screenshots`. Requires chromium.

Each state of the page is taken in light, in dark and at a phone's width. The words are those of a server
with the default model, and the microphone hears a recording of the tests.
"""

import json
import re
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
import urllib.request
import wave
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import av.filter
import httpx
from playwright.sync_api import Browser, Page, expect, sync_playwright
from websockets.sync.client import connect

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
DATA = ROOT / "tests" / "data"
SPOKEN = DATA / "jfk.mp3"
RECORDINGS = {
    "address.mp3": SPOKEN,
    "steamers.ogg": DATA / "steamers.ogg",
    "genesis.flac": DATA / "bible.flac",
}
LOOKS = {"light": (1000, 640, "light"), "dark": (1000, 640, "dark"), "narrow": (360, 640, "light")}
START_SECONDS = 60
RATE = 48000
COLOURS = 128


def main() -> None:
    """Start servers and a browser, and take the pictures."""
    IMAGES.mkdir(exist_ok=True)
    for old in IMAGES.glob("*.png"):
        old.unlink()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        spoken(folder / "microphone.wav")
        script = folder / "script.json"
        script.write_text('{"events": []}')
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[
                "--no-sandbox",
                "--deny-permission-prompts",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={folder / 'microphone.wav'}",
            ],
        )
        with server(folder / "one") as url:
            identities = {recording: transcribe(url, recording) for recording in RECORDINGS}
            for look in LOOKS:
                files(browser, url, look, identities["address.mp3"])
            for look in LOOKS:
                captions(browser, url, look)
        with (
            server(
                folder / "two", "--engine", "scripted", "--script", script, "--max-sessions", "1"
            ) as url,
            connect(f"{url.replace('http', 'ws', 1)}/stream?format=json") as other,
        ):
            other.send(bytes(3200))
            for look in LOOKS:
                full(browser, url, look)
        browser.close()


def opened(browser: Browser, address: str, look: str, *permissions: str) -> Page:
    """Open a page as somebody who sees it for the first time."""
    width, height, scheme = LOOKS[look]
    page = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        permissions=permissions,
    ).new_page()
    page.goto(address)
    return page


def captions(browser: Browser, url: str, look: str) -> None:
    """Take what is seen while somebody speaks, by the speaker and by a viewer."""
    page = opened(browser, url, look)
    page.get_by_role("button", name="Listen", exact=True).click()
    page.get_by_role("alert").first.wait_for()
    take(page, "no-microphone", look)
    page.context.close()

    speaker, developer = (opened(browser, url, look, "microphone") for _ in range(2))
    speaker.get_by_role("button", name="Share these captions").click()
    speaker.get_by_role("button", name="Share", exact=True).click()
    speaker.keyboard.press("Escape")
    developer.get_by_role("button", name="For developers").click()
    for page in (speaker, developer):
        page.get_by_role("button", name="Listen", exact=True).click()
    speaker.locator("[data-state=listening]").first.wait_for()
    link = speaker.get_by_label("Link for viewers")
    expect(link).to_have_value(re.compile("/live/"))
    viewer = opened(browser, link.input_value(), look)
    speaker.locator(".line.open .settled").filter(has_text="country").first.wait_for()
    take(speaker, "listening", look)
    take(viewer, "viewer", look)
    take(developer, "developers", look)
    speaker.get_by_role("button", name="Large type").click()
    take(speaker, "large-type", look)
    for page in (speaker, developer, viewer):
        page.context.close()


def files(browser: Browser, url: str, look: str, identity: str) -> None:
    """Take the library, and a transcript that is being played."""
    page = opened(browser, f"{url}/#/library", look)
    page.locator(".library-list a").nth(len(RECORDINGS) - 1).wait_for()
    take(page, "library", look)
    page.context.close()
    page = opened(browser, f"{url}/#/transcript/{identity}", look)
    page.get_by_label("Position in the recording").wait_for()
    page.locator(".word", has_text="country").first.click()
    page.locator(".word.playing").wait_for()
    take(page, "transcript", look)
    page.context.close()


def full(browser: Browser, url: str, look: str) -> None:
    """Take a server that has no room."""
    page = opened(browser, url, look, "microphone")
    page.get_by_role("button", name="Listen", exact=True).click()
    page.locator(".status-text").filter(has_text="Trying again").wait_for()
    take(page, "full", look)
    page.context.close()


def take(page: Page, state: str, look: str) -> None:
    """Take a picture, and write it with a palette, which makes it less than half as large."""
    path = IMAGES / f"{state}-{look}.png"
    page.mouse.move(0, 0)
    page.screenshot(path=path, animations="disabled")
    with av.open(str(path)) as source:
        picture = next(source.decode(video=0))
    graph = av.filter.Graph()
    source_filter = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
    )
    split, sink = graph.add("split"), graph.add("buffersink")
    palette = graph.add("palettegen", f"max_colors={COLOURS}:reserve_transparent=0")
    use = graph.add("paletteuse", "dither=none")
    source_filter.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    graph.push(picture)
    graph.push(None)
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "pal8"
    encoder.options = {"compression_level": "9", "pred": "none"}
    encoder.time_base = picture.time_base
    path.write_bytes(b"".join(map(bytes, [*encoder.encode(graph.pull()), *encoder.encode(None)])))


def transcribe(url: str, recording: str) -> str:
    """Upload a recording, have it transcribed, and return the id of the transcript."""
    files_ = {"file": (recording, RECORDINGS[recording].read_bytes(), "audio/mpeg")}
    httpx.post(f"{url}/audio", files=files_).raise_for_status()
    with connect(f"{url.replace('http', 'ws', 1)}/stream?format=json") as stream:
        stream.send(recording)
        while "Done" not in (message := json.loads(stream.recv(timeout=60))):
            pass
    return str(message["Done"]["SessionId"])


@contextmanager
def server(folder: Path, *options: str | Path) -> Iterator[str]:
    """Run a server, and give its address."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    command = [
        Path(sysconfig.get_path("scripts")) / "transcribed",
        "serve",
        "--port",
        url.rpartition(":")[2],
    ]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [*command, "--audio", str(folder / "audio"), *options], cwd=folder, stdout=log, stderr=log
        ) as process,
    ):
        try:
            wait_for(f"{url}/ready")
            yield url
        finally:
            process.terminate()


def spoken(path: Path) -> None:
    """Write what the microphone hears: the recording between silences."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(SPOKEN) as source, wave.open(str(path), "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(RATE)
        target.writeframes(bytes(RATE))
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
