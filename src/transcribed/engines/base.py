"""The contract between recognisers and everything above them.

`Engine` and `RecognitionStream` are what services see, and are asynchronous. A recogniser that computes
in this process implements `LocalEngine` and `LocalStream` instead, which are synchronous and leave the
question of when and where to compute to the scheduler.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

from transcribed.audio.formats import Samples
from transcribed.options import Capabilities, Pace, StreamOptions
from transcribed.transcript import (
    Entity,
    LanguageScore,
    Notice,
    SpeechEnded,
    SpeechEvent,
    SpeechStarted,
    Word,
)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What an engine takes a segment to say; times in seconds from the stream's start.

    Segments are numbered from 0 in the order of their audio. The hypotheses of a segment come before
    those of the next, and the last of them is `final`. `text` is the words with a space between them.
    `language` is what the engine found it to be in; None where it was not asked to find out.
    """

    segment: int
    start: float
    end: float
    text: str
    final: bool
    words: tuple[Word, ...] = field(default=())
    language: str | None = None
    entities: tuple[Entity, ...] = ()
    languages: tuple[LanguageScore, ...] = ()


LocalSaid = Hypothesis | SpeechEvent
"""What a recogniser says."""
Said = LocalSaid | Notice
"""What a stream says: what a recogniser does, and what a client should know beside it."""


class SegmentSpeech:
    """Speech events of an engine that tells segments alone, where `asked`.

    Speech starts where a segment does that has a hypothesis, and ends where it is final.
    """

    def __init__(self, *, asked: bool) -> None:
        self._asked = asked
        self._speaking = False

    def around(self, hypothesis: Hypothesis) -> list[LocalSaid]:
        """The hypothesis, and the events before it."""
        said: list[LocalSaid] = []
        if self._asked and not self._speaking:
            said.append(SpeechStarted(hypothesis.start))
        if self._asked and hypothesis.final:
            said.append(SpeechEnded(hypothesis.end))
        self._speaking = not hypothesis.final
        return [*said, hypothesis]


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream: its pace, the seconds of audio received, and how many of them wait (its lag).

    `sent` is how many seconds of audio went to somebody else's service for it, all that was sent again
    included, since that is what costs; None where no engine of it has such a service.
    """

    pace: Pace
    received: float
    lag: float
    sent: float | None = None


class RecognitionStream(Protocol):
    """One session's state inside an engine."""

    async def send(self, samples: Samples) -> None:
        """Give audio; waits while the stream holds as much as it may. Raises TranscribedError."""
        ...

    async def flush(self) -> None:
        """Close the open segment behind all audio given so far: what comes later is in another."""
        ...

    async def finish(self) -> None:
        """No more audio comes. The last hypotheses do, and then the iteration ends."""
        ...

    def __aiter__(self) -> AsyncIterator[Said]:
        """The hypotheses, once, and beside them when speech starts and ends, and what a client should know.

        Raises TranscribedError where recognition failed.
        """
        ...

    @property
    def status(self) -> StreamStatus:
        """For those who watch; also when it has ended."""
        ...

    async def aclose(self) -> None:
        """Give everything back, at any time, on every path. May be called twice."""
        ...


class Engine(Protocol):
    """A loaded recogniser."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    async def open(self, options: StreamOptions) -> RecognitionStream:
        """A new stream. Raises Unavailable when there is no room for it."""
        ...


class StepKind(Enum):
    """What a step would do, the most urgent first."""

    FINAL = 0
    """Recognise a closed segment."""
    LISTEN = 1
    """Find speech in new audio."""
    PARTIAL = 2
    """Recognise an open segment: what a busy machine does less often."""
    AHEAD = 3
    """Recognise a segment that may be about to close: what only an idle machine does."""


@dataclass(frozen=True, slots=True)
class NextStep:
    """What a step would do, and how long that has been waiting.

    `since` is a position in the audio, in seconds: the step is about what lies behind it.
    """

    kind: StepKind
    since: float


@dataclass(frozen=True, slots=True)
class Costs:
    """What one live stream costs, in seconds of one thread's time.

    `steady` is spent on each second of audio whatever happens (listening, finals), `partial` on each
    partial.
    """

    steady: float
    partial: float


class LocalStream(Protocol):
    """A stream as a machine that computes step by step; never used by two threads at once."""

    def accept(self, samples: Samples) -> None:
        """Take audio. Cheap: nothing is computed."""
        ...

    def flush(self) -> None:
        """Close the open segment behind all audio taken so far. Cheap: a step does it."""
        ...

    def finish(self) -> None:
        """No more audio comes."""
        ...

    @property
    def backlog(self) -> float:
        """Seconds of audio taken and not listened to yet."""
        ...

    @property
    def recognised(self) -> float:
        """The position, in seconds, up to which all speech is in a hypothesis."""
        ...

    def next_step(self) -> NextStep | None:
        """What `step` would do now; None while there is nothing to do. Cheap."""
        ...

    def step(self, *, alone: bool) -> Sequence[LocalSaid]:
        """Do it: one bounded computation. `alone`: nobody else computes, so that it may use more cores."""
        ...


class LocalEngine(Protocol):
    """A loaded recogniser that computes in this process."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def costs(self) -> Costs:
        """What a live stream costs on this machine, as measured when the engine was loaded."""
        ...

    def open(self, options: StreamOptions) -> LocalStream:
        """A new stream. Cheap."""
        ...


@runtime_checkable
class BatchingEngine(LocalEngine, Protocol):
    """A LocalEngine to which a step of several of its streams costs less than a step of each."""

    def batch(self, kind: StepKind) -> int:
        """How many streams such a step may be of; 1 where that spares nothing."""
        ...

    def step_together(self, streams: Sequence[LocalStream]) -> Sequence[Sequence[LocalSaid] | Exception]:
        """A step of each of these streams, which all wait for the same kind: what they say, in their order.

        A stream that fails has its failure and leaves the others as they were; what is raised ends all.
        """
        ...
