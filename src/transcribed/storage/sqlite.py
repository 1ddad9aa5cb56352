"""Transcripts in a SQLite file, which several servers may share.

SQLite is called in threads of this module, one for writing and a few for reading: with an asyncio driver,
each call would cost several times as much as SQLite itself.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from enum import Enum
from pathlib import Path
from typing import TypeVar

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Integer,
    Table,
    column,
    create_engine,
    event,
    insert,
    literal_column,
    table,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from transcribed.errors import ConfigurationError, StorageFailure, StorageFull, StorageUnavailable
from transcribed.storage.search import Phrase, fts5_query, words_of
from transcribed.storage.tables import NewestBelow, newest_matching

T = TypeVar("T")
_log = logging.getLogger(__name__)

_READERS = 2
_OLDEST = (3, 35)
_BEGINNING = b"SQLite format 3\0"
_CACHE_KIB = 16 * 1024
_LOCKED_SECONDS = 5.0
"""Seconds that an operation waits for another process's lock."""
_TIMEOUT = 20.0
"""Seconds for one operation, including its wait for earlier operations and for locks."""
_START_TIMEOUT = 600.0
_MOST_WAITING = 1000
_MERGED_PAGES = 32
"""Pages of the index merged in one transaction: some milliseconds, for which live transcripts wait."""
_REST = 4.0
"""The pause after each merge, as a multiple of its duration."""
_LOG_TRIES, _LOG_PAUSE = 100, 0.1
_RESERVE_BYTES = 4 * 1024 * 1024
"""The size of a reserve file for deletions on a full disk: every change is first written to the log. It
suffices to delete some hours of speech at once."""
_CLOCK_EVERY = 100_000
"""Virtual machine instructions of SQLite between two checks of the deadline: a few milliseconds."""


class _Remains(Enum):
    """Whether the index still contains deleted words, which FTS5 keeps until it merges.

    Stored as the file's `user_version`.
    """

    NONE = 0
    SOME = 1
    BEING_MERGED = 2

    @classmethod
    def _missing_(cls, value: object) -> "_Remains":  # noqa: ARG003
        return cls.SOME


class WordIndex:
    """The words of segments, in an FTS5 table."""

    _table = table("segment_words", column("rowid", Integer), column("words"))
    id: ColumnElement[int] = _table.c.rowid
    _put = insert(_table)
    _remove = insert(table("segment_words", column("segment_words"), column("rowid"), column("words")))

    def put(self, connection: Connection, texts: Sequence[tuple[int, str]]) -> None:
        """Index segments, given as pairs of id and text."""
        rows = [{"rowid": segment, "words": " ".join(words_of(text))} for segment, text in texts]
        connection.execute(self._put, rows)

    def remove(self, connection: Connection, texts: Sequence[tuple[int, str]]) -> None:
        """Remove segments. The texts must be those that were indexed; FTS5 does not store them here."""
        rows = [
            {"segment_words": "delete", "rowid": segment, "words": " ".join(words_of(text))}
            for segment, text in texts
        ]
        connection.execute(self._remove, rows)
        _set_remains(connection, _Remains.SOME)

    def matches(self, phrases: Sequence[Phrase]) -> ColumnElement[bool]:
        """An SQL condition: the segment contains all these phrases."""
        return literal_column("segment_words").op("MATCH", is_comparison=True)(fts5_query(phrases))

    def newest(self, connection: Connection, phrases: Sequence[Phrase], first: int) -> NewestBelow:
        """A function from an id to the newest segment below it, and not below `first`, with all phrases."""
        return newest_matching(connection, self.id, self.matches(phrases), first)


