"""What the viewers of a shared session cost the server, and how long after the speaker they read.

    python bench/viewers.py [--viewers 200] [--seconds 30] [--scripted 4] [--recording FILE]

A server with its default settings recognises the recording at the speed of speech, again and again: first
with no viewer, then with all of them. With `--scripted` its engine costs nothing and has so many results a
second, whatever is said: the embedded engine recognises more often in time that is to spare, which hides
what viewers cost. The CPU time is that of the server's process. The delay is from the moment when the
speaker has read a message to the moment when a viewer has.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from running import RunningServer, machine, running_server
from transcribed.audio.formats import SAMPLE_RATE
from transcribed.audio.media import MediaReader

CHUNK_SECONDS = 0.1
WARM_UP_SECONDS = 5.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--recording", type=Path, default=Path("tests/data/steamers.ogg"))
    parser.add_argument("--scripted", type=float, metavar="RESULTS")
    given = parser.parse_args()
    with given.recording.open("rb") as file, MediaReader(file) as media:
        audio = (np.concatenate(list(media.blocks())) * 32767).astype("<i2").tobytes()
    print(machine())
    with ExitStack() as opened:
        options = _scripted(given.scripted, opened) if given.scripted else []
        server = opened.enter_context(running_server(options=options))
        alone, _, messages = asyncio.run(_measured(server, audio, 0, given.seconds))
        print(f"no viewer: {alone:.3f} of a core, {messages / given.seconds:.1f} messages a second")
        shared, delays, messages = asyncio.run(_measured(server, audio, given.viewers, given.seconds))
        each = messages / given.seconds
        print(f"{given.viewers} viewers: {shared:.3f} of a core, {each:.1f} messages a second")
        print(
            f"ratio {shared / alone:.2f}, {shared - alone:.3f} of a core more; "
            f"{server.memory():.0f} MiB resident"
        )
    delays.sort()
    print(
        f"{len(delays)} messages read by viewers; delay behind the speaker in ms: "
        f"median {1000 * statistics.median(delays):.1f}, p95 {1000 * delays[len(delays) * 95 // 100]:.1f}, "
        f"largest {1000 * delays[-1]:.1f}"
    )


def _scripted(results: float, opened: ExitStack) -> list[str]:
    """The options of a server that has that many results a second: finals of ten words, and partials."""
    events = []
    words = ["the", "quick", "brown", "fox", "jumps", "over", "that", "lazy", "dog", "and"]
    for number in range(round(600 * results)):
        place = number % len(words)
        final = place == len(words) - 1
        text = f"{number // len(words)}: {' '.join(words[: place + 1])}"
        events.append({"at": (number + 1) / results, "text": text, "final": final})
    path = Path(opened.enter_context(tempfile.TemporaryDirectory())) / "script.json"
    path.write_text(json.dumps({"events": events}))
    return ["--engine", "scripted", "--script", str(path)]


async def _measured(
    server: RunningServer, audio: bytes, viewers: int, seconds: float
) -> tuple[float, list[float], int]:
    """The server's CPU time per second, the delays of the viewers, and how many messages were sent."""
    url = server.address.replace("http", "ws", 1)
    spoken: dict[str, float] = {}
    read: list[tuple[str, float]] = []
    async with AsyncExitStack() as opened:
        speaker = await opened.enter_async_context(connect(f"{url}/stream?format=json&share=true"))
        tasks = [asyncio.create_task(_speak(speaker, audio))]
        link = json.loads(await speaker.recv())["Started"]["Live"]
        tasks.append(asyncio.create_task(_note(speaker, spoken)))
        for _ in range(viewers):
            viewer = await opened.enter_async_context(connect(f"{url}{link}"))
            tasks.append(asyncio.create_task(_read(viewer, read)))
        await asyncio.sleep(WARM_UP_SECONDS)
        before, first = _cpu(server), len(spoken)
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        used = (_cpu(server) - before) / (time.perf_counter() - began)
        messages = len(spoken) - first
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return used, [at - spoken[message] for message, at in read if message in spoken], messages


def _cpu(server: RunningServer) -> float:
    times = server.process.cpu_times()
    return float(times.user + times.system)


def _chunks(audio: bytes) -> Iterator[bytes]:
    size = round(CHUNK_SECONDS * SAMPLE_RATE) * 2
    while True:
        yield from (audio[start : start + size] for start in range(0, len(audio), size))


async def _speak(speaker: ClientConnection, audio: bytes) -> None:
    due = time.perf_counter()
    for chunk in _chunks(audio):
        await speaker.send(chunk)
        due += len(chunk) / 2 / SAMPLE_RATE
        await asyncio.sleep(due - time.perf_counter())


async def _note(speaker: ClientConnection, spoken: dict[str, float]) -> None:
    async for message in speaker:
        spoken[str(message)] = time.perf_counter()


async def _read(viewer: ClientConnection, read: list[tuple[str, float]]) -> None:
    # What was said before the viewer came is not measured: it is read at once.
    joined = time.perf_counter() + 1
    async for message in viewer:
        at = time.perf_counter()
        if at > joined:
            read.append((str(message), at))


if __name__ == "__main__":
    main()
