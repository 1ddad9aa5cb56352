"""The times and confidence of words, compared with an independent aligner and the references.

    python bench/word_times.py SPEECH [--model base|tiny] [--words bench/results/words.json]
        [--pace fast|live] [--plot OUT.svg]

SPEECH is a folder with a manifest.jsonl (id, path, text). `words.json` is written by bench/live/align.py:
the times of all words according to PocketSphinx. The figures are of the finals of a stream for each
recording. Only every second recording of a set (and the recording of a set with only one) is reported,
because attention heads, offset and calibration were chosen on the others.

- Times: the distance of start and end from the aligner's, for correct words. Recordings with added noise or
  in telephone bandwidth have the times of their originals.
- Partials: the distance of word times from those in the final.
- Cost: the time for word times, as a share of the recognition of a segment without them, on one thread.
- Confidence: words are right or wrong by edit distance to the reference after Whisper's English normaliser.
  AUC is the probability that a right word has a higher confidence than a wrong one.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from running import machine
from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import MediaReader
from transcribed.engines.base import Effort, Hypothesis
from transcribed.engines.moonshine import engine as moonshine
from transcribed.engines.moonshine.model import Decoded, KeyValueCache
from transcribed.engines.moonshine.segment import MoonshineSegment
from transcribed.engines.moonshine.variants import NAMED
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.options import Pace, StreamOptions
from transcribed.recognition.endpointing import EndpointingRules
from transcribed.transcript import Word

READ = ["librispeech_train_clean_100", "libri_misc", "ljspeech", "common_voice", "fleurs_en", "cmu_arctic"]
OTHERS = ["noisy", "telephone", "earnings22", "ami", "classic"]
MIXED = "mixed from "
CHUNK = SAMPLE_RATE // 10
BINS = [0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0]
_normalise = cache(EnglishTextNormalizer())


@dataclass(frozen=True, slots=True)
class Judged:
    """A recognised word and whether it is right; None if that is unknown (see `judged`)."""

    word: Word
    right: bool | None


@dataclass(frozen=True, slots=True)
class Heard:
    """The results of a stream for a recording."""

    kind: str
    name: str
    original: str
    partials: list[Hypothesis]
    finals: list[Hypothesis]
    said: list[Judged]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--model", choices=list(NAMED), default="base")
    parser.add_argument("--cache", type=Path, help="the folder of the model's graphs")
    parser.add_argument("--words", type=Path, default=Path("bench/results/words.json"))
    parser.add_argument("--pace", choices=[pace.value for pace in Pace], default=Pace.FAST.value)
    parser.add_argument("--plot", type=Path, help="the calibration as a picture")
    given = parser.parse_args()
    if not given.words.exists():
        raise SystemExit(f"There is no {given.words}. Run: python bench/live/align.py {given.speech}")
    with tempfile.TemporaryDirectory() as folder:
        engine = moonshine.load(given.cache or Path(folder), EndpointingRules(), given.model)
    print(f"{machine()}, model={given.model}, pace={given.pace}\n")
    heard = [
        _heard(engine, given.speech, entry, Pace(given.pace))
        for kind in READ + OTHERS
        for entries in [_entries(given.speech, kind)]
        for entry in (entries[1::2] or entries)
    ]
    _report_times(heard, json.loads(given.words.read_text()))
    _report_partials(heard)
    _report_cost(engine, given.speech, heard)
    _report_confidence(heard)
    if given.plot:
        plot(_judged(heard), given.plot)


def _entries(speech: Path, kind: str) -> list[dict[str, str]]:
    entries = map(json.loads, (speech / "manifest.jsonl").read_text().splitlines())
    return [entry for entry in entries if entry["path"].split("/")[0] == kind and entry["text"]]


def _samples(path: Path) -> Samples:
    with path.open("rb") as file, MediaReader(file) as media:
        return np.concatenate(list(media.blocks()))


def _heard(engine: SegmentEngine, speech: Path, entry: dict[str, str], pace: Pace) -> Heard:
    stream = engine.open(StreamOptions(pace=pace))
    audio = _samples(speech / entry["path"])
    shown: list[Hypothesis] = []

    def run() -> None:
        while stream.next_step() is not None:
            shown.extend(stream.step(Effort.FULL))

    for start in range(0, len(audio), CHUNK):
        stream.accept(audio[start : start + CHUNK])
        run()
    stream.finish()
    run()
    finals = [hypothesis for hypothesis in shown if hypothesis.final]
    partials = [hypothesis for hypothesis in shown if not hypothesis.final]
    said = judged([word for final in finals for word in final.words], entry["text"])
    original = entry["origin"].removeprefix(MIXED) if entry["origin"].startswith(MIXED) else entry["id"]
    return Heard(entry["path"].split("/")[0], entry["id"], original, partials, finals, said)


# --- Right and wrong


def pairs(reference: Sequence[str], said: Sequence[str]) -> list[tuple[int, int]]:
    """Return the index pairs of words that two texts have in common, by edit distance."""
    if not reference or not said:
        return []
    (chunks,) = jiwer.process_words(" ".join(reference), " ".join(said)).alignments
    return [
        (chunk.ref_start_idx + i, chunk.hyp_start_idx + i)
        for chunk in chunks
        if chunk.type == "equal"
        for i in range(chunk.ref_end_idx - chunk.ref_start_idx)
    ]


def judged(words: Sequence[Word], reference: str) -> list[Judged]:
    """Return each word, with whether the reference has it in the same place."""
    whole = _normalise(" ".join(word.text for word in words)).split()
    right = {place for _, place in pairs(_normalise(reference).split(), whole)}
    parts = [(number, part) for number, word in enumerate(words) for part in _normalise(word.text).split()]
    # Words whose normal form depends on their neighbours ("twenty five" is 25) are not judged.
    places = {own: place for place, own in pairs(whole, [part for _, part in parts])}
    verdicts = defaultdict(list)
    for own, (number, _) in enumerate(parts):
        verdicts[number].append(None if own not in places else places[own] in right)
    return [
        Judged(word, None if None in verdicts[number] or not verdicts[number] else all(verdicts[number]))
        for number, word in enumerate(words)
    ]


# --- Times


def _report_times(heard: Sequence[Heard], aligned: dict[str, list[tuple[str, float, float]]]) -> None:
    errors = defaultdict(list)
    for one in heard:
        if one.original not in aligned:
            continue
        words = [(number, word) for number, j in enumerate(one.said) if (word := _key(j.word.text))]
        truth = [(key, start, end) for text, start, end in aligned[one.original] if (key := _key(text))]
        for place, own in pairs([text for text, _, _ in truth], [text for _, text in words]):
            _, start, end = truth[place]
            word = one.said[words[own][0]].word
            for kind in (one.kind, "all read" if one.kind in READ else "all others"):
                errors[kind].append((word.start - start, word.end - end))
    print(
        f"{'times, ms':38} {'words':>6} {'start: bias  p50  p90  p99':>28} {'end: bias  p50  p90  p99':>28}"
    )
    for kind, found in errors.items():
        print(f"{kind:38} {len(found):6} " + " ".join(map(_spread, np.array(found).T)), flush=True)


def _key(text: str) -> str:
    """Return the normal form of a word; a word that is normalised to several is not compared."""
    parts = _normalise(text).split()
    return parts[0] if len(parts) == 1 else ""


def _spread(errors: np.ndarray) -> str:
    far = np.quantile(np.abs(errors), [0.5, 0.9, 0.99])
    return f"{1000 * np.median(errors):11.0f} " + "".join(f" {1000 * value:4.0f}" for value in far) + " "


def _report_partials(heard: Sequence[Heard]) -> None:
    """Report words that the final has in the same place; the last, possibly incomplete word separately."""
    moved = defaultdict(list)
    for one in heard:
        finals = {final.segment: final.words for final in one.finals}
        for partial in one.partials:
            same = zip(partial.words, finals.get(partial.segment, ()), strict=False)
            for number, (word, final) in enumerate(same, 1):
                if _normalise(word.text) == _normalise(final.text):
                    kind = "last words" if number == len(partial.words) else "other words"
                    moved[f"partials against finals, {kind}"].append(
                        (word.start - final.start, word.end - final.end)
                    )
    for kind, found in moved.items():
        print(f"{kind:38} {len(found):6} " + " ".join(map(_spread, np.array(found).T)), flush=True)


# --- Cost


def _report_cost(engine: SegmentEngine, speech: Path, heard: Sequence[Heard]) -> None:
    """Recognise the same segments with and without times, in turn, and report the best of three each."""
    paths = {entry["id"]: speech / entry["path"] for entry in _entries(speech, READ[0])}
    plain = timed = 0.0
    segments = 0
    for one in heard:
        if one.kind != READ[0]:
            continue
        audio = SampleBuffer()
        audio.append(_samples(paths[one.name]))
        for final in one.finals:
            start, end = round(final.start * SAMPLE_RATE), round(final.end * SAMPLE_RATE)

            def without(start: int = start, end: int = end, audio: SampleBuffer = audio) -> object:
                encoded = engine.model.networks.encode(audio.between(start, end))
                return engine.model.networks.decode(encoded, Decoded(), (), KeyValueCache())

            def with_times(start: int = start, end: int = end, audio: SampleBuffer = audio) -> object:
                return MoonshineSegment(engine.model.networks, start).recognise_whole(audio, end)

            spent = np.array([[_seconds(without), _seconds(with_times)] for _ in range(3)]).min(axis=0)
            plain, timed = plain + spent[0], timed + spent[1]
            segments += 1
    print(
        f"\ncost: {segments} segments take {1000 * plain / segments:.1f} ms each, "
        f"with times {1000 * timed / segments:.1f} ms: {100 * (timed / plain - 1):.1f} % more"
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


# --- Confidence


def _judged(heard: Sequence[Heard], kind: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Return confidence and correctness of the words of one kind of speech, or of all."""
    chosen = [j for one in heard if kind in ("", one.kind) for j in one.said]
    known = [j for j in chosen if j.right is not None]
    return np.array([j.word.confidence for j in known]), np.array([j.right for j in known], bool)


