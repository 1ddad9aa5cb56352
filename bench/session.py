"""A live session of several hours, as fast as the engine accepts it: memory, and error of the times.

    python bench/session.py [--minutes 240] [--recording tests/data/test.wav] [--every 15.3]

The recording is repeated every `--every` seconds, with hardly audible noise in between. Four hours take two
minutes on one core. The time error is the distance of a final's start and end from those of the second
repetition, moved by the time between them; the first repetition has no audio before it. Speech is detected
in windows of 32 ms, so that the error is about that large everywhere.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil

from running import machine
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import MediaReader
from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import Engine
from transcribed.engines.moonshine.engine import load
from transcribed.recognition.endpointing import EndpointingRules
from transcribed.scheduling.scheduler import Scheduler
from transcribed.service.transcription import Transcription, TranscriptionRequest
from transcribed.transcript import Segment

CHUNK = SAMPLE_RATE // 10 * 2
"""Bytes of 0.1 s."""
NOISE = 1e-4
QUARTERS = 4


@dataclass(frozen=True, slots=True)
class Heard:
    """A final, the number of its repetition, and the memory at that time in MiB."""

    number: int
    segment: Segment
    resident: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=240.0)
    parser.add_argument("--recording", type=Path, default=Path("tests/data/test.wav"))
    parser.add_argument("--every", type=float, default=15.3, help="seconds")
    given = parser.parse_args()
    with given.recording.open("rb") as file, MediaReader(file) as media:
        said = np.concatenate(list(media.blocks()))
    if len(said) > given.every * SAMPLE_RATE:
        parser.error("--every must be longer than the recording")
    count = round(given.minutes * 60 / given.every)
    if count < 3 * QUARTERS:
        parser.error("--minutes must leave room for a dozen sayings")
    print(machine())
    started = time.perf_counter()
    heard = asyncio.run(_session(said, count, given.every))
    _report(heard, count, given.every, time.perf_counter() - started)


async def _session(said: Samples, count: int, every: float) -> list[Heard]:
    process = psutil.Process()
    heard = []
    with tempfile.TemporaryDirectory() as cache:
        loaded = load(Path(cache), EndpointingRules())
    async with Scheduler(1) as scheduler:
        async for segment in _finals(scheduler.run(loaded), said, count, every):
            number = round((segment.end - len(said) / SAMPLE_RATE) / every)
            heard.append(Heard(number, segment, process.memory_info().rss / 2**20))
    return heard


async def _finals(engine: Engine, said: Samples, count: int, every: float) -> AsyncIterator[Segment]:
    async def arriving() -> AsyncIterator[bytes]:
        for audio in _sayings(said, count, every):
            for start in range(0, len(audio), CHUNK):
                yield audio[start : start + CHUNK]

    service = Transcription(lambda _: engine, Decoders(), audio_timeout=60.0)
    async with service.open_live(TranscriptionRequest()) as live:
        async for event in live.events(arriving()):
            if isinstance(event, Segment) and event.final:
                yield event


def _sayings(said: Samples, count: int, every: float) -> Iterator[bytes]:
    noise = np.random.default_rng(0)
    places = [round(number * every * SAMPLE_RATE) for number in range(count + 1)]
    for begin, end in pairwise(places):
        audio = noise.normal(0, NOISE, end - begin)
        audio[: len(said)] += said
        yield (np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes()


def _report(heard: list[Heard], count: int, every: float, taken: float) -> None:
    minutes = count * every / 60
    print(
        f"session                     {minutes:6.0f} min in {taken:.0f} s: {60 * minutes / taken:.0f} times"
    )
    print(f"finals                      {len(heard):6} for {count} sayings")
    quarters = [
        [h for h in heard if count * q // QUARTERS <= h.number < count * (q + 1) // QUARTERS]
        for q in range(QUARTERS)
    ]
    memory = ", ".join(f"{statistics.mean(h.resident for h in quarter):.1f}" for quarter in quarters)
    print(f"memory by quarter           {memory} MiB; {max(h.resident for h in heard):.1f} at most")
    reference = next(h for h in heard if h.number == 1)
    for quarter, finals in enumerate(quarters, 1):
        errors = [error for final in finals if final.number for error in _errors(final, reference, every)]
        print(f"time error, quarter {quarter}       {1000 * max(errors):6.0f} ms at most")


def _errors(heard: Heard, reference: Heard, every: float) -> tuple[float, float]:
    shift = (heard.number - reference.number) * every
    segment, first = heard.segment, reference.segment
    return abs(segment.start - first.start - shift), abs(segment.end - first.end - shift)


if __name__ == "__main__":
    main()
