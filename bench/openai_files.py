"""OpenAI's API for recordings: the same words as `/stream`, the first delta, and memory.

    python bench/openai_files.py SPEECH [--words] [--first] [--memory] [--only PART_OF_A_PATH]

SPEECH is a folder that holds a manifest.jsonl (path) and derived_longform/train_clean_mix_dev_15min.flac.
Without --words, --first or --memory all three are measured. The latency of live words is measured by
bench/live, as that of the other protocols.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import httpx
import psutil

from running import RunningServer, machine, running_server, transcript_of

RUNS = 5
AT_ONCE = 2
PERIOD = 0.2
"""Seconds between two looks at the memory."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--words", action="store_true", help="compare the words with those of /stream")
    parser.add_argument("--first", action="store_true", help="take the time to the first delta")
    parser.add_argument("--memory", action="store_true", help="watch the memory for half an hour of audio")
    parser.add_argument("--only", nargs="*", default=[""], metavar="PART_OF_A_PATH")
    parser.add_argument("--model", default="auto")
    given = parser.parse_args()
    every = not (given.words or given.first or given.memory)
    os.environ["TRANSCRIBED_MODEL"] = given.model
    print(f"{machine()}, --model {given.model}")
    long = given.speech / "derived_longform" / "train_clean_mix_dev_15min.flac"
    with tempfile.TemporaryDirectory() as folder, running_server() as server:
        post(server, given.speech / "test.wav")
        if given.memory or every:
            half_an_hour = Path(folder, "30min.mp3")
            cut(long, half_an_hour, "mp3", seconds=1800)
            _memory(server, half_an_hour)
        if given.first or every:
            minute = Path(folder, "60s.wav")
            cut(long, minute, "pcm_s16le", seconds=60)
            _first(server, minute)
        if given.words or every:
            lines = (given.speech / "manifest.jsonl").read_text().splitlines()
            paths = [given.speech / json.loads(line)["path"] for line in lines if line]
            _words(server, [path for path in paths if any(part in str(path) for part in given.only)])


def post(server: RunningServer, path: Path) -> str:
    """Return the text that the API makes of a recording."""
    with path.open("rb") as file:
        answer = httpx.post(
            f"{server.address}/v1/audio/transcriptions",
            files={"file": (path.name, file)},
            data={"model": "whisper-1"},
            timeout=600,
        )
    answer.raise_for_status()
    return str(answer.json()["text"])


def deltas(server: RunningServer, path: Path) -> Iterator[tuple[float, dict[str, str]]]:
    """Yield the events of a streamed answer, each with the seconds since the request was sent."""
    sent = time.perf_counter()
    with path.open("rb") as file:
        form = {"model": "gpt-4o-transcribe", "stream": "true"}
        url = f"{server.address}/v1/audio/transcriptions"
        with httpx.stream("POST", url, files={"file": (path.name, file)}, data=form, timeout=600) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    yield time.perf_counter() - sent, json.loads(line.removeprefix("data: "))


def cut(source: Path, target: Path, codec: str, seconds: float) -> None:
    """Write so many seconds of a recording, repeated if it is shorter, mono, in another format."""
    done = 0.0
    with av.open(str(target), "w") as written:
        stream = written.add_stream(codec, rate=16_000)
        assert isinstance(stream, av.AudioStream)  # noqa: S101 - for the type checker
        stream.layout = "mono"
        resampler = av.AudioResampler(stream.format.name, "mono", 16_000)
        while done < seconds:
            with av.open(str(source)) as recording:
                for frame in recording.decode(audio=0):
                    for piece in resampler.resample(frame):
                        piece.pts = None
                        written.mux(stream.encode(piece))
                        done += piece.samples / 16_000
                    if done >= seconds:
                        break
        written.mux(stream.encode(None))


def _words(server: RunningServer, paths: Sequence[Path]) -> None:
    began = time.monotonic()

    def both(path: Path) -> tuple[Path, str, str]:
        name = server.upload(path)
        results = [transcript_of(message) for _, message in server.results(name) if "Transcript" in message]
        return path, " ".join(text for text, final in results if final), post(server, path)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(both, paths))
    different = [(path, one, other) for path, one, other in found if one != other]
    words = sum(len(one.split()) for _, one, _ in found)
    print(
        f"{len(found)} recordings, {words} words: {len(found) - len(different)} the same as of /stream, "
        f"in {time.monotonic() - began:.0f} s"
    )
    for path, one, other in different:
        print(f"{path}\n  {one}\n  {other}")


def _first(server: RunningServer, path: Path) -> None:
    firsts, lasts = [], []
    for _ in range(RUNS):
        *said, (at, done) = deltas(server, path)
        firsts.append(said[0][0])
        lasts.append(at)
        if "".join(event["delta"] for _, event in said) != done["text"]:
            raise SystemExit("The deltas are not the text.")
    print(f"60 s, first delta     {_spread(firsts)} s")
    print(f"60 s, the whole text  {_spread(lasts)} s")


def _memory(server: RunningServer, path: Path) -> None:
    idle, whole = server.memory(), _with_children(server)
    began = time.monotonic()
    with _peaks(server) as most:
        words = len(post(server, path).split())
    print(
        f"30 minutes of mp3 ({path.stat().st_size / 1e6:.0f} MB, {words} words, in "
        f"{time.monotonic() - began:.0f} s): {idle:.0f} MiB idle, {most[0] - idle:.0f} MiB more at most; "
        f"with the processes that decode {whole:.0f} MiB, {most[1] - whole:.0f} more"
    )


def _with_children(server: RunningServer) -> float:
    """Return the memory of all processes in MiB, shared pages in equal parts."""
    total = 0
    for process in (server.process, *server.process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 2**20


@contextmanager
def _peaks(server: RunningServer) -> Iterator[list[float]]:
    most, ended = [0.0, 0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(PERIOD):
            now = server.memory(), _with_children(server)
            most[:] = map(max, most, now)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield most
    finally:
        ended.set()
        watching.join()


def _spread(values: Sequence[float]) -> str:
    return f"{sorted(values)[len(values) // 2]:.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
