"""The library of uploaded recordings."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from itertools import chain
from weakref import WeakValueDictionary

from transcribed.audio.formats import AudioFormat
from transcribed.audio.peaks import Peaks
from transcribed.audio.source import Source
from transcribed.decoding.decoders import Decoders
from transcribed.decoding.messages import format_from_json, format_to_json
from transcribed.errors import EngineFailure, TooLarge, TranscribedError, UnreadableAudio
from transcribed.service import trail
from transcribed.service.trail import Action
from transcribed.service.waveforms import Waveforms
from transcribed.storage.media import MediaStore, StoredMedia
from transcribed.storage.names import valid_name

LISTING_SECONDS = 5.0
"""The longest that `Library.list` waits for files to be probed."""

STOP_SECONDS = 5.0
"""Seconds for renaming what is being renamed when the server stops."""

_REMEMBERED_FORMATS = 65_536
_LOOKS_AT_ONCE = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recording:
    """A stored recording; `format` is None for a file that is not audio, or not probed yet."""

    media: StoredMedia
    format: AudioFormat | None


class Library:
    """Recordings by name, each of at most `max_bytes` bytes. Only audio is accepted. To be closed."""

    def __init__(self, store: MediaStore, decoders: Decoders, max_bytes: int) -> None:
        self._store = store
        self._decoders = decoders
        self._max_bytes = max_bytes
        self._waveforms = Waveforms(store, decoders)
        self._formats: dict[tuple[str, str], tuple[str, AudioFormat | None]] = {}
        self._naming = WeakValueDictionary[tuple[str, str], asyncio.Lock]()
        self._renaming: set[asyncio.Task[None]] = set()
        self._looking: dict[StoredMedia, asyncio.Task[None]] = {}
        self._at_once = asyncio.Semaphore(_LOOKS_AT_ONCE)

    async def add(self, owner: str, name: str, chunks: AsyncIterator[bytes]) -> str:
        """Store a recording, replacing the owner's of that name. Returns the normalised name.

        Raises InvalidName, TooLarge, UnreadableAudio, and what the chunks raise; then nothing changes.
        """
        name = valid_name(name)
        store = self._store.of(owner)
        staged = await store.stage(self._limited(chunks))
        try:
            if staged.size == 0:
                raise UnreadableAudio("The file is empty. Send a recording.")
            found = await self._probe(staged)
            async with self._only_one(owner, name):
                await store.commit(staged, name)
        except BaseException:
            await store.discard(staged)
            raise
        trail.record(Action.RECORDING_UPLOADED, name, owner=owner, bytes=staged.size)
        await self._note(replace(staged, name=name), found)
        return name

    async def find(self, owner: str, name: str) -> StoredMedia:
        """Look up an owner's recording. Raises InvalidName and NotFound."""
        return await self._store.of(owner).find(valid_name(name))

    async def list(self, owner: str | None) -> list[Recording]:
        """The recordings of an owner, or with None of all owners, sorted by name.

        Files that have not been probed are probed now, for LISTING_SECONDS at most; then the rest have no
        format yet, and are probed in the background.
        """
        stored = await (self._stored_by_all() if owner is None else self._store.of(owner).list())
        looking = {media: task for media in stored if (task := self._looking_at(media)) is not None}
        if looking:
            await asyncio.wait(looking.values(), timeout=LISTING_SECONDS)
        return [Recording(media, self._format(media)) for media in stored]

    async def rename(
        self, owner: str, name: str, new: str, follow: Callable[[str, str, str], Awaitable[None]]
    ) -> str:
        """Give an owner's recording another name. Returns it, normalised.

        `follow(owner, name, new)` renames what refers to the recording; if it fails, the recording keeps
        its name. Both happen also if the caller is cancelled. Raises InvalidName, NotFound, and Conflict if
        there is a recording of the new name.
        """
        name, new = valid_name(name), valid_name(new)
        store = self._store.of(owner)
        if new == name:
            await store.find(name)
            return name
        renaming = asyncio.create_task(self._rename(owner, name, new, follow), name="rename")
        self._renaming.add(renaming)
        renaming.add_done_callback(self._renaming.discard)
        await asyncio.shield(renaming)
        return new

    async def _rename(
        self, owner: str, name: str, new: str, follow: Callable[[str, str, str], Awaitable[None]]
    ) -> None:
        store = self._store.of(owner)
        async with self._only_one(owner, name, new):
            await store.rename(name, new)
            try:
                await follow(owner, name, new)
            except BaseException:
                try:
                    await store.rename(new, name)
                except TranscribedError as error:
                    _log.error("%r remains renamed to %r without its transcripts: %s", name, new, error)
                raise
            trail.record(Action.RECORDING_RENAMED, name, owner=owner, to=new)
            self._forget(owner, name)

    @asynccontextmanager
    async def _only_one(self, owner: str, *names: str) -> AsyncIterator[None]:
        """Let nothing else get or lose these names, so that no recording replaces another unnoticed."""
        async with AsyncExitStack() as held:
            # Always in the same order, so that two do not wait for one another.
            for name in sorted(names):
                await held.enter_async_context(self._naming.setdefault((owner, name), asyncio.Lock()))
            yield

    def _forget(self, owner: str, name: str) -> None:
        self._formats.pop((owner, name), None)
        self._waveforms.forget(owner, name)

    async def delete(self, owner: str, name: str) -> None:
        """Delete an owner's recording. Raises InvalidName and NotFound."""
        name = valid_name(name)
        async with self._only_one(owner, name):
            await self._store.of(owner).delete(name)
            trail.record(Action.RECORDING_DELETED, name, owner=owner)
            self._forget(owner, name)

    async def open(self, owner: str, name: str) -> Source:
        """Open an owner's recording; the caller closes it. Raises InvalidName and NotFound."""
        return await self._store.of(owner).open(await self.find(owner, name))

    async def read(self, media: StoredMedia, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """The bytes [start, end) of a recording."""
        is_told = False
        async for chunk in self._store.of(media.owner).read(media, start, end):
            if not is_told:
                trail.record(Action.RECORDING_READ, media.name, owner=media.owner, bytes=end - start)
                is_told = True
            yield chunk

    async def peaks(self, media: StoredMedia) -> Peaks:
        """The peaks of a recording's default track. Raises UnreadableAudio and LimitExceeded."""
        peaks = await self._waveforms.of(media)
        trail.record(Action.RECORDING_READ, media.name, owner=media.owner, bytes=peaks.pairs.nbytes)
        return peaks

    async def aclose(self) -> None:
        """Finish what is being renamed; stop probing files, and computing waveforms, in the background."""
        if self._renaming:
            await asyncio.wait(set(self._renaming), timeout=STOP_SECONDS)
        late = set(self._renaming)
        for renaming in late:
            renaming.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._waveforms.aclose()
        for task in list(self._looking.values()):
            task.cancel()
        await asyncio.gather(*self._looking.values(), return_exceptions=True)

    async def _stored_by_all(self) -> Sequence[StoredMedia]:
        async def stored_by(owner: str) -> Sequence[StoredMedia]:
            async with self._at_once:
                return await self._store.of(owner).list()

        lists = await asyncio.gather(*map(stored_by, await self._store.owners()))
        return sorted(chain.from_iterable(lists), key=lambda media: (media.name, media.owner))

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

    async def _probe(self, media: StoredMedia) -> AudioFormat:
        with closing(await self._store.of(media.owner).open(media)) as source:
            return await self._decoders.probe(source)

    def _looking_at(self, media: StoredMedia) -> "asyncio.Task[None] | None":
        """The task that probes a recording; None if its format is known."""
        if self._formats.get((media.owner, media.name), ("", None))[0] == media.version:
            return None
        if media not in self._looking:
            task = self._looking[media] = asyncio.create_task(self._look(media))
            task.add_done_callback(lambda _: self._looking.pop(media))
        return self._looking[media]

    async def _look(self, media: StoredMedia) -> None:
        async with self._at_once:
            try:
                noted = await self._noted(media)
                if noted is None:
                    found = await self._found(media)
                    await self._note(media, found)
                else:
                    self._remember(media, noted.format)
            except TranscribedError as error:
                # A failing store or an overload says nothing about the file: a later list tries again.
                _log.info("What %r is could not be found out: %s", media.name, error.message)
            except Exception:  # noqa: BLE001 - one file spoils no list
                _log.exception("Looking at %r failed.", media.name)

    async def _found(self, media: StoredMedia) -> AudioFormat | None:
        try:
            return await self._probe(media)
        except UnreadableAudio:
            return None

    async def _noted(self, media: StoredMedia) -> Recording | None:
        """The recording with the format in its note; None if there is no note for this version."""
        version, _, described = (await self._store.of(media.owner).note(media.name)).partition(b"\n")
        if version != media.version.encode():
            return None
        try:
            return Recording(media, format_from_json(described) if described else None)
        except EngineFailure:
            return None

    async def _note(self, media: StoredMedia, found: AudioFormat | None) -> None:
        """Store a recording's format in its note, so that it is not probed again after a restart."""
        self._remember(media, found)
        note = media.version.encode() + b"\n" + (b"" if found is None else format_to_json(found))
        try:
            await self._store.of(media.owner).set_note(media.name, note)
        except TranscribedError as error:
            _log.info("What %r is could not be noted: %s", media.name, error.message)

    def _remember(self, media: StoredMedia, found: AudioFormat | None) -> None:
        if len(self._formats) >= _REMEMBERED_FORMATS:
            self._formats.clear()
        self._formats[media.owner, media.name] = media.version, found

    def _format(self, media: StoredMedia) -> AudioFormat | None:
        version, found = self._formats.get((media.owner, media.name), ("", None))
        return found if version == media.version else None
