"""A deterministic engine that replays a script.

It is for tests of this project and of programs that use it. Its results depend only on the amount of audio
received; in `levels.py` they depend on the audio. A script is JSON:

    {"language": "en-US", "events": [
        {"at": 0.5, "text": "This is a"},
        {"at": 1.0, "text": "This is a test.", "final": true, "model": "large"},
        {"at": 2.0, "error": "the recogniser fell over"}
    ]}

An event is due when `at` seconds of audio have been received; those with `"at": "end"` are due at the end
of the audio. White space in a text separates words. A segment starts at the end of the one before it, and
its words share its time equally. An event with `error` makes the stream fail. A flush makes the last
partial final, and the script continues in the next segment. `model` is the name of the model in the result.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import (
    Costs,
    Effort,
    Hypothesis,
    NextStep,
    RecognitionEvent,
    SegmentSpeechEvents,
    StepKind,
)
from transcribed.engines.testing.levels import LevelEngine, LevelScript
from transcribed.errors import ConfigurationError, EngineFailure
from transcribed.options import Capabilities, Stability, StreamOptions
from transcribed.transcript import Word


class ScriptedEvent(BaseModel):
    """One result, or an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Annotated[float, Field(ge=0)] | Literal["end"]
    text: str = ""
    final: bool = False
    error: str | None = None
    model: str | None = None

    @property
    def due(self) -> float:
        """Seconds of audio after which the event is due."""
        return math.inf if self.at == "end" else self.at

    @model_validator(mode="after")
    def _has_text_or_error(self) -> Self:
        if bool(self.text) == (self.error is not None):
            raise ValueError("an event has either a text or an error")
        return self


class Script(BaseModel):
    """A list of events, in the order of their times."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str = "en-US"
    events: tuple[ScriptedEvent, ...]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        times = [event.due for event in self.events]
        if times != sorted(times):
            raise ValueError("events must stand in the order of their times")
        return self


class ScriptedStream:
    """A LocalStream that replays a script."""

    def __init__(self, script: Script, options: StreamOptions) -> None:
        self._partials = options.partials
        self._events = list(reversed(script.events))
        self._marked = options.stability is not Stability.OFF
        self._speech = SegmentSpeechEvents(enabled=options.speech_events)
        self._last_partial = ""
        self._flushes: deque[float] = deque()
        self._received = 0
        self._finished = False
        self._segment = 0
        self._start = 0.0

    def accept(self, samples: Samples) -> None:
        """Take audio."""
        self._received += len(samples)

    def flush(self) -> None:
        """Make the last partial final."""
        self._flushes.append(self._received / SAMPLE_RATE)

    def finish(self) -> None:
        """Declare the end of the audio."""
        self._finished = True

    @property
    def backlog(self) -> float:
        """Always 0."""
        return 0.0

    @property
    def recognised(self) -> float:
        """The position, in seconds, before the next due event."""
        step = self.next_step()
        return self._received / SAMPLE_RATE if step is None else step.since

    def next_step(self) -> NextStep | None:
        """Return what `step` would do now."""
        if self._is_flush_next:
            return NextStep(StepKind.FINAL, since=self._flushes[0])
        if not self._events or not self._is_due(self._events[-1]):
            return None
        event = self._events[-1]
        return NextStep(
            StepKind.FINAL if event.final else StepKind.PARTIAL,
            since=min(event.due, self._received / SAMPLE_RATE),
        )

    def step(self, effort: Effort) -> Sequence[RecognitionEvent]:  # noqa: ARG002 - a step takes no time
        """Return the events of the next due script event. Raises EngineFailure for an error."""
        if self._is_flush_next:
            at, text = self._flushes.popleft(), self._last_partial
            return self._events_of(ScriptedEvent(at=at, text=text, final=True)) if text else ()
        event = self._events.pop()
        if event.error is not None:
            raise EngineFailure(event.error)
        return self._events_of(event)

    @property
    def _is_flush_next(self) -> bool:
        return bool(self._flushes) and not (self._events and self._events[-1].due <= self._flushes[0])

    def _events_of(self, event: ScriptedEvent) -> Sequence[RecognitionEvent]:
        self._last_partial = "" if event.final else event.text
        if not (event.final or self._partials):
            return ()
        end = min(event.due, self._received / SAMPLE_RATE)
        words = event.text.split()
        hypothesis = Hypothesis(
            segment=self._segment,
            start=self._start,
            end=end,
            text=" ".join(words),
            final=event.final,
            words=tuple(self._words(words, end, self._stable(event))),
            model=event.model,
        )
        if event.final:
            self._segment += 1
            self._start = end
        return self._speech.with_events(hypothesis)

    def _words(self, texts: Sequence[str], end: float, stable: bool | None) -> Iterator[Word]:
        share = (end - self._start) / max(1, len(texts))
        for number, text in enumerate(texts):
            start = self._start + number * share
            yield Word(text, start, min(start + share, end), confidence=1.0, stable=stable)

    def _stable(self, event: ScriptedEvent) -> bool | None:
        # The script may change any word before the final.
        return event.final if self._marked else None

    def _is_due(self, event: ScriptedEvent) -> bool:
        if event.at == "end":
            return self._finished
        return self._received / SAMPLE_RATE >= event.at


@dataclass(frozen=True, slots=True)
class ScriptedEngine:
    """A LocalEngine that replays a script in every stream."""

    script: Script

    @property
    def capabilities(self) -> Capabilities:
        """The language is that of the script."""
        return Capabilities(name="scripted", languages=(self.script.language,))

    @property
    def costs(self) -> Costs:
        """Nearly nothing."""
        return Costs(steady=1e-5, partial=1e-5)

    def open(self, options: StreamOptions) -> ScriptedStream:
        """Open a new stream, which starts at the beginning of the script."""
        return ScriptedStream(self.script, options)


def load(path: Path) -> ScriptedEngine | LevelEngine:
    """Read a script of either kind. Raises ConfigurationError, with the location of the mistake."""
    try:
        script = _EITHER.validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"The script {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'][1:])) or 'file'}: {e['msg']}" for e in error.errors()
        )
        raise ConfigurationError(f"The script {path} is not valid: {problems}.") from error
    return LevelEngine(script) if isinstance(script, LevelScript) else ScriptedEngine(script)


def _kind(script: object) -> str:
    return "levels" if isinstance(script, dict) and "levels" in script else "events"


_EITHER: TypeAdapter[Script | LevelScript] = TypeAdapter(
    Annotated[
        Annotated[Script, Tag("events")] | Annotated[LevelScript, Tag("levels")], Discriminator(_kind)
    ]
)
