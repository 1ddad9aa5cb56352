"""The search in many transcripts, and the storing of finals, with SQLite.

    python bench/transcripts.py FOLDER [--transcripts 100000] [--seconds 60]

The transcripts are built in FOLDER once, which takes some gigabytes and minutes, and reused. Each has 1,000
words in segments of 20, drawn from 50,000 words by Zipf's law, with times and confidence. The benchmark
measures the time for the caller on the event loop, including threads. All queries are different; a page has
50 transcripts with their excerpts. The measured finals remain in the file.
"""

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from running import machine
from transcribed.principal import NOBODY
from transcribed.storage.opening import open_transcripts
from transcribed.storage.tables import key_of, segment_id
from transcribed.storage.transcripts import OwnersTranscripts, Query, TranscriptInfo, TranscriptSource
from transcribed.transcript import Segment, Word

WORDS, SEGMENT_WORDS = 1000, 20
VOCABULARY = 50_000
BATCH = 250
"""Transcripts made at once."""
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
EVERY = timedelta(minutes=10)
QUERIES = 100
STREAMS, FINALS_A_SECOND = 24, 2.0


def main() -> None:
    """Build, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--transcripts", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement of finals")
    parser.add_argument("--build", action="store_true", help="build, and measure nothing")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    file = given.folder / f"{given.transcripts}.db"
    vocabulary = _vocabulary()
    if not file.exists():
        _build(file, vocabulary, given.transcripts)
    if not given.build:
        print(f"{machine()}, SQLite {sqlite3.sqlite_version}")
        print(f"{given.transcripts} transcripts of {WORDS} words: {file.stat().st_size / 1e9:.2f} GB")
        asyncio.run(_measure(file, vocabulary, given.seconds))


# --- The transcripts


def _vocabulary() -> list[str]:
    """Return artificial words, the most frequent and shortest first."""
    chance = random.Random(1)
    made: dict[str, None] = {}
    while len(made) < VOCABULARY:
        syllables = 1 + min(3, len(made) // 300) + chance.randrange(2)
        made[
            "".join(chance.choice("bdfghklmnprstvw") + chance.choice("aeiou") for _ in range(syllables))
        ] = None
    return list(made)


def _frequencies() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return frequencies by the Zipf-Mandelbrot law."""
    weights = 1 / (np.arange(VOCABULARY) + 2.7) ** 1.05
    return weights / weights.sum()


def _build(file: Path, vocabulary: Sequence[str], transcripts: int) -> None:
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    asyncio.run(_make_tables(unfinished))
    began = time.perf_counter()
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as database:
        database.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000"
        )
        for start in range(0, transcripts, BATCH):
            database.execute("BEGIN")
            _build_batch(database, vocabulary, range(start, min(start + BATCH, transcripts)))
            database.execute("COMMIT")
            if start % 10_000 == 0:
                print(f"{start:8} transcripts, {time.perf_counter() - began:4.0f} s", flush=True)
        database.execute("PRAGMA journal_mode = WAL")
    unfinished.rename(file)


async def _make_tables(file: Path) -> None:
    store = await open_transcripts(str(file))
    await store.aclose()


def _rest_of_words() -> str:
    """Return the fields of a segment's words other than their texts, as the store writes them."""
    numbers = range(SEGMENT_WORDS)
    rest = {
        "start": [round(0.35 * n, 3) for n in numbers],
        "end": [round(0.35 * n + 0.3, 3) for n in numbers],
        "confidence": [round(0.9 + 0.004 * n, 4) for n in numbers],
    }
    return json.dumps(rest, separators=(",", ":"))[1:]


