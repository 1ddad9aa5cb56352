"""The word error rate of utterances joined into chapters, beside that of the single utterances.

    python bench/chapters.py SPEECH [--model base] [--utterances 50] [--rules padding_before=0.8] [--live]

Utterances of LibriSpeech are decoded whole, run through the segment loop one by one, and joined by tens:
with pauses of digital silence, with pauses of hardly audible noise, almost without pauses, and with pink
noise 10 dB below the speech. There is no server. With `--live`, chunks of 0.1 s come with a partial every
half second. `--rules` are EndpointingRules.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from running import machine
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import MediaReader
from transcribed.engines.base import Effort, Hypothesis, StepKind
from transcribed.engines.moonshine.engine import load
from transcribed.engines.moonshine.model import Decoded, MoonshineModel
from transcribed.engines.moonshine.variants import NAMED
from transcribed.engines.segments.engine import SegmentEngine
from transcribed.engines.segments.stream import PartialRules
from transcribed.options import Pace, StreamOptions
from transcribed.recognition.endpointing import EndpointingRules

SET = "librispeech_train_clean_100"
CHAPTER = 10
CHUNK = SAMPLE_RATE // 10
Utterance = tuple[Samples, str]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--model", choices=NAMED, default="base")
    parser.add_argument("--utterances", type=int, default=50)
    parser.add_argument("--rules", nargs="*", default=[])
    parser.add_argument("--live", action="store_true")
    given = parser.parse_args()
    rules = EndpointingRules(**{name: float(value) for name, value in (r.split("=") for r in given.rules)})
    utterances = list(_utterances(given.speech))[: given.utterances]
    print(machine())
    with tempfile.TemporaryDirectory() as cache:
        model = MoonshineModel.load(Path(cache), NAMED[given.model])
        loaded = load(Path(cache), rules, given.model)
        if not isinstance(loaded, SegmentEngine):
            raise SystemExit(f"{given.model} is more than one model.")
        engine = replace(loaded, partials=PartialRules(live_interval=0.48))
        wholes = [model.decode(model.encode(samples), Decoded(), ())[0].tokens for samples, _ in utterances]
        _report("whole", utterances, [model.tokenizer.text(tokens) for tokens in wholes])
        for name, heard in {
            "single": utterances,
            "chapters, digital silence": list(_chapters(utterances, (0.3, 1.0), 0.0)),
            "chapters, quiet noise": list(_chapters(utterances, (0.3, 1.0), 1e-3)),
            "chapters, hardly a pause": list(_chapters(utterances, (0.02, 0.06), 0.0)),
            "chapters, pink noise": [_noisy(each) for each in _chapters(utterances, (0.3, 1.0), 0.0)],
        }.items():
            _report(name, heard, [_said(engine, samples, live=given.live) for samples, _ in heard])


def _utterances(speech: Path) -> Iterator[Utterance]:
    for line in (speech / "manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["path"].startswith(f"{SET}/"):
            with (speech / entry["path"]).open("rb") as file, MediaReader(file) as media:
                yield np.concatenate(list(media.blocks())), entry["text"]


def _chapters(
    utterances: Sequence[Utterance], pause: tuple[float, float], level: float
) -> Iterator[Utterance]:
    random = np.random.default_rng(1)
    for first in range(0, len(utterances), CHAPTER):
        parts: list[Samples] = []
        joined = utterances[first : first + CHAPTER]
        for samples, _ in joined:
            gap = random.normal(size=round(random.uniform(*pause) * SAMPLE_RATE))
            parts += [samples, (level * gap).astype(np.float32)]
        yield np.concatenate(parts), " ".join(text for _, text in joined)


def _noisy(chapter: Utterance) -> Utterance:
    samples, text = chapter
    spectrum = np.fft.rfft(np.random.default_rng(9).normal(size=len(samples)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), len(samples))
    scale = np.sqrt(np.mean(samples**2) / np.mean(noise**2) / 10)
    return (samples + scale * noise).astype(np.float32), text


def _said(engine: SegmentEngine, samples: Samples, *, live: bool) -> str:
    stream = engine.open(StreamOptions(Pace.LIVE if live else Pace.FAST, partials=live))
    finals: list[str] = []
    for start in range(0, len(samples), CHUNK):
        stream.accept(samples[start : start + CHUNK])
        if start + CHUNK >= len(samples):
            stream.finish()
        while (step := stream.next_step()) is not None and step.kind is not StepKind.AHEAD:
            events = stream.step(Effort.FULL)
            finals += [each.text for each in events if isinstance(each, Hypothesis) and each.final]
    return " ".join(finals)


def _report(name: str, utterances: Sequence[Utterance], said: Sequence[str]) -> None:
    normalise = EnglishTextNormalizer()
    references = [normalise(text) for _, text in utterances]
    print(f"{name:28} {100 * jiwer.wer(references, [normalise(text) for text in said]):6.2f} %", flush=True)


if __name__ == "__main__":
    main()
