"""Sessions of hours, as fast as they can be computed: memory stays flat, and times stay right."""

import asyncio
import gc
import io
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from transcribing import transcribe_live

from transcribed.audio.formats import SAMPLE_RATE, InputFormat, Samples
from transcribed.audio.media import MediaReader
from transcribed.decoding.decoders import Decoders
from transcribed.engines.base import LocalEngine
from transcribed.engines.moonshine import engine as moonshine
from transcribed.engines.testing.scripted import Script, ScriptedEngine
from transcribed.options import StreamOptions
from transcribed.recognition.endpointing import EndpointingRules
from transcribed.scheduling.scheduler import Scheduler
from transcribed.transcript import Done, Segment

HOURS = 4
EVERY = 5.0
"""Seconds from one final of the script to the next."""
WITHIN = 0.05
KILOBYTE, MEGABYTE = 1024, 1024 * 1024


async def _finals(
    engine: LocalEngine, chunks: Iterator[bytes], note: Callable[[Segment], None]
) -> tuple[int, float]:
    """How many there are; each is shown to `note`. And the seconds of audio."""

    async def arriving() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    count, seconds = 0, 0.0
    async with Scheduler(1) as scheduler:
        events = transcribe_live(
            scheduler.run(engine),
            arriving(),
            InputFormat(),
            StreamOptions(),
            decoders=Decoders(),
            idle_timeout=60.0,
        )
        async for event in events:
            if isinstance(event, Done):
                seconds = event.audio_seconds
            elif event.final:
                count += 1
                note(event)
    return count, seconds


def test_four_hours_of_a_session_leave_nothing_behind() -> None:
    """All but the recogniser, whose words are a script's."""
    count = round(HOURS * 3600 / EVERY)
    partials = [{"at": (number + 0.5) * EVERY, "text": "some wor"} for number in range(count)]
    said = [{"at": (number + 1) * EVERY, "text": "some words", "final": True} for number in range(count)]
    events = sorted([*partials, *said], key=lambda event: event["at"])
    engine = ScriptedEngine(Script.model_validate({"events": events}))
    second, seen, held = bytes(2 * SAMPLE_RATE), 0, []

    def note(segment: Segment) -> None:
        nonlocal seen
        assert abs(segment.start - seen * EVERY) < WITHIN
        seen += 1
        assert abs(segment.end - seen * EVERY) < WITHIN
        if seen % (count // 8) == 0:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])

    # What other tests have left to be called at each collection allocates too.
    left, gc.callbacks[:] = gc.callbacks[:], []
    tracemalloc.start()
    try:
        chunks = (second for _ in range(HOURS * 3600))
        assert asyncio.run(_finals(engine, chunks, note)) == (count, HOURS * 3600)
    finally:
        tracemalloc.stop()
        gc.callbacks[:] = left
    assert max(held[2:]) - held[1] < 64 * KILOBYTE


# --- With the recogniser


MINUTES = 8
PERIOD = 15.3
"""Seconds from one sentence to the next: no multiple of what the recogniser listens to at once."""


@pytest.fixture(scope="module")
def sentence(data: Path) -> Samples:
    with MediaReader(io.BytesIO((data / "test.wav").read_bytes())) as media:
        return np.concatenate(list(media.blocks()))


def _periods(sentence: Samples, count: int) -> Iterator[bytes]:
    """A sentence, and hardly audible noise."""
    noise = np.random.default_rng(4)
    for _ in range(count):
        audio = noise.normal(0, 1e-4, round(PERIOD * SAMPLE_RATE))
        audio[: len(sentence)] += sentence
        yield (audio * 32767).astype("<i2").tobytes()


def test_minutes_of_speech_leave_nothing_behind_and_are_where_they_were_said(
    environment: dict[str, str], sentence: Samples
) -> None:
    """bench/session.py does the same for four hours."""
    engine = moonshine.load(Path(environment["TRANSCRIBED_CACHE"]), EndpointingRules())
    count = round(MINUTES * 60 / PERIOD)
    process, resident = psutil.Process(os.getpid()), []
    places: list[tuple[float, float]] = []

    def note(segment: Segment) -> None:
        assert segment.text == "This is a test."
        begun = len(places) * PERIOD
        places.append((segment.start - begun, segment.end - begun))
        resident.append(process.memory_info().rss)

    chunks = (
        period[start : start + 3_200]
        for period in _periods(sentence, count)
        for start in range(0, len(period), 3_200)
    )
    asyncio.run(_finals(engine, chunks, note))
    assert len(places) == count
    # The first has no audio in front of it, where a segment begins as a rule.
    starts, ends = np.array(places[1:]).T
    assert np.ptp(starts) < WITHIN
    assert np.ptp(ends) < WITHIN
    assert max(resident[-5:]) - max(resident[5:10]) < 8 * MEGABYTE
