"""Builds the image `transcribed` with Docker, or with podman where no Docker answers: `make image`.

Inside, pip gets the index, the proxy and the certificate that pip is told of here: as secrets, which stay
out of the image. Arguments are the builder's own, such as `--tag`.
"""

import ast
import configparser
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_CERTIFICATES = "/run/secrets/certificates"
_HANDED_ON = (
    "index-url",
    "extra-index-url",
    "trusted-host",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
)


def main() -> int:
    """Build; the builder's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [
                *_builder(),
                *_secrets(Path(folder)),
                *_revision(),
                "--tag",
                "transcribed",
                *sys.argv[1:],
                str(ROOT),
            ],
            env=os.environ | {"DOCKER_BUILDKIT": "1", "BUILDAH_FORMAT": "docker"},
            check=False,
        ).returncode


def _builder() -> list[str]:
    if (
        shutil.which("docker")
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    ):
        return ["docker", "build"]
    if shutil.which("podman"):
        return ["podman", "build"]
    sys.exit("Neither Docker nor podman is here. On Debian, as root: tests/image/containers.sh")


def _secrets(folder: Path) -> list[str]:
    """The builder's options for what pip is told on this machine, written into a folder."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    told: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        # Options of the environment come first in the list, and win.
        if section in {"global", "install", ":env:"}:
            told.setdefault(key, ast.literal_eval(value))
    options = []
    handed_on = {key: _not_local(told[key]) for key in _HANDED_ON if key in told}
    if (certificates := told.get("cert")) is not None:
        options += ["--secret", f"id=certificates,src={certificates}"]
        handed_on["cert"] = _CERTIFICATES
    settings = configparser.RawConfigParser()
    settings["global"] = {key: value for key, value in handed_on.items() if value}
    path = folder / "pip.conf"
    with path.open("w") as file:
        settings.write(file)
    return [*options, "--secret", f"id=pip.conf,src={path}"]


def _not_local(value: str) -> str:
    """Without the folders of this machine, which the builder cannot see."""
    return " ".join(part for part in value.split() if not part.startswith(("file:", "/", ".")))


def _revision() -> list[str]:
    """A label with the commit, where this is a clone."""
    found = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return ["--label", f"org.opencontainers.image.revision={found.stdout.strip()}"] if found.stdout else []


if __name__ == "__main__":
    sys.exit(main())
