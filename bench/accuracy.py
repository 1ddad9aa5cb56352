"""The word error rate of the text that /stream sends, and of whole utterances.

    python bench/accuracy.py SPEECH

SPEECH is a folder with a manifest.jsonl (path, text). "Whole" decodes each recording at once with the same
model, without voice activity detection, endpoints or partials: the best that the live path could reach.
Recordings without speech must yield no words.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from running import RunningServer, machine, running_server, transcript_of
from transcribed.audio.media import MediaReader
from transcribed.engines.moonshine.model import Decoded, MoonshineModel
from transcribed.engines.moonshine.variants import LARGE

READ_SETS = [
    "librispeech_train_clean_100",
    "libri_misc",
    "ljspeech",
    "common_voice",
    "fleurs_en",
    "cmu_arctic",
]
HARD_SETS = ["noisy", "telephone"]
WITHOUT_SPEECH = ["special_silence", "special_noise", "special_music"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    speech = parser.parse_args().speech
    entries = [json.loads(line) for line in (speech / "manifest.jsonl").read_text().splitlines()]
    sets = defaultdict(list)
    for entry in entries:
        sets[entry["path"].split("/")[0]].append(entry)
    normalise = EnglishTextNormalizer()
    print(machine())
    print(f"{'set':30} {'files':>5} {'words':>6} {'whole':>7} {'/stream':>8}   WER, %")
    with tempfile.TemporaryDirectory() as cache, running_server(Path(cache)) as server:
        model = MoonshineModel.load(Path(cache), LARGE)
        total: list[tuple[str, str, str]] = []
        for name in READ_SETS + HARD_SETS:
            rows = [
                tuple(map(normalise, (entry["text"], _whole(model, path), _streamed(server, path))))
                for entry in sets[name]
                if entry["text"] and (path := speech / entry["path"])
            ]
            _print_row(name, rows)
            if name in READ_SETS:
                total += rows
        _print_row("all read sets", total)
        for name in WITHOUT_SPEECH:
            words = [w for entry in sets[name] for w in _streamed(server, speech / entry["path"]).split()]
            seconds = sum(entry["duration_s"] for entry in sets[name])
            print(f"{name:30} {len(sets[name]):5} {len(words):6} words in {seconds:.0f} s {words or ''}")


def _print_row(name: str, rows: list[tuple[str, str, str]]) -> None:
    references, whole, streamed = map(list, zip(*rows, strict=True))
    words = sum(len(reference.split()) for reference in references)
    print(
        f"{name:30} {len(rows):5} {words:6} {100 * jiwer.wer(references, whole):7.2f} "
        f"{100 * jiwer.wer(references, streamed):8.2f}",
        flush=True,
    )


def _whole(model: MoonshineModel, path: Path) -> str:
    with path.open("rb") as file, MediaReader(file) as media:
        samples = np.concatenate(list(media.blocks()))
    return model.tokenizer.text(model.decode(model.encode(samples), Decoded(), ())[0].tokens)


def _streamed(server: RunningServer, path: Path) -> str:
    name = server.upload(path)
    found = [transcript_of(message) for _, message in server.results(name) if "Transcript" in message]
    return " ".join(text for text, final in found if final)


if __name__ == "__main__":
    main()
