"""Programs of clients, each run in an environment of its own, and what they tell."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from environments import CLIENTS, python_environment

_WAIT = 60


def run_client(*command: str | Path) -> list[Any]:
    """What a client tells, each line of it JSON."""
    # Libraries that would report where they are used, or fetch what they may need, are on their own here.
    own = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT, env=own, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def run_python_client(name: str, script: str, *arguments: str | Path) -> list[Any]:
    return run_client(python_environment(name, sys.executable), CLIENTS / name / script, *arguments)
