"""Decoding of containers in separate processes, compared with the same reader in a thread of this process.

    python bench/decoding.py RECORDING [--rounds 5] [--streams 20]

RECORDING is a long recording in any format. The benchmark measures the decoding of the whole recording; of
many short recordings made from its beginning, including the probing; the latency from a chunk of a live Ogg
stream to its samples; and the memory and start-up time of a process. The two ways take turns, so that other
load on the machine affects both.
"""

import argparse
import asyncio
import io
import itertools
import queue
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil

from running import machine
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import MediaReader
from transcribed.audio.source import FileSource
from transcribed.decoding.decoders import Decoders, LiveSource

_SHORT_SECONDS, _SHORT = 4.0, 40
_LIVE_SECONDS = 30.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=20)
    given = parser.parse_args()
    print(machine())
    asyncio.run(_measure(given.recording, given.rounds, given.streams))


async def _measure(recording: Path, rounds: int, streams: int) -> None:
    samples = await asyncio.to_thread(_in_thread, recording)
    short = encoded(samples[: round(_SHORT_SECONDS * SAMPLE_RATE)], "mp3", "libmp3lame")
    live = encoded(samples[: round(_LIVE_SECONDS * SAMPLE_RATE)], "ogg", "libopus")
    began = time.perf_counter()
    with Decoders() as decoders, tempfile.TemporaryDirectory() as folder:
        path = _written(folder, short)
        started = time.perf_counter() - began
        first = await _timed(lambda: _in_processes(decoders, path))
        print(
            f"start: {started * 1e3:.1f} ms until the server goes on, {first:.2f} s until a file is decoded"
        )
        await _compare(
            f"whole, {len(samples) / SAMPLE_RATE / 60:.0f} min",
            rounds,
            lambda: asyncio.to_thread(_in_thread, recording),
            lambda: _in_processes(decoders, recording),
        )
        await _compare(
            f"{_SHORT} of {_SHORT_SECONDS:g} s",
            rounds,
            lambda: _each(_SHORT, lambda: asyncio.to_thread(_looked_at_in_thread, path)),
            lambda: _each(_SHORT, lambda: _looked_at_in_processes(decoders, path)),
        )
        here, there = [], []
        for _ in range(rounds):
            here += await _lags_in_thread(live)
            there += await _lags_in_processes(decoders, live)
        for name, lags in (("thread", here), ("process", there)):
            middle, late = statistics.median(lags), statistics.quantiles(lags, n=20)[-1]
            print(f"live, {name}: p50 {middle * 1e3:.2f} ms, p95 {late * 1e3:.2f} ms, {len(lags)} chunks")
        await _memory(decoders, live, streams)


def _written(folder: str, content: bytes) -> Path:
    path = Path(folder) / "short.mp3"
    path.write_bytes(content)
    return path


async def _compare(
    what: str, rounds: int, here: Callable[[], Coroutine[Any, Any, Any]], there: Callable[[], Any]
) -> None:
    thread, process = [], []
    for _ in range(rounds):
        thread.append(await _timed(here))
        process.append(await _timed(there))
    ratio = statistics.median(a / b for a, b in zip(thread, process, strict=True))
    print(
        f"{what}: thread {statistics.median(thread):.2f} s, process {statistics.median(process):.2f} s, "
        f"throughput {ratio:.2f} of the thread's"
    )


