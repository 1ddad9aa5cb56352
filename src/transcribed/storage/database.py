"""The database protocol, and opening and migrating the database at a given path or address."""

import re
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, Connection, Insert, Table

from transcribed.errors import ConfigurationError, StorageFailure, StorageFull
from transcribed.storage.migrations.run import migrate
from transcribed.storage.search import Phrase
from transcribed.storage.sqlite import SqliteDatabase
from transcribed.storage.tables import NewestBelow

T = TypeVar("T")

_LIKE_POSTGRESQL = re.compile(r"\s*postgres\w*(\+\w+)?:", re.IGNORECASE)


class Words(Protocol):
    """The full-text index of segments."""

    @property
    def id(self) -> ColumnElement[int]:
        """The column with the segments' ids."""
        ...

    def put(self, connection: Connection, texts: Sequence[tuple[int, str]]) -> None:
        """Index segments, given as pairs of id and text."""
        ...

    def remove(self, connection: Connection, texts: Sequence[tuple[int, str]]) -> None:
        """Remove segments. The texts must be those that were indexed."""
        ...

    def matches(self, phrases: Sequence[Phrase]) -> ColumnElement[bool]:
        """An SQL condition: the segment contains all these phrases."""
        ...

    def newest(self, connection: Connection, phrases: Sequence[Phrase], first: int) -> NewestBelow:
        """A function from an id to the newest segment below it, and not below `first`, with all phrases."""
        ...


class Database(Protocol):
    """Runs each operation in a transaction of its own. Methods raise StorageFull and StorageFailure."""

    @property
    def place(self) -> str:
        """The path or address, without passwords, for messages."""
        ...

    @property
    def words(self) -> Words:
        """The full-text index."""
        ...

    def insert_new(self, into: Table) -> Insert:
        """An insert that does nothing when a row with the same primary key exists."""
        ...

    async def start(self, operation: Callable[[Connection], None]) -> None:
        """Migrate the tables by `operation`, under a lock that excludes other servers."""
        ...

    async def read(self, operation: Callable[[Connection], T]) -> T:
        """Run a read-only operation on a consistent snapshot of the database."""
        ...

    async def write(self, operation: Callable[[Connection], T]) -> T:
        """Run an operation; its transaction is committed when this returns."""
        ...

    async def make_room(self) -> bool:
        """Free the disk space that is reserved for deletions. Returns whether there was any.

        To be called when the disk is full. Call `forget` afterwards to reserve the space again.
        """
        ...

    def forget(self) -> None:
        """Start erasing deleted text from the index and the log files, in the background."""
        ...

    async def aclose(self) -> None:
        """Close all connections and stop background work."""
        ...


async def open_database(place: str) -> Database:
    """Open the database in a file or at an address, and migrate its tables. Raises ConfigurationError."""
    database = _database(place)
    try:
        await database.start(migrate)
    except ConfigurationError as error:
        await database.aclose()
        raise ConfigurationError(
            f"Transcripts cannot be kept in {database.place}: {error.message}."
        ) from error
    except StorageFailure as error:
        await database.aclose()
        raise ConfigurationError(error.message) from error
    except BaseException:
        await database.aclose()
        raise
    return database


async def write_deletion(database: Database, operation: Callable[[Connection], int]) -> int:
    """Run a deletion, even on a full disk. Returns what the operation returns: how many were deleted."""
    try:
        return await database.write(operation)
    except StorageFull:
        if not await database.make_room():
            raise
    try:
        return await database.write(operation)
    except StorageFull:
        database.forget()  # Reserves the disk space again.
        raise


def _database(place: str) -> Database:
    if place.startswith(("postgresql://", "postgres://")):
        try:
            from transcribed.storage.postgresql import PostgresqlDatabase  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "Transcripts in PostgreSQL need another package: pip install 'transcribed[postgresql]'."
            ) from error
        return PostgresqlDatabase(place)
    if "://" in place or _LIKE_POSTGRESQL.match(place):
        # The message leaves out what follows the colon, which may contain a password.
        raise ConfigurationError(
            f"Transcripts cannot be kept in {place.partition(':')[0].strip()}:…: name a file, or "
            "postgresql://USER:PASSWORD@HOST/DATABASE."
        )
    return SqliteDatabase(place)
