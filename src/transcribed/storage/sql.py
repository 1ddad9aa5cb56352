"""A TranscriptStore in SQL. Each operation is written once, for every database."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Insert,
    Row,
    Select,
    Table,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from transcribed.errors import BadRequest, ConfigurationError, NotFound, StorageFailure, StorageFull
from transcribed.storage.migrations.run import migrate
from transcribed.storage.search import Phrase, excerpt, phrases_of
from transcribed.storage.sqlite import SqliteDatabase
from transcribed.storage.tables import (
    EARLIEST,
    LAST_KEY,
    LATEST,
    MOST_SEGMENTS,
    NewestBelow,
    key_of,
    segment_id,
    segments,
    split,
    transcripts,
)
from transcribed.storage.transcripts import (
    Excerpt,
    FoundTranscript,
    Page,
    Query,
    StoredSegment,
    Transcript,
    TranscriptInfo,
    TranscriptSource,
    TranscriptStore,
)
from transcribed.transcript import Entity, LanguageScore, Segment, Word

T = TypeVar("T")
Fields = dict[str, Any]

LONGEST_TEXT = 20_000
"""Characters of a segment."""
LONGEST_PAGE = 1000
EXCERPTS = 3
"""Of one transcript on a page."""

_WORD_FIELDS = [field.name for field in fields(Word)]
_SURROGATES = re.compile("[\ud800-\udfff]")
_LIKE_POSTGRESQL = re.compile(r"\s*postgres\w*(\+\w+)?:", re.IGNORECASE)
_CURSOR = re.compile(r"[0-9a-f]{1,11}")

_FIND = select(transcripts).where(transcripts.c.id == bindparam("transcript"))
_EXISTS = select(transcripts.c.key).where(transcripts.c.id == bindparam("transcript"))
_FOLLOWING = transcripts.alias()
_NEXT_FREE_KEY = (
    select(transcripts.c.key + 1)
    .where(
        transcripts.c.key >= bindparam("taken"), ~exists().where(_FOLLOWING.c.key == transcripts.c.key + 1)
    )
    .order_by(transcripts.c.key)
    .limit(1)
)
_GROW = (
    update(transcripts)
    .where(transcripts.c.id == bindparam("transcript"))
    .values(
        audio_seconds=case(
            (transcripts.c.audio_seconds < bindparam("heard"), bindparam("heard")),
            else_=transcripts.c.audio_seconds,
        )
    )
    .returning(transcripts.c.key)
)
_END = (
    update(transcripts)
    .where(transcripts.c.id == bindparam("transcript"))
    .values(ended=bindparam("ended_at"), audio_seconds=bindparam("heard"))
    .returning(transcripts.c.key)
)
# Whoever writes to a transcript waits for whoever does. SQLite has one writer anyway.
_LOCK = _FIND.with_for_update()
# Not one that leaves alone what is there: that SQLAlchemy would compile each time.
_INSERT_SEGMENT = insert(segments)
_CORRECT = (
    update(segments).where(segments.c.id == bindparam("segment")).values(correction=bindparam("corrected"))
)
_SEGMENTS = (
    select(segments)
    .where(segments.c.id >= bindparam("first"), segments.c.id < bindparam("end"))
    .order_by(segments.c.id)
)
_DELETE_SEGMENTS = delete(segments).where(
    segments.c.id >= bindparam("first"), segments.c.id < bindparam("end")
)
_TEXT = func.coalesce(segments.c.correction, segments.c.text)
_FIRST_TEXT = (
    select(segments.c.id, segments.c.start, _TEXT.label("said"))
    .where(segments.c.id >= bindparam("first"), segments.c.id < bindparam("end"))
    .order_by(segments.c.id)
    .limit(1)
)
# What was heard after the start: a live stream that is older than what is deleted may still grow.
_LAST = func.coalesce(
    transcripts.c.ended, transcripts.c.started + cast(transcripts.c.audio_seconds * 1e6, BigInteger)
)


class _KeptAlready(Exception):
    """A segment of this number is there. What the operation did is undone."""


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
        """Run an operation that changes nothing. All it reads is of one moment."""
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


async def open_store(place: str) -> TranscriptStore:
    """See `opening.open_transcripts`."""
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
    return SqlTranscriptStore(database)


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


class SqlTranscriptStore:
    """See TranscriptStore. It owns the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._words = database.words
        self._insert_transcript = database.insert_new(transcripts).returning(transcripts.c.key)

    @property
    def place(self) -> str:
        """Where they are kept, without a password."""
        return self._database.place

    async def add(self, info: TranscriptInfo) -> None:
        """Begin a transcript; if there is one of this id already, nothing changes."""
        row = _row_of(info)
        await self._database.write(lambda connection: self._add(connection, row))

    async def append(self, segment: Segment) -> None:
        """Keep a final segment; if there is one of this number already, nothing changes."""
        row = _segment_row(segment)
        with suppress(_KeptAlready):
            await self._database.write(lambda connection: self._append(connection, segment, row))

    async def end(self, transcript: str, ended: datetime, audio_seconds: float) -> None:
        """No more segments come."""
        values = {"transcript": _known(transcript), "ended_at": _aware(ended), "heard": audio_seconds}

        def run(connection: Connection) -> None:
            if connection.execute(_END, values).scalar() is None:
                raise _no_transcript(transcript)

        await self._database.write(run)

    async def page(self, query: Query) -> Page:
        """Transcripts, newest first."""
        wanted = _wanted(query)
        return await self._database.read(lambda connection: self._page(connection, wanted, query.limit))

    async def has(self, transcript: str) -> bool:
        """Whether there is one of this id."""
        known = {"transcript": transcript}
        return _storable(transcript) and await self._database.read(
            lambda connection: connection.execute(_EXISTS, known).first() is not None
        )

    async def get(self, transcript: str) -> Transcript:
        """One transcript."""
        return await self._database.read(lambda connection: _get(connection, transcript))

    async def correct(self, transcript: str, number: int, text: str | None) -> StoredSegment:
        """Put a text in place of a segment's; None takes the machine's own again."""
        _check_texts(text)
        after = await self._database.write(
            lambda connection: self._correct(connection, transcript, number, text)
        )
        self._database.forget()
        return after

    async def delete(self, transcript: str) -> None:
        """Remove a transcript and all its segments."""
        condition = transcripts.c.id == _known(transcript)
        if not await self._deleted(condition):
            raise _no_transcript(transcript)
        self._database.forget()

    async def delete_before(self, moment: datetime) -> int:
        """Remove what ended, or was last heard of, before a moment; returns how many."""
        old = _aware(moment) > _LAST
        keys = await self._database.read(
            lambda connection: connection.execute(select(transcripts.c.key).where(old)).scalars().all()
        )
        # One at a time, so that what is said meanwhile is not kept waiting.
        deleted = 0
        for key in keys:
            deleted += await self._deleted(old & (transcripts.c.key == key))
        if deleted:
            self._database.forget()
        return deleted

    async def aclose(self) -> None:
        """Give everything back."""
        await self._database.aclose()

    async def _deleted(self, condition: ColumnElement[bool]) -> int:
        """How many of at most one were deleted, on a full disk too."""
        operation = partial(self._delete, condition)
        try:
            return await self._database.write(operation)
        except StorageFull:
            if not await self._database.make_room():
                raise
        try:
            return await self._database.write(operation)
        except StorageFull:
            self._database.forget()  # The reserve is taken again.
            raise

    def _add(self, connection: Connection, row: Fields) -> None:
        if connection.execute(_FIND, {"transcript": row["id"]}).first() is not None:
            return
        key = key_of(row["started"])
        while connection.execute(self._insert_transcript, row | {"key": key}).scalar() is None:
            key = connection.execute(_NEXT_FREE_KEY, {"taken": key}).scalar_one()

    def _append(self, connection: Connection, segment: Segment, row: Fields) -> None:
        grown = {"transcript": _known(segment.session), "heard": segment.end}
        key = connection.execute(_GROW, grown).scalar()
        if key is None:
            raise _no_transcript(segment.session)
        place = segment_id(key, segment.number)
        try:
            connection.execute(_INSERT_SEGMENT, row | {"id": place})
        except IntegrityError as error:
            raise _KeptAlready from error
        self._words.put(connection, [(place, segment.text)])

    def _page(self, connection: Connection, wanted: "_Wanted", limit: int) -> Page:
        newest = (
            self._search(connection, wanted) if wanted.phrases else _list(connection, wanted, limit + 1)
        )
        rows = list(islice(newest, limit + 1))
        shown = rows[:limit]
        if wanted.phrases:
            excerpts = self._hits(connection, wanted.phrases, [row.key for row in shown])
        else:
            excerpts = _beginnings(connection, [row.key for row in shown])
        found = tuple(FoundTranscript(_info(row), excerpts.get(row.key, ())) for row in shown)
        return Page(found, next=f"{shown[-1].key:x}" if len(rows) > limit else None)

    def _search(self, connection: Connection, wanted: "_Wanted") -> Iterator[Row[Any]]:
        """The transcripts with a segment that has all phrases.

        From hit to transcript to hit, each the newest that is no newer than the one before: what does not
        fit is never read, however common the words or the transcripts are.
        """
        newest_hit = self._words.newest(connection, wanted.phrases, segment_id(wanted.first))
        newest = (
            select(transcripts)
            .where(transcripts.c.key <= bindparam("key"), *wanted.conditions)
            .order_by(transcripts.c.key.desc())
            .limit(1)
        )
        end = wanted.end
        while (hit := newest_hit(segment_id(end))) is not None:
            key, _ = split(hit)
            row = connection.execute(newest, {"key": key}).first()
            if row is None:
                return
            if row.key == key:
                yield row
            end = key if row.key == key else row.key + 1

    def _hits(
        self, connection: Connection, phrases: Sequence[Phrase], keys: Sequence[int]
    ) -> dict[int, tuple[Excerpt, ...]]:
        """The first hits of transcripts."""
        statement = (
            select(segments.c.id, segments.c.start, _TEXT.label("said"))
            .join_from(segments, self._words.id.table, segments.c.id == self._words.id)
            .where(self._words.matches(phrases))
            .where(self._words.id >= bindparam("first"), self._words.id < bindparam("end"))
            .order_by(self._words.id)
            .limit(EXCERPTS)
        )
        return {
            key: tuple(_excerpt(row, phrases) for row in connection.execute(statement, _range(key)))
            for key in keys
        }

    def _correct(
        self, connection: Connection, transcript: str, number: int, text: str | None
    ) -> StoredSegment:
        key = _find(connection, transcript, _LOCK).key
        segment = segment_id(key, number) if 0 <= number < MOST_SEGMENTS else -1
        row = connection.execute(select(segments).where(segments.c.id == segment)).first()
        if row is None:
            raise NotFound(
                f"The transcript {transcript!r} has no segment {number}. Look at it for their numbers."
            )
        before = _stored(transcript, row)
        after = StoredSegment(before.segment, text)
        connection.execute(_CORRECT, {"segment": segment, "corrected": text})
        self._words.remove(connection, [(segment, before.text)])
        self._words.put(connection, [(segment, after.text)])
        return after

    def _delete(self, condition: ColumnElement[bool], connection: Connection) -> int:
        key = connection.execute(delete(transcripts).where(condition).returning(transcripts.c.key)).scalar()
        if key is None:
            return 0
        said = select(segments.c.id, _TEXT).where(
            segments.c.id >= segment_id(key), segments.c.id < segment_id(key + 1)
        )
        texts = [(segment, text) for segment, text in connection.execute(said)]
        if texts:
            self._words.remove(connection, texts)
            connection.execute(_DELETE_SEGMENTS, _range(key))
        return 1


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a query asks for; keys from `first` on, below `end`."""

    phrases: tuple[Phrase, ...]
    conditions: tuple[ColumnElement[bool], ...]
    first: int
    end: int


def _wanted(query: Query) -> _Wanted:
    if not 1 <= query.limit <= LONGEST_PAGE:
        raise BadRequest(f"A page has 1 to {LONGEST_PAGE} transcripts, not {query.limit}.")
    _check_texts(query.recording)
    first, conditions = 0, []
    if query.source is not None:
        conditions.append(transcripts.c.source == query.source.value)
    if query.recording is not None:
        conditions.append(transcripts.c.recording == query.recording)
    if query.since is not None:
        since = min(max(_aware(query.since), EARLIEST), LATEST)
        first = key_of(since)
        conditions.append(transcripts.c.started >= since)
    if query.until is not None:
        conditions.append(transcripts.c.started < _aware(query.until))
    if query.before is not None and not _CURSOR.fullmatch(query.before):
        raise BadRequest(f"No page gave {query.before!r} as its next. Begin without it.")
    end = LAST_KEY if query.before is None else min(int(query.before, 16), LAST_KEY)
    phrases = () if query.words is None else phrases_of(query.words)
    return _Wanted(phrases, tuple(conditions), first, end)


def _list(connection: Connection, wanted: _Wanted, limit: int) -> Iterator[Row[Any]]:
    statement = (
        select(transcripts)
        .where(transcripts.c.key >= wanted.first, transcripts.c.key < wanted.end, *wanted.conditions)
        .order_by(transcripts.c.key.desc())
        .limit(limit)
    )
    return iter(connection.execute(statement))


def _beginnings(connection: Connection, keys: Sequence[int]) -> dict[int, tuple[Excerpt, ...]]:
    """The first words of transcripts."""
    found: dict[int, tuple[Excerpt, ...]] = {}
    for key in keys:
        row = connection.execute(_FIRST_TEXT, _range(key)).first()
        if row is not None:
            found[key] = (_excerpt(row, ()),)
    return found


def _excerpt(row: Row[Any], phrases: Sequence[Phrase]) -> Excerpt:
    return Excerpt(split(row.id)[1], row.start, excerpt(row.said, phrases))


def _get(connection: Connection, transcript: str) -> Transcript:
    found = _find(connection, transcript)
    rows = connection.execute(_SEGMENTS, _range(found.key))
    return Transcript(_info(found), tuple(_stored(transcript, row) for row in rows))


def _find(connection: Connection, transcript: str, statement: Select[Any] = _FIND) -> Row[Any]:
    row = connection.execute(statement, {"transcript": _known(transcript)}).first()
    if row is None:
        raise _no_transcript(transcript)
    return row


def _range(key: int) -> Fields:
    """The ids of a transcript's segments."""
    return {"first": segment_id(key), "end": segment_id(key + 1)}


