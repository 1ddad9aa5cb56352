"""The conversation on `/stream`: it receives names of recordings and live audio, and sends transcripts."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from transcribed.errors import TranscribedError
from transcribed.http.inbox import audio_ahead
from transcribed.http.native.query import StreamQuery
from transcribed.service.access_keys import Access
from transcribed.service.broadcasts import CONTINUED, Broadcast, Broadcasts, Claim
from transcribed.service.live_audio import BreakWatch
from transcribed.service.transcription import Transcription
from transcribed.transcript import LiveEvent, Segment, Shared
from transcribed.wire import native as wire
from transcribed.wire.audio import AudioChunk, EndOfAudio, Flush


class NativeConversation:
    """One connection to `/stream`, as a Conversation."""

    def __init__(
        self, transcription: Transcription, broadcasts: Broadcasts, query: StreamQuery, access: Access
    ) -> None:
        self._transcription = transcription
        self._broadcasts = broadcasts
        self._query = query
        self._access = access
        self._request = query.request(access.principal.owner)
        self._share_from = query.share_from
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
        if self._query.shared:
            return self._shared_recording(request.name, str(uuid.uuid4()))
        return self._transcription.transcribe_recording(request.name, self._request, self._query.pace)

    async def listen(self, chunks: AsyncIterator[bytes | Flush]) -> AsyncGenerator[LiveEvent, None]:
        """The events of live audio while it arrives. Raises TranscribedError."""
        self._access.check()
        claim = self._claim()
        if claim is not None:
            await self._break_off(claim.broadcast)
        audio = BreakWatch(chunks)
        opening = self._transcription.open_live(self._request)
        async with opening as live, aclosing(live.events(audio)) as events:
            shared = self._shared(live.session_id, events, claim, audio=audio)
            async with aclosing(shared if self._query.shared else events) as shown:
                async for event in shown:
                    yield event

    def _claim(self) -> Claim | None:
        """The claim of the broadcast that this connection continues, if there is one."""
        return self._broadcasts.claim(self._request.owner, self._query.continuation)

    async def _break_off(self, former: Broadcast) -> None:
        """End the session before this one, if it still seems to run."""
        if former.part is not None and not former.away:
            await self._transcription.break_off(former.owner, former.part.session_id, CONTINUED)

    async def _shared_recording(self, name: str, session_id: str) -> AsyncGenerator[LiveEvent, None]:
        """The events of a recording, which is shared once its first event shows that it can be read."""
        request = replace(self._request, session_id=session_id)
        opened = self._transcription.transcribe_recording(name, request, self._query.pace)
        async with aclosing(opened) as events:
            first = await anext(events)
            async with aclosing(self._shared(session_id, events, self._claim(), first)) as shared:
                async for event in shared:
                    yield event

    async def _shared(
        self,
        session_id: str,
        events: AsyncIterator[LiveEvent],
        claim: Claim | None,
        first: LiveEvent | None = None,
        audio: BreakWatch | None = None,
    ) -> AsyncGenerator[LiveEvent, None]:
        """The link for viewers, then the events, which they get too."""
        start, self._share_from = self._share_from, None  # That of the connection's first audio.
        with self._broadcasts.share(self._request.owner, session_id, _encode_shared, claim, start) as part:
            broadcast = part.broadcast
            yield Shared(session_id, f"/live/{broadcast.link}", broadcast.continuation, part.start)
            if first is not None:
                part.publish(first)
                yield first
            async for event in events:
                part.publish(event, broken=audio is not None and audio.broken)
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


def _encode_shared(event: LiveEvent) -> str | None:
    return wire.encode(event, "json")