def auc(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the probability that a right word is more confident than a wrong one; ties count half."""
    surer = np.sort(confidence[~right])
    below = np.searchsorted(surer, confidence[right], "left")
    not_above = np.searchsorted(surer, confidence[right], "right")
    return float(np.mean(below + not_above) / 2 / len(surer))


def _report_confidence(heard: Sequence[Heard]) -> None:
    print(f"\n{'confidence':30} {'words':>6} {'wrong':>6} {'AUC':>6}")
    for kind in (*READ, *OTHERS, ""):
        confidence, right = _judged(heard, kind)
        area = f"{auc(confidence, right):6.3f}" if 0 < right.sum() < len(right) else f"{'-':>6}"
        print(f"{kind or 'all':30} {len(right):6} {int((~right).sum()):6} {area}")
    print(f"\n{'confidence':>14} {'words':>6} {'mean':>6} {'right':>6}")
    rows = calibration(*_judged(heard))
    for low, high, count, mean, share in rows:
        print(f"{low:6.2f} to {high:4.2f} {count:6} {mean:6.3f} {share:6.3f}")
    total = sum(count for _, _, count, _, _ in rows)
    error = sum(count * abs(mean - share) for _, _, count, mean, share in rows) / total
    print(f"expected calibration error {error:.4f}")


def calibration(confidence: np.ndarray, right: np.ndarray) -> list[tuple[float, float, int, float, float]]:
    """Return for each range of confidence: from, to, words, mean confidence, share of right words."""
    rows = []
    for low, high in pairwise(BINS):
        chosen = (confidence >= low) & ((confidence < high) | (high == BINS[-1]))
        if chosen.any():
            means = float(confidence[chosen].mean()), float(right[chosen].mean())
            rows.append((low, high, int(chosen.sum()), *means))
    return rows


def plot(found: tuple[np.ndarray, np.ndarray], out: Path) -> None:
    """Draw the calibration. Raises SystemExit if matplotlib is missing."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - nothing else here needs it
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise SystemExit("A picture needs matplotlib: pip install transcribed[bench]") from None
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "transcribed"}
    rows = calibration(*found)
    _, _, counts, means, shares = map(np.array, zip(*rows, strict=True))
    spread = 1.96 * np.sqrt(shares * (1 - shares) / counts)
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    axes.errorbar(means, shares, yerr=spread, fmt="o-", capsize=3)
    for mean, share, count in zip(means, shares, counts, strict=True):
        axes.annotate(f"{count}", (mean, share), (6, -12), textcoords="offset points", fontsize=8)
    axes.set(xlabel="confidence", ylabel="share of words that are right", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(visible=True, alpha=0.2)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main()
