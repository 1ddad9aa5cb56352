"""Waveforms of stored recordings: computed once, kept while the recording is."""

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from transcribed.audio.source import Source
from transcribed.decoding.decoders import Decoders
from transcribed.errors import LimitExceeded, NotFound, UnreadableAudio
from transcribed.principal import NOBODY
from transcribed.service import waveforms
from transcribed.service.library import Library
from transcribed.storage.folder import FolderMediaStore, OwnersFolder
from transcribed.storage.media import StoredMedia

pytestmark = pytest.mark.anyio


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the recordings that were opened to be decoded, from now on."""
    names: list[str] = []
    original = OwnersFolder.open

    async def noted(store: OwnersFolder, media: StoredMedia) -> Source:
        names.append(media.name)
        return await original(store, media)

    monkeypatch.setattr(OwnersFolder, "open", noted)
    return names


@pytest.fixture
async def library(tmp_path: Path, decoders: Decoders) -> AsyncIterator[Library]:
    library = Library(FolderMediaStore.at(str(tmp_path)), decoders, 1_000_000)
    yield library
    await library.aclose()


def _wav(*levels: float) -> bytes:
    """A recording of a tone with 0.1 s of each level."""
    tone = np.tile([1, 1, -1, -1], 400 * len(levels))
    samples = (np.repeat(np.array(levels) * 32767, 1600) * tone).astype("<i2")
    content = io.BytesIO()
    with wave.open(content, "wb") as target:
        target.setparams((1, 2, 16_000, 0, "NONE", ""))
        target.writeframes(samples.tobytes())
    return content.getvalue()


async def _stored(library: Library, content: bytes, name: str = "talk.wav") -> StoredMedia:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    return await library.find(NOBODY, await library.add(NOBODY, name, chunks()))


async def test_the_peaks_are_those_of_the_recording(library: Library) -> None:
    peaks = await library.peaks(await _stored(library, _wav(0.5, 1.0, 0.0)))
    assert peaks.of_at_most(3).pairs.tolist() == [[-63, 63], [-127, 127], [0, 0]]
    assert (peaks.duration, len(peaks.pairs)) == (0.3, 15)


async def test_they_are_computed_once_for_all_who_ask(library: Library, opened: list[str]) -> None:
    media = await _stored(library, _wav(0.5))
    opened.clear()
    first = asyncio.create_task(library.peaks(media))
    leaver = asyncio.create_task(library.peaks(media))
    await asyncio.sleep(0)
    leaver.cancel()
    assert await library.peaks(media) is await first is await library.peaks(media)
    assert opened == ["talk.wav"]


async def test_a_new_version_has_its_own(library: Library) -> None:
    await library.peaks(await _stored(library, _wav(0.5)))
    replaced = await library.peaks(await _stored(library, _wav(1.0, 1.0)))
    assert replaced.duration == 0.2


async def test_they_end_with_the_recording(library: Library, opened: list[str]) -> None:
    media = await _stored(library, _wav(0.5))
    await library.peaks(media)
    await library.delete(NOBODY, "talk.wav")
    with pytest.raises(NotFound):
        await library.peaks(media)
    assert opened[-1] == "talk.wav"


async def test_those_of_a_recording_that_is_deleted_meanwhile_are_not_kept(library: Library) -> None:
    media = await _stored(library, _wav(0.5))
    computing = asyncio.create_task(library.peaks(media))
    await asyncio.sleep(0)
    await library.delete(NOBODY, "talk.wav")
    await asyncio.gather(computing, return_exceptions=True)
    with pytest.raises(NotFound):
        await library.peaks(media)


async def test_those_asked_for_least_recently_make_room(
    library: Library, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waveforms, "KEPT_BYTES", 2 * 5 * 2)
    stored = [await _stored(library, _wav(0.5), f"{name}.wav") for name in "abc"]
    opened.clear()
    for number in (0, 1, 0, 2, 0, 1):
        await library.peaks(stored[number])
    assert opened == ["a.wav", "b.wav", "c.wav", "b.wav"]


async def test_what_is_no_audio_has_none(library: Library, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("put here by hand")
    media = await library.find(NOBODY, "notes.txt")
    with pytest.raises(UnreadableAudio):
        await library.peaks(media)


async def test_not_too_many_are_computed_at_once(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waveforms, "MOST_WAITING", 1)
    media, other = [await _stored(library, _wav(0.5), name) for name in ("a.wav", "b.wav")]
    first = asyncio.create_task(library.peaks(media))
    await asyncio.sleep(0)
    with pytest.raises(LimitExceeded):
        await library.peaks(other)
    await first
    await library.peaks(other)