def _row_of(info: TranscriptInfo) -> Fields:
    _check_texts(info.id, info.engine, info.language, info.recording)
    if not EARLIEST <= _aware(info.started) < LATEST:
        raise BadRequest(f"A transcript cannot start at {info.started}. Set the clock.")
    return {
        "id": info.id,
        "source": info.source.value,
        "engine": info.engine,
        "language": info.language,
        "started": info.started,
        "recording": info.recording,
        "ended": None if info.ended is None else _aware(info.ended),
        "audio_seconds": info.audio_seconds,
    }


def _info(row: Row[Any]) -> TranscriptInfo:
    return TranscriptInfo(
        id=row.id,
        source=TranscriptSource(row.source),
        engine=row.engine,
        language=row.language,
        started=row.started,
        recording=row.recording,
        ended=row.ended,
        audio_seconds=row.audio_seconds,
    )


def _segment_row(segment: Segment) -> Fields:
    _check_texts(segment.language, segment.text)
    if not 0 <= segment.number < MOST_SEGMENTS:
        raise BadRequest(f"A transcript has at most {MOST_SEGMENTS} segments. Begin another.")
    return {
        "start": segment.start,
        "stop": segment.end,
        "language": segment.language,
        "text": segment.text,
        "words": _words_json(segment.words),
        "channel": segment.channel,
        "findings": _findings_json(segment),
    }


