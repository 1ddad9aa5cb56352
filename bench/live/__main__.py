"""Live streams: the latency of words, the cost, and the number of streams that a machine can serve.

    python bench/live SPEECH [--streams 1,8,16,24,32,40] [--seconds 60] [--json FILE] [--plot FILE]
    python bench/live SPEECH --server transcribed:1,24 --server whisperlive:1,2 --server whisperlivekit:1,2
    python bench/live SPEECH --streams 24,32,40 --overload 2
    python bench/live SPEECH --streams 80 --before 24 --beside 1
    python bench/live --recording FILE --streams 1

SPEECH is a folder of recordings with a manifest.jsonl, aligned once by bench/live/align.py. Each count of
streams is a run with a new server, which one stream warms up. --overload runs a multiple of the largest
count whose p95 was at most 1 s without a refused stream. With --before the server has served so many
streams before, and with --beside so many programs compute all the time beside it.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

from audio import RATE
from client import Stream
from dialects import DIALECTS
from material import Library, Material, one_recording
from measure import drive
from plot import plot
from report import Run, heading, notes, row, summarise
from servers import OURS, started

from running import machine

PROMISE = 1.0
"""The p95 word latency of a stream that fits, seconds."""
WARM_UP = 10.0


def main() -> None:
    """Measure, print and save."""
    given = _arguments()
    runs: list[Run] = []
    print(machine(), flush=True)
    print(heading(), flush=True)
    for run in _runs(given):
        runs.append(run)
        print("\n".join([row(run), *notes(run)]), flush=True)
        if given.json:
            kept = {"machine": machine(), "at": _now(), "runs": [each.as_json() for each in runs]}
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(kept, indent=1))
    if given.plot:
        plot([run.as_json() for run in runs], given.plot)


def _runs(given: argparse.Namespace) -> Iterator[Run]:
    for name, counts in given.server or [("transcribed", given.streams)]:
        fit = 0
        for count in counts:
            run = _run(given, name, count)
            if run.served == count and run.word.p95 is not None and run.word.p95 <= PROMISE:
                fit = max(fit, count)
            yield run
        if given.overload and fit:
            yield _run(given, name, round(given.overload * fit))


def _run(given: argparse.Namespace, name: str, count: int) -> Run:
    materials = _materials(given, count)
    options = given.option if name in OURS else ()
    with _beside(given.beside), started(name, options, given.log) as server:
        drive(server, [_warming(given)], 0, "warm")
        if given.before:
            drive(server, _materials(given, given.before), given.spread, f"{given.seed} before")
        streams, cost = drive(server, materials, given.spread, f"{given.seed}")
    if given.keep:
        _keep(given.keep / f"{name}-{count}.json", materials, streams)
    return summarise(name, given.seconds, materials, streams, cost)


@contextmanager
def _beside(count: int) -> Iterator[None]:
    """Run programs that always compute."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def _materials(given: argparse.Namespace, count: int) -> list[Material]:
    if given.recording:
        return [one_recording(given.recording, given.words)] * count
    library = Library(given.speech, given.words)
    return [library.sequence(given.seconds, f"{given.seed} {number}") for number in range(count)]


def _warming(given: argparse.Namespace) -> Material:
    (material,) = _materials(given, 1)
    return Material(material.samples[: round(WARM_UP * RATE)], material.text, material.words)


def _keep(path: Path, materials: list[Material], streams: list[Stream]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [
        {
            "text": material.text,
            "words": [astuple(word) for word in material.words],
            "stream": asdict(stream),
        }
        for material, stream in zip(materials, streams, strict=True)
    ]
    path.write_text(json.dumps(kept))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path, nargs="?", help="a folder of recordings with a manifest.jsonl")
    parser.add_argument(
        "--words", type=Path, default=Path("bench/results/words.json"), help="from align.py"
    )
    parser.add_argument("--recording", type=Path, help="every client speaks this one, which was aligned")
    parser.add_argument("--streams", type=_counts, default=[1, 8, 16, 24, 32, 40], help="1,8,16,...")
    parser.add_argument("--server", type=_server, action="append", help="NAME:COUNTS; may be repeated")
    parser.add_argument(
        "--option", action="append", default=[], help="for our server's command; may be repeated"
    )
    parser.add_argument("--seconds", type=float, default=60, help="of audio for each client")
    parser.add_argument("--spread", type=float, default=5, help="seconds over which the clients start")
    parser.add_argument("--before", type=int, help="serve so many streams before, for as long")
    parser.add_argument("--beside", type=int, default=0, help="programs that compute beside the server")
    parser.add_argument(
        "--overload", type=float, help="offer so many times the streams that fit, at the end"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--plot", type=Path, help="draw them there (.svg, .png); needs matplotlib")
    parser.add_argument("--keep", type=Path, help="keep all messages in this folder")
    parser.add_argument("--log", type=Path, help="keep what the servers say")
    given = parser.parse_args()
    if (given.speech is None) == (given.recording is None):
        parser.error("give a folder SPEECH or a --recording")
    return given


def _counts(text: str) -> list[int]:
    return [int(count) for count in text.split(",")]


def _server(text: str) -> tuple[str, list[int]]:
    name, _, counts = text.partition(":")
    if name not in DIALECTS:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(DIALECTS)}")
    return name, _counts(counts or "1")


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M")


if __name__ == "__main__":
    main()