def _build_batch(database: sqlite3.Connection, vocabulary: Sequence[str], numbers: range) -> None:
    generator = np.random.default_rng(numbers.start)
    drawn = generator.choice(VOCABULARY, (len(numbers), WORDS), p=_frequencies()).tolist()
    rest = _rest_of_words()
    infos, segments, texts = [], [], []
    for number, ranks in zip(numbers, drawn, strict=True):
        started = BEGIN + number * EVERY
        key, microseconds = key_of(started), 1000 * key_of(started)
        infos.append((key, f"transcript-{number}", "file" if number % 10 == 0 else "live", microseconds))
        for place in range(0, WORDS, SEGMENT_WORDS):
            words = [vocabulary[rank] for rank in ranks[place : place + SEGMENT_WORDS]]
            id_, text = segment_id(key, place // SEGMENT_WORDS), " ".join(words)
            kept = '{"text":["' + '","'.join(words) + '"],' + rest
            segments.append((id_, place * 0.35, (place + SEGMENT_WORDS) * 0.35, text, kept))
            texts.append((id_, text))
    database.executemany(
        "INSERT INTO transcripts (key, id, source, engine, language, started, audio_seconds) "
        "VALUES (?, ?, ?, 'moonshine', 'en-US', ?, 350.0)",
        infos,
    )
    database.executemany(
        "INSERT INTO segments (id, start, stop, language, text, words) VALUES (?, ?, ?, 'en-US', ?, ?)",
        segments,
    )
    database.executemany("INSERT INTO segment_words (rowid, words) VALUES (?, ?)", texts)


# --- Search


def _queries(vocabulary: Sequence[str]) -> dict[str, Callable[[random.Random], str]]:
    """Return the queries by kind. The rank of a word is its position by frequency."""

    def words(count: int, first: int, last: int) -> Callable[[random.Random], str]:
        return lambda chance: " ".join(
            vocabulary[rank] for rank in chance.sample(range(first, last), count)
        )

    def quoted(made: Callable[[random.Random], str]) -> Callable[[random.Random], str]:
        return lambda chance: f'"{made(chance)}"'

    return {
        "a very common word": words(1, 0, 100),
        "a common word": words(1, 100, 2_000),
        "a rare word": words(1, 20_000, VOCABULARY),
        "two common words": words(2, 0, 2_000),
        "a common and a rare word": lambda chance: (
            f"{words(1, 0, 100)(chance)} {words(1, 20_000, VOCABULARY)(chance)}"
        ),
        "a phrase of two very common words": quoted(words(2, 0, 100)),
        "a phrase of two common words": quoted(words(2, 0, 2_000)),
        "a phrase of three very common words": quoted(words(3, 0, 100)),
        "a phrase of three common words": quoted(words(3, 20, 500)),
    }


async def _measure(file: Path, vocabulary: Sequence[str], seconds: float) -> None:
    whole = await open_transcripts(str(file))
    store = whole.of(NOBODY)
    try:
        await _measure_search(store, vocabulary)
        await _measure_finals(store, vocabulary, seconds)
    finally:
        await whole.aclose()


async def _measure_search(store: OwnersTranscripts, vocabulary: Sequence[str]) -> None:
    _print_head("search")
    kinds = _queries(vocabulary)
    everything = []
    for kind, made in kinds.items():
        taken, found = await _search(store, made)
        everything += taken
        _print(kind, taken, f"{statistics.mean(found):.1f} on a page")
    _print("all of these", everything)
    taken, _ = await _search(store, kinds["two common words"], source=TranscriptSource.FILE)
    _print("two common words, of files (1 in 10)", taken)
    taken, _ = await _search(store, kinds["two common words"], until=BEGIN + 2_000 * EVERY)
    _print("two common words, of the oldest", taken)
    taken, before = [], None
    for _ in range(QUERIES):
        began = time.perf_counter()
        before = (await store.page(Query(before=before))).next
        taken.append(time.perf_counter() - began)
    _print("a page without a search", taken)


async def _search(
    store: OwnersTranscripts, made: Callable[[random.Random], str], **more: Any
) -> tuple[list[float], list[int]]:
    """Return the seconds of each query, and how many transcripts its page had."""
    chance = random.Random(2)
    taken, found = [], []
    for _ in range(QUERIES):
        query = Query(words=made(chance), **more)
        began = time.perf_counter()
        page = await store.page(query)
        taken.append(time.perf_counter() - began)
        found.append(len(page.found))
    return taken, found


# --- Finals


async def _measure_finals(store: OwnersTranscripts, vocabulary: Sequence[str], seconds: float) -> None:
    _print_head("keeping a final")
    for streams in (1, STREAMS):
        count = round(seconds * FINALS_A_SECOND)
        taken = await _streams(store, vocabulary, streams, count, 1 / FINALS_A_SECOND)
        _print(f"{streams} x {FINALS_A_SECOND:.0f} a second", taken)
    began = time.perf_counter()
    taken = await _streams(store, vocabulary, STREAMS, 100, 0)
    _print(
        f"{STREAMS} without a pause", taken, f"{len(taken) / (time.perf_counter() - began):.0f} a second"
    )


async def _streams(
    store: OwnersTranscripts, vocabulary: Sequence[str], streams: int, finals: int, every: float
) -> list[float]:
    """Return the seconds of each final."""
    said = await asyncio.gather(
        *(_stream(store, vocabulary, finals, every, every * n / streams) for n in range(streams))
    )
    return [taken for stream in said for taken in stream]


async def _stream(
    store: OwnersTranscripts, vocabulary: Sequence[str], finals: int, every: float, offset: float
) -> list[float]:
    chance = random.Random(offset)
    drawn = np.random.default_rng(round(1e6 * offset)).choice(
        VOCABULARY, (finals, SEGMENT_WORDS), p=_frequencies()
    )
    session = str(uuid.uuid4())
    now = BEGIN + timedelta(days=365 * 10 + chance.random())
    await store.add(TranscriptInfo(session, TranscriptSource.LIVE, "moonshine", "en-US", now))
    begin = asyncio.get_running_loop().time() + offset
    taken = []
    for number, ranks in enumerate(drawn.tolist()):
        segment = _segment(session, number, [vocabulary[rank] for rank in ranks])
        await asyncio.sleep(max(0.0, begin + number * every - asyncio.get_running_loop().time()))
        began = time.perf_counter()
        await store.append(segment)
        taken.append(time.perf_counter() - began)
    return taken


def _segment(session: str, number: int, texts: Sequence[str]) -> Segment:
    start = number * 7.0
    words = tuple(
        Word(
            text, start=round(start + 0.35 * n, 3), end=round(start + 0.35 * n + 0.3, 3), confidence=0.9876
        )
        for n, text in enumerate(texts)
    )
    return Segment(
        session, number, start, start + 7.0, " ".join(texts), final=True, language="en-US", words=words
    )


def _print_head(what: str) -> None:
    print(f"{what:40} {'p50':>7} {'p95':>7} {'p99':>7} {'max':>7} ms")


def _print(kind: str, taken: Sequence[float], note: str = "") -> None:
    p50, p95, p99 = (1000 * np.percentile(taken, share) for share in (50, 95, 99))
    print(f"{kind:40} {p50:7.1f} {p95:7.1f} {p99:7.1f} {1000 * max(taken):7.1f} {note}", flush=True)


if __name__ == "__main__":
    main()
