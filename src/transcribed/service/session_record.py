"""Records of sessions, for the audit trail and for tracing."""

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
    """The trace of one open session."""

    def hear(self, event: LiveEvent) -> None:
        """Note an event before it is sent to the client."""
        ...

    def end(self, record: "SessionRecord") -> None:
        """End the trace."""
        ...


Tracing = Callable[["SessionRecord"], SessionTrace]
"""Begins the trace of a session."""


@dataclass(kw_only=True, slots=True)
class SessionRecord:
    """The record of one session, or of one connection to a session that outlives connections.

    `id` is the transcript's id, `recording` the name of a stored recording, `seconds` the length of the
    audio received, `first_audio` the time of its beginning on the monotonic clock. `failure` is the code
    of the error that ended the session, or a description of another early end.
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
        """The outcome of the session, as of now."""
        return Outcome.OK if self.failure in {None, _GONE, _BROKEN_OFF} else Outcome.FAILED

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record the session's opening and end in the trail and the trace. Exceptions are re-raised."""
        trail.record(
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
            trail.record(
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
        """The session's events. Errors are noted here, because a front end may handle them itself."""
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
        """Note the first error, which ended the session."""
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
