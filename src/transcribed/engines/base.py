"""The contract between speech recognition engines and the code that uses them.

Services use the asynchronous `Engine` and `RecognitionStream`. An engine that computes in this process
implements the synchronous `LocalEngine` and `LocalStream` instead: the scheduler decides when and on which
thread each step runs, and adapts them to the asynchronous contract.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, Self, runtime_checkable

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
    """The current recognition result of one segment; times in seconds from the start of the stream.

    Segments are numbered from 0 in the order of their audio. All hypotheses of a segment precede those of
    the next segment, and the last one is `final`. `text` is the words, joined by spaces. `language` is the
    identified language; None if identification was not requested. `model` is the name of the model that
    made this result, which may be another one in the segment's next result; None if the engine does not
    name its models.
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
    model: str | None = None


RecognitionEvent = Hypothesis | SpeechEvent
"""An event that comes from recognition itself."""
StreamEvent = RecognitionEvent | Notice
"""Any event of a stream: recognition, and notices to the client."""


class SegmentSpeechEvents:
    """Derives speech events from hypotheses, for engines without voice activity events of their own.

    Speech starts with a segment's first hypothesis and ends with its final. Without `enabled`, there are
    no speech events.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._speaking = False

    def with_events(self, hypothesis: Hypothesis) -> list[RecognitionEvent]:
        """Return the hypothesis, preceded by the speech events that it implies."""
        events: list[RecognitionEvent] = []
        if self._enabled and not self._speaking:
            events.append(SpeechStarted(hypothesis.start))
        if self._enabled and hypothesis.final:
            events.append(SpeechEnded(hypothesis.end))
        self._speaking = not hypothesis.final
        return [*events, hypothesis]


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """The state of one stream for monitoring; amounts of audio in seconds.

    `lag` is the received audio that waits to be recognised. `sent` is the audio sent to a remote service,
    including repetitions, because the service bills them; None for local engines. `partial_model` and
    `final_model` are the models that made the latest partial and the latest final; None before the first,
    and if the engine does not name its models.
    """

    pace: Pace
    received: float
    lag: float
    sent: float | None = None
    partial_model: str | None = None
    final_model: str | None = None


class RecognitionStream(Protocol):
    """One stream of audio through an engine, and the events recognised in it."""

    async def send(self, samples: Samples) -> None:
        """Give audio; waits while the stream's buffer is full. Raises TranscribedError after a failure."""
        ...

    async def flush(self) -> None:
        """Close the open segment at the end of the audio given so far; later audio starts a new segment."""
        ...

    async def finish(self) -> None:
        """Declare the end of the audio. The iteration ends after the last hypotheses."""
        ...

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        """Yield all events. May be iterated once; raises TranscribedError if recognition failed."""
        ...

    @property
    def status(self) -> StreamStatus:
        """The current state; also available after the end of the stream."""
        ...

    async def aclose(self) -> None:
        """Release all resources, at any time. May be called more than once."""
        ...


class Engine(Protocol):
    """A loaded speech recognition engine."""

    @property
    def capabilities(self) -> Capabilities:
        """What the engine supports."""
        ...

    async def open(self, options: StreamOptions) -> RecognitionStream:
        """Open a new stream. Raises Unavailable if the engine has no capacity for it."""
        ...


class StepKind(Enum):
    """Kinds of steps, in descending priority."""

    FINAL = 0
    """Recognise a closed segment."""
    LISTEN = 1
    """Detect speech in new audio."""
    PARTIAL = 2
    """Recognise an open segment, which a busy machine does less often."""
    AHEAD = 3
    """Recognise a segment that is likely to close soon, which only an idle machine does."""


class Effort(Enum):
    """How much computation a step may use. The scheduler decides it for each step, by the load."""

    ALONE = "alone"
    """No other stream is computing, so that several cores may be used."""
    FULL = "full"
    """The best quality on one core."""
    REDUCED = "reduced"
    """The machine is busy, or a recording is read: partials come from the smallest of the engine's models.

    Finals have the quality of FULL.
    """


