"""Compares the written form with libraries for the same: `python bench/written_form.py`.

Each library that is installed (text2num, numerizer, wetext, itntext, damga, premove_itn, NeMo's) writes the
spoken phrases of tests/data/written-form.tsv as they stand, and in lower case without punctuation. A phrase
is right if it is as the table has it, apart from capitals, the commas in numbers, and whether AM is "a.m.".
"""

import importlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from transcribed.recognition.written_form import written_form
from transcribed.transcript import Segment, Word

TABLE = Path(__file__).parents[1] / "tests" / "data" / "written-form.tsv"


def ours(text: str) -> str:
    """The phrase as this server writes it."""
    words = tuple(Word(word) for word in text.split())
    return written_form(Segment("", 0, 0.0, 1.0, text, final=True, language="en-US", words=words)).text


def text2num() -> Callable[[str], str]:
    """text2num, with its own threshold below which numbers stay words."""
    module = importlib.import_module("text_to_num")
    return lambda text: str(module.alpha2digit(text, "en"))


def wetext() -> Callable[[str], str]:
    """WeText's runtime with the English grammar."""
    normalizer = importlib.import_module("wetext").Normalizer(lang="en", operator="itn")
    return lambda text: str(normalizer.normalize(text))


def itntext() -> Callable[[str], str]:
    """Itntext's English grammar."""
    normalizer = importlib.import_module("itntext").Normalizer(lang="en", operator="itn")
    return lambda text: str(normalizer.normalize(text))


def damga() -> Callable[[str], str]:
    """Damga's English grammar."""
    normalizer = importlib.import_module("damga").Normalizer(lang="en")
    return lambda text: str(normalizer.normalize(text))


def numerizer() -> Callable[[str], str]:
    """Numerizer."""
    module = importlib.import_module("numerizer")
    return lambda text: str(module.numerize(text))


def premove_itn() -> Callable[[str], str]:
    """The rules of Premove ITN, without its network."""
    module = importlib.import_module("premove_itn")
    return lambda text: str(module.normalize_sentence(text))


def nemo_text_processing() -> Callable[[str], str]:
    """The grammars of NeMo, compiled by pynini when they are loaded."""
    module = importlib.import_module("nemo_text_processing.inverse_text_normalization.inverse_normalize")
    normalizer = module.InverseNormalizer(lang="en")
    return lambda text: str(normalizer.inverse_normalize(text, verbose=False))


def plain(text: str) -> str:
    """The text without what is a matter of taste."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.lower())
    text = re.sub(r"\b([ap])\.m\.?", r"\1m", text)
    return " ".join(re.sub(r"(?<=\d) %", "%", text).split())


def bare(text: str) -> str:
    """The phrase in lower case without punctuation, except in numbers and names of the half-days."""
    return re.sub(r"[.,?!\"](?=\s|$)", "", text.lower()).replace("-", " ").replace('"', "")


def _without_failures(write: Callable[[str], str]) -> Callable[[str], str]:
    def written(text: str) -> str:
        try:
            return write(text)
        except Exception:  # noqa: BLE001 - some fail on some texts, which counts as wrong
            return ""

    return written


def measure(name: str, write: Callable[[str], str], pairs: Sequence[tuple[str, str]]) -> None:
    """Print how many phrases are right."""
    write = _without_failures(write)
    write("twenty one")
    began = time.perf_counter()
    right = [plain(write(spoken)) == plain(written) for spoken, written in pairs]
    seconds = time.perf_counter() - began
    positive = [ok for ok, (spoken, written) in zip(right, pairs, strict=True) if spoken != written]
    negative = [ok for ok, (spoken, written) in zip(right, pairs, strict=True) if spoken == written]
    as_libraries_want = sum(
        plain(bare(write(bare(spoken)))) == plain(bare(written)) for spoken, written in pairs
    )
    print(
        f"{name}: {sum(right)} of {len(right)} right; {sum(positive)} of {len(positive)} numbers, "
        f"{sum(negative)} of {len(negative)} that stay; {as_libraries_want} without punctuation; "
        f"{1e3 * seconds / len(pairs):.2f} ms a phrase"
    )


def main() -> None:
    """Measure each library that is installed."""
    lines = TABLE.read_text("utf-8").splitlines()
    pairs = [
        (spoken, written)
        for spoken, _, written in (line.partition("\t") for line in lines)
        if written and not spoken.startswith("#")
    ]
    measure("this server", ours, pairs)
    for load in (text2num, numerizer, wetext, itntext, damga, premove_itn, nemo_text_processing):
        try:
            measure(load.__name__, load(), pairs)
        except ImportError:
            print(f"{load.__name__}: not installed")


if __name__ == "__main__":
    main()
