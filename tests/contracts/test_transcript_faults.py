"""What goes wrong with stores of transcripts, and what is said and left then."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from transcribing import persisted

from transcribed.errors import (
    ConfigurationError,
    NotFound,
    StorageFailure,
    StorageFull,
    StorageUnavailable,
    TranscribedError,
)
from transcribed.http.errors import status_of
from transcribed.principal import NOBODY
from transcribed.service import transcripts as transcripts_module
from transcribed.service.transcripts import Transcripts
from transcribed.storage import postgresql as postgresql_module
from transcribed.storage import sqlite as sqlite_module
from transcribed.storage.migrations import run as migrations
from transcribed.storage.opening import open_transcripts
from transcribed.storage.postgresql import PostgresqlDatabase
from transcribed.storage.sqlite import SqliteDatabase
from transcribed.storage.tables import key_of, metadata, segment_id
from transcribed.storage.transcripts import OwnersTranscripts, Query, TranscriptInfo, TranscriptSource
from transcribed.transcript import Done, LiveEvent, Notice, Segment

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
UNPRIVILEGED = 65534
"""The number of a user who may do nothing."""
PATIENCE = 60


def said(session: str, number: int, text: str = "said") -> Segment:
    return Segment(session, number, number * 1.5, number * 1.5 + 1, text, final=True, language="en-US")


async def keep(store: OwnersTranscripts, id_: str, *texts: str) -> None:
    await store.add(TranscriptInfo(id_, TranscriptSource.LIVE, "moonshine", "en-US", START))
    for number, spoken in enumerate(texts):
        await store.append(said(id_, number, spoken))


@asynccontextmanager
async def opened(place: str) -> AsyncIterator[OwnersTranscripts]:
    """The transcripts that belong to nobody."""
    store = await open_transcripts(place)
    try:
        yield store.of(NOBODY)
    finally:
        await store.aclose()


async def refused(place: str) -> str:
    """Why transcripts cannot be kept there."""
    with pytest.raises(ConfigurationError) as caught:
        await open_transcripts(place)
    message: str = caught.value.message
    return message


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "transcripts.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> str:
    made: str = request.getfixturevalue("file" if request.param == "sqlite" else "postgresql_place")
    return made


# --- Programs that are killed


_PRELUDE = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from transcribed.storage.opening import open_transcripts
from transcribed.storage.transcripts import TranscriptSource, TranscriptInfo
from transcribed.transcript import Segment

place, name = sys.argv[1:3]
started = datetime(2026, 1, 31, 12, tzinfo=UTC)
info = TranscriptInfo(name, TranscriptSource.LIVE, "moonshine", "en-US", started)

def said(number, text):
    return Segment(name, number, number * 1.5, number * 1.5 + 1, text, final=True, language="en-US")

async def main():
    store = await open_transcripts(place)
    await store.of("").add(info)
    for number in range(int(sys.argv[3])):
        await store.of("").append(said(number, f"{name} said {number}"))
        print(number, flush=True)
    await store.aclose()
"""