def _stored(transcript: str, row: Row[Any]) -> StoredSegment:
    segment = Segment(
        session=transcript,
        number=split(row.id)[1],
        start=row.start,
        end=row.stop,
        text=row.text,
        final=True,
        language=row.language,
        words=_words_from(row.words),
        channel=row.channel,
        **_findings_from(row.findings),
    )
    return StoredSegment(segment, row.correction)


def _words_json(words: Sequence[Word]) -> str:
    """Words as a JSON object: a list for each field that any of them has."""
    columns = {name: [getattr(word, name) for word in words] for name in _WORD_FIELDS}
    present = {name: column for name, column in columns.items() if any(v is not None for v in column)}
    return json.dumps(present, separators=(",", ":"))


def _words_from(text: str) -> tuple[Word, ...]:
    columns = json.loads(text)
    return tuple(
        Word(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)
    )


def _findings_json(segment: Segment) -> str | None:
    """Entities and scores of languages as JSON, by the fields of a segment; None where there are none."""
    found: dict[str, tuple[Entity, ...] | tuple[LanguageScore, ...]] = {
        "entities": segment.entities,
        "languages": segment.languages,
    }
    present = {name: [asdict(each) for each in values] for name, values in found.items() if values}
    return json.dumps(present, separators=(",", ":")) if present else None


def _findings_from(text: str | None) -> dict[str, Any]:
    kinds = {"entities": Entity, "languages": LanguageScore}
    found = json.loads(text) if text else {}
    return {name: tuple(kinds[name](**each) for each in values) for name, values in found.items()}


def _check_texts(*texts: str | None) -> None:
    """BadRequest for what not every database can keep."""
    for text in texts:
        if text is None:
            continue
        if len(text) > LONGEST_TEXT:
            raise BadRequest(f"The text is too long: {len(text)} characters of at most {LONGEST_TEXT}.")
        if not _storable(text):
            raise BadRequest(
                "The text has a character that cannot be kept: NUL, or half of a surrogate pair."
            )


def _storable(text: str) -> bool:
    return "\0" not in text and not _SURROGATES.search(text)


def _known(transcript: str) -> str:
    """An id that a transcript may have; no other reaches the database."""
    if not _storable(transcript):
        raise _no_transcript(transcript)
    return transcript


def _no_transcript(transcript: str) -> NotFound:
    return NotFound(f"There is no transcript {transcript!r}. GET /transcripts lists what there is.")


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise BadRequest(f"The moment {moment} has no time zone: write 2026-01-31T12:00:00Z.")
    return moment
