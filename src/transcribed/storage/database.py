"""The contract of a database, and how the one of a place is opened and brought up to date."""

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
    """The index of words."""

    @property
    def id(self) -> ColumnElement[int]:
        """The ids of the segments."""
        ...

    def put(self, connection: Connection, texts: Sequence[tuple[int, str]]) -> None:
        """Add segments: their ids and texts."""
        ...

    def remove(self, connection: Connection, texts: Sequence[tuple[int, str]]) -> None:
        """Take segments out, with the texts that were put in."""
        ...

    def matches(self, phrases: Sequence[Phrase]) -> ColumnElement[bool]:
        """Holds for segments with all these phrases."""
        ...

    def newest(self, connection: Connection, phrases: Sequence[Phrase], first: int) -> NewestBelow:
        """What finds the newest segment with all these phrases below an id, from `first` on."""
        ...


class Database(Protocol):
    """Runs operations, each in a transaction of its own. Raises StorageFull and StorageFailure."""

    @property
    def place(self) -> str:
        """Where it is, as a message may say it."""
        ...

    @property
    def words(self) -> Words:
        """Its index."""
        ...

    def insert_new(self, into: Table) -> Insert:
        """An insert that does nothing where there is a row of the same primary key."""
        ...

    async def start(self, operation: Callable[[Connection], None]) -> None:
        """Bring the tables up to date; no other server does so at the same time."""
        ...

    async def read(self, operation: Callable[[Connection], T]) -> T:
        """Run an operation that only reads, in one transaction: it sees the database as at one moment."""
        ...

    async def write(self, operation: Callable[[Connection], T]) -> T:
        """Run an operation; it is committed when this returns."""
        ...

    async def make_room(self) -> bool:
        """Where the disk is full: whether there is room now for a deletion. Followed by `forget`."""
        ...

    def forget(self) -> None:
        """Something was removed: see to it, in the background, that nothing of it stays in the files."""
        ...

    async def aclose(self) -> None:
        """Give everything back."""
        ...


async def open_database(place: str) -> Database:
    """The database in a file or at an address, its tables up to date. Raises ConfigurationError."""
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
    """Run an operation that deletes, on a full disk too; returns what it does: how many were deleted."""
    try:
        return await database.write(operation)
    except StorageFull:
        if not await database.make_room():
            raise
    try:
        return await database.write(operation)
    except StorageFull:
        database.forget()  # The reserve is taken again.
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
        # Nothing behind the colon is shown: a password may stand there.
        raise ConfigurationError(
            f"Transcripts cannot be kept in {place.partition(':')[0].strip()}:…: name a file, or "
            "postgresql://USER:PASSWORD@HOST/DATABASE."
        )
    return SqliteDatabase(place)
