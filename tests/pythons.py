"""Runs tests with each newer Python that is found, in the PATH or of pyenv: `make test-pythons`.

Each has an environment of its own below .venv, with the packages of the lock. Arguments are pytest's;
without any it runs what does not take long. A version that is not found is left out, and said.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "clients"))

from environments import python  # noqa: E402

VERSIONS = ((3, 12), (3, 13))
_AT_ONCE = ("--numprocesses=auto", "--dist=worksteal")
_LONG = ("tests/unit/engines", "tests/unit/wire", "tests/contracts/test_transcript_faults.py")
_TESTS = (
    *("tests/unit", "tests/contracts", "tests/e2e/test_readme.py", "tests/e2e/test_wheel.py"),
    *(f"--ignore={path}" for path in _LONG),
)


def main() -> int:
    """The exit code: 0 if all tests passed that could be run."""
    failed = False
    for major, minor in VERSIONS:
        found = python(minor)
        if found is None:
            print(f"Python {major}.{minor} is not here: not tested")
            continue
        print(f"== Python {major}.{minor}: {found}", flush=True)
        interpreter = _environment(f"python{major}.{minor}", found)
        tests = subprocess.run(
            [interpreter, "-m", "pytest", *_AT_ONCE, *(sys.argv[1:] or _TESTS)], cwd=ROOT, check=False
        )
        failed |= tests.returncode != 0
    return int(failed)


def _environment(name: str, found: str) -> Path:
    """Its interpreter; all packages are those of the lock, and the project itself."""
    folder = ROOT / ".venv" / name
    interpreter, uv = folder / "bin" / "python", [sys.executable, "-m", "uv", "-q"]
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    for step in (
        ["venv", "--allow-existing", "-p", found, str(folder)],
        ["pip", "sync", "-p", str(interpreter), "--require-hashes", "requirements/dev.txt"],
        ["pip", "install", "-p", str(interpreter), "--no-deps", "--no-build-isolation", "-e", "."],
    ):
        subprocess.run([*uv, *step], cwd=ROOT, env=environment, check=True)
    (folder / "bin" / "uv").unlink(missing_ok=True)
    (folder / "bin" / "uv").symlink_to(Path(sysconfig.get_path("scripts")) / "uv")
    return interpreter


if __name__ == "__main__":
    sys.exit(main())
