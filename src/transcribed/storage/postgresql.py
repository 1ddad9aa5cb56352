"""Transcripts in a PostgreSQL database, which several servers may share."""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar
from urllib.parse import parse_qs, unquote, urlsplit
from weakref import WeakSet

import asyncpg
from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Insert,
    Table,
    bindparam,
    cast,
    column,
    delete,
    insert,
    make_url,
    select,
    table,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from transcribed.errors import ConfigurationError, StorageFailure, StorageFull, StorageUnavailable
from transcribed.storage.search import Phrase, tsquery, tsvector
from transcribed.storage.tables import NewestBelow, newest_matching

T = TypeVar("T")

_CONNECTIONS = 8
_CONNECT_SECONDS = 5.0
_LOCKED_SECONDS = 5.0
_TIMEOUT = 20.0
"""Seconds for one operation, including its wait for a connection and for locks."""
_CLOSE_SECONDS = 2.0
_START_TIMEOUT = 600.0
_FEW = 2000
"""Up to so many hits are fetched at once; more are looked up one by one."""
_START_LOCK = 0x7472616E73637269
"""The advisory lock held during migrations; an arbitrary number ("transcri" in ASCII)."""
_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"

_UNREADABLE = (
    f"The address of the transcripts cannot be read. Write {_FORM}, and of the password's characters "
    "%40 for @, %3A for :, %2F for /, %23 for #, %25 for %."
)

_Meaning = tuple[type[StorageFailure], str]
_SLOW: _Meaning = (StorageUnavailable, "did not answer in time. See what holds them up, then retry.")
_AWAY: _Meaning = (
    StorageUnavailable,
    "cannot be reached: {error}. See that PostgreSQL runs there, then retry.",
)
_REFUSED: _Meaning = (
    StorageUnavailable,
    "cannot be opened: {error}. Correct user and password in the address.",
)
_MEANINGS: Mapping[str, _Meaning] = {
    "08": _AWAY,
    "28": _REFUSED,
    "3D000": (StorageFailure, "cannot be opened: {error}. Make the database: createdb."),
    "42501": (StorageFailure, "cannot be kept: {error}. Let the user CREATE in the schema, and use it."),
    "53100": (StorageFull, "have no room left. Make room, then retry."),
    "53300": (StorageUnavailable, "cannot be reached: {error}. Let PostgreSQL have more, then retry."),
    "55P03": _SLOW,
    "57014": _SLOW,
    "57P": _AWAY,
}
"""The error class and message for prefixes of SQLSTATE; the message continues "The transcripts in …"."""


class WordIndex:
    """The words of segments, as tsvector values."""

    _table = table("segment_words", column("id", BigInteger), column("words", postgresql.TSVECTOR))
    id: ColumnElement[int] = _table.c.id
    _put = insert(_table).values(
        id=bindparam("segment"), words=cast(bindparam("said"), postgresql.TSVECTOR)
    )
    _remove = delete(_table).where(_table.c.id == bindparam("segment"))

    def put(self, connection: Connection, texts: Sequence[tuple[int, str]]) -> None:
        """Index segments, given as pairs of id and text."""
        rows = [{"segment": segment, "said": tsvector(said)} for segment, said in texts]
        connection.execute(self._put, rows)

    def remove(self, connection: Connection, texts: Sequence[tuple[int, str]]) -> None:
        """Remove segments."""
        connection.execute(self._remove, [{"segment": segment} for segment, _ in texts])

    def matches(self, phrases: Sequence[Phrase]) -> ColumnElement[bool]:
        """An SQL condition: the segment contains all these phrases."""
        return self._table.c.words.bool_op("@@")(cast(tsquery(phrases), postgresql.TSQUERY))

    def newest(self, connection: Connection, phrases: Sequence[Phrase], first: int) -> NewestBelow:
        """A function from an id to the newest segment below it, and not below `first`, with all phrases.

        The GIN index has no order, so it is asked for all hits. If there are many, the next one is never
        far, and segments are scanned from the newest on. PostgreSQL's own planner would always scan when it
        is asked for a single hit, even for rare words.
        """
        matches = self.matches(phrases)
        for setting in ("enable_seqscan", "enable_indexscan"):
            connection.execute(text(f"SET LOCAL {setting} = off"))
        hits = sorted(connection.execute(select(self.id).where(matches).limit(_FEW)).scalars())
        for setting in ("enable_seqscan", "enable_indexscan"):
            connection.execute(text(f"SET LOCAL {setting} = on"))
        if len(hits) < _FEW:
            hits = hits[bisect_left(hits, first) :]
            return lambda end: hits[place - 1] if (place := bisect_left(hits, end)) else None
        return newest_matching(connection, self.id, matches, first)


