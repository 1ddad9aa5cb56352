"""The contract of a store of transcripts."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from transcribed.transcript import Segment


class TranscriptSource(Enum):
    """Where the speech of a transcript came from."""

    FILE = "file"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class TranscriptInfo:
    """What is known of a transcript without its text.

    `started` and `ended` are in UTC; `ended` is None while it grows, and where the server was killed before
    its end. `audio_seconds` is the length of the audio, until the end that of what is final.
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
    """A final segment, and what somebody made of its text later."""

    segment: Segment
    correction: str | None = None

    @property
    def number(self) -> int:
        """That of the segment."""
        return self.segment.number

    @property
    def text(self) -> str:
        """What it says: as corrected, else as recognised."""
        return self.segment.text if self.correction is None else self.correction


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole transcript, its segments in their order."""

    info: TranscriptInfo
    segments: tuple[StoredSegment, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """Which transcripts; None leaves a question open.

    `words` are searched as they are, in any order, without regard to case, accents and punctuation; "words
    in quotes" one behind the other. All must be in one segment, as it was corrected. `since` is inclusive,
    `until` exclusive. `limit` is 1 to 1000. `before` is the `next` of the page before.
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
    """A place of a segment where searched words stand: its text around them, in pieces, True for a hit."""

    number: int
    start: float
    pieces: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class FoundTranscript:
    """A transcript of a page, with its first excerpts where words were searched, else its first words."""

    info: TranscriptInfo
    excerpts: tuple[Excerpt, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Transcripts, newest first; `next` is None on the last page."""

    found: tuple[FoundTranscript, ...]
    next: str | None = None


class TranscriptStore(Protocol):
    """Transcripts that last. Methods raise NotFound, BadRequest, StorageFull and StorageFailure.

    They end by themselves within half a minute. One that ended with StorageFailure may have come through
    nevertheless. Moments have a time zone.
    """

    @property
    def place(self) -> str:
        """Where they are kept, as it may be shown."""
        ...

    async def add(self, info: TranscriptInfo) -> None:
        """Begin a transcript."""
        ...

    async def append(self, segment: Segment) -> None:
        """Keep a final segment of the transcript `segment.session`; it outlives this process on return.

        Numbers rise and may have holes. What is there already is left as it is, so that a call whose
        answer was lost can be made again; so it is with `add`. NotFound if the transcript was deleted.
        """
        ...

    async def end(self, transcript: str, ended: datetime, audio_seconds: float) -> None:
        """No more segments come."""
        ...

    async def page(self, query: Query) -> Page:
        """Transcripts, newest first: by their start, to the millisecond.

        Raises BadRequest for a `before` that no page gave, and for `words` without a letter or digit.
        """
        ...

    async def has(self, transcript: str) -> bool:
        """Whether there is a transcript of this id; nothing of it is read."""
        ...

    async def get(self, transcript: str) -> Transcript:
        """One transcript."""
        ...

    async def correct(self, transcript: str, number: int, text: str | None) -> StoredSegment:
        """Put a text in place of that of a segment by its number; None takes the machine's own again."""
        ...

    async def delete(self, transcript: str) -> None:
        """Remove a transcript and all its segments."""
        ...

    async def delete_before(self, moment: datetime) -> int:
        """Remove what ended before a moment, or without an end was last heard of; returns how many."""
        ...

    async def aclose(self) -> None:
        """Give everything back."""
        ...
