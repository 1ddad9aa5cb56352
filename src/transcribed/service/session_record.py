"""What is told of a session that somebody opened: in the trail when it begins and when it ends."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from transcribed.errors import Disconnected, TranscribedError
from transcribed.service import trail
from transcribed.service.trail import Action, Outcome
from transcribed.transcript import LiveEvent

_GONE = "the client has gone"
_BROKEN_OFF = "broken off"


@dataclass(slots=True)
class SessionRecord:
    """One session, or one connection's part in a session that outlives connections.

    `id` is that of its transcript, `recording` is None for live audio, `seconds` is how much audio it has
    received. `failure` is the code of the error that it ended with, or words for another early end.
    """

    engine: str = ""
    id: str = ""
    recording: str | None = None
    seconds: float = 0.0
    failure: str | None = None

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell of a session that is open for as long as this lasts. What ends it early is raised on."""
        trail.tell(Action.SESSION_OPENED, self.id, engine=self.engine, recording=self.recording)
        try:
            yield
        except BaseException as error:
            self._note(error)
            raise
        finally:
            is_whole = self.failure in {None, _GONE, _BROKEN_OFF}
            trail.tell(
                Action.SESSION_ENDED,
                self.id,
                outcome=Outcome.OK if is_whole else Outcome.FAILED,
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
