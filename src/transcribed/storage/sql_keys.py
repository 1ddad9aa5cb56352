"""A KeyStore in SQL, in the same database as the transcripts."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from transcribed.errors import Conflict, NotFound, shown
from transcribed.principal import Role
from transcribed.storage.database import Database, write_deletion
from transcribed.storage.keys import SealedSecret, StoredKey
from transcribed.storage.rows import is_storable
from transcribed.storage.tables import keys

_FIRST_DAY = date(1970, 1, 1)

_ALL = select(keys).order_by(keys.c.id)
_INSERT = insert(keys)
_ROTATE = (
    update(keys)
    .where(keys.c.id == bindparam("key"))
    .values(sealed=bindparam("box"), fingerprint=bindparam("print"), rotated=bindparam("moment"))
    .returning(keys.c.id)
)
_REMOVE = delete(keys).where(keys.c.id == bindparam("key")).returning(keys.c.id)


def day_number(day: date) -> int:
    """A day as a number: the days since 1970-01-01."""
    return (day - _FIRST_DAY).days


def day_of(number: int) -> date:
    """The day with this number."""
    return _FIRST_DAY + timedelta(days=number)


class SqlKeyStore:
    """A KeyStore in a Database, which the caller closes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def place(self) -> str:
        """The path or address, without passwords."""
        return self._database.place

    async def all(self) -> tuple[StoredKey, ...]:
        """All keys, sorted by id."""
        # Rows are converted within the operation, beside the event loop. Sorted here, because
        # databases differ in their order of text.
        keys = await self._database.read(lambda connection: list(map(_stored, connection.execute(_ALL))))
        return tuple(sorted(keys, key=lambda key: key.id))

    async def add(self, key: StoredKey) -> None:
        """Store a new key."""
        row = {
            "id": key.id,
            "owner": key.owner,
            "role": key.role.value,
            "sealed": key.secret.sealed,
            "fingerprint": key.secret.fingerprint,
            "streams": key.streams,
            "seconds_a_day": key.seconds_a_day,
            "created": key.created,
            "rotated": key.rotated,
            "last_used": None if key.last_used is None else day_number(key.last_used),
        }

        def run(connection: Connection) -> None:
            same = select(keys.c.id).where(keys.c.id == key.id)
            if connection.execute(same).first() is not None:
                raise Conflict(
                    f"There is a key {key.id} already. Rotate it for another secret, or name another."
                )
            _unique(lambda: connection.execute(_INSERT, row))

        await self._database.write(run)

    async def rotate(self, key: str, secret: SealedSecret, moment: datetime) -> None:
        """Replace a key's secret."""
        values = {"key": key, "box": secret.sealed, "print": secret.fingerprint, "moment": moment}

        def run(connection: Connection) -> None:
            found = _unique(lambda: connection.execute(_ROTATE, values).first())
            if found is None:
                raise _no_key(key)

        _check(key)
        await self._database.write(run)

    async def remove(self, key: str) -> None:
        """Delete a key."""

        def run(connection: Connection) -> int:
            return len(connection.execute(_REMOVE, {"key": key}).all())

        _check(key)
        if not await write_deletion(self._database, run):
            raise _no_key(key)
        self._database.forget()

    async def note_used(self, used: frozenset[str], day: date) -> None:
        """Store the last day of use of keys."""
        number = day_number(day)
        earlier = or_(keys.c.last_used.is_(None), keys.c.last_used < number)
        statement = update(keys).where(keys.c.id.in_(used), earlier).values(last_used=number)
        await self._database.write(lambda connection: connection.execute(statement))


def _stored(row: Row[Any]) -> StoredKey:
    return StoredKey(
        id=row.id,
        owner=row.owner,
        role=Role(row.role),
        secret=SealedSecret(bytes(row.sealed), bytes(row.fingerprint)),
        created=row.created,
        streams=row.streams,
        seconds_a_day=row.seconds_a_day,
        rotated=row.rotated,
        last_used=None if row.last_used is None else day_of(row.last_used),
    )


def _unique(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except IntegrityError as error:
        raise Conflict("Another key has this secret already. Give each key a secret of its own.") from error


def _check(key: str) -> None:
    if not is_storable(key):
        raise _no_key(key)


def _no_key(key: str) -> NotFound:
    return NotFound(f"There is no key {shown(key)}. `transcribed keys list` lists what there is.")
