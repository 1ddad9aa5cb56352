"""The waveforms of recordings: computed when asked for, once for each version, and kept in memory."""

import asyncio
import logging
from contextlib import aclosing, closing

from transcribed.audio.peaks import PeakMeter, Peaks
from transcribed.decoding.decoders import Decoders
from transcribed.errors import LimitExceeded
from transcribed.storage.media import MediaStore, StoredMedia

KEPT_BYTES = 32 * 1024 * 1024
"""The most bytes of peaks in memory; then those that were asked for least recently are dropped."""
MOST_WAITING = 16
"""The most recordings whose peaks are being computed, or wait for that."""

_AT_ONCE = 2

_log = logging.getLogger(__name__)

_Key = tuple[str, str]
"""An owner and a name."""


class Waveforms:
    """The peaks of stored recordings. To be closed."""

    def __init__(self, store: MediaStore, decoders: Decoders) -> None:
        self._store = store
        self._decoders = decoders
        self._kept: dict[_Key, tuple[StoredMedia, Peaks]] = {}
        self._computing: dict[StoredMedia, asyncio.Task[Peaks]] = {}
        self._tasks: set[asyncio.Task[Peaks]] = set()
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def of(self, media: StoredMedia) -> Peaks:
        """The peaks of this version of a recording.

        Raises UnreadableAudio, LimitExceeded if too many are being computed, and what the store raises.
        """
        key = media.owner, media.name
        if key in self._kept and self._kept[key][0] == media:
            self._kept[key] = self._kept.pop(key)  # Now the one that was asked for last.
            return self._kept[key][1]
        task = self._computing.get(media)
        if task is None:
            if len(self._tasks) >= MOST_WAITING:
                raise LimitExceeded("Too many waveforms are being computed. Try again in a moment.")
            task = self._computing[media] = asyncio.create_task(self._compute(media), name="waveform")
            self._tasks.add(task)
            task.add_done_callback(lambda ended: self._note(media, ended))
        # Whoever leaves does not end it for others.
        return await asyncio.shield(task)

    def forget(self, owner: str, name: str) -> None:
        """Drop the peaks of a recording that is deleted, also those that are being computed."""
        self._kept.pop((owner, name), None)
        for media in [each for each in self._computing if (each.owner, each.name) == (owner, name)]:
            del self._computing[media]

    async def aclose(self) -> None:
        """Stop computing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _compute(self, media: StoredMedia) -> Peaks:
        async with self._at_once:
            meter = PeakMeter()
            with closing(await self._store.of(media.owner).open(media)) as source:
                async with self._decoders.decode(source) as decoding, aclosing(decoding.blocks()) as blocks:
                    async for block in blocks:
                        meter.accept(block)
            return meter.finish()

    def _note(self, media: StoredMedia, ended: "asyncio.Task[Peaks]") -> None:
        """Keep the peaks, unless the recording was deleted meanwhile."""
        self._tasks.discard(ended)
        is_wanted = self._computing.get(media) is ended
        if is_wanted:
            del self._computing[media]
        if ended.cancelled():
            return
        if (error := ended.exception()) is not None:
            _log.info("The waveform of %r could not be computed: %s", media.name, error)
        elif is_wanted:
            self._kept[media.owner, media.name] = media, ended.result()
            while sum(peaks.pairs.nbytes for _, peaks in self._kept.values()) > KEPT_BYTES:
                del self._kept[next(iter(self._kept))]