class SqliteDatabase:
    """A Database in a SQLite file, with threads of its own. To be closed with `aclose`."""

    words = WordIndex()

    def __init__(self, place: str) -> None:
        path = Path(place).expanduser().absolute()
        self.place = str(path)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="transcripts-write")
        self._reading = ThreadPoolExecutor(_READERS, thread_name_prefix="transcripts-read")
        url = URL.create("sqlite", database=str(path))
        settings = {"timeout": _LOCKED_SECONDS, "isolation_level": None, "check_same_thread": False}
        self._writer = create_engine(url, pool_size=1, max_overflow=0, connect_args=settings)
        self._reader = create_engine(url, pool_size=_READERS, max_overflow=0, connect_args=settings)
        _prepare(self._writer, "BEGIN IMMEDIATE", ["synchronous = NORMAL", "secure_delete = ON"])
        _prepare(self._reader, "BEGIN", ["query_only = ON"])
        self._reserve = Path(f"{path}-reserve")
        self._waiting = 0
        self._forgetting: asyncio.Task[None] | None = None

    def insert_new(self, into: Table) -> Insert:
        """An insert that does nothing when a row with the same primary key exists."""
        return sqlite.insert(into).on_conflict_do_nothing(index_elements=into.primary_key.columns)

    async def start(self, operation: Callable[[Connection], None]) -> None:
        """Create the file if it is missing, and migrate its tables by `operation`."""

        def run() -> None:
            deadline = time.monotonic() + _START_TIMEOUT
            self._check_version()
            self._make_file()
            self._use_wal(deadline)
            self._run(self._writer, operation, deadline)
            self._keep_reserve()

        await self._in_thread(self._writing, run, _START_TIMEOUT)
        if await self.read(_remains) is not _Remains.NONE:
            self.forget()

    async def read(self, operation: Callable[[Connection], T]) -> T:
        """Run a read-only operation on a consistent snapshot."""
        return await self._operate(self._reading, self._reader, operation)

    async def write(self, operation: Callable[[Connection], T]) -> T:
        """Run an operation; its transaction is committed when this returns."""
        return await self._operate(self._writing, self._writer, operation)

    async def make_room(self) -> bool:
        """Delete the reserve file. Returns whether there was one."""

        def run() -> bool:
            try:
                self._reserve.unlink()
            except OSError:
                return False
            self._empty_log()
            return True

        return await self._in_thread(self._writing, run, _TIMEOUT)

    def forget(self) -> None:
        """Start erasing deleted text from the index and the log, in small steps."""
        if self._forgetting is None or self._forgetting.done():
            self._forgetting = asyncio.create_task(self._forget())

    async def aclose(self) -> None:
        """Wait for running operations, end the threads, and close the file."""
        if self._forgetting is not None:
            self._forgetting.cancel()
            await asyncio.wait([self._forgetting])

        def close() -> None:
            for threads, engine in ((self._reading, self._reader), (self._writing, self._writer)):
                threads.shutdown(cancel_futures=True)
                engine.dispose()

        await asyncio.to_thread(close)

    async def _forget(self) -> None:
        try:
            while await self.read(_remains) is not _Remains.NONE:
                began = time.monotonic()
                await self.write(_merge)
                await asyncio.sleep(_REST * (time.monotonic() - began))
            for _ in range(_LOG_TRIES):
                if await self._in_thread(self._writing, self._empty_log, _TIMEOUT):
                    await self._in_thread(self._writing, self._keep_reserve, _TIMEOUT)
                    return
                await asyncio.sleep(_LOG_PAUSE)
        except StorageFailure as error:
            _log.warning(
                "What was deleted stays in the file until the next start or deletion. %s", error.message
            )

    def _keep_reserve(self) -> None:
        """Create the reserve file, if there is room for it."""
        if self._reserve.exists():
            return
        try:
            file = os.open(self._reserve, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file, 0, _RESERVE_BYTES)
                else:
                    os.write(file, bytes(_RESERVE_BYTES))
            finally:
                os.close(file)
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            _log.debug("There is no reserve of the disk for deletions: %s.", error.strerror)

    def _empty_log(self) -> bool:
        """Move the write-ahead log into the file. Returns False while a reader still needs the log."""
        with self._translated(), closing(self._writer.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout = 0")  # Other writes wait meanwhile.
            try:
                busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {round(1000 * _LOCKED_SECONDS)}")
            return not busy

    async def _operate(
        self, threads: ThreadPoolExecutor, engine: Engine, operation: Callable[[Connection], T]
    ) -> T:
        if self._waiting >= _MOST_WAITING:
            raise StorageUnavailable(
                f"The transcripts in {self.place} cannot be kept as fast as they come. Retry.",
                "The transcripts cannot be kept as fast as they come. Try again in a moment.",
            )
        deadline = time.monotonic() + _TIMEOUT
        self._waiting += 1
        try:
            return await self._in_thread(threads, lambda: self._run(engine, operation, deadline), _TIMEOUT)
        finally:
            self._waiting -= 1

    async def _in_thread(self, threads: ThreadPoolExecutor, call: Callable[[], T], seconds: float) -> T:
        try:
            running = threads.submit(call)
        except RuntimeError as error:
            raise StorageFailure(f"The transcripts in {self.place} are closed.") from error
        try:
            # The call has its own deadline, with a more precise error: it should expire first.
            async with asyncio.timeout(seconds + 1):
                return await asyncio.wrap_future(running)
        except TimeoutError as error:
            raise self._too_slow(seconds) from error

    def _run(self, engine: Engine, operation: Callable[[Connection], T], deadline: float) -> T:
        with self._translated(), engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - for the type checker
            raw.set_progress_handler(lambda: time.monotonic() > deadline, _CLOCK_EVERY)
            with connection.begin():
                return operation(connection)

    def _check_version(self) -> None:
        if sqlite3.sqlite_version_info < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise ConfigurationError(
                f"SQLite {sqlite3.sqlite_version} is too old. Install {oldest} or newer for this Python"
            )

    def _make_file(self) -> None:
        """Create the file, readable by its owner alone, and check an existing one."""
        path = Path(self.place)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "rb") as file:  # noqa: PTH123
                beginning = file.read(len(_BEGINNING))
        except OSError as error:
            raise ConfigurationError(
                f"{error.strerror}. Name a file that can be written, in a folder that can be written"
            ) from error
        if beginning not in {b"", _BEGINNING}:  # SQLite itself would treat a truncated file as empty.
            raise self._damaged()

    def _use_wal(self, deadline: float) -> None:
        """Switch to write-ahead logging, retrying while locked: here SQLite ignores its busy time-out."""
        while True:
            try:
                with self._translated(), closing(self._writer.raw_connection()) as connection:
                    cursor = connection.cursor()
                    cursor.execute("PRAGMA journal_mode = WAL")
                    mode = cursor.fetchone()
            except _Locked:
                if time.monotonic() > min(deadline, deadline - _START_TIMEOUT + _LOCKED_SECONDS):
                    raise
                time.sleep(0.01)
                continue
            if mode != ("wal",):
                raise ConfigurationError(
                    "SQLite cannot keep a write-ahead log there; name a file on a local disk"
                )
            return

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate SQLite's errors."""
        try:
            yield
        except DBAPIError as error:
            raise self._explained(error.orig) from error
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: object) -> StorageFailure:
        name = getattr(error, "sqlite_errorname", "")
        where = f"The transcripts in {self.place}"
        if name == "SQLITE_FULL":
            return StorageFull(
                f"There is no room left for {where[:1].lower()}{where[1:]}. Make room, then retry.",
                "There is no room left for transcripts. Make room, then retry.",
            )
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return _Locked(
                f"{where} are locked by another process. Wait until it is done or end it, then retry.",
                "The transcripts are locked by another process. Wait until it is done, then retry.",
            )
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return self._damaged()
        if name.startswith("SQLITE_IOERR"):
            return StorageFailure(
                f"{where} failed: {error}. See that the disk has room and works, then retry."
            )
        if name == "SQLITE_INTERRUPT":
            return self._too_slow(_TIMEOUT)
        return StorageFailure(f"{where} failed: {error}.")

    def _damaged(self) -> StorageFailure:
        return StorageFailure(
            f"The transcripts in {self.place} cannot be read: the file is damaged, or is no database. Put "
            "a copy of it back, or move it away and begin with an empty one."
        )

    def _too_slow(self, seconds: float) -> StorageFailure:
        return StorageUnavailable(
            f"The transcripts in {self.place} did not answer within {seconds:.0f} s. Retry.",
            f"The transcripts did not answer within {seconds:.0f} s. Retry.",
        )


