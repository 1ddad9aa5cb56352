"""The TranscriptStore protocol and the values that it takes and returns."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from transcribed.principal import NOBODY
from transcribed.transcript import Segment


class TranscriptSource(Enum):
    """Where the speech of a transcript came from."""

    FILE = "file"
    LIVE = "live"
    OPENAI = "openai"
    """Sent to OpenAI's API, as a file or live; a file is not kept as a recording."""
    JOB = "job"
    """A recording that a job transcribed in the background."""


@dataclass(frozen=True, slots=True)
class TranscriptInfo:
    """The description of a transcript, without its text.

    `started` and `ended` are in UTC; `ended` is None while the transcript grows, and if the server was
    killed before its end. `audio_seconds` is the length of the audio; while the transcript grows, the end
    of its last segment.
    """

    id: str
    source: TranscriptSource
    engine: str
    language: str
    started: datetime
    recording: str | None = None
    ended: datetime | None = None
    audio_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A final segment, and the correction of its text, if any."""

    segment: Segment
    correction: str | None = None

    @property
    def number(self) -> int:
        """The segment's number in its transcript."""
        return self.segment.number

    @property
    def text(self) -> str:
        """The corrected text, or else the recognised one."""
        return self.segment.text if self.correction is None else self.correction


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole transcript, its segments in order."""

    info: TranscriptInfo
    segments: tuple[StoredSegment, ...]

    @property
    def version(self) -> str:
        """What is different after each change: 32 hexadecimal digits."""
        corrections = (
            (each.number, each.correction) for each in self.segments if each.correction is not None
        )
        return version_of(self.info, self.segments[-1].number if self.segments else None, corrections)


def version_of(info: TranscriptInfo, last: int | None, corrections: Iterable[tuple[int, str]]) -> str:
    """The version of a transcript: of its description, the number of its last segment, and corrections.

    `corrections` are numbers of segments and texts, in order. Segments are never changed otherwise.
    """
    return hashlib.sha256(repr((info, last, tuple(corrections))).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Query:
    """Conditions on transcripts; None means any.

    `words` are searched without regard to order, case, accents and punctuation; "words in quotes" must be
    consecutive. All must be in one segment, in its corrected text. Transcripts must start in
    [`since`, `until`). `limit` is 1 to 1000. `before` is the `next` of the previous page.
    """

    words: str | None = None
    source: TranscriptSource | None = None
    recording: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a segment's text around searched words.

    `number` is the segment's number, `start` its time in seconds. `pieces` are consecutive pieces of the
    text, each with whether it is a hit.
    """

    number: int
    start: float
    pieces: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class FoundTranscript:
    """A transcript on a page, with excerpts around the first hits of a search, or else its first words."""

    info: TranscriptInfo
    excerpts: tuple[Excerpt, ...] = ()
    owner: str = NOBODY


@dataclass(frozen=True, slots=True)
class Page:
    """Transcripts, newest first; `next` is None on the last page."""

    found: tuple[FoundTranscript, ...]
    next: str | None = None


class OwnersTranscripts(Protocol):
    """The transcripts of one owner in a TranscriptStore; those of other owners do not exist here.

    Methods raise NotFound, BadRequest, StorageFull and StorageFailure, and end within half a minute. A call
    that raised StorageFailure may have succeeded nevertheless. Datetimes must have a time zone.
    """

    async def add(self, info: TranscriptInfo) -> None:
        """Begin a transcript; does nothing if there is one with this id, so that a call can be repeated."""
        ...

    async def append(self, segment: Segment) -> None:
        """Store a final segment of the transcript `segment.session` durably.

        Numbers increase and may have gaps. Does nothing if there is a segment with this number, so that a
        call whose answer was lost can be repeated. Raises NotFound if the transcript was deleted.
        """
        ...

    async def end(self, transcript: str, ended: datetime, audio_seconds: float) -> None:
        """Mark a transcript as ended, with the length of its audio."""
        ...

    async def page(self, query: Query) -> Page:
        """The owner's transcripts that meet the query, in reverse order of their start.

        Raises BadRequest for an invalid `before`, and for `words` without a letter or digit.
        """
        ...

    async def has(self, transcript: str) -> bool:
        """Whether there is a transcript with this id."""
        ...

    async def get(self, transcript: str) -> Transcript:
        """A whole transcript."""
        ...

    async def version(self, transcript: str) -> str:
        """The `version` of a transcript, without reading its segments."""
        ...

    async def correct(self, transcript: str, number: int, text: str | None) -> StoredSegment:
        """Set or, with None, remove the correction of a segment's text. Returns the changed segment."""
        ...

    async def rename_recording(self, name: str, new: str) -> None:
        """Give the recording of all transcripts and jobs that have the recording `name` the name `new`."""
        ...

    async def delete(self, transcript: str) -> None:
        """Delete a transcript and all its segments."""
        ...


class TranscriptStore(Protocol):
    """Durable storage of all owners' transcripts. Methods end and raise as those of OwnersTranscripts."""

    @property
    def place(self) -> str:
        """The path or address, without passwords, for messages."""
        ...

    def of(self, owner: str) -> OwnersTranscripts:
        """The transcripts of one owner, who need not have any yet. Usable until the store is closed."""
        ...

    async def page(self, query: Query) -> Page:
        """The transcripts of all owners that meet the query, in reverse order of their start.

        Raises BadRequest for an invalid `before`, and for `words` without a letter or digit.
        """
        ...

    async def delete_before(
        self, moment: datetime, deleted: Callable[[str, str], None] = lambda *_: None
    ) -> int:
        """Delete the transcripts that ended before a moment, or last grew before it; returns how many.

        Calls `deleted` with the owner and the id of each as soon as it is gone.
        """
        ...

    async def aclose(self) -> None:
        """Close the store."""
        ...
