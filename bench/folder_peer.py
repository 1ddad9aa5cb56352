"""Transcribes a folder to text files with faster-whisper, for bench/folder.py.

    python bench/folder_peer.py MODEL FOLDER OUT BEAM

It is configured as its documentation recommends: batched, int8, two threads, with its own Silero VAD.
"""

import sys
from pathlib import Path

from faster_whisper import BatchedInferencePipeline, WhisperModel


def main() -> None:
    """Transcribe all recordings, one after the other."""
    model, folder, out, beam = sys.argv[1:]
    whisper = WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=2)
    pipeline = BatchedInferencePipeline(model=whisper)
    for path in sorted(Path(folder).iterdir()):
        segments, _ = pipeline.transcribe(str(path), language="en", batch_size=8, beam_size=int(beam))
        text = "".join(f"{segment.text.strip()}\n" for segment in segments)
        (Path(out) / f"{path.stem}.txt").write_text(text)


if __name__ == "__main__":
    main()
