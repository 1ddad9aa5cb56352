"""Stabilisation: how soon words settle, and how many settled words the final would have changed.

    python bench/stability.py SPEECH [--seconds 600] [--partials 0.1,0.5,1.0]

One stream gets the utterances of SPEECH that were aligned (bench/live/align.py), one after the other with
pauses, in chunks of 0.1 s. Time is counted in audio, not read from a clock, so that the figures are
reproducible; they do not include the duration of a step. A busy machine is simulated by less frequent
partials, without AHEAD steps.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from running import machine
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Effort, Hypothesis, StepKind
from transcribed.engines.moonshine.engine import load
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.engines.segments.stream import PartialRules, SegmentStream
from transcribed.options import Pace, Stability, StreamOptions
from transcribed.recognition.endpointing import EndpointingRules

sys.path.insert(0, str(Path(__file__).parent / "live"))
from material import Library, Material
from scoring import Aligner
from words import keys

CHUNK = SAMPLE_RATE // 10
IDLE = 0.1
"""Seconds between partials on an idle machine, which gets a chunk that often."""
ACTIVE = (Stability.LOW, Stability.MEDIUM, Stability.HIGH)


@dataclass(frozen=True, slots=True)
class Settled:
    """A word of a final: when it settled, in seconds of audio, and whether that was before the final."""

    text: str
    at: float
    early: bool


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument(
        "--partials", default="0.1,0.5,1.0", help="seconds between them; 0.1 is an idle machine"
    )
    parser.add_argument("--words", type=Path, default=Path("bench/results/words.json"))
    given = parser.parse_args()
    material = Library(given.speech, given.words).sequence(given.seconds, "stability")
    print(machine())
    print(f"{len(material.words)} words in {material.seconds:.0f} s")
    print(
        f"{'partials':11} {'level':6} {'settled':>8} {'words changed':>16} {'texts changed':>16} ", end=""
    )
    print(f"{'p50':>6} {'p95':>6} {'settled p50':>12} {'p95':>6} {'WER':>6}   %, s")
    with tempfile.TemporaryDirectory() as cache:
        engine = load(Path(cache), EndpointingRules())
        for interval in map(float, given.partials.split(",")):
            _measure(engine, material, f"{interval:.1f} s", interval, Pace.LIVE)
        _measure(engine, material, "pace=fast", IDLE, Pace.FAST)


def _measure(engine: SegmentEngine, material: Material, name: str, interval: float, pace: Pace) -> None:
    audio = material.samples.astype(np.float32) / 2**15
    # Slightly less, since a partial is due after a chunk, which may be a few samples short of a window.
    engine = replace(engine, partials=PartialRules(live_interval=interval - 0.02))
    free = _finals(engine.open(StreamOptions(pace)), audio, idle=interval == IDLE)
    print(f"{name:11} {'off':6} {'':77} {_wer(material, free):6.2f}", flush=True)
    for stability in ACTIVE:
        stream = engine.open(StreamOptions(pace, stability))
        _print_row(name, stability, material, free, _finals(stream, audio, idle=interval == IDLE))


def _finals(stream: SegmentStream, audio: Samples, *, idle: bool) -> list[list[Settled]]:
    """Return the words of each segment."""
    finals = []
    stable_since: list[float] = []
    for said, heard in _said(stream, audio, idle):
        stable = sum(word.stable is True for word in said.words)
        early = len(stable_since)
        stable_since += [heard] * ((len(said.words) if said.final else stable) - early)
        if said.final:
            pairs = zip(said.words, stable_since, strict=True)
            finals.append([Settled(word.text, at, i < early) for i, (word, at) in enumerate(pairs)])
            stable_since = []
    return finals


def _said(stream: SegmentStream, audio: Samples, idle: bool) -> Iterator[tuple[Hypothesis, float]]:
    """Yield hypotheses, each with the seconds of audio given before it."""
    for end in range(CHUNK, len(audio) + CHUNK, CHUNK):
        stream.accept(audio[end - CHUNK : end])
        if end >= len(audio):
            stream.finish()
        while (step := stream.next_step()) is not None and (idle or step.kind is not StepKind.AHEAD):
            for said in stream.step(Effort.FULL):
                yield said, min(end, len(audio)) / SAMPLE_RATE


def _print_row(
    name: str,
    stability: Stability,
    material: Material,
    free: Sequence[Sequence[Settled]],
    settled: Sequence[Sequence[Settled]],
) -> None:
    early = [word for words in settled for word in words if word.early]
    marks = sum(_kept([w.text for w in free_], words) for free_, words in zip(free, settled, strict=True))
    spoken = sum(
        _kept(keys(" ".join(w.text for w in free_)), _keys(words))
        for free_, words in zip(free, settled, strict=True)
    )
    heard = _keys([word for words in settled for word in words])
    place = Aligner([word.text for word in material.words]).matches(
        [word.text for word in heard], len(material.words)
    )
    delays = [(heard[at].at - material.words[word].end, heard[at].early) for word, at in place.items()]
    p50, p95 = np.percentile([delay for delay, _ in delays], [50, 95])
    early_p50, early_p95 = np.percentile(
        [delay for delay, is_early in delays if is_early] or [np.nan], [50, 95]
    )
    print(
        f"{name:11} {stability.name.lower():6} {100 * len(early) / sum(map(len, settled)):8.1f} "
        f"{100 * (1 - spoken / len(_keys(early))):16.2f} {100 * (1 - marks / len(early)):16.2f} "
        f"{p50:6.2f} {p95:6.2f} {early_p50:12.2f} {early_p95:6.2f} {_wer(material, settled):6.2f}",
        flush=True,
    )


def _keys(words: Sequence[Settled]) -> list[Settled]:
    """Return the words in the form in which they are compared, without case and punctuation."""
    return [replace(word, text=key) for word in words for key in keys(word.text)]


def _kept(free: Sequence[str], words: Sequence[Settled]) -> int:
    """Count the early settled words that a final without stabilisation has in the same place."""
    if not free or not words:
        return 0
    # Words are encoded as characters, so that words that differ slightly count as different.
    ids = {text: chr(0x4E00 + i) for i, text in enumerate({*free, *(word.text for word in words)})}
    aligned = jiwer.process_characters(
        "".join(ids[text] for text in free), "".join(ids[word.text] for word in words)
    )
    (chunks,) = aligned.alignments
    same = [at for c in chunks if c.type == "equal" for at in range(c.hyp_start_idx, c.hyp_end_idx)]
    return sum(words[at].early for at in same)


def _wer(material: Material, finals: Sequence[Sequence[Settled]]) -> float:
    normalise = EnglishTextNormalizer()
    said = " ".join(word.text for words in finals for word in words)
    return 100 * float(jiwer.wer(normalise(material.text), normalise(said)))


if __name__ == "__main__":
    main()
