"""The messages for one viewer of a shared session."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from transcribed.errors import BadRequest, LimitExceeded, TranscribedError
from transcribed.service.broadcasts import Broadcast
from transcribed.transcript import Notice
from transcribed.wire import native as wire


class Viewer:
    """One connection to `/live/{id}`, as an Audience."""

    def __init__(self, broadcast: Broadcast) -> None:
        self._broadcast = broadcast

    async def messages(self) -> AsyncGenerator[str, None]:
        """The messages of the session so far, then as they come. Raises the session's failure."""
        if self._broadcast.incomplete:
            notice = Notice(LimitExceeded.code, "The session is long, and its beginning is not kept here.")
            yield wire.encode(notice, "json") or ""
        async with aclosing(self._broadcast.watch()) as messages:
            async for message in messages:
                yield message

    def check(self, message: str | bytes) -> None:
        """Accept a message that says nothing, which ends the viewing. Raises BadRequest for others."""
        if message.strip():
            raise BadRequest(
                "A viewer sends nothing, or an empty message in order to leave. Audio and names of "
                "recordings are sent to /stream."
            )

    def encode_error(self, error: TranscribedError) -> str:
        """An error as a message."""
        return wire.encode_error(error, "json")
