"""The conversation on `/stream`: it receives names of recordings and live audio, and sends transcripts."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from transcribed.errors import TranscribedError
from transcribed.http.inbox import audio_ahead
from transcribed.http.native.query import StreamQuery
from transcribed.service.access_keys import Access
from transcribed.service.transcription import Transcription
from transcribed.transcript import LiveEvent, Segment
from transcribed.wire import native as wire
from transcribed.wire.audio import AudioChunk, EndOfAudio, Flush


class NativeConversation:
    """One connection to `/stream`, as a Conversation."""

    def __init__(self, transcription: Transcription, query: StreamQuery, access: Access) -> None:
        self._transcription = transcription
        self._query = query
        self._access = access
        self._request = query.request(access.principal.owner)
        self._sent: tuple[str, str] | None = None

    @property
    def audio_ahead(self) -> int:
        """The bytes of live audio that may wait in memory."""
        return audio_ahead(self._request.format)

    def decode(self, message: str | bytes) -> wire.TranscribeFile | AudioChunk | EndOfAudio | Flush | None:
        """A message as a name or audio; None for a goodbye. Raises BadRequest."""
        return wire.decode(message, self._query.format)

    def answer(self, request: wire.TranscribeFile) -> AsyncGenerator[LiveEvent, None]:
        """The events of the named recording. Raises TranscribedError."""
        self._access.check()
        return self._transcription.transcribe_recording(request.name, self._request, self._query.pace)

    async def listen(self, chunks: AsyncIterator[bytes | Flush]) -> AsyncGenerator[LiveEvent, None]:
        """The events of live audio while it arrives. Raises TranscribedError."""
        self._access.check()
        opening = self._transcription.open_live(self._request)
        async with opening as live, aclosing(live.events(chunks)) as events:
            async for event in events:
                yield event

    def encode(self, event: LiveEvent) -> str | None:
        """An event as a message; None if its text was already sent."""
        if self._query.format == "text" and isinstance(event, Segment) and not event.final:
            if (event.id, event.text) == self._sent:
                return None  # Only the stability of words has changed, which text does not show.
            self._sent = (event.id, event.text)
        return wire.encode(event, self._query.format)

    def encode_error(self, error: TranscribedError) -> str:
        """An error as a message."""
        return wire.encode_error(error, self._query.format)
