"""A program that loads a model and recognises some noise, to find out whether the model works.

It is a process of its own, because the vendor's library crashes if a model's files do not fit together.
"""

import sys
from pathlib import Path

import numpy as np

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.engines.moonshine_streaming.library import CHUNK, Architecture, Transcriber
from transcribed.errors import TranscribedError


def main(folder: str, architecture: str) -> int:
    """Return the status that the process exits with: 0 if the model works."""
    noise = np.random.default_rng(0).normal(0, 0.01, 2 * SAMPLE_RATE).astype(np.float32)
    try:
        transcriber = Transcriber(Path(folder), Architecture(int(architecture)))
        transcriber.transcribe(noise)
        transcriber.stream().extend(noise[: len(noise) // CHUNK * CHUNK])
    except TranscribedError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
