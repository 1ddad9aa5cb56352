"""Where Amazon's clients run: each in an environment of its own, installed from its lock file."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

CLIENTS = Path(__file__).parent
PYTHON_3_12 = (3, 12)


@cache
def python_environment(name: str, python: str) -> Path:
    """The interpreter that has the packages of tests/clients/NAME/requirements.txt and no others."""
    folder = CLIENTS / name
    requirements = folder / "requirements.txt"
    interpreter, stamp = folder / ".venv" / "bin" / "python", folder / ".venv" / "installed"
    wanted = hashlib.sha256(requirements.read_bytes() + python.encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        uv = [str(Path(sysconfig.get_path("scripts")) / "uv"), "-q"]
        shutil.rmtree(folder / ".venv", ignore_errors=True)
        run([*uv, "venv", "-p", python, str(folder / ".venv")])
        run([*uv, "pip", "sync", "-p", str(interpreter), "--require-hashes", str(requirements)])
        stamp.write_text(wanted)
    return interpreter


@cache
def node_environment() -> None:
    folder = CLIENTS / "javascript"
    lock, stamp = folder / "package-lock.json", folder / "node_modules" / "installed"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        # Without the packages' own scripts: esbuild's is for machines that have no package of it.
        run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
        stamp.write_text(wanted)


def run(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def newer_python() -> str | None:
    """A Python that aws-sdk-transcribe-streaming runs on."""
    if sys.version_info >= PYTHON_3_12:
        return sys.executable
    names = [f"python3.{minor}" for minor in range(12, 16)]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(name) for name in names]
    found += [str(path) for name in names for path in sorted(pyenv.glob(f"*/bin/{name}"))]
    for python in filter(None, found):
        # pyenv puts commands in the PATH that say no more than that there are none.
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return python
    return None


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


def missing_for_a_browser() -> list[str]:
    """Debian's packages that tests in a browser need."""
    return [] if chromium() and shutil.which("certutil") else ["chromium", "libnss3-tools"]
