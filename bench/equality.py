"""The embedded engine compared with the Amazon engine in front of a server of this project.

    python bench/equality.py SPEECH [--speed 30] [--at-once 2] [--only PART_OF_A_PATH]

SPEECH is a folder with a manifest.jsonl (path). Each recording is sent, as live 16-bit audio, to the
embedded engine in this process, and to engines/amazon with engines/failover, whose service is
`transcribed serve` in another process.

The text and times of a live stream depend slightly on which partials were computed, since these are drafts
of the final. So the embedded engine is also compared with itself, with the audio at once and more slowly.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "live"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "clients"))
from fault_runs import heard
from servers import started

from running import machine
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import MediaReader
from transcribed.engines.amazon.engine import load
from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.engines.base import Engine, Hypothesis
from transcribed.engines.failover.engine import FailoverEngine
from transcribed.loading import recognition
from transcribed.options import Pace, StreamOptions
from transcribed.settings import RecognitionSettings

ROUNDED = 0.002
SLOWLY = 0.003
"""Seconds from one tenth of a second to the next, in place of none."""
OPTIONS = StreamOptions(pace=Pace.LIVE)


def samples_of(path: Path) -> Samples:
    """Return a recording in the form in which clients of Amazon send it."""
    with path.open("rb") as source, MediaReader(source) as media:
        samples = np.concatenate([np.zeros(0, np.float32), *media.blocks()])
    return (np.clip(np.rint(samples * 32768), -32768, 32767) / 32768).astype(np.float32)


@dataclass
class Differences:
    """Differences between two results: finals with different or missing text, and times in seconds."""

    texts: int = 0
    times: int = 0
    furthest: float = 0.0

    def count(self, here: Sequence[Hypothesis], there: Sequence[Hypothesis]) -> list[str]:
        """Count differences, and return descriptions of them."""
        ours, theirs = ({round(h.start, 2): h for h in finals} for finals in (here, there))
        found = []
        for start in sorted({*ours, *theirs}):
            one, other = ours.get(start), theirs.get(start)
            if one is None or other is None or one.text != other.text:
                self.texts += 1
                found += [f"  {start:.2f} s  {each.text if each else '(nothing)'}" for each in (one, other)]
                continue
            apart = [abs(a - b) for a, b in zip(times(one), times(other), strict=True)]
            self.times += sum(each > ROUNDED for each in apart)
            self.furthest = round(max(self.furthest, *apart), 3)
        return found


@dataclass
class Comparison:
    """The recordings and their differences."""

    recordings: int = 0
    seconds: float = 0.0
    finals: int = 0
    words: int = 0
    amazon: Differences = field(default_factory=Differences)
    slowly: Differences = field(default_factory=Differences)


async def compare(paths: Sequence[Path], endpoint: str, speed: float, at_once: int) -> Comparison:
    """Transcribe all recordings in each way."""
    settings = AmazonSettings(region="us-east-1", endpoint_url=endpoint, speed=speed)
    amazon = FailoverEngine(load(settings))
    waiting, found = iter(paths), Comparison()

    async def work(embedded: Engine) -> None:
        for path in waiting:
            samples = samples_of(path)
            here = await finals_of(embedded, samples)
            if different := found.amazon.count(here, await finals_of(amazon, samples)):
                print("\r" + "\n".join([str(path), *different]), flush=True)
            found.slowly.count(here, await finals_of(embedded, samples, SLOWLY))
            found.recordings += 1
            found.seconds += len(samples) / SAMPLE_RATE
            found.finals += len(here)
            found.words += sum(len(final.words) for final in here)
            print(f"\r{found.recordings} recordings", end="", file=sys.stderr, flush=True)

    async with recognition(RecognitionSettings()) as embedded, asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(work(embedded))
    return found


async def finals_of(engine: Engine, samples: Samples, pace: float = 0.0) -> list[Hypothesis]:
    """Return the finals of a live stream with a chunk of 0.1 s every `pace` seconds."""
    found = await heard(engine, samples, OPTIONS, pace, patience=3600)
    return [hypothesis for hypothesis in found.said if hypothesis.final]


def times(final: Hypothesis) -> list[float]:
    """Return the times of a segment and of its words."""
    words = (at for word in final.words for at in (word.start, word.end) if at is not None)
    return [final.start, final.end, *words]


def main() -> None:
    """Compare and print the differences."""
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
            found = asyncio.run(compare(paths, url, given.speed, given.at_once))
    print(
        f"\r{found.recordings} recordings, {found.seconds / 60:.0f} minutes, {found.finals} finals, "
        f"{found.words} words, in {time.monotonic() - began:.0f} s\n"
        f"through Amazon's protocol and without:   {found.amazon}\n"
        f"the embedded engine, at once and slowly: {found.slowly}"
    )


if __name__ == "__main__":
    main()
