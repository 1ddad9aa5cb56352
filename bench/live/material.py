"""The audio of the clients: real utterances with pauses, and the end of each word.

Each client has its own sequence, determined by a seed, so that the streams of a run are not synchronous and
a run can be repeated.
"""

import json
import random
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from audio import RATE, Pcm, samples_of

PAUSE = (0.5, 1.0)
"""Seconds between two utterances, and before the first."""
AT_THE_END = 0.5
"""Seconds behind the last one, at least."""
DITHER = 2
"""The loudest sample of a pause: a microphone is never quite silent."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the reference and its times, in seconds from the start of the audio."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Material:
    """The audio of one client.

    `text` is the written reference; `words` are its words with times.
    """

    samples: Pcm
    text: str
    words: list[Word]
    recordings: list[Path] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The length of the audio."""
        return len(self.samples) / RATE


class Library:
    """The aligned utterances of a folder. `words` is the file that align.py writes.

    Raises SystemExit without that file.
    """

    def __init__(self, speech: Path, words: Path) -> None:
        if not words.exists():
            raise SystemExit(f"There is no {words}. Run: python bench/live/align.py {speech}")
        aligned = json.loads(words.read_text())
        entries = map(json.loads, (speech / "manifest.jsonl").read_text().splitlines())
        self._utterances = [
            (speech / entry["path"], entry["text"], [Word(*word) for word in aligned[entry["id"]]])
            for entry in entries
            if entry["id"] in aligned
        ]

    def sequence(self, seconds: float, seed: str) -> Material:
        """Return a sequence of utterances and pauses with this length in seconds."""
        choose = random.Random(seed)
        noise = np.random.default_rng(choose.randrange(2**32))
        length = round(seconds * RATE)
        samples = noise.integers(-DITHER, DITHER, length, np.int16, endpoint=True)
        left = choose.sample(self._utterances, len(self._utterances))
        at = _pause(choose)
        texts, words, recordings = [], [], []
        for path, text, spoken in left:
            said = _recording(path)
            if at + len(said) + round(AT_THE_END * RATE) > length:
                continue
            samples[at : at + len(said)] = said
            texts.append(text)
            recordings.append(path)
            words += [Word(w.text, w.start + at / RATE, w.end + at / RATE) for w in spoken]
            at += len(said) + _pause(choose)
        if not words:
            raise SystemExit(f"No utterance fits into {seconds:g} s.")
        return Material(samples, " ".join(texts), words, recordings)


def one_recording(path: Path, words: Path) -> Material:
    """Return a recording that all clients send. Raises SystemExit if it was not aligned."""
    aligned = json.loads(words.read_text()) if words.exists() else {}
    if path.stem not in aligned:
        raise SystemExit(f"Align it first: python bench/live/align.py --recording {path} --text ...")
    spoken = [Word(*word) for word in aligned[path.stem]]
    return Material(_recording(path), " ".join(word.text for word in spoken), spoken)


def _pause(choose: random.Random) -> int:
    return round(choose.uniform(*PAUSE) * RATE)


@cache
def _recording(path: Path) -> Pcm:
    return samples_of(path)
