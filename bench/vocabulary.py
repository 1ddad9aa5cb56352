"""The recall of rare names with a vocabulary of them, and what vocabularies cost elsewhere.

    python bench/vocabulary.py SPEECH [--model tiny|base] [--every N]

SPEECH is a folder with a manifest.jsonl (path, text, duration_s). Recordings are decoded whole. The
vocabularies are 50 rare names and words of the recordings, chosen from the references alone, and 1,000
names (names.txt: cities, surnames and first names; a few occur in the recordings). "Elsewhere" are the
recordings that have none of the 50. The cost is the CPU time of encoding and decoding, as a ratio to that
without a vocabulary.
"""

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from running import machine
from transcribed.audio.formats import Samples
from transcribed.audio.media import MediaReader
from transcribed.engines.moonshine.biasing import Bias, Vocabulary
from transcribed.engines.moonshine.model import Decoded, MoonshineModel
from transcribed.engines.moonshine.variants import NAMED
from transcribed.options import Phrase

SETS = [
    "librispeech_train_clean_100",
    "libri_misc",
    "ljspeech",
    "common_voice",
    "fleurs_en",
    "cmu_arctic",
    "noisy",
    "telephone",
    "ami",
]
NAMES = """
Abigail Claflin|afrites|Aldenham|Alexandrovitch|Appalache|Bartholemy|Bellah Postik|beseemeth|Bingley
Bourgogne|Bundefjord|Campeachy|Ceylon|Chanticleer|Crianan|Deasey|Deryck|dulcet|Fayoum|Flambeau
Fremont|Guenever|Gutenberg|Gwendolen|Hakata|hookahs|Inverashiel|Jimmie Dale|Keseberg|Kletke|Kyushu
Lowestoft|Lubeck|Maintz|Munger|Pannartz|Pennicote|Pothier|psalters|Ritzner von Jung|Rostopchin
Schoeffer|Shopton|Sintra|Strasburg|Subiaco|Sweynheim|Traynor|Wadman|Whittemore
"""
LONGEST = 20.0


@dataclass
class Outcome:
    """What was found with one vocabulary."""

    found: int = 0
    seconds: float = 0.0
    texts: list[str] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--model", choices=list(NAMED), default="tiny")
    parser.add_argument("--every", type=int, default=1, help="Use only every n-th recording.")
    given = parser.parse_args()
    names = re.split(r"[|\n]", NAMES.strip())
    many = Path(__file__).with_name("names.txt").read_text().splitlines()
    vocabularies = {
        "none": (),
        f"{len(names)} names": tuple(map(Phrase, names)),
        f"{len(many)} names": tuple(map(Phrase, many)),
    }
    recordings = [
        (entry["text"], _samples(given.speech / entry["path"]))
        for entry in map(json.loads, (given.speech / "manifest.jsonl").read_text().splitlines())
        if entry["text"] and entry["path"].split("/")[0] in SETS and entry["duration_s"] <= LONGEST
    ][:: given.every]
    print(machine())
    with tempfile.TemporaryDirectory() as cache:
        model = MoonshineModel.load(Path(cache), NAMED[given.model])
        compiled: dict[str, Vocabulary | None] = {}
        for title, phrases in vocabularies.items():
            compiled[title] = _compiled(title, phrases, model) if phrases else None
        made_up = dict.fromkeys(
            one[: len(one) // 2] + other[len(other) // 2 :] for one in many for other in many[::50]
        )
        _compiled("10,000 made-up names", tuple(map(Phrase, islice(made_up, 10_000))), model)
        outcomes = {title: Outcome() for title in vocabularies}
        for text, samples in recordings:
            # The vocabularies take turns, so that other load on the machine affects all.
            for title, vocabulary in compiled.items():
                began = time.process_time()
                said = _decoded(model, samples, vocabulary)
                outcomes[title].seconds += time.process_time() - began
                outcomes[title].texts.append(said)
                outcomes[title].found += sum(_count(name, text, said) for name in names)
    _report([text for text, _ in recordings], names, outcomes)


def _report(references: Sequence[str], names: Sequence[str], outcomes: dict[str, Outcome]) -> None:
    normalise = EnglishTextNormalizer()
    spoken = sum(_count(name, text, text) for text in references for name in names)
    elsewhere = [not any(_count(name, text, text) for name in names) for text in references]
    print(f"{sum(elsewhere)} recordings elsewhere, {len(references) - sum(elsewhere)} with names")
    for title, outcome in outcomes.items():
        rates = []
        for there in (True, False):
            pairs = [
                (normalise(text), normalise(said))
                for text, said, each in zip(references, outcome.texts, elsewhere, strict=True)
                if each is there
            ]
            rates.append(jiwer.wer(*map(list, zip(*pairs, strict=True))))
        print(
            f"{title:12} found {outcome.found:3} of {spoken}  WER elsewhere {rates[0]:.4f}  "
            f"with names {rates[1]:.4f}  cost {outcome.seconds / outcomes['none'].seconds:.2f}"
        )


def _compiled(title: str, phrases: tuple[Phrase, ...], model: MoonshineModel) -> Vocabulary:
    model.output_rows.is_trained(0)
    before, began = _resident(), time.process_time()
    vocabulary = Vocabulary.of(phrases, model)
    print(f"{title}: {time.process_time() - began:.2f} s, {_resident() - before:.0f} MB to compile")
    return vocabulary


def _resident() -> float:
    """Return this process's memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _decoded(model: MoonshineModel, samples: Samples, vocabulary: Vocabulary | None) -> str:
    bias = None if vocabulary is None else Bias(vocabulary)
    return model.tokenizer.text(model.decode(model.encode(samples), Decoded(), (), bias=bias)[0].tokens)


def _samples(path: Path) -> Samples:
    with path.open("rb") as file, MediaReader(file) as media:
        return np.concatenate(list(media.blocks()))


def _count(name: str, reference: str, said: str) -> int:
    """Return how often a name that is in the reference was recognised."""
    name, reference, said = map(_words, (name, reference, said))
    return min(reference.count(name), said.count(name))


def _words(text: str) -> str:
    return f" {' '.join(re.findall(r'[a-z0-9]+', text.lower()))} "


if __name__ == "__main__":
    main()
