"""A page of docs/ that is gone through as its reader would, with a whole program for a client.

Files are saved, commands are run and print what is shown, what a diff makes of a program is run as well.
What is installed comes from a lock file.
"""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 30
SERVE = ".venv/bin/transcribed serve"
SITE = "python3 -m http.server 8000 --bind 127.0.0.1 --directory client"
"""A server of pages, which a test starts itself, as it does the server."""


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    language: str
    text: str
    saved_as: str | None


@dataclass(frozen=True)
class Command:
    line: str
    shown: list[str]


def blocks(page: str) -> list[Block]:
    found = re.findall(
        r"(?:^Save it as `([^`\n]+)`[^`]*?:\n\n)?^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    )
    assert 2 * len(found) == len(re.findall(r"^ *```", page, re.MULTILINE))
    return [Block(language, text, name or None) for name, language, text in found]


def commands(block: Block) -> list[Command]:
    assert block.text.startswith("$ ")
    each = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    return [Command(line, shown) for line, *shown in map(str.splitlines, each)]


@dataclass
class Reader:
    """Someone in the folder of this project, with a server and the packages of a client."""

    folder: Path
    environment: Mapping[str, str]
    server: "Server"
    options: list[str]
    """What the server was started with."""
    packages: str
    """The lock file of what is installed."""
    endpoint: str = ""
    """The environment variable with the server's address, which a changed program does not need."""
    programs: dict[str, str] = field(default_factory=dict)
    used: dict[str, Block] = field(default_factory=dict)
    """Programs, and the commands that ran them."""

    def read(self, page: str) -> None:
        # What a diff changes may stand below it.
        for block in sorted(blocks(page), key=lambda block: block.language == "diff"):
            match block.language:
                case "console":
                    self.enter(block)
                case "sh":
                    self.install(block)
                case "diff":
                    self.change(block)
                case _:
                    assert block.saved_as is not None, f"nobody runs this:\n{block.text}"
                    self.programs[block.saved_as] = block.text
                    (self.folder / block.saved_as).write_text(self.here(block.text))

    def install(self, block: Block) -> None:
        """It is there already, from the lock file: the page must name the same packages."""
        for line in block.text.splitlines():
            if line != "python3 -m venv client":
                found = re.fullmatch(r"(?:client/bin/pip install|npm install --prefix client) (.*)", line)
                assert found, line
                for package in shlex.split(found[1]):
                    name = re.escape(package.partition("[")[0])
                    assert re.search(rf'^\s*("node_modules/)?{name}(==|":)', self.packages, re.MULTILINE), (
                        line
                    )

    def enter(self, block: Block, *, without_endpoint: bool = False) -> None:
        """Type commands. Each must print what is shown; one that fails, as its error."""
        typed = [command for command in commands(block) if not self.stays(command)]
        script = []
        for number, command in enumerate(typed):
            ran = [name for name in self.programs if name in command.line]
            self.used |= dict.fromkeys(ran, block)
            script += [f"unset {self.endpoint}"] * (without_endpoint and bool(ran))
            script += [f"{{ {self.here(command.line)}; }} > {number}.out 2> {number}.err"]
            script += [f"echo $? > {number}.status"]
        with subprocess.Popen(
            ["sh", "-c", "\n".join(script)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,  # Left open, as a terminal is: at its end wscat would go.
            start_new_session=True,
        ) as shell:
            try:
                shell.wait(WAIT)
            except subprocess.TimeoutExpired:
                os.killpg(shell.pid, signal.SIGKILL)
                raise
        for number, command in enumerate(typed):
            out, error, status = (
                (self.folder / f"{number}.{kind}").read_text() for kind in ("out", "err", "status")
            )
            seen = out if status == "0\n" else error
            assert seen.strip().splitlines() == command.shown, f"{command.line}\n{out}{error}"

    def stays(self, command: Command) -> bool:
        """Whether the command is a server, which the test has started."""
        if command.line.startswith(SERVE):
            assert shlex.split(command.line.removeprefix(SERVE)) == self.options
            return True
        return command.line == SITE

    def here(self, text: str) -> str:
        """With the ports of this server."""
        text = text.replace("localhost:3000", "{}:{}".format(*self.server.address))
        return text.replace(
            "localhost:8443", f"localhost:{self.environment.get('TRANSCRIBED_TLS_PORT', 8443)}"
        )

    def change(self, block: Block) -> None:
        """A diff is from a known example to the page's program, or from that to another, which is run."""
        lines = block.text.splitlines()
        before, after = ([line[1:] for line in lines if line[0] in kinds] for kinds in (" -", " +"))
        for name, program in self.programs.items():
            if "\n".join(before) in program:
                changed = program.replace("\n".join(before), "\n".join(after))
                (self.folder / name).write_text(self.here(changed))
                self.enter(self.used[name], without_endpoint=bool(self.endpoint))
                return
        removed = {line[1:] for line in lines if line[0] == "-"}
        assert any(
            set(after) <= (those := set(program.splitlines())) and not removed & those
            for program in self.programs.values()
        ), f"the page has no such program:\n{block.text}"
