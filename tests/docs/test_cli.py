"""docs/cli.md holds the commands' own help."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_in_step_with_the_commands(tmp_path: Path) -> None:
    # In a process of its own: the page is made in an environment that imports must meet first.
    command = [sys.executable, ROOT / "docs" / "generate.py", tmp_path / "cli.md"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    current, expected = (ROOT / "docs" / "cli.md").read_text(), (tmp_path / "cli.md").read_text()
    assert current == expected, "docs/cli.md is not what --help prints now. Run: make docs"
