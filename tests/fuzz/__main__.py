"""Mutated streams through Amazon's front end, and mutated containers.

    python tests/fuzz [--seed 1] [--streams 1000000] [--served 5000] [--containers 20000]

`--streams` of them go through the codec, the signatures and the reader of audio in this process, `--served`
to a server of their own over real sockets; `--containers` are uploaded and sent live to another one. The
first one of which something comes that must not ends it, with its number, which with the seed makes it
again: `--number N`, and of containers `--from N --containers 1`; `--save FILE` writes that one to a file.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "clients"))

import containers
import offline
import served
import served_containers
from tests.conftest import Server, running_server


def main() -> None:
    """Try them, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--streams", type=int, default=1_000_000)
    parser.add_argument("--served", type=int, default=5000)
    parser.add_argument("--containers", type=int, default=20_000)
    parser.add_argument(
        "--from", type=int, default=0, dest="first", help="the number of the first container"
    )
    parser.add_argument("--save", type=Path, help="write the first container here, and try nothing")
    parser.add_argument("--number", type=int, help="try this one of the streams alone")
    arguments = parser.parse_args()
    if arguments.number is not None:
        figures = offline.Figures()
        offline.one(arguments.number, arguments.seed, figures)
        print(*figures.ends)
        return
    if arguments.save is not None:
        made = containers.mutated(Random(f"{arguments.seed}-{arguments.first}"), containers.recordings())
        arguments.save.write_bytes(made[1])
        return
    if arguments.streams:
        _offline(arguments.streams, arguments.seed)
    if arguments.served:
        _served(arguments.served, arguments.seed)
    if arguments.containers:
        _containers(range(arguments.first, arguments.first + arguments.containers), arguments.seed)


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
    with _server(served.options) as server:
        ends, before, after = served.attack(server, count, seed)
    print(f"{count} streams to a server in {time.perf_counter() - began:.0f} s: no error in its log")
    _table(ends)
    _left(before, after)


def _containers(numbers: range, seed: int) -> None:
    began = time.perf_counter()
    kept = containers.recordings()
    with _server(served_containers.options) as server:
        figures, before, after = served_containers.attack(server, kept, numbers, seed)
    print(
        f"{len(numbers)} files of {len(kept)} formats to a server in {time.perf_counter() - began:.0f} s: "
        "no error in its log"
    )
    _table(figures.ends)
    late = sorted(figures.lateness)
    print(
        f"somebody else's {len(late)} words came after {late[len(late) // 2] * 1000:.0f} ms (median), "
        f"{late[len(late) * 99 // 100] * 1000:.0f} ms (99 of 100), {late[-1] * 1000:.0f} ms (the last)"
    )
    print(f"the slowest answer took {figures.slowest[0]:.1f} s (number {figures.slowest[1]})")
    print(
        f"ended their decoder: {len(figures.killed)} {sorted(figures.killed)[:20]} {dict(figures.signals)}"
    )
    print(
        f"at most {figures.most_memory / 2**20:.0f} MiB were resident in a decoder, "
        f"{figures.most_resident / 2**20:.0f} MiB in the server"
    )
    _left(before, after)


@contextmanager
def _server(options: Callable[[Path], list[str]]) -> Iterator[Server]:
    with TemporaryDirectory() as folder:
        launcher = [sys.executable, str(served.WATCHED)]
        own = {name: value for name, value in os.environ.items() if not name.startswith("TRANSCRIBED_")}
        environment = own | {"TRANSCRIBED_CACHE": f"{folder}/cache"}
        with running_server(Path(folder), options(Path(folder)), launcher, environment) as server:
            yield server


def _left(before: served.Traces, after: served.Traces) -> None:
    print(f"left behind: {after.left_behind(before) or 'nothing'}")
    print(
        f"before and after: {before.descriptors} and {after.descriptors} descriptors, {before.threads} and "
        f"{after.threads} threads, {before.objects['tasks']} and {after.objects['tasks']} tasks, "
        f"{before.resident / 2**20:.1f} and {after.resident / 2**20:.1f} MiB"
    )
    if after.left_behind(before):
        sys.exit(1)


def _table(ends: Counter[str]) -> None:
    for end, count in ends.most_common():
        print(f"{count:8} {end}")


if __name__ == "__main__":
    main()
