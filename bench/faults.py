"""Random faults between a gateway and its upstream: no final may be lost or repeated.

    python bench/faults.py [--runs 1000] [--first SEED] [--at-once 8]

The upstream is a server of this project whose words depend only on levels of the audio
(engines/testing/levels.py). A proxy in between breaks connections at exact positions
(tests/clients/fault_proxy.py). Each run sends random audio through engines/amazon and engines/failover,
with random faults, and compares the finals with those of the same audio without faults. Everything but the
order of concurrent events is determined by the run's seed.
"""

import argparse
import asyncio
import itertools
import json
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "live"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "clients"))
from fault_runs import LEVEL_SCRIPT, Lane, Run, audio, heard, lanes
from servers import started

from running import machine
from transcribed.engines.testing.levels import LevelEngine
from transcribed.options import StreamOptions
from transcribed.scheduling.scheduler import Scheduler

AUDIOS = 40


async def run_all(upstream: tuple[str, int], seeds: Sequence[int], at_once: int) -> list[Run]:
    """Run all seeds, distributed over the lanes."""
    audios = [audio(seed) for seed in range(AUDIOS)]
    async with Scheduler(1) as scheduler:
        engine = scheduler.run(LevelEngine(LEVEL_SCRIPT))
        alone = [await heard(engine, samples, StreamOptions()) for samples in audios]
    waiting = iter(seeds)
    done: list[Run] = []

    async def work(lane: Lane) -> None:
        for seed in waiting:
            done.append(await lane.run(seed, audios[seed % AUDIOS], alone[seed % AUDIOS]))
            for problem in done[-1].problems:
                print(f"\nseed {seed}, {lane.name}: {problem}\n  struck {done[-1].struck}", flush=True)
            print(f"\r{len(done)} runs", end="", file=sys.stderr, flush=True)

    async with lanes(upstream, free_ports(), KINDS * (at_once // len(KINDS))) as made:
        for samples, expected in zip(audios, alone, strict=True):
            undisturbed = await made[0].undisturbed(samples)
            for problem in undisturbed.problems(expected):
                raise SystemExit(f"Without faults: {problem}")
        async with asyncio.TaskGroup() as tasks:
            for lane in made:
                tasks.create_task(work(lane))
    return done


KINDS = ("plain", "short", "fallback", "outage")


def free_ports() -> Iterator[int]:
    """Yield ports below the range of ephemeral ports."""
    return itertools.count(20_000 + os.getpid() % 5_000)


def main() -> None:
    """Run all seeds and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--at-once", type=int, default=8)
    given = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="AKIABENCH", AWS_SECRET_ACCESS_KEY="a-secret-of-the-bench")  # noqa: S106
    logging.disable(logging.CRITICAL)
    seeds = range(given.first, given.first + given.runs)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.json")
        script.write_text(LEVEL_SCRIPT.model_dump_json())
        options = ["--engine", "scripted", "--script", str(script), "--transcripts", "none"]
        with started("amazon", [*options, "--max-sessions", "1000"]) as server:
            done = asyncio.run(run_all(("127.0.0.1", server.port), seeds, given.at_once))
    print(f"\r{machine()}\n{len(done)} runs in {time.monotonic() - began:.0f} s")
    print(f"{sum(run.connections for run in done)} connections")
    struck = Counter(fault.what.name for run in done for fault in run.struck)
    print(f"faults that happened: {json.dumps(dict(struck.most_common()))}")
    places = Counter(f"{f.spot.way.name} {f.spot.place.name}" for run in done for f in run.struck if f.spot)
    print(f"where: {json.dumps(dict(places.most_common()))}")
    wrong = [run.seed for run in done if run.problems]
    print(f"runs with a final lost, doubled or wrong: {len(wrong)} {wrong or ''}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
