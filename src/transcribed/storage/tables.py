"""The tables of transcripts, access keys and jobs, the same in every database.

A transcript's `key` is its start in milliseconds since 1970, or the next free number after it. A segment's
`id` consists of its transcript's key and its own number. So keys are in the order of time, the segments of
a transcript are contiguous, and the index of words, which has only ids, can be read from the newest
transcript on.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    select,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

NUMBER_BITS = 21
"""The bits of a segment's number in its id. Two million segments are weeks of speech."""
MOST_SEGMENTS = 1 << NUMBER_BITS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST, LATEST = _EPOCH, datetime(2100, 1, 1, tzinfo=UTC)
"""The range of a transcript's start."""
LAST_KEY = (1 << (63 - NUMBER_BITS)) - 1
"""Greater than every key in use."""

NewestBelow = Callable[[int], int | None]
"""Returns the newest id below the given one."""


def newest_matching(
    connection: Connection, ids: ColumnElement[int], matches: ColumnElement[bool], first: int
) -> NewestBelow:
    """A function from an id to the newest of `ids` below it, and not below `first`, that matches."""
    statement = (
        select(ids).where(matches, ids >= first, ids < bindparam("end")).order_by(ids.desc()).limit(1)
    )
    return lambda end: connection.execute(statement, {"end": end}).scalar()


def key_of(moment: datetime) -> int:
    """The key of a transcript that starts at a moment, if no other transcript has it."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def segment_id(key: int, number: int = 0) -> int:
    """The id of a segment of a transcript. It is less than every id of the next transcript."""
    return (key << NUMBER_BITS) + number


def split(segment: int) -> tuple[int, int]:
    """The key of a segment's transcript, and its number there."""
    return segment >> NUMBER_BITS, segment & (MOST_SEGMENTS - 1)


class Moment(TypeDecorator[datetime]):
    """A datetime, stored as microseconds since 1970 (UTC)."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Convert a value for the database."""
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Convert a value from the database."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


_Key = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

transcripts = Table(
    "transcripts",
    metadata,
    Column("key", _Key, primary_key=True, autoincrement=False),
    Column("owner", Text, nullable=False, server_default=""),
    Column("id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("started", Moment, nullable=False),
    Column("recording", Text),
    Column("ended", Moment),
    Column("audio_seconds", Double, nullable=False),
    UniqueConstraint("owner", "id", name="transcripts_owner_id"),
)
Index("transcripts_owner", transcripts.c.owner, transcripts.c.key)
Index("transcripts_source", transcripts.c.source, transcripts.c.key)
Index("transcripts_recording", transcripts.c.recording, transcripts.c.owner, transcripts.c.key)

segments = Table(
    "segments",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=False),
    Column("start", Double, nullable=False),
    Column("stop", Double, nullable=False),
    Column("language", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("correction", Text),
    Column("words", Text, nullable=False),
    Column("channel", Integer),
    Column("findings", Text),
    Column("model", Text),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False, unique=True),
    Column("streams", Integer),
    Column("seconds_a_day", Double),
    Column("created", Moment, nullable=False),
    Column("rotated", Moment),
    Column("last_used", Integer),
)
"""Access keys. `last_used` is a day, as `key_usage` has them."""

key_usage = Table(
    "key_usage",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("audio_seconds", Double, nullable=False),
    Column("streams", Integer, nullable=False),
)
"""The use of each key on each day. A day is the number of days since 1970-01-01, in UTC."""

jobs = Table(
    "jobs",
    metadata,
    Column("number", _Key, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("media", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("key", Text),
    Column("created", Moment, nullable=False),
    Column("started", Moment),
    Column("ended", Moment),
    Column("audio_seconds", Double, nullable=False),
    Column("duration", Double),
    Column("failure", Text),
    Column("transcript", Text),
    Column("warnings", Text),
    Column("not_before", Moment),
    Column("holder", Text),
    Column("lease_until", Moment),
    Column("attempt", Integer, nullable=False),
    Column("failed_attempts", Integer, nullable=False),
    UniqueConstraint("owner", "name", name="jobs_owner_name"),
)
"""Jobs, numbered in the order in which they were submitted. `key` is the id of an access key."""
Index("jobs_state", jobs.c.state, jobs.c.number)
Index("jobs_owner", jobs.c.owner, jobs.c.number)
Index("jobs_owner_state", jobs.c.owner, jobs.c.state, jobs.c.number)
Index("jobs_media", jobs.c.owner, jobs.c.media)
