"""The same words: the embedded engine itself, and the Amazon engine in front of a server that has it.

    python bench/equality.py SPEECH [--speed 30] [--at-once 2] [--only PART_OF_A_PATH]

SPEECH is a folder with a manifest.jsonl (path). Each recording is heard twice, as live audio of 16 bits: by
the embedded engine in this process, and by engines/amazon and engines/succession, whose service is another
process: `transcribed serve`, by its Amazon front. Texts must be equal, and times but for rounding.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "live"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "clients"))
from fault_runs import heard
from servers import started

from running import machine
from transcribed.app import recognition
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import MediaReader
from transcribed.engines.amazon.engine import load
from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.engines.base import Engine, Hypothesis, Pace, StreamOptions
from transcribed.engines.succession.engine import SuccessiveEngine
from transcribed.settings import RecognitionSettings

ROUNDED = 0.002
OPTIONS = StreamOptions(pace=Pace.LIVE)


def samples_of(path: Path) -> Samples:
    """A recording as clients of Amazon send it."""
    with path.open("rb") as source, MediaReader(source) as media:
        samples = np.concatenate([np.zeros(0, np.float32), *media.blocks()])
    return (np.clip(np.rint(samples * 32768), -32768, 32767) / 32768).astype(np.float32)


async def compare(paths: Sequence[Path], endpoint: str, speed: float, at_once: int) -> int:
    """How many differ."""
    settings = AmazonSettings(region="us-east-1", endpoint_url=endpoint, speed=speed)
    amazon = SuccessiveEngine(load(settings))
    waiting, different, finals, seconds = iter(paths), 0, 0, 0.0
    done = 0

    async def work(embedded: Engine) -> None:
        nonlocal different, finals, seconds, done
        for path in waiting:
            samples = samples_of(path)
            here = await finals_of(embedded, samples)
            there = await finals_of(amazon, samples)
            finals, seconds, done = finals + len(here), seconds + len(samples) / SAMPLE_RATE, done + 1
            if not equal(here, there):
                different += 1
                print(f"{path}\n  here  {told(here)}\n  there {told(there)}", flush=True)
            print(f"\r{done} recordings", end="", file=sys.stderr, flush=True)

    async with recognition(RecognitionSettings()) as embedded, asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(work(embedded))
    print(f"\r{done} recordings, {seconds / 60:.0f} minutes, {finals} finals; different: {different}")
    return different


async def finals_of(engine: Engine, samples: Samples) -> list[Hypothesis]:
    """What a live stream makes of them."""
    found = await heard(engine, samples, OPTIONS, patience=3600)
    return [hypothesis for hypothesis in found.said if hypothesis.final]


def equal(here: Sequence[Hypothesis], there: Sequence[Hypothesis]) -> bool:
    """Texts, and the times of segments and words."""
    if [h.text for h in here] != [h.text for h in there]:
        return False
    return all(abs(a - b) <= ROUNDED for a, b in zip(times(here), times(there), strict=True))


def times(finals: Sequence[Hypothesis]) -> list[float]:
    """All of them, in order."""
    found = []
    for final in finals:
        found += [final.start, final.end]
        found += [at for word in final.words for at in (word.start, word.end) if at is not None]
    return found


def told(finals: Sequence[Hypothesis]) -> str:
    """For people."""
    return " | ".join(f"{h.start:.3f}-{h.end:.3f} {h.text}" for h in finals)


def main() -> None:
    """Compare, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--speed", type=float, default=30)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--only", default="", metavar="PART_OF_A_PATH")
    given = parser.parse_args()
    lines = (given.speech / "manifest.jsonl").read_text().splitlines()
    paths = [given.speech / json.loads(line)["path"] for line in lines if line]
    paths = [path for path in paths if given.only in str(path)]
    os.environ.update(AWS_ACCESS_KEY_ID="AKIABENCH", AWS_SECRET_ACCESS_KEY="a-secret-of-the-bench")  # noqa: S106
    print(machine())
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSCRIBED_CACHE"] = folder
        with started("amazon", ["--transcripts", "none", "--max-sessions", "100"]) as server:
            url = f"http://127.0.0.1:{server.port}"
            different = asyncio.run(compare(paths, url, given.speed, given.at_once))
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
