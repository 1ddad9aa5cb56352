"""Mutated streams through Amazon's front end.

    python tests/fuzz [--seed 1] [--streams 1000000] [--served 5000]

`--streams` of them go through the codec, the signatures and the reader of audio in this process, `--served`
to a server of their own over real sockets. The first one of which something comes that must not ends it,
with its number, which with the seed makes it again: `--number N`.
"""

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "clients"))

import offline
import served
from tests.conftest import running_server


def main() -> None:
    """Try them, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--streams", type=int, default=1_000_000)
    parser.add_argument("--served", type=int, default=5000)
    parser.add_argument("--number", type=int, help="try this one of the streams alone")
    arguments = parser.parse_args()
    if arguments.number is not None:
        figures = offline.Figures()
        offline.one(arguments.number, arguments.seed, figures)
        print(*figures.ends)
        return
    if arguments.streams:
        _offline(arguments.streams, arguments.seed)
    if arguments.served:
        _served(arguments.served, arguments.seed)


def _offline(count: int, seed: int) -> None:
    began = time.perf_counter()
    figures = offline.run(count, seed)
    print(f"{figures.streams} streams in {time.perf_counter() - began:.0f} s: only documented errors")
    print(f"the slowest took {figures.slowest * 1000:.1f} ms")
    print(f"the largest took {figures.most_memory / 2**20:.2f} MiB")
    print(f"2000 of them read 20 times more: {offline.grown(2000, 20, seed) / 2**20:.2f} MiB more")
    _table(figures.ends)


def _served(count: int, seed: int) -> None:
    began = time.perf_counter()
    with TemporaryDirectory() as folder:
        launcher = [sys.executable, str(served.WATCHED)]
        own = {name: value for name, value in os.environ.items() if not name.startswith("TRANSCRIBED_")}
        environment = own | {"TRANSCRIBED_CACHE": f"{folder}/cache"}
        options = served.options(Path(folder))
        with running_server(Path(folder), options, launcher, environment) as server:
            ends, before, after = served.attack(server, count, seed)
    print(f"{count} streams to a server in {time.perf_counter() - began:.0f} s: no error in its log")
    print(f"left behind: {after.left_behind(before) or 'nothing'}")
    print(
        f"before and after: {before.descriptors} and {after.descriptors} descriptors, {before.threads} and "
        f"{after.threads} threads, {before.objects['tasks']} and {after.objects['tasks']} tasks, "
        f"{before.resident / 2**20:.1f} and {after.resident / 2**20:.1f} MiB"
    )
    _table(ends)
    if after.left_behind(before):
        sys.exit(1)


def _table(ends: Counter[str]) -> None:
    for end, count in ends.most_common():
        print(f"{count:8} {end}")


if __name__ == "__main__":
    main()
