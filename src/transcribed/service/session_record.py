"""What is told of a session that somebody opened: in the trail, and in a trace where there is one."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from transcribed.errors import Disconnected, TranscribedError
from transcribed.principal import NOBODY
from transcribed.service import trail
from transcribed.service.trail import Action, Outcome
from transcribed.transcript import LiveEvent

_GONE = "the client has gone"
_BROKEN_OFF = "broken off"


class SessionTrace(Protocol):
    """What a trace is told of one session, from when it is open."""

    def hear(self, event: LiveEvent) -> None:
        """An event, before its client is told."""
        ...

    def end(self, record: "SessionRecord") -> None:
        """It is over."""
        ...


Tracing = Callable[["SessionRecord"], SessionTrace]
"""Begins the trace of a session."""


@dataclass(kw_only=True, slots=True)
class SessionRecord:
    """One session, or one connection's part in a session that outlives connections.

    `owner` is whose it is, `id` that of its transcript, `recording` the name of a stored one, `seconds` is
    how much audio it has received, and `first_audio` when that began, on the monotonic clock. `failure` is
    the code of the error that it ended with, or words for another early end.
    """

    tracing: Tracing | None = None
    owner: str = NOBODY
    engine: str = ""
    id: str = ""
    is_live: bool = True
    recording: str | None = None
    seconds: float = 0.0
    first_audio: float | None = None
    failure: str | None = None
    trace: SessionTrace | None = field(default=None, init=False)

    @property
    def outcome(self) -> Outcome:
        """What became of it, or would if it ended now."""
        return Outcome.OK if self.failure in {None, _GONE, _BROKEN_OFF} else Outcome.FAILED

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell of a session that is open for as long as this lasts. What ends it early is raised on."""
        trail.tell(
            Action.SESSION_OPENED,
            self.id,
            owner=self.owner,
            engine=self.engine,
            recording=self.recording,
        )
        self.trace = None if self.tracing is None else self.tracing(self)
        try:
            yield
        except BaseException as error:
            self._note(error)
            raise
        finally:
            if self.trace is not None:
                self.trace.end(self)
            trail.tell(
                Action.SESSION_ENDED,
                self.id,
                owner=self.owner,
                outcome=self.outcome,
                engine=self.engine,
                recording=self.recording,
                seconds=round(self.seconds, 3),
                error=self.failure,
            )

    async def heard(self, events: AsyncGenerator[LiveEvent, None]) -> AsyncGenerator[LiveEvent, None]:
        """The session's events. What they fail with is noted: a front end may tell it and raise nothing."""
        try:
            async with aclosing(events):
                async for event in events:
                    if self.trace is not None:
                        self.trace.hear(event)
                    yield event
        except BaseException as error:
            self._note(error)
            raise

    def _note(self, error: BaseException) -> None:
        """The first is what ended the session."""
        if self.failure is not None:
            return
        match error:
            case Disconnected():
                self.failure = _GONE
            case TranscribedError():
                self.failure = error.code
            case asyncio.CancelledError() | GeneratorExit():
                self.failure = _BROKEN_OFF
            case _:
                self.failure = TranscribedError.code
