"""One stream of an Amazon client: decodes its messages to audio, and encodes events as messages."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from transcribed.clock import utc_now
from transcribed.errors import (
    BadRequest,
    LimitExceeded,
    TranscribedError,
    UnreadableAudio,
)
from transcribed.http.inbox import audio_ahead
from transcribed.service.transcription import LiveTranscription
from transcribed.transcript import LiveEvent, Segment
from transcribed.wire import amazon as wire
from transcribed.wire.amazon_parameters import (
    StreamRequest,
)
from transcribed.wire.audio import AudioChunk, EndOfAudio, Flush
from transcribed.wire.eventstream import Message

_MAGIC = {"flac": b"fLaC", "ogg-opus": b"OggS"}


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest duration of a stream in seconds, and whether it must end with an empty frame."""

    longest: float
    strict: bool


class AmazonStreamHandler:
    """A LiveStreamHandler for one StartStreamTranscription, whose engine stream is already open."""

    def __init__(
        self,
        request: StreamRequest,
        reader: wire.AudioReader,
        limits: Limits,
        live: LiveTranscription,
    ) -> None:
        self._request = request
        self._reader = reader
        self._limits = limits
        self._live = live
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + limits.longest
        self._magic = _MAGIC.get(request.echo["media-encoding"], b"")
        self._first = b""

    @property
    def audio_ahead(self) -> int:
        """The bytes of live audio that may wait in memory."""
        return audio_ahead(self._request.format)

    def decode(self, message: Message | None) -> AudioChunk | EndOfAudio:
        """A message as audio; None stands for the end of a request's body. Raises TranscribedError."""
        self._live.confirm()
        if self._loop.time() >= self._until:
            raise LimitExceeded(
                f"The stream has lasted for {self._limits.longest:g} seconds, which is the longest "
                "permitted duration. Continue with another stream.",
                retry_after=0,
            )
        if message is None:
            if self._limits.strict:
                raise BadRequest("A complete signal was sent without the preceding empty frame.")
            return EndOfAudio()
        item = self._reader.read(message, utc_now())
        if self._magic and isinstance(item, AudioChunk):
            self._check_container(item.data)
        return item

    def _check_container(self, data: bytes) -> None:
        self._first += data[: len(self._magic)]
        if not self._first.startswith(self._magic[: len(self._first)]):
            raise UnreadableAudio(
                f"The audio does not begin like {self._request.echo['media-encoding']}. Send it from its "
                "first byte, or correct media-encoding."
            )
        if len(self._first) >= len(self._magic):
            self._magic = b""

    def listen(self, chunks: AsyncIterator[bytes | Flush]) -> AsyncGenerator[LiveEvent, None]:
        """The events of the audio while it arrives. Raises TranscribedError."""
        return self._live.events(chunks)

    def encode(self, event: LiveEvent) -> bytes | None:
        """A segment as an event-stream message; None for other events, which Amazon does not have."""
        return wire.transcript_message(event) if isinstance(event, Segment) else None

    def encode_error(self, error: TranscribedError) -> bytes:
        """An error as an exception message."""
        return wire.exception_message(error)