class PostgresqlDatabase:
    """A Database in PostgreSQL, over asyncpg. To be closed with `aclose`."""

    words = WordIndex()

    def __init__(self, address: str) -> None:
        """`address` is a libpq URL, with its parameters (host, sslmode) and variables (PGPASSWORD)."""
        self.place = _shown(address)
        self._secrets = _secrets(address)
        self._closed = False
        self._connections: WeakSet[asyncpg.Connection] = WeakSet()

        async def connect() -> asyncpg.Connection:
            settings = {
                "application_name": "transcribed",
                "statement_timeout": _milliseconds(_TIMEOUT),
                "lock_timeout": _milliseconds(_LOCKED_SECONDS),
                "idle_in_transaction_session_timeout": _milliseconds(_TIMEOUT),
            }
            try:
                connection = await asyncpg.connect(
                    address, timeout=_CONNECT_SECONDS, server_settings=settings
                )
            except ValueError as error:
                raise ConfigurationError(f"{self._plain(error)}. Write {_FORM}") from error
            self._connections.add(connection)
            return connection

        self._writer = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_TIMEOUT,
            pool_pre_ping=True,
        )
        self._reader = self._writer.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )

    def insert_new(self, into: Table) -> Insert:
        """An insert that does nothing when a row with the same primary key exists."""
        return postgresql.insert(into).on_conflict_do_nothing(index_elements=into.primary_key.columns)

    async def start(self, operation: Callable[[Connection], None]) -> None:
        """Migrate the tables by `operation`, under an advisory lock."""

        def run(connection: Connection) -> None:
            encoding = connection.scalar(text("SHOW server_encoding"))
            if encoding != "UTF8":
                raise ConfigurationError(
                    f"the database's encoding is {encoding}; make one with ENCODING 'UTF8'"
                )
            for setting in ("statement_timeout", "lock_timeout"):
                connection.execute(text(f"SET LOCAL {setting} = {_milliseconds(_START_TIMEOUT)}"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_START_LOCK})"))
            operation(connection)

        await self._run(self._writer, run, _START_TIMEOUT)

    async def read(self, operation: Callable[[Connection], T]) -> T:
        """Run a read-only operation on a consistent snapshot."""
        return await self._run(self._reader, operation)

    async def write(self, operation: Callable[[Connection], T]) -> T:
        """Run an operation; its transaction is committed when this returns."""
        return await self._run(self._writer, operation)

    async def make_room(self) -> bool:
        """Return False: no space on PostgreSQL's disk is reserved."""
        return False

    def forget(self) -> None:
        """Do nothing: PostgreSQL's VACUUM reclaims the space of deleted rows."""

    async def aclose(self) -> None:
        """Close the connections, and terminate those that do not answer."""
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._writer.dispose()
        for connection in self._connections:
            if not connection.is_closed():
                connection.terminate()

    async def _run(
        self, engine: AsyncEngine, operation: Callable[[Connection], T], seconds: float | None = None
    ) -> T:
        if self._closed:
            raise StorageFailure(f"The transcripts in {self.place} are closed.")
        async with self._translated(), asyncio.timeout(seconds or _TIMEOUT), engine.begin() as connection:
            return await connection.run_sync(operation)

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        """Translate PostgreSQL's errors."""
        try:
            yield
        except DBAPIError as error:
            raise self._explained(error.orig and error.orig.__cause__) from error
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            SQLAlchemyError,
            OSError,
            ValueError,
        ) as error:
            raise self._explained(error) from error

    def _explained(self, error: BaseException | None) -> StorageFailure:
        state = getattr(error, "sqlstate", None) or ""
        if isinstance(error, TimeoutError | PoolTimeout):
            state = asyncpg.QueryCanceledError.sqlstate
        elif isinstance(error, OSError):
            state = asyncpg.PostgresConnectionError.sqlstate
        kind, meaning = next(
            (_MEANINGS[state[:length]] for length in (5, 3, 2) if state[:length] in _MEANINGS),
            (StorageFailure, "failed: {error}."),
        )
        client_message = None if "{error}" in meaning else f"The transcripts {meaning}"
        message = f"The transcripts in {self.place} {meaning.format(error=self._plain(error))}"
        return kind(message, client_message)

    def _plain(self, error: object) -> str:
        """The text of an error, without the passwords of the address."""
        said = str(error)
        for secret in self._secrets:
            said = said.replace(secret, "…")
        return said


def _shown(address: str) -> str:
    """The address without its passwords. Raises ConfigurationError for one that cannot be parsed."""
    try:
        url = make_url(address)
        # asyncpg parses the address this way, so that the part of a password that follows an unquoted @ or
        # / would be taken for the host or the port, and shown.
        _ = urlsplit(address).port
    except (SQLAlchemyError, ValueError) as error:
        raise ConfigurationError(_UNREADABLE) from error
    if "@" in (url.host or ""):
        raise ConfigurationError(_UNREADABLE)
    hosts = {name: url.query[name] for name in ("host", "port") if name in url.query}
    return str(URL.create("postgresql", url.username, None, url.host, url.port, url.database, hosts))


def _secrets(address: str) -> list[str]:
    """The passwords in an address, percent-encoded and decoded; the longest first."""
    parts = urlsplit(address)
    found = [parts.password or "", *parse_qs(parts.query).get("password", [])]
    return sorted({form for each in found for form in (each, unquote(each)) if form}, key=len, reverse=True)


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
