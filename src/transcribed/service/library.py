"""The recordings that users upload."""

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass

from transcribed.audio.formats import AudioFormat
from transcribed.audio.source import BlockingSource, Source
from transcribed.decoding.decoders import Decoders
from transcribed.errors import TooLarge, TranscribedError, UnreadableAudio
from transcribed.storage.media import MediaStore, StoredMedia
from transcribed.storage.names import valid_name

_REMEMBERED_FORMATS = 4096


@dataclass(frozen=True, slots=True)
class Recording:
    """What is stored, and what it is; `format` is None for a file that is not audio."""

    media: StoredMedia
    format: AudioFormat | None


class Library:
    """Recordings that can all be decoded, by valid names, each at most `max_bytes` long."""

    def __init__(self, store: MediaStore, decoders: Decoders, max_bytes: int) -> None:
        self._store = store
        self._decoders = decoders
        self._max_bytes = max_bytes
        self._formats: dict[tuple[str, str], AudioFormat | None] = {}

    async def add(self, name: str, chunks: AsyncIterator[bytes]) -> str:
        """Store a recording in place of one of that name; returns the name as it is stored.

        Raises InvalidName, TooLarge, UnreadableAudio or what the chunks raise; then nothing is changed.
        """
        name = valid_name(name)
        staged = await self._store.stage(self._limited(chunks))
        try:
            if staged.size == 0:
                raise UnreadableAudio("The file is empty. Send a recording.")
            await self._probe(staged)
            await self._store.commit(staged, name)
        except BaseException:
            await self._store.discard(staged)
            raise
        return name

    async def find(self, name: str) -> StoredMedia:
        """The recording of a name. Raises InvalidName and NotFound."""
        return await self._store.find(valid_name(name))

    async def list(self) -> list[Recording]:
        """All recordings, in the order of their names."""
        return [Recording(media, await self._format(media)) for media in await self._store.list()]

    async def delete(self, name: str) -> None:
        """Remove a recording. Raises InvalidName and NotFound."""
        await self._store.delete(valid_name(name))

    async def open(self, name: str) -> Source:
        """A recording, to be read and closed. Raises InvalidName and NotFound."""
        return self._opened(await self.find(name))

    def _opened(self, media: StoredMedia) -> Source:
        return BlockingSource(self._store.open(media), media.size)

    async def _probe(self, media: StoredMedia) -> AudioFormat:
        with closing(self._opened(media)) as source:
            return await self._decoders.probe(source)

    def read(self, media: StoredMedia, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes [start, end) of a recording."""
        return self._store.read(media, start, end)

    async def _limited(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self._max_bytes:
                raise TooLarge(
                    f"The file is larger than {self._max_bytes} bytes, the most this server takes. "
                    "Send it in parts, or raise max_upload_bytes."
                )
            yield chunk

    async def _format(self, media: StoredMedia) -> AudioFormat | None:
        key = (media.name, media.version)
        if key not in self._formats:
            if len(self._formats) >= _REMEMBERED_FORMATS:
                self._formats.clear()
            try:
                self._formats[key] = await self._probe(media)
            except TranscribedError:
                self._formats[key] = None
        return self._formats[key]
