"""The recall of rare names with a vocabulary of them, and what vocabularies cost elsewhere.

    python bench/vocabulary.py SPEECH [--model tiny|base]

SPEECH is a folder with a manifest.jsonl (path, text, duration_s). Recordings are decoded whole. The
vocabularies are 50 rare names and words of the recordings, chosen from the references alone, and 1,000
names (names.txt: cities, surnames and first names; a few occur in the recordings). "Elsewhere" are the
recordings that have none of the 50. The cost is the CPU time of encoding and decoding, as a ratio to that
without a vocabulary.
"""

import argparse
import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from running import machine
from transcribed.audio.formats import Samples
from transcribed.audio.media import MediaReader
from transcribed.engines.moonshine.biasing import Bias, vocabulary_of
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
    ]
    print(machine())
    with tempfile.TemporaryDirectory() as cache:
        model = MoonshineModel.load(Path(cache), NAMED[given.model])
        outcomes = {}
        for title, phrases in vocabularies.items():
            began = time.process_time()
            if phrases:
                vocabulary_of(model, phrases)
                print(f"{title}: compiled in {time.process_time() - began:.2f} s")
            outcomes[title] = Outcome()
        for text, samples in recordings:
            # The vocabularies take turns, so that other load on the machine affects all.
            for title, phrases in vocabularies.items():
                began = time.process_time()
                said = _decoded(model, samples, phrases)
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


def _decoded(model: MoonshineModel, samples: Samples, phrases: tuple[Phrase, ...]) -> str:
    bias = Bias(vocabulary_of(model, phrases)) if phrases else None
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
