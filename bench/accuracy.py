"""The word error rate of each model, live and offline, by set of recordings, beside faster-whisper's.

    python bench/accuracy.py SPEECH [--models tiny,base,auto] [--seconds 60] [--partials 0.5] [--no-peers]

SPEECH is a folder with a manifest.jsonl (id, path, text, duration_s). Of each set, about `--seconds` of
recordings that are spread over it are taken; 0 takes all. The columns of a model:

- whole: each recording decoded at once, without voice activity detection, endpoints or partials: the best
  that the other two could reach.
- live: finals of a stream at live pace, in chunks of 0.1 s, with a partial each `--partials` seconds. Time
  is counted in audio, not read from a clock, so that the load of the machine changes nothing.
  The partials of `auto` are tiny's, as on a busy machine.
- file: finals of a stream at fast pace.

Chapters are utterances of one set joined by tens, with pauses of 0.4 to 1 s of faint noise; their other row
has the same utterances one by one. faster-whisper decodes whole recordings, greedily, as here; it runs in
an environment of its own (python bench/live/peers.py whisper). Texts are compared after Whisper's English
normaliser. Recordings without speech, which only the models get, must yield no words.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from running import machine
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import MediaReader
from transcribed.engines.base import Effort, Hypothesis
from transcribed.engines.moonshine import engine as moonshine
from transcribed.engines.moonshine.model import Decoded, MoonshineModel
from transcribed.engines.moonshine.pair import PairEngine
from transcribed.engines.moonshine.variants import NAMED
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.engines.segments.stream import PartialRules
from transcribed.options import Pace, StreamOptions
from transcribed.recognition.endpointing import EndpointingRules

sys.path.insert(0, str(Path(__file__).parent / "live"))
from peers import offline, python_of

READ = ["librispeech_train_clean_100", "libri_misc", "ljspeech", "common_voice", "fleurs_en", "cmu_arctic"]
HARD = ["noisy", "telephone"]
CHAPTERED = ["librispeech_train_clean_100", "ljspeech"]
WITHOUT_SPEECH = ["special_silence", "special_noise", "special_music"]
TOGETHER = 10
"""The utterances of a chapter."""
PAUSES = (0.6, 0.4, 1.0, 0.8)
FAINT = 10 ** (-65 / 20)
"""The level of the noise in pauses: -65 dBFS."""
LONGEST_WHOLE = 40
"""Seconds; the models have no positions for much more."""
CHUNK = SAMPLE_RATE // 10
PEERS = {"whisper tiny.en": "tiny.en", "whisper base": "base"}
_PEER = Path(__file__).with_name("accuracy_peer.py")
_normalise = cache(EnglishTextNormalizer())

T = TypeVar("T")
Recogniser = Callable[[Sequence[Samples]], Sequence[str] | None]
"""Returns the text of each recording, or None if they are too long for it."""
Texts = dict[str, dict[str, Sequence[str] | None]]
"""By column and row."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: recordings, and what is said in each."""

    name: str
    recordings: Sequence[Samples]
    references: Sequence[str]

    @property
    def words(self) -> int:
        """The words that are said."""
        return sum(len(_normalise(text).split()) for text in self.references)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--models", default="tiny,base", help="separated by commas")
    parser.add_argument("--seconds", type=float, default=60, help="of each set; 0 for all")
    parser.add_argument("--partials", type=float, default=0.5, help="seconds between them at live pace")
    parser.add_argument("--cache", type=Path, help="the folder of the models' graphs")
    parser.add_argument("--sets", default=",".join(READ + HARD), help="separated by commas")
    parser.add_argument("--no-peers", action="store_true", help="without faster-whisper")
    parser.add_argument("--out", type=Path, help="all texts, as JSON")
    given = parser.parse_args()
    sets = given.sets.split(",")
    taken = {name: list(_taken(given.speech, name, given.seconds)) for name in sets}
    single = {
        name: _row(name, [entry["text"] for entry in of], of, given.speech) for name, of in taken.items()
    }
    chapters = [_chapters(single[name]) for name in CHAPTERED if name in single]
    rows = [*single.values(), *(row for pair in chapters for row in pair)]
    quiet = [
        _row(name, [""] * len(entries), entries, given.speech)
        for name in WITHOUT_SPEECH
        for entries in [list(_entries(given.speech, name))]
    ]
    print(machine())
    said: Texts = {}
    with tempfile.TemporaryDirectory() as folder:
        columns = _models(
            list(filter(None, given.models.split(","))), given.cache or Path(folder), given.partials
        )
        columns |= {} if given.no_peers else {name: _peer(model) for name, model in PEERS.items()}
        for column, recognise in columns.items():
            started = time.perf_counter()
            said[column] = {
                row.name: None if row in quiet and column in PEERS else recognise(row.recordings)
                for row in (*rows, *quiet)
            }
            print(f"{column}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    if given.out:
        references = {row.name: list(row.references) for row in rows}
        given.out.write_text(json.dumps({"reference": references, **said}, indent=1))
    read = [single[name] for name in READ if name in single]
    _print(rows, quiet, read, said)


# --- The recordings


def _entries(speech: Path, name: str) -> Iterable[dict[str, str]]:
    entries = map(json.loads, (speech / "manifest.jsonl").read_text().splitlines())
    return (entry for entry in entries if entry["path"].split("/")[0] == name)


def _taken(speech: Path, name: str, seconds: float) -> Iterable[dict[str, str]]:
    """Every n-th recording of a set with a text, so that they last about so many seconds together."""
    entries = [entry for entry in _entries(speech, name) if entry["text"]]
    total = sum(float(entry["duration_s"]) for entry in entries)
    share = min(1.0, max(1 / len(entries), seconds / total)) if seconds else 1.0
    return (entry for n, entry in enumerate(entries) if int((n + 1) * share) > int(n * share))


def _row(name: str, texts: Sequence[str], entries: Sequence[dict[str, str]], speech: Path) -> Row:
    return Row(name, [_samples(speech / entry["path"]) for entry in entries], texts)


def _samples(path: Path) -> Samples:
    with path.open("rb") as file, MediaReader(file) as media:
        return np.concatenate(list(media.blocks()))


def _tens(values: Sequence[T]) -> list[Sequence[T]]:
    return [values[start : start + TOGETHER] for start in range(0, len(values), TOGETHER)]


def _chapters(row: Row) -> tuple[Row, Row]:
    """Chapters made of a set's utterances, and the same utterances one by one."""
    count = len(row.recordings) // TOGETHER * TOGETHER or len(row.recordings)
    noise = np.random.default_rng(14)
    joined = []
    for together in _tens(row.recordings[:count]):
        parts = []
        for pause, utterance in zip(cycle(PAUSES), together, strict=False):
            faint = FAINT * noise.standard_normal(round(pause * SAMPLE_RATE))
            parts += [faint.astype(np.float32), utterance]
        joined.append(np.concatenate(parts))
    texts = [" ".join(together) for together in _tens(row.references[:count])]
    return (
        Row(f"chapters: {row.name}", joined, texts),
        Row(f"one by one: {row.name}", row.recordings[:count], row.references[:count]),
    )


# --- The columns


def _models(names: Sequence[str], folder: Path, partials: float) -> dict[str, Recogniser]:
    columns: dict[str, Recogniser] = {}
    for name in names:
        if name in NAMED:
            columns[f"{name} whole"] = _whole(folder, name)
        for kind, pace in {"live": Pace.LIVE, "file": Pace.FAST}.items():
            columns[f"{name} {kind}"] = _streamed(folder, name, pace, partials)
    return columns


def _whole(folder: Path, name: str) -> Recogniser:
    @cache
    def model() -> MoonshineModel:
        return MoonshineModel.load(folder, NAMED[name])

    def recognise(recordings: Sequence[Samples]) -> Sequence[str] | None:
        if max(map(len, recordings)) > LONGEST_WHOLE * SAMPLE_RATE:
            return None
        return [
            model().tokenizer.text(model().decode(model().encode(samples), Decoded(), ())[0].tokens)
            for samples in recordings
        ]

    return recognise


def _streamed(folder: Path, name: str, pace: Pace, partials: float) -> Recogniser:
    @cache
    def engine() -> SegmentEngine:
        loaded = moonshine.load(folder, EndpointingRules(), name)
        own = loaded.full if isinstance(loaded, PairEngine) else loaded
        # A partial is due after a chunk, which may be a few samples short of a window.
        return replace(own, partials=PartialRules(live_interval=partials - 0.02))

    return lambda recordings: [_finals(engine(), samples, pace) for samples in recordings]


def _finals(engine: SegmentEngine, samples: Samples, pace: Pace) -> str:
    stream = engine.open(StreamOptions(pace))
    said: list[Hypothesis] = []

    def run() -> None:
        while stream.next_step() is not None:
            said.extend(event for event in stream.step(Effort.REDUCED) if isinstance(event, Hypothesis))

    for start in range(0, len(samples), CHUNK):
        stream.accept(samples[start : start + CHUNK])
        run()
    stream.finish()
    run()
    return " ".join(each.text for each in said if each.final)


def _peer(model: str) -> Recogniser:
    python = python_of("whisper")

    def recognise(recordings: Sequence[Samples]) -> Sequence[str]:
        with tempfile.TemporaryDirectory() as folder:
            for number, samples in enumerate(recordings):
                np.save(Path(folder) / f"{number:05}.npy", samples)
            command = [python, _PEER, model, folder]
            found = subprocess.run(command, env=offline(), check=True, capture_output=True)
        texts: list[str] = json.loads(found.stdout)
        return texts

    return recognise


# --- The table


def _print(
    rows: Sequence[Row],
    quiet: Sequence[Row],
    read: Sequence[Row],
    said: Texts,
) -> None:
    widths = [max(8, len(column)) for column in said]
    titles = " ".join(f"{column:>{width}}" for column, width in zip(said, widths, strict=True))
    print(f"{'WER, %':38} {'words':>6} {titles}")
    for row in rows:
        _print_row(row.name, [row], widths, said)
        if read and row is read[-1]:
            _print_row("all read sets", read, widths, said)
    print("\nWords in recordings without speech")
    for row in quiet:
        seconds = sum(map(len, row.recordings)) / SAMPLE_RATE
        counts = [
            "-" if (texts := of[row.name]) is None else str(sum(len(text.split()) for text in texts))
            for of in said.values()
        ]
        print(f"{row.name:38} {seconds:4.0f} s " + _cells(counts, widths))


def _print_row(name: str, rows: Sequence[Row], widths: Sequence[int], said: Texts) -> None:
    references = [_normalise(text) for row in rows for text in row.references]
    rates = []
    for of in said.values():
        texts = [of[row.name] for row in rows]
        found = [_normalise(text) for each in texts if each is not None for text in each]
        rates.append("-" if None in texts else f"{100 * jiwer.wer(references, found):.2f}")
    print(f"{name:38} {sum(row.words for row in rows):6} " + _cells(rates, widths), flush=True)


def _cells(cells: Iterable[str], widths: Sequence[int]) -> str:
    return " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


if __name__ == "__main__":
    main()
