"""docs/architecture.md describes the rooms that are there."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "transcribed"
DOCS = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("architecture", "glossary")}


def test_every_room_has_its_row() -> None:
    rooms = {path.name + "/" * path.is_dir() for path in SOURCE.iterdir() if not path.name.startswith("_")}
    rooms.discard("py.typed")
    assert set(re.findall(r"^\| `([^`]+)` \|", DOCS["architecture"], re.MULTILINE)) == rooms


def test_every_file_of_a_room_is_named_in_its_row() -> None:
    for room in (
        "audio",
        "decoding",
        "models",
        "recognition",
        "wire",
        "storage",
        "tls",
        "scheduling",
        "service",
        "http",
        "terminal",
    ):
        row = next(line for line in DOCS["architecture"].splitlines() if line.startswith(f"| `{room}/`"))
        files = {path.name for path in (SOURCE / room).glob("*.py")}
        if room == "http":
            files |= {path.name for path in (SOURCE / room).glob("*/*.py")}
        files -= {"__init__.py"}
        assert set(re.findall(r"`(\w+\.py)`", row)) == files


def test_the_order_of_imports_is_the_one_that_is_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert "\n".join(["```", *contracts[0]["layers"], "```"]) in DOCS["architecture"]


@pytest.mark.parametrize("page", DOCS)
def test_the_files_that_are_named_exist(page: str) -> None:
    named = set(re.findall(r"`(\w+/[\w/]+\.py)`", DOCS[page]))
    assert named
    assert {path for path in named if not (SOURCE / path).exists()} == set()


def test_a_word_of_the_glossary_stands_in_the_file_beside_it() -> None:
    rows = re.findall(r"^\| ([A-Z]\w+) \| .* \| `([\w/.]+)` \|$", DOCS["glossary"], re.MULTILINE)
    assert len(rows) > 20
    missing = {word: path for word, path in rows if word.lower() not in (SOURCE / path).read_text().lower()}
    assert missing == {}