def _remains(connection: Connection) -> _Remains:
    return _Remains(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def _set_remains(connection: Connection, remains: _Remains) -> None:
    connection.exec_driver_sql(f"PRAGMA user_version = {remains.value}")


def _merge(connection: Connection) -> None:
    """Do one step of merging the index into a single segment, which contains no deleted words."""
    remains = _remains(connection)
    if remains is _Remains.SOME:
        _set_remains(connection, _Remains.BEING_MERGED)
    # FTS5's documentation of 'merge': the first call is negative, the last one changes fewer than two rows.
    pages = -_MERGED_PAGES if remains is _Remains.SOME else _MERGED_PAGES
    count = "SELECT total_changes()"
    before = connection.exec_driver_sql(count).scalar_one()
    connection.exec_driver_sql(
        "INSERT INTO segment_words (segment_words, rank) VALUES ('merge', ?)", (pages,)
    )
    if connection.exec_driver_sql(count).scalar_one() - before < 2:  # noqa: PLR2004
        _set_remains(connection, _Remains.NONE)


class _Locked(StorageUnavailable):
    """Another process has held a lock for longer than _LOCKED_SECONDS."""


def _prepare(engine: Engine, begin: str, pragmas: Iterable[str]) -> None:
    """Set the PRAGMAs of the engine's connections and the statement that begins its transactions."""

    def connected(raw: sqlite3.Connection, _: object) -> None:
        for pragma in (*pragmas, f"cache_size = -{_CACHE_KIB}"):
            raw.execute(f"PRAGMA {pragma}").close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