@dataclass(frozen=True, slots=True)
class NextStep:
    """The next step of a stream, and since when it is due.

    `since` is a position in the stream, in seconds: the step processes the audio after it.
    """

    kind: StepKind
    since: float


@dataclass(frozen=True, slots=True)
class Costs:
    """The cost of one live stream on a busy machine (Effort.REDUCED), in seconds of CPU time on one thread.

    `steady` is the cost of each second of audio (speech detection, finals), `partial` that of each partial.
    `share` is the share of their time for which the threads computed while the costs were measured, with
    all threads busy; other programs had the rest.
    """

    steady: float
    partial: float
    share: float = 1.0


class LocalStream(Protocol):
    """A stream that computes step by step. It is never used by two threads at once."""

    def accept(self, samples: Samples) -> None:
        """Take audio. Cheap: steps do the computation."""
        ...

    def flush(self) -> None:
        """Close the open segment at the end of the audio taken so far. Cheap: a step does the work."""
        ...

    def finish(self) -> None:
        """Declare the end of the audio."""
        ...

    @property
    def backlog(self) -> float:
        """Seconds of audio taken but not yet searched for speech."""
        ...

    @property
    def recognised(self) -> float:
        """The position in the stream, in seconds, up to which all speech is covered by hypotheses."""
        ...

    def next_step(self) -> NextStep | None:
        """Return what `step` would do now, or None if there is nothing to do. Cheap."""
        ...

    def step(self, effort: Effort) -> Sequence[RecognitionEvent]:
        """Do the next step, one bounded computation, and return its events."""
        ...


@runtime_checkable
class DetachingStream(LocalStream, Protocol):
    """A LocalStream that can go on while another thread recognises a segment that it has closed."""

    def detach_final(self) -> Callable[[Effort], Sequence[RecognitionEvent]]:
        """Take the closed segment out of the stream, whose next step must be a FINAL. Cheap.

        The function that is returned recognises the segment, and is called once, in any thread. Its events
        belong before those of all later steps.
        """
        ...


class LocalEngine(Protocol):
    """A loaded speech recognition engine that computes in this process."""

    @property
    def capabilities(self) -> Capabilities:
        """What the engine supports."""
        ...

    @property
    def costs(self) -> Costs:
        """The cost of a live stream on this machine, measured when the engine was loaded."""
        ...

    def open(self, options: StreamOptions) -> LocalStream:
        """Open a new stream. Cheap, but blocks while phrases are compiled that no open stream has."""
        ...


@runtime_checkable
class MeasurableEngine(LocalEngine, Protocol):
    """A LocalEngine whose costs are measured after it is loaded."""

    def measured(self) -> Self:
        """Return the engine with the costs that it has on this machine. Blocks.

        Nothing else should compute meanwhile: what does counts as the load of other programs.
        """
        ...


@runtime_checkable
class StepDownEngine(LocalEngine, Protocol):
    """A LocalEngine with a cheaper version, for new streams when the machine has no room for its own."""

    @property
    def reduced(self) -> LocalEngine:
        """The same engine with finals of lower quality at a lower cost."""
        ...


@runtime_checkable
class BatchingEngine(LocalEngine, Protocol):
    """A LocalEngine that can do a step of several streams together, at a lower cost than one by one."""

    def batch(self, kind: StepKind) -> int:
        """Return how many streams a step of this kind may serve together; 1 if batching saves nothing."""
        ...

    def step_together(
        self, streams: Sequence[LocalStream], effort: Effort
    ) -> Sequence[Sequence[RecognitionEvent] | Exception]:
        """Do the next step of each stream; all are due for the same kind. Return their events in order.

        A stream that fails has its exception in place of events, and the other streams are unaffected. An
        exception that is raised fails all of the streams.
        """
        ...
