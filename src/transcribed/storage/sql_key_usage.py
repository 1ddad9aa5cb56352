"""A KeyUsageStore in SQL, in the same database as the transcripts."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Connection, bindparam, select, update

from transcribed.storage.database import Database
from transcribed.storage.keys import KeyUsage
from transcribed.storage.sql_keys import day_number, day_of
from transcribed.storage.tables import key_usage

# The addition is done in the database, so that concurrent additions of several servers are not lost.
_ADD = (
    update(key_usage)
    .where(key_usage.c.day == bindparam("on"), key_usage.c.key == bindparam("of"))
    .values(
        audio_seconds=key_usage.c.audio_seconds + bindparam("more_seconds"),
        streams=key_usage.c.streams + bindparam("more_streams"),
    )
)
_SINCE = select(key_usage).where(key_usage.c.day >= bindparam("first"))


class SqlKeyUsageStore:
    """A KeyUsageStore in a Database, which the caller closes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._begin = database.insert_new(key_usage)

    async def add(self, used: Sequence[KeyUsage]) -> None:
        """Add usage to the stored one."""
        # Sorted, so that two servers lock rows in the same order and do not deadlock.
        ordered = sorted(used, key=lambda each: (each.day, each.key))
        begun, added = [], []
        for each in ordered:
            day = day_number(each.day)
            begun.append({"day": day, "key": each.key, "audio_seconds": 0.0, "streams": 0})
            added.append(
                {
                    "on": day,
                    "of": each.key,
                    "more_seconds": each.audio_seconds,
                    "more_streams": each.streams,
                }
            )

        def run(connection: Connection) -> None:
            connection.execute(self._begin, begun)
            connection.execute(_ADD, added)

        if ordered:
            await self._database.write(run)

    async def since(self, day: date) -> tuple[KeyUsage, ...]:
        """The usage of all keys on each day from this one on."""
        first = {"first": day_number(day)}
        rows = await self._database.read(lambda connection: connection.execute(_SINCE, first).all())
        return tuple(KeyUsage(row.key, day_of(row.day), row.audio_seconds, row.streams) for row in rows)
