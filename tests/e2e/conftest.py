"""What the end-to-end tests have in common."""

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sysconfig
import termios
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from amazon_client import KEY, SECRET
from environments import CLIENTS, node_environment
from model_setting import suited
from native_client import decoded

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 20
PATH = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest, eventually: Callable[..., None]) -> Iterator[None]:
    """A test on a shared server leaves no stream open, nothing staged and no error in the log."""
    names = {"server", "guarded"}.intersection(request.fixturenames)
    servers: list[Server] = [request.getfixturevalue(name) for name in names]
    before = [(server, server.streams, server.staged) for server in servers]
    yield
    for server, streams, staged in before:
        eventually(lambda: server.streams <= streams, 5, "all streams have ended")  # noqa: B023
        eventually(lambda: server.staged <= staged, 5, "nothing is staged")  # noqa: B023
        server.assert_no_errors()


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory, sentence: bytes) -> Path:
    """The sentence at 16 kHz, for clients that know no 22.05 kHz."""
    path = tmp_path_factory.mktemp("spoken") / "16000.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(decoded(sentence).tobytes())
    return path


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the scripted engine, which starts at once: it hears "first" and "second"."""
    path = tmp_path_factory.mktemp("script") / "script.json"
    events = [
        {"at": 0.5, "text": "first", "final": True},
        {"at": 1.0, "text": "sec"},
        {"at": "end", "text": "second", "final": True},
    ]
    path.write_text(json.dumps({"events": events}))
    return path


@pytest.fixture
def scripted(script: Path, start_server: "Callable[..., Server]") -> "Callable[..., Server]":
    """Starts servers that recognise what the script says."""

    def start(*options: str, **how: object) -> "Server":
        return start_server("--engine", "scripted", "--script", str(script), *options, **how)

    return start


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a server with the tests' access key."""
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(f"{KEY} {SECRET}\n")
    path.chmod(0o600)
    return ["--access-keys", str(path)]


@pytest.fixture(scope="session")
def guarded(
    run_server: "Callable[..., AbstractContextManager[Server]]", script: Path, keys: list[str]
) -> "Iterator[Server]":
    """A server with the tests' access key that recognises what the script says, shared by the tests."""
    with run_server("--engine", "scripted", "--script", str(script), *keys) as running:
        yield running


@pytest.fixture(scope="session")
def wscat() -> list[str]:
    """The command, installed from the lock file where it is not there yet."""
    assert shutil.which("npm"), "These tests need Node.js with npm."
    script = node_environment(CLIENTS) / "wscat" / "bin" / "wscat"
    node = shutil.which("node", path=PATH)
    assert node is not None, "These tests need Node.js."
    return [node, str(script)]


class Screen:
    """What a person sees of a program in a terminal: lines, and where the cursor is."""

    _TOKEN = re.compile(r"\x1b\[(?P<numbers>[\d;]*)(?P<letter>[A-Za-z])|(?P<plain>[^\x1b])")

    def __init__(self) -> None:
        self._lines: list[list[str]] = [[]]
        self._column = 0
        self._held = ""

    @property
    def lines(self) -> list[str]:
        return ["".join(line).rstrip() for line in self._lines]

    def write(self, output: str) -> None:
        self._held += output
        while token := self._TOKEN.match(self._held):
            self._held = self._held[token.end() :]
            if token["plain"]:
                self._plain(token["plain"])
            else:
                self._control(token["letter"], int(token["numbers"].split(";")[0] or 0))

    def _plain(self, character: str) -> None:
        if character == "\n":
            self._lines.append([])
            self._column = 0
        elif character == "\r":
            self._column = 0
        else:
            line = self._lines[-1]
            line.extend(" " * (self._column + 1 - len(line)))
            line[self._column] = character
            self._column += 1

    def _control(self, letter: str, number: int) -> None:
        if letter == "G":
            self._column = max(0, number - 1)
        elif letter == "D":
            self._column = max(0, self._column - (number or 1))
        elif letter == "C":
            self._column += number or 1
        elif letter == "J" or (letter == "K" and number == 0):
            del self._lines[-1][self._column :]
        elif letter == "K":
            self._lines[-1].clear()
        else:
            assert letter == "m", f"unknown control {letter}"


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, keyboard: int, eventually: Callable[..., None]) -> None:
        self._keyboard = keyboard
        self._eventually = eventually
        self._screen = Screen()

    def type(self, line: str) -> None:
        os.write(self._keyboard, line.encode() + b"\r")

    def wait_for(self, seen: Callable[[list[str]], bool]) -> list[str]:
        """Wait until the lines on the screen are as they should be."""

        def look() -> bool:
            with suppress(OSError):  # Nothing new, or the program has ended.
                self._screen.write(os.read(self._keyboard, 65536).decode())
            return seen(self._screen.lines)

        try:
            self._eventually(look, WAIT, "the screen is as it should be")
        except pytest.fail.Exception as late:
            raise AssertionError("\n".join(self._screen.lines)) from late
        return self._screen.lines


@contextmanager
def _terminal(
    eventually: Callable[..., None], command: Sequence[str], cwd: Path | None = None
) -> Iterator[Terminal]:
    keyboard, screen = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    environment = os.environ | {"TERM": "xterm", "PATH": PATH, "NPM_CONFIG_LOGLEVEL": "error"}
    with subprocess.Popen(
        command,
        stdin=screen,
        stdout=screen,
        stderr=screen,
        env=environment,
        cwd=cwd,
        start_new_session=True,
    ) as process:
        os.close(screen)
        os.set_blocking(keyboard, False)
        try:
            yield Terminal(keyboard, eventually)
            assert process.wait(WAIT) == 0
        finally:
            process.kill()
            os.close(keyboard)


@pytest.fixture
def terminal(eventually: Callable[..., None]) -> Callable[..., AbstractContextManager[Terminal]]:
    """Runs a program in a terminal; it must end well before the context does."""
    return partial(_terminal, eventually)


@pytest.fixture
def run(
    transcribed: Path, environment: dict[str, str], new_port: Callable[[], int], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in an empty folder, to its end; a server that names no port gets a free one."""

    def command(
        *arguments: str, stdin: bytes = b"", settings: dict[str, str] | None = None, seconds: float = 30
    ) -> subprocess.CompletedProcess[str]:
        own = {"COLUMNS": "100", "TRANSCRIBED_PORT": str(new_port())} | (settings or {})
        done = subprocess.run(
            [transcribed, *arguments],
            input=stdin,
            capture_output=True,
            env=suited(environment | own, arguments),
            cwd=tmp_path,
            timeout=seconds,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return command


@pytest.fixture
def said(script: Path) -> list[str]:
    """The options for an engine that starts at once."""
    return ["--engine", "scripted", "--script", str(script)]