async def _timed(work: Callable[[], Coroutine[Any, Any, Any]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _each(times: int, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    for _ in range(times):
        await work()


def _in_thread(path: Path) -> Samples:
    with path.open("rb") as file, MediaReader(file) as reader:
        return np.concatenate(list(reader.blocks()))


async def _in_processes(decoders: Decoders, path: Path) -> int:
    length = 0
    with FileSource(path.open("rb")) as source:
        async with decoders.decode(source) as decoding:
            async for block in decoding.blocks():
                length += len(block)
    return length


def _looked_at_in_thread(path: Path) -> None:
    with path.open("rb") as file, MediaReader(file) as reader:
        reader.probe()
    _in_thread(path)


async def _looked_at_in_processes(decoders: Decoders, path: Path) -> None:
    with FileSource(path.open("rb")) as source:
        await decoders.probe(source)
    await _in_processes(decoders, path)


# --- Live: each chunk is sent after the samples of the previous one have arrived


class _Pipe:
    """A pipe of bytes from one thread to another."""

    def __init__(self) -> None:
        self._chunks: queue.Queue[bytes] = queue.Queue()
        self._rest = b""

    def put(self, data: bytes) -> None:
        self._chunks.put(data)

    def read(self, size: int, /) -> bytes:
        self._rest = self._rest or self._chunks.get()
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def _pages(ogg: bytes) -> list[bytes]:
    """Return the two header pages together, then one page at a time."""
    starts = [at for at in range(len(ogg)) if ogg.startswith(b"OggS", at)] + [len(ogg)]
    pages = [ogg[a:b] for a, b in itertools.pairwise(starts)]
    return [pages[0] + pages[1] + pages[2], *pages[3:]]


async def _lags_in_thread(ogg: bytes) -> list[float]:
    pipe, heard, loop = _Pipe(), asyncio.Event(), asyncio.get_running_loop()

    def read() -> None:
        with MediaReader(pipe, live=True) as reader:
            for _ in reader.blocks():
                loop.call_soon_threadsafe(heard.set)

    reading = asyncio.ensure_future(asyncio.to_thread(read))
    lags = await _given(_pages(ogg), pipe.put, heard)
    pipe.put(b"")
    await reading
    return lags


async def _lags_in_processes(decoders: Decoders, ogg: bytes) -> list[float]:
    given: asyncio.Queue[bytes] = asyncio.Queue()
    heard = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        while chunk := await given.get():
            yield chunk

    async def read() -> None:
        async with decoders.decode(LiveSource(chunks())) as decoding:
            async for _ in decoding.blocks():
                heard.set()

    reading = asyncio.ensure_future(read())
    lags = await _given(_pages(ogg), given.put_nowait, heard)
    given.put_nowait(b"")
    await reading
    return lags


async def _given(pages: list[bytes], give: Callable[[bytes], None], heard: asyncio.Event) -> list[float]:
    lags = []
    for page in pages:
        heard.clear()
        began = time.perf_counter()
        give(page)
        try:
            async with asyncio.timeout(1):
                await heard.wait()
        except TimeoutError:
            continue  # FFmpeg wants to see more of the container.
        lags.append(time.perf_counter() - began)
    return lags[2:]


async def _memory(decoders: Decoders, ogg: bytes, streams: int) -> None:
    held, enough = asyncio.Event(), asyncio.Semaphore(0)

    async def chunks() -> AsyncIterator[bytes]:
        yield ogg
        await held.wait()

    async def one() -> None:
        async with decoders.decode(LiveSource(chunks())) as decoding:
            blocks = decoding.blocks()
            await anext(blocks)
            enough.release()
            async for _ in blocks:
                pass

    running = [asyncio.ensure_future(one()) for _ in range(streams)]
    for _ in range(streams):
        await enough.acquire()
    children = psutil.Process().children()
    (server,) = (each for each in children if "transcribed.decoding.forkserver" in each.cmdline())
    own = sorted(each.memory_full_info().uss for each in server.children())[-streams:]
    shared, apart = server.memory_full_info().rss / 2**20, statistics.median(own) / 2**20
    print(
        f"memory: the fork server {shared:.0f} MiB; each of {streams} processes {apart:.1f} MiB of its own"
    )
    held.set()
    await asyncio.gather(*running)


def encoded(samples: Samples, container: str, codec: str) -> bytes:
    """Return samples encoded in a container, for Ogg with one page for each 0.1 s."""
    target = io.BytesIO()
    options = {"page_duration": "100000"} if container == "ogg" else {}
    with av.open(target, "w", format=container, options=options) as output:
        track = output.add_stream(codec, rate=48_000 if codec == "libopus" else SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            (samples * 32767).astype("<i2").reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE
        resampler = av.AudioResampler(track.format.name, "mono", track.rate, track.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(track.encode(part))
        output.mux(track.encode(None))
    return target.getvalue()


if __name__ == "__main__":
    main()
