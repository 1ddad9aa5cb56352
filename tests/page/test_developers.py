"""The panel for developers: its programs run as they are shown."""

import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from environments import CLIENTS, node_environment
from playwright.sync_api import Page
from tests.page.conftest import KEYS

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.page.conftest import Watch

SAID = ["Said once.", "Said last."]


@pytest.fixture
def folder(tmp_path: Path, sentence: bytes) -> Path:
    """Where a developer works who has `talk.wav` and the packages."""
    (tmp_path / "talk.wav").write_bytes(sentence)
    (tmp_path / "node_modules").symlink_to(node_environment())
    return tmp_path


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    """Programs as they have been shown."""
    return {}


@pytest.fixture
def program(
    shown: dict[str, str], new_page: Callable[..., Page], guarded: "Server", watch: "Watch"
) -> Callable[[str], str]:
    """Returns a program as it is shown to somebody who has signed in and shows the key."""
    if shown:
        return shown.__getitem__
    watch.expected = ["401"]
    page = new_page(guarded.url)
    page.get_by_label("Access key").fill(KEYS["boss"])
    page.keyboard.press("Enter")
    page.get_by_role("button", name="For developers").click()
    page.get_by_role("button", name="Programs").click()
    page.get_by_label("Show my key").check()
    choice = page.get_by_label("Program", exact=True)
    for name in choice.get_by_role("option").all_inner_texts():
        choice.select_option(label=name)
        shown[name] = page.get_by_label("The program").inner_text()
        assert KEYS["boss"] in shown[name]
    return shown.__getitem__


def output(command: list[str], folder: Path, **how: str) -> list[str]:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | how, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_python_program(program: Callable[[str], str], folder: Path) -> None:
    (folder / "captions.py").write_text(program("Python: stream a WAV file"))
    lines = output([sys.executable, "captions.py", "talk.wav"], folder)
    assert lines[:-1] == SAID
    assert lines[-1].startswith("{'Done'")


def test_the_javascript_program(program: Callable[[str], str], folder: Path) -> None:
    (folder / "captions.mjs").write_text(program("JavaScript: stream a WAV file"))
    # Node.js before version 22 has no WebSocket of its own.
    (folder / "older.cjs").write_text('globalThis.WebSocket ??= require("ws");')
    assert output(["node", "--require", "./older.cjs", "captions.mjs", "talk.wav"], folder) == SAID


def test_the_commands_of_curl(program: Callable[[str], str], folder: Path, guarded: "Server") -> None:
    upload, listing, search, subtitles = program("curl: upload, search, download").splitlines()
    quiet = "curl --silent --show-error --fail-with-body "
    run = lambda command: "".join(output(["bash", "-c", command.replace("curl ", quiet, 1)], folder))  # noqa: E731
    assert run(upload) == '"talk.wav"'
    assert '"talk.wav"' in run(listing)
    headers = {"Authorization": f"Bearer {KEYS['boss']}"}
    assert '"Transcripts"' in run(search)
    (folder / "captions.py").write_text(program("Python: stream a WAV file"))
    output([sys.executable, "captions.py", "talk.wav"], folder)
    known = guarded.http.get("/transcripts", headers=headers).json()["Transcripts"]
    assert "Said once." in run(subtitles.replace("ID", known[0]["SessionId"]))


def test_the_command_of_wscat(
    program: Callable[[str], str], folder: Path, guarded: "Server", sentence: bytes
) -> None:
    headers = {"Authorization": f"Bearer {KEYS['boss']}"}
    answer = guarded.http.post(
        "/audio", files={"file": ("wscat.wav", sentence, "audio/wav")}, headers=headers
    )
    assert answer.status_code == 200
    npx, wscat, *options = shlex.split(program("wscat: type the name of a recording"))
    assert (npx, wscat) == ("npx", "wscat")
    script = node_environment(CLIENTS) / "wscat" / "bin" / "wscat"
    # It writes nothing but to a terminal.
    terminal, its_side = pty.openpty()
    with (
        os.fdopen(terminal, "r+b", buffering=0) as terminal_file,
        subprocess.Popen(["node", script, *options], stdin=its_side, stdout=its_side) as process,
    ):
        try:
            seen = b""
            while b'"Done"' not in seen:
                seen += os.read(terminal, 4096)
                if seen.count(b">") == 1 and b"wscat.wav" not in seen:
                    terminal_file.write(b"wscat.wav\n")
            assert b"Said once." in seen
        finally:
            process.kill()
            os.close(its_side)


def test_the_program_for_amazons_sdk(
    new_page: Callable[..., Page], scripted: "Server", folder: Path
) -> None:
    page = new_page(scripted.url)
    page.get_by_role("button", name="For developers").click()
    page.get_by_role("button", name="Programs").click()
    page.get_by_label("Program", exact=True).select_option(label="Amazon's SDK for JavaScript")
    (folder / "amazon.mjs").write_text(page.get_by_label("The program").inner_text())
    assert output(["node", "amazon.mjs", "talk.wav"], folder) == SAID
