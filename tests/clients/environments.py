"""Where clients run: each in an environment of its own, installed from its lock file.

They are kept from run to run, and of processes that need one at once a single one makes it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

from filelock import FileLock

CLIENTS = Path(__file__).parent
PYTHON_3_12 = (3, 12)


@cache
def python_environment(name: str, python: str) -> Path:
    """The interpreter that has the packages of tests/clients/NAME/requirements.txt and no others."""
    requirements = CLIENTS / name / "requirements.txt"
    folder = CLIENTS / name / ".venv"
    interpreter = folder / "bin" / "python"
    uv = [str(Path(sysconfig.get_path("scripts")) / "uv"), "-q"]
    _make(
        folder,
        requirements.read_bytes() + python.encode(),
        [*uv, "venv", "--clear", "-p", python, str(folder)],
        [*uv, "pip", "sync", "-p", str(interpreter), "--require-hashes", str(requirements)],
    )
    return interpreter


@cache
def node_environment(folder: Path = CLIENTS / "javascript") -> Path:
    """The folder `node_modules` that has the packages of the folder's package-lock.json."""
    modules = folder / "node_modules"
    # Without the packages' own scripts: esbuild's is for machines that have no package of it.
    npm = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    _make(modules, (folder / "package-lock.json").read_bytes(), npm)
    return modules


def _make(folder: Path, source: bytes, *commands: list[str]) -> None:
    """Make an environment unless it is there, made of the same source; others wait while one makes it."""
    wanted, stamp = hashlib.sha256(source).hexdigest(), folder / "installed"
    with FileLock(folder.with_name(".installing"), timeout=100):
        if not (stamp.exists() and stamp.read_text() == wanted):
            stamp.unlink(missing_ok=True)
            for command in commands:
                run(command, folder.parent)
            stamp.write_text(wanted)


def run(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def newer_python() -> str | None:
    """A Python that aws-sdk-transcribe-streaming runs on."""
    if sys.version_info >= PYTHON_3_12:
        return sys.executable
    return next(filter(None, map(python, range(12, 16))), None)


def python(minor: int) -> str | None:
    """A Python 3 of this minor version, in the PATH or of pyenv."""
    name = f"python3.{minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for found in filter(None, [shutil.which(name), *map(str, sorted(pyenv.glob(f"*/bin/{name}")))]):
        # pyenv puts commands in the PATH that say no more than that there are none.
        if subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return None


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


def firefox() -> str | None:
    return shutil.which("firefox-esr") or shutil.which("firefox")


def missing_for_a_browser() -> list[str]:
    """Debian's packages that tests in a browser need."""
    return [] if chromium() and shutil.which("certutil") else ["chromium", "libnss3-tools"]