@contextmanager
def program(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _PRELUDE + textwrap.dedent(code), *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> str:
    """The output of a program that must end well."""
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return output


async def test_what_was_kept_survives_a_killed_process(place: str) -> None:
    with program("asyncio.run(main())", place, "one", 1_000_000) as process:
        assert process.stdout is not None
        for _ in range(200):
            promised = int(process.stdout.readline())
        process.kill()
        rest = process.stdout.read().split()
    promised = int(rest[-1]) if rest else promised
    async with opened(place) as store:
        kept = (await store.get("one")).segments
        assert [segment.number for segment in kept[: promised + 1]] == list(range(promised + 1))
        page = await store.page(Query(words=f'"one said {promised}"'))
        assert [found.info.id for found in page.found] == ["one"]
        await store.append(said("one", 1_000_000))


async def test_two_processes_write_at_once(place: str) -> None:
    names = ["one", "two", "three"]
    with (
        program("asyncio.run(main())", place, names[0], 150) as one,
        program("asyncio.run(main())", place, names[1], 150) as two,
        program("asyncio.run(main())", place, names[2], 150) as three,
    ):
        for process in (one, two, three):
            ended(process)
    async with opened(place) as store:
        for name in names:
            kept = (await store.get(name)).segments
            assert [segment.text for segment in kept] == [f"{name} said {n}" for n in range(150)]
        assert len((await store.page(Query(words='"said 149"'))).found) == 3


_KILLED_IN_MIGRATION = """
    import alembic.command, sqlalchemy.ext.asyncio, transcribed.storage.sql  # Once, not in each process.
    from sqlalchemy import Engine, event

    @event.listens_for(Engine, "after_cursor_execute")
    def count(connection, cursor, statement, *_):
        global left
        if statement.strip().startswith(("CREATE", "ALTER", "INSERT INTO transcribed_version")):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    for line in sys.stdin:
        left = int(line)
        migrating = os.fork()
        if migrating == 0:
            asyncio.run(main())
            break
        _, status = os.waitpid(migrating, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
"""


async def test_an_interrupted_migration_leaves_the_old_state(place: str) -> None:
    interrupted = 0
    with program(_KILLED_IN_MIGRATION, place, "one", 0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for statements in range(100):
            process.stdin.write(f"{statements}\n")
            process.stdin.flush()
            if (status := int(process.stdout.readline())) == 0:
                break
            assert status == -signal.SIGKILL
            interrupted += 1
            assert await tables(place) == set()
        ended(process)
    assert interrupted >= 6, "the test must interrupt between all statements"
    async with opened(place) as store:
        await store.append(said("one", 0))


async def tables(place: str) -> set[str]:
    names = "SELECT name FROM sqlite_master"
    if not place.startswith("postgresql"):
        with closing(sqlite3.connect(place)) as database:
            return {name for (name,) in database.execute(names)}
    database_ = PostgresqlDatabase(place)
    query = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = await database_.read(lambda connection: set(connection.execute(query).scalars()))
    await database_.aclose()
    return found


async def test_several_servers_start_at_once(place: str) -> None:
    stores = await asyncio.gather(*(open_transcripts(place) for _ in range(6)))
    await keep(stores[0].of("anna"), "one", "said")
    for store in stores:
        assert len((await store.of("anna").get("one")).segments) == 1
        await store.aclose()


async def test_several_processes_start_at_once(place: str) -> None:
    with (
        program("asyncio.run(main())", place, "one", 1) as one,
        program("asyncio.run(main())", place, "two", 1) as two,
        program("asyncio.run(main())", place, "three", 1) as three,
    ):
        for process in (one, two, three):
            assert ended(process) == "0\n"


# --- Tables


async def test_migrations_make_the_tables_that_the_store_uses(place: str) -> None:
    async with opened(place):
        pass

    def differences(connection: Connection) -> Sequence[object]:
        def ours(_: object, name: str | None, kind: str, *__: object) -> bool:
            return kind != "table" or name in metadata.tables

        options = {"include_object": ours, "version_table": migrations.VERSION_TABLE}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    database = PostgresqlDatabase(place) if "://" in place else SqliteDatabase(place)
    assert await database.read(differences) == []
    await database.aclose()


async def test_what_an_older_program_kept_is_kept(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old = PostgresqlDatabase(place) if "://" in place else SqliteDatabase(place)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "NEWEST", "0001")
        await old.start(migrations.migrate)
    values = {"key": key_of(START), "id": segment_id(key_of(START)), "started": 1000 * key_of(START)}
    for command in (
        "INSERT INTO transcripts VALUES (:key, 'one', 'live', 'any', 'en-US', :started, NULL, NULL, 1)",
        "INSERT INTO segments VALUES (:id, 0, 1, 'en-US', 'said', NULL, '{}')",
    ):
        statement = text(command)
        await old.write(lambda connection, statement=statement: connection.execute(statement, values))
    await old.aclose()
    async with opened(place) as store:
        await store.append(said("one", 1))
        assert [segment.segment for segment in (await store.get("one")).segments] == [
            said("one", 0),
            said("one", 1),
        ]


async def test_what_was_kept_before_there_were_owners_belongs_to_nobody(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = PostgresqlDatabase(place) if "://" in place else SqliteDatabase(place)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "NEWEST", "0003")
        await old.start(migrations.migrate)
    commands = (
        "INSERT INTO transcripts VALUES (:key, :name, 'file', 'any', 'en-US', :began, :file, :end, 1.5)",
        "INSERT INTO segments VALUES (:id, 0, 1, 'en-US', 'said', 'spoken', '{}', NULL, NULL)",
    )
    names = [f"transcript {number}" for number in range(20)]

    def fill(connection: Connection) -> None:
        for number, name in enumerate(names):
            key = key_of(START) + number
            values = {"key": key, "id": segment_id(key), "name": name, "began": 1000 * key}
            values |= {
                "file": f"{name}.wav" if number % 2 else None,
                "end": 1000 * key if number % 3 else None,
            }
            for command in commands:
                connection.execute(text(command), values)
            old.words.put(connection, [(segment_id(key), "spoken")])

    await old.write(fill)
    await old.aclose()
    for _ in range(2):
        async with opened(place) as store:
            for query in (Query(), Query(words="spoken"), Query(source=TranscriptSource.FILE)):
                page = await store.page(query)
                assert [entry.info.id for entry in page.found] == names[::-1]
                assert {entry.owner for entry in page.found} == {NOBODY}
            (entry,) = (await store.page(Query(recording="transcript 5.wav"))).found
            began = START + timedelta(milliseconds=5)
            assert entry.info == TranscriptInfo(
                "transcript 5", TranscriptSource.FILE, "any", "en-US", began, "transcript 5.wav", began, 1.5
            )
            assert (await store.get("transcript 3")).info.ended is None
            (segment,) = (await store.get("transcript 3")).segments
            assert (segment.segment.text, segment.text) == ("said", "spoken")
    whole = await open_transcripts(place)
    annas = whole.of("anna")
    assert (await annas.page(Query())).found == ()
    await keep(annas, "transcript 3", "hers")
    await whole.of(NOBODY).delete("transcript 3")
    assert len((await annas.get("transcript 3")).segments) == 1
    await whole.aclose()


def test_the_newest_migration_is_the_one_that_is_asked_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    steps = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert steps[0] == migrations.NEWEST
    assert steps == sorted(steps, reverse=True), "whether a step is newer is told by its name"


async def test_tables_of_a_newer_program_are_left_alone(place: str) -> None:
    async with opened(place) as store:
        await keep(store, "one", "said")

    async def set_version(version: str) -> None:
        command = text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '{version}'")  # noqa: S608
        database = PostgresqlDatabase(place) if "://" in place else SqliteDatabase(place)
        await database.write(lambda connection: connection.execute(command))
        await database.aclose()

    await set_version("9999")
    assert "newer version of this program (9999" in await refused(place)
    await set_version(migrations.NEWEST)
    async with opened(place) as store:
        assert len((await store.get("one")).segments) == 1


# --- SQLite's file


@pytest.mark.parametrize(
    "content", [b"Not a database. " * 500, b"x", b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_told_and_left(file: str, content: bytes) -> None:
    Path(file).write_bytes(content)
    message = asyncio.run(refused(file))
    assert file in message
    assert "move it away" in message
    assert Path(file).read_bytes() == content


async def test_an_empty_file_is_an_empty_store(tmp_path: Path) -> None:
    file = str(tmp_path / "transcripts.db")
    (tmp_path / "transcripts.db").touch()
    async with opened(file) as store:
        await keep(store, "one", "said")


async def test_a_foreign_database_is_told_and_left(file: str) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE transcripts (x)")
    assert "Name another place" in await refused(file)
    assert await tables(file) == {"transcripts"}


def damage(file: Path, kept: float, garbage: bytes) -> None:
    content = file.read_bytes()
    left = content[: int(len(content) * kept)]
    file.write_bytes(left + garbage * (len(content) - len(left)))


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("garbage", [b"", b"\xa5"])
async def test_a_damaged_file_is_told(file: str, kept: float, garbage: bytes) -> None:
    async with opened(file) as store:
        for number in range(40):
            await keep(store, f"number {number}", *["many words are said here"] * 20)
    damage(Path(file), kept, garbage)
    errors: list[TranscribedError] = []
    try:
        async with opened(file) as store:
            for call in (
                *(store.get(f"number {number}") for number in range(40)),
                store.page(Query(words="words")),
                store.delete("number 3"),
                keep(store, "new", "words"),
            ):
                try:
                    await call
                except StorageFailure as error:
                    errors.append(error)
                except NotFound:
                    pass
    except ConfigurationError as error:
        errors.append(error)
    assert errors
    for error in errors:
        assert "the file is damaged" in error.message
        assert file in error.message


@pytest.mark.parametrize("where", ["/dev/null/transcripts.db", "/proc/transcripts.db", "{folder}"])
async def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, where: str) -> None:
    assert "Name a file that can be written" in await refused(where.format(folder=tmp_path))


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user who is not root: root may write everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(UNPRIVILEGED)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_place_without_permission_is_told(tmp_path: Path, what: str) -> None:
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "transcripts.db"
    async with opened(str(file)):
        pass
    if what == "file":
        folder.chmod(0o777)
        file.chmod(0o444)
    else:
        file.unlink()
        folder.chmod(0o555)
    with unprivileged():
        message = await refused(str(file))
    assert "Name a file that can be written" in message
    assert "ermission" in message


async def test_the_file_is_for_its_owner_alone(file: str) -> None:
    async with opened(file) as store:
        await keep(store, "one", "said")
        for path in Path(file).parent.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("place", ["mysql://host/base", "http://host", "sqlite:///file.db"])
async def test_an_address_of_another_kind_is_told(place: str) -> None:
    assert "postgresql://USER:PASSWORD@HOST" in await refused(place)


@contextmanager
def locked(file: str) -> Iterator[Callable[[], None]]:
    """Another process has the lock for writing, until it is told to give it back."""
    code = """
        import sqlite3
        connection = sqlite3.connect(place, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        print("locked", flush=True)
        sys.stdin.readline()
        connection.execute("ROLLBACK")
        print("free", flush=True)
        sys.stdin.readline()
    """
    with program(code, file, "") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"

        def unlock() -> None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "free\n"

        yield unlock


async def test_a_lock_of_another_process_is_waited_for(file: str) -> None:
    async with opened(file) as store:
        await keep(store, "one")
        with locked(file) as unlock:
            appending = asyncio.create_task(store.append(said("one", 0)))
            done, _ = await asyncio.wait([appending], timeout=0.3)
            assert not done
            assert (await store.get("one")).segments == ()
            unlock()
            async with asyncio.timeout(PATIENCE):
                await appending
        assert len((await store.get("one")).segments) == 1


async def test_a_lock_that_stays_is_told(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "_LOCKED_SECONDS", 0.5)
    async with opened(file) as store:
        await keep(store, "one")
        with locked(file) as unlock:
            began = time.monotonic()
            with pytest.raises(StorageFailure, match=r"locked by another process\. Wait"):
                await store.append(said("one", 0))
            assert 0.4 < time.monotonic() - began < PATIENCE
            assert (await store.get("one")).segments == ()
            unlock()
        await store.append(said("one", 0))
    with locked(file):
        assert "locked by another process" in await refused(file)


async def test_a_full_disk_is_told_and_passes(file: str) -> None:
    """SQLite's own bound on the file takes the disk's place, with the same error."""
    async with opened(file) as store:
        await keep(store, "one", "said")
        await bound(store, "PRAGMA max_page_count = 1")
        with pytest.raises(StorageFull, match="no room left"):
            await keep(store, "two", *["word " * 1000] * 1000)
        kept = len((await store.get("two")).segments)
        assert kept < 1000
        await bound(store, "PRAGMA max_page_count = 1000000")
        await store.append(said("two", 1000))
        assert len((await store.get("two")).segments) == kept + 1


async def bound(store: Any, pragma: str) -> None:
    def run(connection: Connection) -> None:
        connection.exec_driver_sql(pragma)

    await store._database.write(run)


_FULL = """
    import resource
    from transcribed.errors import StorageFailure

    async def fill():
        whole = await open_transcripts(place)
        store = whole.of("")
        await store.add(info)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        number = 0
        try:
            while True:
                await store.append(said(number, "word " * 2000))
                number += 1
        except StorageFailure as error:
            assert "See that the disk has room" in error.message, error.message
            print(number)
        assert len((await store.get(name)).segments) == number
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await store.append(said(number, "word"))
        assert len((await store.get(name)).segments) == number + 1
        await whole.aclose()

    asyncio.run(fill())
"""


async def test_a_file_that_may_not_grow_is_told_and_passes(file: str) -> None:
    """The system's own bound on a file's size."""
    with program(_FULL, file, "one") as process:
        kept = int(ended(process))
    assert kept > 0
    async with opened(file) as store:
        assert len((await store.get("one")).segments) == kept + 1


async def test_what_takes_too_long_is_given_up(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "_TIMEOUT", 0.3)
    endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    async with opened(file) as store:
        database = store._database  # type: ignore[attr-defined]
        for run in (database.read, database.write):
            for _ in range(3):
                with pytest.raises(StorageFailure, match="did not answer within"):
                    await run(lambda connection: connection.exec_driver_sql(endless).scalar())
        monkeypatch.setattr(sqlite_module, "_TIMEOUT", 20.0)
        await keep(store, "one", "said")


async def test_more_than_can_be_written_is_told(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "_MOST_WAITING", 20)
    async with opened(file) as store:
        await keep(store, "one")
        calls = [store.append(said("one", number)) for number in range(30)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [str(result) for result in results].count("None") == 20
        assert sum(isinstance(result, StorageFailure) for result in results) == 10
        assert len((await store.get("one")).segments) == 20


# --- What was deleted


SECRETS = ["Aardvark", "Quokka", "Xylophone", "Zymurgy"]


def traces(file: str) -> set[str]:
    """The secrets that stand in any of the store's files."""
    contents = [path.read_bytes().lower() for path in Path(file).parent.iterdir()]
    return {secret for secret in SECRETS for content in contents if secret.lower().encode() in content}


async def until_no_trace(file: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while traces(file):  # noqa: ASYNC110 - files tell nobody that they change
            await asyncio.sleep(0.01)


async def test_nothing_of_what_was_deleted_stays_in_the_files(file: str) -> None:
    async with opened(file) as store:
        await keep(store, "before", *["some other words"] * 30)
        await keep(store, "one", *(f"{secret} and more" for secret in SECRETS))
        await keep(store, "after", *["some other words"] * 30)
        assert traces(file) == set(SECRETS)
        await store.correct("one", 0, "Beaver")
        await store.delete("one")
        await until_no_trace(file)
        await keep(store, "one", "Aardvark, old")
    whole = await open_transcripts(file)
    assert await whole.delete_before(datetime.max.replace(tzinfo=UTC)) == 3
    await until_no_trace(file)
    await whole.aclose()


async def test_what_a_killed_process_deleted_leaves_the_files_too(file: str) -> None:
    async with opened(file) as store:
        await keep(store, "before", *["some other words"] * 30)
        await keep(store, "one", *(f"{secret} and more" for secret in SECRETS))
    killed = """
        async def delete():
            store = await open_transcripts(place)
            store._database.forget = lambda: None
            await store.of("").delete(name)
            os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(delete())
    """
    with program(killed, file, "one") as process:
        process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert traces(file)
    async with opened(file) as store:
        await until_no_trace(file)
        assert len((await store.page(Query(words="other"))).found) == 1


# --- PostgreSQL


async def test_an_address_that_cannot_be_read_is_told() -> None:
    for address in ("postgresql://host:port/base", "postgresql://[x"):
        assert "postgresql://USER:PASSWORD@HOST" in await refused(address)


SECRET = "s3cret"  # noqa: S105


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:s3cret@127.0.0.1:1/base",
        "postgresql://127.0.0.1:1/base?user=user&password=s3cret",
        "postgresql://user:s3cret@127.0.0.1:1/base?sslmode=nonsense",
        "postgresql://user:s3cret@host:port/base",
        "postgresql://user:s3cret@[x",
        "postgresql://user:pass@s3cret@127.0.0.1:1/base",
        "postgresql://user:s3cret/more@127.0.0.1:1/base",
        "postgresql://user:s3cret#more@127.0.0.1:1/base",
        "postgresql:/user:s3cret@host/base",
        "postgres:user:s3cret@host",
        "postgresql+asyncpg://user:s3cret@host/base",
        " Postgresql://user:s3cret@host/base",
        "mysql://user:s3cret@host/base",
    ],
)
async def test_a_password_is_never_told(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level("DEBUG")
    assert SECRET not in await refused(address)
    assert SECRET not in caplog.text
    assert not any(tmp_path.iterdir()), "it was not taken for a file"  # noqa: ASYNC240


async def test_the_password_need_not_stand_in_the_address(
    postgresql: Any, postgresql_place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = postgresql_place.replace("of%20the%20tests", "").replace(":@", "@")
    assert "password" in (await refused(address)).lower()
    monkeypatch.setenv("PGPASSWORD", "of the tests")
    async with opened(address) as store:
        await keep(store, "one", "said")
        assert "tests" not in store._database.place  # type: ignore[attr-defined]
    monkeypatch.delenv("PGPASSWORD")
    file = tmp_path / "pgpass"
    file.write_text("*:*:*:tester:of the tests\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    async with opened(address) as store:
        assert await store.has("one")


async def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    for address in (
        "postgresql://user:secret@127.0.0.1:1/base",
        f"postgresql://user:secret@/base?host={tmp_path}",
    ):
        message = await refused(address)
        assert "See that PostgreSQL runs there" in message
        assert "secret" not in message


async def test_a_wrong_password_is_told(postgresql: Any) -> None:
    message = await refused(postgresql.address("postgres", password="wrong"))  # noqa: S106
    assert "password authentication failed" in message
    assert "Correct user and password" in message
    assert "wrong" not in message


async def test_a_database_that_is_not_there_is_told(postgresql: Any) -> None:
    assert "createdb" in await refused(postgresql.address("nowhere"))


async def test_a_database_of_another_encoding_is_told(postgresql: Any) -> None:
    place = postgresql.new_database("-E", "LATIN1", "-T", "template0")
    assert "ENCODING 'UTF8'" in await refused(place)


async def test_a_user_who_may_not_make_tables_is_told(postgresql: Any) -> None:
    place = postgresql.new_database()
    database = place.split("@/")[1].split("?")[0]
    postgresql.sql(database, "CREATE ROLE guest LOGIN PASSWORD 'guest'")
    message = await refused(place.replace("tester:of%20the%20tests", "guest:guest"))
    assert "Let the user CREATE in the schema" in message
    postgresql.sql(database, "DROP ROLE guest")


async def test_a_table_that_somebody_locks_is_told(
    postgresql_place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_module, "_LOCKED_SECONDS", 0.3)
    async with opened(postgresql_place) as store, opened(postgresql_place) as other:
        await keep(store, "one")
        held, release = asyncio.Event(), asyncio.Event()
        engine = other._database._writer  # type: ignore[attr-defined]

        async def lock() -> None:
            async with engine.begin() as connection:
                await connection.execute(text("LOCK TABLE segments"))
                held.set()
                await release.wait()

        locking = asyncio.create_task(lock())
        async with asyncio.timeout(PATIENCE):
            await held.wait()
        with pytest.raises(StorageFailure, match="did not answer in time"):
            await store.append(said("one", 0))
        release.set()
        await locking
        await store.append(said("one", 0))


async def test_a_query_that_takes_too_long_is_given_up(
    postgresql_place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(postgresql_place) as store:
        database = store._database  # type: ignore[attr-defined]
        with pytest.raises(StorageFailure, match="did not answer in time"):
            await database._run(
                database._reader, lambda connection: connection.execute(text("SELECT pg_sleep(60)")), 0.3
            )
        await keep(store, "one", "said")


@contextmanager
def frozen(postgresql: Any) -> Iterator[None]:
    """PostgreSQL stands still: it takes connections, as the kernel does, and answers nothing."""
    number = (postgresql.folder / "data" / "postmaster.pid").read_text().split()[0]
    postmaster = psutil.Process(int(number))
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


async def test_a_frozen_server_is_given_up_in_time_and_used_again(
    postgresql: Any, postgresql_place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_module, "_TIMEOUT", 0.5)
    monkeypatch.setattr(postgresql_module, "_CONNECT_SECONDS", 0.5)
    async with opened(postgresql_place) as store:
        await keep(store, "one", "said")
        with frozen(postgresql):
            begun = time.monotonic()
            calls = [store.page(Query()) for _ in range(12)]
            calls += [store.append(said("one", 1)), store.has("one")]  # type: ignore[list-item]
            for error in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(error, StorageUnavailable), error
                assert status_of(error) == 503
                assert "did not answer in time" in error.message
            assert time.monotonic() - begun < 8, "cutting a connection that does not answer takes 2 s"
        monkeypatch.undo()
        await store.append(said("one", 2))
        assert 2 in [segment.number for segment in (await store.get("one")).segments]


async def test_a_frozen_server_does_not_hold_up_captions_nor_the_end(
    postgresql: Any, postgresql_place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts_module, "PATIENCE", 0.3)
    monkeypatch.setattr(transcripts_module, "STOP_SECONDS", 0.5)
    store = await open_transcripts(postgresql_place)
    await asyncio.gather(*(store.page(Query()) for _ in range(8)))

    async def events() -> AsyncGenerator[LiveEvent, None]:
        for number in range(3):
            yield said("one", number)
        yield Done("one", 5.0, 1.0)

    with frozen(postgresql):
        begun = time.monotonic()
        async with Transcripts(store) as kept:
            heard = [event async for event in persisted(kept, events(), "moonshine")]
            assert time.monotonic() - begun < 3
        assert time.monotonic() - begun < 10
    notices = [event for event in heard if isinstance(event, Notice)]
    assert [notice.code for notice in notices] == ["ServiceUnavailableException"]
    assert [event.number for event in heard if isinstance(event, Segment)] == [0, 1, 2]


async def test_connections_that_were_cut_are_made_anew(postgresql: Any, postgresql_place: str) -> None:
    async with opened(postgresql_place) as store:
        await keep(store, "one")
        await asyncio.gather(*(store.append(said("one", number)) for number in range(20)))
        cut = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'transcribed'"
        )
        assert "t" in postgresql.sql("postgres", cut)
        await store.append(said("one", 20))
        assert len((await store.get("one")).segments) == 21


async def test_without_asyncpg_it_is_said_what_to_install() -> None:
    code = """
        sys.modules["asyncpg"] = None
        from transcribed.errors import ConfigurationError
        try:
            asyncio.run(main())
        except ConfigurationError as error:
            print(error.message)
    """
    with program(code, "postgresql://host/base", "") as process:
        assert "pip install 'transcribed[postgresql]'" in ended(process)
