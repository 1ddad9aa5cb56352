"""Translation of a transcript query into SQL conditions."""

import re
from dataclasses import dataclass

from sqlalchemy import ColumnElement

from transcribed.errors import BadRequest, shown
from transcribed.storage.rows import aware, check_texts
from transcribed.storage.search import Phrase, phrases_of
from transcribed.storage.tables import EARLIEST, LAST_KEY, LATEST, key_of, transcripts
from transcribed.storage.transcripts import Query

LONGEST_PAGE = 1000

_CURSOR = re.compile(r"[0-9a-f]{1,11}")


@dataclass(frozen=True, slots=True)
class Conditions:
    """A query in the database's terms.

    One segment must contain all `phrases`. Its transcript must meet the `others` and have a key in
    [`first`, `end`).
    """

    phrases: tuple[Phrase, ...]
    others: tuple[ColumnElement[bool], ...]
    first: int
    end: int


def conditions_of(query: Query, owner: str | None) -> Conditions:
    """Translate a query about one owner's transcripts, or about all with None.

    Raises BadRequest for an invalid one.
    """
    if not 1 <= query.limit <= LONGEST_PAGE:
        raise BadRequest(f"A page has 1 to {LONGEST_PAGE} transcripts, not {query.limit}.")
    check_texts(owner, query.recording)
    first, conditions = 0, []
    if owner is not None:
        conditions.append(transcripts.c.owner == owner)
    if query.source is not None:
        conditions.append(transcripts.c.source == query.source.value)
    if query.recording is not None:
        conditions.append(transcripts.c.recording == query.recording)
    if query.since is not None:
        since = min(max(aware(query.since), EARLIEST), LATEST)
        first = key_of(since)
        conditions.append(transcripts.c.started >= since)
    if query.until is not None:
        conditions.append(transcripts.c.started < aware(query.until))
    if query.before is not None and not _CURSOR.fullmatch(query.before):
        raise BadRequest(f"No page gave {shown(query.before)} as its next. Begin without it.")
    end = LAST_KEY if query.before is None else min(int(query.before, 16), LAST_KEY)
    phrases = () if query.words is None else phrases_of(query.words)
    return Conditions(phrases, tuple(conditions), first, end)
