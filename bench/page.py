"""The page in a browser: first paint, weight, and what hours of captions and transcripts cost it.

    python bench/page.py [--only paint words hour transcript]

Requires chromium. The server's engine is the scripted one, so that the figures are those of the page: a
sentence of ten words every 4.5 s, and a partial result every 0.5 s.

- paint: the first contentful paint of `/`, of a browser that has nothing in its cache: the median of 5.
- words: the page listens; from the arrival of a message at the browser until the frame that shows its text
  has been drawn.
- hour: a viewer's page gets an hour of captions at 40 times the speed of speech. The heap is measured after
  a garbage collection.
- transcript: a recording of three hours and its transcript are opened, and its end is gone to.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import httpx
import numpy as np
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright
from websockets.asyncio.client import connect
from websockets.sync.client import connect as connect_now

from running import RunningServer, machine, running_server

HOUR = 3600
SENTENCE = 4.5
PARTIAL = 0.5
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "that", "lazy", "dog", "and")
SPEED = 40
RATE = 8000

# Runs before the page's own programs. Long tasks are those that the browser reports, of 50 ms and more.
WATCH = """
window.longTasks = [];
new PerformanceObserver((seen) => {
  for (const task of seen.getEntries()) longTasks.push([task.startTime, task.duration].map(Math.round));
}).observe({ type: "longtask", buffered: true });
window.onScreen = [];
window.WebSocket = class extends WebSocket {
  constructor(...how) {
    super(...how);
    this.addEventListener("message", ({ data, timeStamp }) => {
      const text = JSON.parse(data).Transcript?.Results[0].Alternatives[0].Transcript;
      if (!text) return;
      const isShown = () => {
        const last = document.querySelector(".lines")?.lastElementChild;
        return [last, last?.previousElementSibling].some((line) => line?.textContent.includes(text));
      };
      const look = () => {
        if (!isShown() && performance.now() - timeStamp < 1000) return requestAnimationFrame(look);
        const { port1, port2 } = new MessageChannel();
        // A message is handled after the frame that was begun before it was sent.
        port1.onmessage = () => onScreen.push(performance.now() - timeStamp);
        port2.postMessage(0);
      };
      requestAnimationFrame(look);
    });
  }
};
"""


def main() -> None:
    """Measure and print."""
    parts: dict[str, Callable[[Browser, RunningServer], None]] = {
        "paint": _paint,
        "words": _words,
        "hour": _hour,
        "transcript": _transcript,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.json"
        script.write_text(json.dumps({"events": list(_events(3 * HOUR))}))
        with (
            running_server(options=["--engine", "scripted", "--script", str(script)]) as server,
            sync_playwright() as playwright,
        ):
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--use-fake-device-for-media-stream", "--enable-precise-memory-info"],
            )
            print(f"Chromium {browser.version}")
            for name in given.only:
                parts[name](browser, server)
            browser.close()


def _events(seconds: float) -> Iterator[dict[str, object]]:
    for number in range(round(seconds / SENTENCE)):
        begin = number * SENTENCE
        said = f"Sentence {number}: {' '.join(WORDS)}."
        spoken = said.split()
        steps = round(SENTENCE / PARTIAL)
        for step in range(1, steps):
            share = max(2, round(len(spoken) * step / steps))
            yield {"at": begin + step * PARTIAL, "text": " ".join(spoken[:share])}
        yield {"at": begin + SENTENCE, "text": said, "final": True}


def _opened(browser: Browser, address: str) -> Page:
    context = browser.new_context(permissions=["microphone"], viewport={"width": 1280, "height": 800})
    context.add_init_script(WATCH)
    page = context.new_page()
    page.goto(address)
    return page


def _paint(browser: Browser, server: RunningServer) -> None:
    paints, weight = [], 0
    for _ in range(6):
        page = _opened(browser, server.address)
        page.locator(".listen-button").wait_for()
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        weight = page.evaluate(
            "performance.getEntries().reduce((sum, { decodedBodySize = 0 }) => sum + decodedBodySize, 0)"
        )
        page.context.close()
    # The first one also warms up the browser.
    print(f"first paint: {_list(paints[1:])} ms, median {statistics.median(paints[1:]):.0f} ms (goal 300)")
    print(f"what `/` loads: {weight / 1000:.0f} KB uncompressed")
    static = Path(__file__).parents[1] / "src" / "transcribed" / "http" / "web" / "static"
    sizes = {path.suffix: 0 for path in static.iterdir()}
    for path in static.iterdir():
        sizes[path.suffix] += path.stat().st_size
    print("all of the page: " + ", ".join(f"{size / 1000:.0f} KB {kind}" for kind, size in sizes.items()))


def _words(browser: Browser, server: RunningServer) -> None:
    page = _opened(browser, server.address)
    page.get_by_role("button", name="Listen", exact=True).click()
    page.wait_for_timeout(65_000)
    found = sorted(page.evaluate("onScreen"))
    print(
        f"from message to screen: {len(found)} messages, median {statistics.median(found):.0f} ms, "
        f"p95 {found[len(found) * 95 // 100]:.0f} ms, largest {found[-1]:.0f} ms (goal: p95 50)"
    )
    print(f"long tasks: {page.evaluate('longTasks')}")
    page.context.close()


def _hour(browser: Browser, server: RunningServer) -> None:
    heard, told = threading.Event(), {}
    speaking = threading.Thread(target=lambda: asyncio.run(_speak(server, told, heard)))
    speaking.start()
    heard.wait(30)
    page = _opened(browser, server.address + told["link"])
    devtools = page.context.new_cdp_session(page)
    devtools.send("HeapProfiler.enable")
    devtools.send("Performance.enable")
    for minutes in (10, 20, 40, 60):
        page.locator(".line").nth(round(minutes * 60 / SENTENCE) - 2).wait_for(
            timeout=2000 * 60 * minutes / SPEED, state="attached"
        )
        print(f"after {minutes} min: {_memory(devtools)}")
    delays = sorted(page.evaluate("onScreen"))
    print(
        f"from message to screen at {SPEED} times the speed: p95 {delays[len(delays) * 95 // 100]:.0f} ms"
    )
    print(f"long tasks [at ms, for ms]: {page.evaluate('longTasks')} (goal: none)")
    page.context.close()
    speaking.join()


async def _speak(server: RunningServer, told: dict[str, str], heard: threading.Event) -> None:
    address = server.address.replace("http", "ws", 1)
    second = bytes(2 * RATE)
    async with connect(f"{address}/stream?format=json&share=true&sample_rate={RATE}") as stream:
        await stream.send(second)
        told["link"] = json.loads(await stream.recv())["Started"]["Live"]
        heard.set()
        reading = asyncio.create_task(_read(stream))
        await asyncio.sleep(2)
        due = time.perf_counter()
        for _ in range(HOUR + 20):
            await stream.send(second)
            due += 1 / SPEED
            await asyncio.sleep(max(0, due - time.perf_counter()))
        await stream.send(b"")
        await reading


async def _read(stream: object) -> None:
    async for _ in stream:  # type: ignore[attr-defined]
        pass


def _memory(devtools: CDPSession) -> str:
    devtools.send("HeapProfiler.collectGarbage")
    heap = devtools.send("Runtime.getHeapUsage")["usedSize"] / 2**20
    metrics = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
    nodes, listeners = metrics["Nodes"], metrics["JSEventListeners"]
    return f"{heap:.1f} MiB of JavaScript, {nodes:.0f} nodes, {listeners:.0f} listeners"


def _transcript(browser: Browser, server: RunningServer) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "three-hours.flac"
        _record(path, 3 * HOUR)
        began = time.perf_counter()
        with path.open("rb") as file:
            files = {"file": (path.name, file, "audio/flac")}
            httpx.post(f"{server.address}/audio", files=files, timeout=60).raise_for_status()
    with connect_now(
        server.address.replace("http", "ws", 1) + "/stream?format=json", max_size=None
    ) as stream:
        stream.send(path.name)
        while "Done" not in (message := json.loads(stream.recv(timeout=120))):
            if "Error" in message:
                raise SystemExit(message)
    print(f"three hours: transcribed by the script in {time.perf_counter() - began:.0f} s")
    for turn in ("first", "second"):
        page = _opened(browser, f"{server.address}/#/transcript/{message['Done']['SessionId']}?t=10700")
        began = time.perf_counter()
        page.locator(".segment.target, .segment.playing").first.wait_for(timeout=60_000)
        shown = time.perf_counter() - began
        page.get_by_label("Position in the recording").wait_for(timeout=60_000)
        drawn = time.perf_counter() - began
        page.wait_for_timeout(2000)
        page.keyboard.press("Home")
        page.wait_for_timeout(1000)
        devtools = page.context.new_cdp_session(page)
        devtools.send("HeapProfiler.enable")
        devtools.send("Performance.enable")
        lines = page.locator(".segment").count()
        print(
            f"{turn} time: {lines} lines, its end shown after {shown:.1f} s, waveform after {drawn:.1f} s"
        )
        print(
            f"  {_memory(devtools)}; long tasks [at ms, for ms]: {page.evaluate('longTasks')} (goal: none)"
        )
        page.context.close()


def _record(path: Path, seconds: int) -> None:
    """Write a recording of tones, ten seconds of sound and silence again and again."""
    times = np.arange(10 * RATE) / RATE
    tone = np.sin(2 * np.pi * 300 * times) * 8000 * (np.sin(2 * np.pi * times / 2) > 0)
    with av.open(str(path), "w") as target:
        stream = target.add_stream("flac", rate=RATE)
        stream.layout = "mono"
        for _ in range(seconds // 10):
            frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], format="s16", layout="mono")
            frame.rate = RATE
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values)


if __name__ == "__main__":
    main()
