"""A TranscriptStore in SQL, with the same statements for every database."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
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

from transcribed.errors import NotFound, shown
from transcribed.storage.conditions import Conditions, conditions_of
from transcribed.storage.database import Database, write_deletion
from transcribed.storage.jobs import library_media
from transcribed.storage.rows import (
    Fields,
    aware,
    check_texts,
    identity,
    no_transcript,
    segment_row,
    stored_segment,
    transcript_info,
    transcript_row,
)
from transcribed.storage.search import Phrase, excerpt
from transcribed.storage.tables import (
    MOST_SEGMENTS,
    jobs,
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
    version_of,
)
from transcribed.transcript import Segment

EXCERPTS = 3
"""The most excerpts of one transcript on a page."""

_IS_IT = (transcripts.c.owner == bindparam("whose")) & (transcripts.c.id == bindparam("transcript"))
_FIND = select(transcripts).where(_IS_IT)
_EXISTS = select(transcripts.c.key).where(_IS_IT)
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
    .where(_IS_IT)
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
    .where(_IS_IT)
    .values(ended=bindparam("ended_at"), audio_seconds=bindparam("heard"))
    .returning(transcripts.c.key)
)
_RENAME = (
    update(transcripts)
    .where((transcripts.c.owner == bindparam("whose")) & (transcripts.c.recording == bindparam("former")))
    .values(recording=bindparam("later"))
)
_RENAME_MEDIA = (
    update(jobs)
    .where((jobs.c.owner == bindparam("whose")) & (jobs.c.media == bindparam("former")))
    .values(media=bindparam("later"))
)
# Serialises corrections of a transcript (in SQLite there is a single writer anyway).
_LOCK = _FIND.with_for_update()
# Without ON CONFLICT DO NOTHING, which SQLAlchemy would compile anew for each execution.
_INSERT_SEGMENT = insert(segments)
_CORRECT = (
    update(segments).where(segments.c.id == bindparam("segment")).values(correction=bindparam("corrected"))
)
_SEGMENTS = (
    select(segments)
    .where(segments.c.id >= bindparam("first"), segments.c.id < bindparam("end"))
    .order_by(segments.c.id)
)
_LAST_SEGMENT = select(func.max(segments.c.id)).where(
    segments.c.id >= bindparam("first"), segments.c.id < bindparam("end")
)
_CORRECTIONS = (
    select(segments.c.id, segments.c.correction)
    .where(
        segments.c.id >= bindparam("first"),
        segments.c.id < bindparam("end"),
        segments.c.correction.is_not(None),
    )
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
# When a transcript ended, or else until when its audio is final: an old live stream may still grow.
_LAST = func.coalesce(
    transcripts.c.ended, transcripts.c.started + cast(transcripts.c.audio_seconds * 1e6, BigInteger)
)


class _KeptAlready(Exception):
    """The segment is stored already. Raised to roll the transaction back."""


class _Tables:
    """Operations on the tables, for one owner or for all."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._words = database.words

    async def _pages(self, query: Query, owner: str | None) -> Page:
        wanted = conditions_of(query, owner)
        return await self._database.read(lambda connection: self._page(connection, wanted, query.limit))

    async def _deleted(self, condition: ColumnElement[bool]) -> int:
        """Delete at most one transcript, even on a full disk; returns how many were deleted."""
        return await write_deletion(self._database, partial(self._delete, condition))

    def _page(self, connection: Connection, wanted: Conditions, limit: int) -> Page:
        newest = (
            self._search(connection, wanted) if wanted.phrases else _list(connection, wanted, limit + 1)
        )
        rows = list(islice(newest, limit + 1))
        shown = rows[:limit]
        if wanted.phrases:
            excerpts = self._hits(connection, wanted.phrases, [row.key for row in shown])
        else:
            excerpts = _beginnings(connection, [row.key for row in shown])
        found = tuple(
            FoundTranscript(transcript_info(row), excerpts.get(row.key, ()), row.owner) for row in shown
        )
        return Page(found, next=f"{shown[-1].key:x}" if len(rows) > limit else None)

    def _search(self, connection: Connection, wanted: Conditions) -> Iterator[Row[Any]]:
        """The transcripts that meet the conditions and have a segment with all phrases, newest first.

        The search alternates between the newest hit below a key and the newest transcript up to that hit
        that meets the conditions. So it skips over both frequent words and unwanted transcripts.
        """
        newest_hit = self._words.newest(connection, wanted.phrases, segment_id(wanted.first))
        newest = (
            select(transcripts)
            .where(transcripts.c.key <= bindparam("key"), *wanted.others)
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
        """Excerpts around the first hits of each transcript, by key."""
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


class SqlTranscriptStore(_Tables):
    """A TranscriptStore in a Database, which it closes."""

    @property
    def place(self) -> str:
        """The path or address, without passwords."""
        return self._database.place

    def of(self, owner: str) -> "SqlOwnersTranscripts":
        """The transcripts of one owner."""
        return SqlOwnersTranscripts(self._database, owner)

    async def page(self, query: Query) -> Page:
        """The transcripts of all owners, newest first."""
        return await self._pages(query, None)

    async def delete_before(
        self, moment: datetime, deleted: Callable[[str, str], None] = lambda *_: None
    ) -> int:
        """Delete the transcripts that ended, or last grew, before a moment; returns how many.

        Calls `deleted` with the owner and the id of each as soon as it is gone.
        """
        old = aware(moment) > _LAST
        wanted = select(transcripts.c.key, transcripts.c.owner, transcripts.c.id).where(old)
        found = await self._database.read(lambda connection: connection.execute(wanted).all())
        # One at a time, so that live transcripts do not wait long for the database.
        count = 0
        for key, owner, transcript in found:
            if await self._deleted(old & (transcripts.c.key == key)):
                count += 1
                deleted(owner, transcript)
        if count:
            self._database.forget()
        return count

    async def aclose(self) -> None:
        """Close the database."""
        await self._database.aclose()


class SqlOwnersTranscripts(_Tables):
    """The OwnersTranscripts in a SqlTranscriptStore."""

    def __init__(self, database: Database, owner: str) -> None:
        super().__init__(database)
        self._owner = owner
        self._insert_transcript = database.insert_new(transcripts).returning(transcripts.c.key)

    async def add(self, info: TranscriptInfo) -> None:
        """Begin a transcript, unless there is one with this id."""
        row = transcript_row(self._owner, info)
        await self._database.write(lambda connection: self._add(connection, row))

    async def append(self, segment: Segment) -> None:
        """Store a final segment, unless there is one with this number."""
        row = segment_row(segment)
        with suppress(_KeptAlready):
            await self._database.write(lambda connection: self._append(connection, segment, row))

    async def end(self, transcript: str, ended: datetime, audio_seconds: float) -> None:
        """Mark a transcript as ended."""
        values = self._known(transcript) | {"ended_at": aware(ended), "heard": audio_seconds}

        def run(connection: Connection) -> None:
            if connection.execute(_END, values).scalar() is None:
                raise no_transcript(transcript)

        await self._database.write(run)

    async def page(self, query: Query) -> Page:
        """The owner's transcripts, newest first."""
        return await self._pages(query, self._owner)

    async def has(self, transcript: str) -> bool:
        """Whether there is a transcript with this id."""
        try:
            known = self._known(transcript)
        except NotFound:
            return False
        return await self._database.read(
            lambda connection: connection.execute(_EXISTS, known).first() is not None
        )

    async def get(self, transcript: str) -> Transcript:
        """A whole transcript."""
        return await self._database.read(lambda connection: self._get(connection, transcript))

    async def version(self, transcript: str) -> str:
        """The version of a transcript, without reading its segments."""
        return await self._database.read(lambda connection: self._version(connection, transcript))

    async def correct(self, transcript: str, number: int, text: str | None) -> StoredSegment:
        """Set or, with None, remove the correction of a segment's text."""
        check_texts(text)
        after = await self._database.write(
            lambda connection: self._correct(connection, transcript, number, text)
        )
        self._database.forget()
        return after

    async def rename_recording(self, name: str, new: str) -> None:
        """Give the recording of all its transcripts and jobs another name."""
        check_texts(name, new)
        values = {"whose": self._owner, "former": name, "later": new}
        media = values | {"former": library_media(name), "later": library_media(new)}

        def run(connection: Connection) -> None:
            connection.execute(_RENAME, values)
            connection.execute(_RENAME_MEDIA, media)

        await self._database.write(run)

    async def delete(self, transcript: str) -> None:
        """Delete a transcript and all its segments."""
        if not await self._deleted(_IS_IT.params(**self._known(transcript))):
            raise no_transcript(transcript)
        self._database.forget()

    def add_whole(self, connection: Connection, info: TranscriptInfo, said: Sequence[Segment]) -> None:
        """Store a transcript with its segments, in the caller's transaction. Raises BadRequest.

        `said` are final segments in order, of the transcript `info.id`, which is not stored yet.
        """
        key = self._add(connection, transcript_row(self._owner, info))
        rows = [segment_row(segment) | {"id": segment_id(key, segment.number)} for segment in said]
        if rows:
            connection.execute(_INSERT_SEGMENT, rows)
            self._words.put(connection, [(row["id"], row["text"]) for row in rows])

    def _known(self, transcript: str) -> Fields:
        return identity(self._owner, transcript)

    def _add(self, connection: Connection, row: Fields) -> int:
        """Store a transcript unless there is one with this id. Returns its key."""
        present: int | None = connection.execute(_EXISTS, self._known(row["id"])).scalar()
        if present is not None:
            return present
        key = key_of(row["started"])
        while connection.execute(self._insert_transcript, row | {"key": key}).scalar() is None:
            key = connection.execute(_NEXT_FREE_KEY, {"taken": key}).scalar_one()
        return key

    def _append(self, connection: Connection, segment: Segment, row: Fields) -> None:
        grown = self._known(segment.session) | {"heard": segment.end}
        key = connection.execute(_GROW, grown).scalar()
        if key is None:
            raise no_transcript(segment.session)
        place = segment_id(key, segment.number)
        try:
            connection.execute(_INSERT_SEGMENT, row | {"id": place})
        except IntegrityError as error:
            raise _KeptAlready from error
        self._words.put(connection, [(place, segment.text)])

    def _correct(
        self, connection: Connection, transcript: str, number: int, text: str | None
    ) -> StoredSegment:
        key = self._find(connection, transcript, _LOCK).key
        segment = segment_id(key, number) if 0 <= number < MOST_SEGMENTS else -1
        row = connection.execute(select(segments).where(segments.c.id == segment)).first()
        if row is None:
            raise NotFound(
                f"The transcript {shown(transcript)} has no segment {number}. Look at it for their numbers."
            )
        before = stored_segment(transcript, row)
        after = StoredSegment(before.segment, text)
        connection.execute(_CORRECT, {"segment": segment, "corrected": text})
        self._words.remove(connection, [(segment, before.text)])
        self._words.put(connection, [(segment, after.text)])
        return after

    def _get(self, connection: Connection, transcript: str) -> Transcript:
        found = self._find(connection, transcript)
        rows = connection.execute(_SEGMENTS, _range(found.key))
        return Transcript(transcript_info(found), tuple(stored_segment(transcript, row) for row in rows))

    def _version(self, connection: Connection, transcript: str) -> str:
        found = self._find(connection, transcript)
        last = connection.execute(_LAST_SEGMENT, _range(found.key)).scalar()
        rows = connection.execute(_CORRECTIONS, _range(found.key))
        corrections = [(split(segment)[1], text) for segment, text in rows]
        return version_of(transcript_info(found), None if last is None else split(last)[1], corrections)

    def _find(self, connection: Connection, transcript: str, statement: Select[Any] = _FIND) -> Row[Any]:
        row = connection.execute(statement, self._known(transcript)).first()
        if row is None:
            raise no_transcript(transcript)
        return row


def _list(connection: Connection, wanted: Conditions, limit: int) -> Iterator[Row[Any]]:
    statement = (
        select(transcripts)
        .where(transcripts.c.key >= wanted.first, transcripts.c.key < wanted.end, *wanted.others)
        .order_by(transcripts.c.key.desc())
        .limit(limit)
    )
    return iter(connection.execute(statement))


def _beginnings(connection: Connection, keys: Sequence[int]) -> dict[int, tuple[Excerpt, ...]]:
    """The first words of each transcript, by key."""
    found: dict[int, tuple[Excerpt, ...]] = {}
    for key in keys:
        row = connection.execute(_FIRST_TEXT, _range(key)).first()
        if row is not None:
            found[key] = (_excerpt(row, ()),)
    return found


def _excerpt(row: Row[Any], phrases: Sequence[Phrase]) -> Excerpt:
    return Excerpt(split(row.id)[1], row.start, excerpt(row.said, phrases))


def _range(key: int) -> Fields:
    """The range of the ids of a transcript's segments, as statement parameters."""
    return {"first": segment_id(key), "end": segment_id(key + 1)}
