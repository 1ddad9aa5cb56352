"""What the image installs is what is tested, without what nobody runs there."""

import re
from pathlib import Path

from transcribed import __version__

ROOT = Path(__file__).parents[2]
_OF_EDITABLE_INSTALLS = {"editables"}


def locked(name: str) -> dict[str, str]:
    """The lines of a lock by the packages' names, without the hashes."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return {line.partition("==")[0]: line.rstrip(" \\") for line in lines if "==" in line.partition(" ")[0]}


def test_the_locks_are_in_step() -> None:
    run, image, tools = locked("run"), locked("image"), locked("image-build")
    (left_out,) = re.findall(r"^NOT_IN_THE_IMAGE := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    why = "Run: make lock UPGRADE="
    assert {line for name, line in run.items() if name in image} == set(image.values()), why
    assert run.keys() - image.keys() - tools.keys() - set(left_out.split()) == _OF_EDITABLE_INSTALLS, why
    assert image.keys().isdisjoint(left_out.split()), why
    assert all(run.get(name, line) == line for name, line in tools.items()), why


def test_the_label_says_the_version() -> None:
    assert f'org.opencontainers.image.version="{__version__}"' in (ROOT / "Dockerfile").read_text()
