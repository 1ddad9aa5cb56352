"""What the README and the page of the protocol show is what their reader gets."""

import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PROTOCOL = (ROOT / "docs" / "protocols" / "native.md").read_text()
CLIENTS = ROOT / "tests" / "clients"
WAIT = 20
DEFAULT = ("--model", "auto")
"""What the README shows is made with the default, other tests use the smaller model."""


@dataclass(frozen=True)
class Command:
    """A command of the README, and the lines below it."""

    line: str
    shown: list[str]


def section(heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no section {heading!r}"
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(heading: str) -> list[Command]:
    lines = "".join(blocks(section(heading), "console"))
    return [Command(line, shown) for line, *shown in map(str.splitlines, lines.split("$ ")[1:])]


def run(command: str, environment: dict[str, str]) -> list[str]:
    """The lines that a command prints, with the tools of the environment that runs this."""
    command = command.replace(".venv/bin/", f"{sysconfig.get_path('scripts')}/")
    shell = ["sh", "-c", command]
    done = subprocess.run(
        shell, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def converse(command: Command, terminal: Callable[..., Any]) -> list[str]:
    """What stands in the terminal when each line has been typed that the README shows behind "> "."""
    arguments = command.line.split()
    with terminal(arguments, cwd=CLIENTS) as shown:
        for number, line in enumerate(command.shown):
            if line.startswith("> "):
                shown.wait_for(lambda lines, before=number: len(lines) > before and lines[-1] == ">")
                shown.type(line.removeprefix("> "))
        seen: list[str] = shown.wait_for(lambda lines: len(lines) > len(command.shown) and lines[-1] == ">")
        shown.type(" ")
        shown.wait_for(lambda lines: any(line.startswith("Disconnected (code: 1000") for line in lines))
    return seen[:-1]


def test_make_run_prints_what_the_readme_shows(
    start_server: "Callable[..., Server]", eventually: Callable[..., None]
) -> None:
    server = start_server(*DEFAULT)
    (shown,) = blocks(README.partition("## First session")[0], "text")
    here = shown.replace("localhost:3000", f"localhost:{server.address[1]}")
    here = here.replace("/home/you/transcribed", str(server.audio.parent))
    eventually(lambda: here.strip() in server.log.read_text(), WAIT, f"{here} is printed")


def test_the_first_session(
    start_server: "Callable[..., Server]",
    environment: dict[str, str],
    terminal: Callable[..., Any],
    wscat: list[str],
) -> None:
    server = start_server(*DEFAULT)
    session = commands("First session")
    assert [command.line.split()[0] for command in session] == ["curl", "curl", "npx"]
    for command in session:
        here = Command(
            command.line.replace("localhost:3000", "{}:{}".format(*server.address)), command.shown
        )
        interactive = any(line.startswith("> ") for line in command.shown)
        seen = converse(here, terminal) if interactive else run(here.line, environment)
        assert seen == command.shown


def _comparable(message: dict[str, Any]) -> str:
    """Without what differs from run to run, or from machine to machine."""
    text = json.dumps(message, sort_keys=True)
    text = re.sub(r'"(ResultId|SessionId)": "[0-9a-f-]{36}(-\d+)?"', r'"\1": "…\2"', text)
    return re.sub(r'"(Confidence|ProcessingSeconds)": [\d.]+', r'"\1": "…"', text)


def test_the_json_is_what_the_server_sends(start_server: "Callable[..., Server]", sentence: bytes) -> None:
    server = start_server(*DEFAULT)
    server.upload("readme.wav", sentence)
    with connect(f"{server.stream_url}?format=json", open_timeout=WAIT) as ws:
        ws.send("readme.wav")
        messages = [json.loads(ws.recv(WAIT))]
        while "Done" not in messages[-1]:
            messages.append(json.loads(ws.recv(WAIT)))
    shown = [json.loads(line) for line in blocks(PROTOCOL, "json")[-1].splitlines()]
    assert [_comparable(message) for message in shown[-2:]] == [
        _comparable(message) for message in messages[-2:]
    ]


def test_the_transcripts(
    start_server: "Callable[..., Server]", sentence: bytes, environment: dict[str, str]
) -> None:
    server = start_server(*DEFAULT)
    server.upload("test.wav", sentence)
    with connect(f"{server.stream_url}?format=json", open_timeout=WAIT) as ws:
        ws.send("test.wav")
        while "Done" not in (message := json.loads(ws.recv(WAIT))):
            pass
    name = message["Done"]["SessionId"]
    for command in commands("Transcripts"):
        if command.line.startswith("ID="):
            continue
        line = command.line.replace("localhost:3000", "{}:{}".format(*server.address))
        seen = run(line.replace("$ID", name), environment)
        assert list(map(_comparable_line, seen)) == list(map(_comparable_line, command.shown))
    assert server.http.get("/transcripts").json() == {"Transcripts": [], "Next": None}


def _comparable_line(line: str) -> str:
    if not line.startswith("{"):
        return line
    return re.sub(r'"(Started|Ended)": "[-\dT:.]+Z"', r'"\1": "…"', _comparable(json.loads(line)))


def test_live_audio_from_the_shell(server: "Server", environment: dict[str, str]) -> None:
    (block,) = blocks(section("Live audio"), "console")
    command, end, shown = block.removeprefix("$ ").partition("< tests/data/test.wav\n")
    seen = run(command.replace("localhost:3000", "{}:{}".format(*server.address)) + end, environment)
    # The first partial may hold more or less of it, as the machine is busy or not.
    assert seen[-2:] == shown.splitlines()[-2:]
    assert shown.splitlines()[0] in seen[-1]


def test_the_live_client_of_the_protocols_page(server: "Server", environment: dict[str, str]) -> None:
    (client,) = blocks(PROTOCOL, "python")
    command = [sys.executable, "-c", client, "tests/data/test.wav", server.stream_url]
    seen = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=WAIT, check=True
    ).stdout.splitlines()
    assert seen[-2] == "This is a test. |"
    assert "'AudioSeconds': 1.149" in seen[-1]


def test_the_terminal_commands(environment: dict[str, str]) -> None:
    shown = commands("In the terminal")
    assert len(shown) == 3
    for command in shown:
        assert run(command.line, environment) == command.shown


def test_nothing_is_sent_anywhere(tmp_path: Path, transcribed: Path, environment: dict[str, str]) -> None:
    """What would report over the network first leaves an identity in the user's own folders."""
    home = environment | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    home.pop("ORT_DISABLE_TELEMETRY", None)
    command = [transcribed, "transcribe", ROOT / "tests" / "data" / "test.wav"]
    done = subprocess.run(command, env=home, capture_output=True, text=True, check=True)
    assert done.stdout == "This is a test.\n"
    assert list(tmp_path.rglob("*")) == []
