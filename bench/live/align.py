"""The times of all words in the recordings, by an aligner that is independent of the measured engines.

    python bench/live/align.py SPEECH [--out bench/results/words.json]
    python bench/live/align.py --recording FILE --text TEXT [--out ...]

PocketSphinx aligns the reference text with the audio by hidden Markov models of phones and a pronunciation
dictionary, in steps of 10 ms. It has nothing in common with the measured neural models, and does not
transcribe, so that it makes no recognition errors. Utterances with words that are not in its dictionary, or
that it cannot align, are left out. It runs once, in its own environment (bench/live/peers.py).

The file is JSON: {utterance: [[word, start, end], ...]}, times in seconds from the utterance's first
sample.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from peers import python_of
from words import keys

SETS = ("librispeech_train_clean_100", "libri_misc", "ljspeech")
FRAME = 0.01
Words = list[tuple[str, float, float]]


def main() -> None:
    """Run the alignment in the aligner's environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("bench/results/words.json"))
    parser.add_argument("--recording", type=Path, help="one recording, with --text")
    parser.add_argument("--text", help="what is said in it")
    given = parser.parse_args()
    if (given.speech is None) == (given.recording is None) or (given.recording and not given.text):
        parser.error("give a folder SPEECH, or --recording and --text")
    python = python_of("aligner")
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        sys.exit(subprocess.run([python, *sys.argv], check=False).returncode)
    known = json.loads(given.out.read_text()) if given.out.exists() else {}
    if given.recording:
        known |= _aligned({given.recording.stem: (given.recording, given.text)})
    else:
        known |= _aligned(_utterances(given.speech, known))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(known))
    print(f"{len(known)} utterances, {sum(map(len, known.values()))} words in {given.out}")


def _utterances(speech: Path, known: dict[str, Words]) -> dict[str, tuple[Path, str]]:
    entries = map(json.loads, (speech / "manifest.jsonl").read_text().splitlines())
    return {
        entry["id"]: (speech / entry["path"], entry["text"])
        for entry in entries
        if entry["path"].split("/")[0] in SETS and entry["text"] and entry["id"] not in known
    }


def _aligned(utterances: dict[str, tuple[Path, str]]) -> dict[str, Words]:
    from audio import samples_of  # noqa: PLC0415 - its PyAV is there as well
    from pocketsphinx import Decoder  # noqa: PLC0415 - only in the aligner's environment

    decoder = Decoder(lm=None, loglevel="FATAL")
    found = {}
    for name, (path, text) in utterances.items():
        said = keys(text)
        unknown = [word for word in said if decoder.lookup_word(word) is None]
        if unknown:
            print(f"{name}: not in the dictionary: {' '.join(unknown)}")
            continue
        decoder.set_align_text(" ".join(said))
        decoder.start_utt()
        decoder.process_raw(samples_of(path).tobytes(), full_utt=True)
        decoder.end_utt()
        words = [
            (segment.word.split("(")[0], segment.start_frame * FRAME, (segment.end_frame + 1) * FRAME)
            for segment in decoder.seg()
            if not segment.word.startswith(("<", "["))
        ]
        if [word for word, _, _ in words] == said:
            found[name] = [(word, round(start, 2), round(end, 2)) for word, start, end in words]
        else:
            print(f"{name}: could not be aligned")
    return found


if __name__ == "__main__":
    main()
