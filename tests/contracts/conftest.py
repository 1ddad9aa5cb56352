"""What the contract tests share."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_PASSWORD = "of the tests"  # noqa: S105
_START_SECONDS = 60
_STOP_SECONDS = 30


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class PostgresqlServer:
    """A cluster of the tests' own, on a socket in a folder of its own."""

    programs: Path
    folder: Path
    user: str | None
    """Who runs it: PostgreSQL refuses root."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def address(self, database: str, password: str = _PASSWORD, more: str = "") -> str:
        return f"postgresql://tester:{password.replace(' ', '%20')}@/{database}?host={self.folder}{more}"

    def new_database(self, *options: str) -> str:
        """The address of an empty database."""
        name = f"test{next(self._numbers)}"
        self.run("createdb", "-h", str(self.folder), "-U", "tester", *options, name)
        return self.address(name)

    def sql(self, database: str, command: str) -> str:
        """What a command answers."""
        return self.run("psql", "-h", str(self.folder), "-U", "tester", "-d", database, "-Atc", command)

    def run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self.programs / program, *arguments],
            user=self.user,
            cwd=self.folder,
            env=os.environ | {"PGPASSWORD": _PASSWORD},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_START_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def start(self) -> subprocess.Popen[bytes]:
        settings = ("listen_addresses=", f"unix_socket_directories={self.folder}", "fsync=off")
        options = [argument for setting in settings for argument in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", *options],
                user=self.user,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def _programs() -> Path | None:
    """Where PostgreSQL's programs are; Debian keeps most of them out of the path."""
    found = shutil.which("postgres")
    if found is not None:
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    return debian[-1].parent if debian else None


@pytest.fixture(scope="session")
def postgresql(eventually: Callable[..., None]) -> Iterator[PostgresqlServer]:
    """A PostgreSQL server."""
    programs = _programs()
    if programs is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
        pytest.skip("PostgreSQL is not installed (on Debian and Ubuntu the package postgresql)")
    user = "nobody" if os.geteuid() == 0 else None
    # Not pytest's folder, which is root's and has a name too long for a socket's.
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        server = PostgresqlServer(programs, Path(name), user)
        password = server.folder / "password"
        password.write_text(_PASSWORD)
        if user is not None:
            shutil.chown(server.folder, user)
            shutil.chown(password, user)
        server.run(
            "initdb",
            *("-D", "data", "-U", "tester", "--auth=scram-sha-256", "--pwfile=password"),
            *("-E", "UTF8", "--locale=C", "--no-sync"),
        )
        process = server.start()
        try:
            ready = [programs / "pg_isready", "-q", "-h", server.folder]
            eventually(
                lambda: process.poll() is not None or subprocess.run(ready, check=False).returncode == 0,
                _START_SECONDS,
                "PostgreSQL is ready",
            )
            assert process.poll() is None, (server.folder / "log").read_text()
            yield server
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def postgresql_place(postgresql: PostgresqlServer) -> str:
    """An empty database."""
    return postgresql.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty database is, or will be: of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "transcripts.db")
    made: str = request.getfixturevalue("postgresql_place")
    return made
