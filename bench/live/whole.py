"""The word error rate of the model on whole utterances.

    python bench/live/whole.py SPEECH [--streams 24] [--seconds 60] [--seed 1]

It is the best that the finals of live streams could reach: the same utterances, without pauses, endpoints,
partials or other streams.
"""

import argparse
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from material import Library
from report import wer_of

from transcribed.audio.media import MediaReader
from transcribed.engines.moonshine.model import Decoded, MoonshineModel
from transcribed.engines.moonshine.variants import LARGE


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--words", type=Path, default=Path("bench/results/words.json"))
    parser.add_argument("--streams", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = MoonshineModel.load(Path(folder), LARGE)

    @cache
    def said(path: Path) -> str:
        with path.open("rb") as file, MediaReader(file) as media:
            samples = np.concatenate(list(media.blocks()))
        return model.tokenizer.text(model.decode(model.encode(samples), Decoded(), ())[0].tokens)

    library = Library(given.speech, given.words)
    materials = [
        library.sequence(given.seconds, f"{given.seed} {number}") for number in range(given.streams)
    ]
    texts = [(each.text, " ".join(map(said, each.recordings))) for each in materials]
    print(f"{given.streams} streams of {given.seconds:g} s, whole utterances: WER {wer_of(texts)} %")


if __name__ == "__main__":
    main()
