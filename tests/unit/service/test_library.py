import asyncio
import gc
import io
import wave
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from transcribed.audio.formats import AudioFormat
from transcribed.audio.source import Source
from transcribed.decoding.decoders import Decoders
from transcribed.errors import (
    InvalidName,
    MediaChanged,
    NotFound,
    StorageFailure,
    TooLarge,
    UnreadableAudio,
)
from transcribed.principal import NOBODY
from transcribed.service.library import Library
from transcribed.storage.folder import FolderMediaStore, OwnersFolder
from transcribed.storage.media import StoredMedia
from transcribed.transcript import Track

pytestmark = pytest.mark.anyio

MAX_BYTES = 100_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


@pytest.fixture
def library(folder: Path, decoders: Decoders) -> Library:
    return Library(FolderMediaStore.at(str(folder)), decoders, MAX_BYTES)


def _wav(seconds: float) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as target:
        target.setparams((1, 2, 16_000, 0, "NONE", ""))
        target.writeframes(np.ones(round(seconds * 16_000), "<i2").tobytes())
    return content.getvalue()


async def _chunks(content: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def _read(library: Library, name: str, start: int = 0, end: int | None = None) -> bytes:
    media = await library.find(NOBODY, name)
    return b"".join(
        [chunk async for chunk in library.read(media, start, media.size if end is None else end)]
    )


def _files(folder: Path) -> Iterable[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.parts[0] != ".notes")


async def test_a_recording_is_kept_as_it_came(library: Library, folder: Path) -> None:
    content = _wav(1.0)
    assert await library.add(NOBODY, "speech.wav", _chunks(content)) == "speech.wav"
    assert (folder / "speech.wav").read_bytes() == content
    assert await _read(library, "speech.wav") == content
    assert await _read(library, "speech.wav", 10, 20) == content[10:20]
    with closing(await library.open(NOBODY, "speech.wav")) as source:
        assert await source.read(0, len(content)) == content
    assert _files(folder) == ["speech.wav"]


async def test_the_name_is_stored_in_one_spelling(library: Library) -> None:
    assert await library.add(NOBODY, "Gro\u0308ße.wav", _chunks(_wav(0.1))) == "Gr\u00f6ße.wav"
    assert (await library.find(NOBODY, "Gro\u0308ße.wav")).name == "Gr\u00f6ße.wav"
    await library.delete(NOBODY, "Gro\u0308ße.wav")
    assert await library.list(NOBODY) == []


async def test_a_recording_is_renamed_with_all_that_refers_to_it(library: Library, folder: Path) -> None:
    followed: list[tuple[str, str, str]] = []

    async def follow(*names: str) -> None:
        followed.append(names)  # type: ignore[arg-type]

    await library.add(NOBODY, "a.wav", _chunks(_wav(0.1)))
    await library.add(NOBODY, "b.wav", _chunks(_wav(0.2)))
    assert await library.rename(NOBODY, "a.wav", "Gro\u0308ße.wav", follow) == "Gr\u00f6ße.wav"
    assert await library.rename(NOBODY, "b.wav", "b.wav", follow) == "b.wav"
    assert followed == [(NOBODY, "a.wav", "Gr\u00f6ße.wav")]
    listed = [
        (each.media.name, each.format and each.format.duration) for each in await library.list(NOBODY)
    ]
    assert listed == [("Gr\u00f6ße.wav", 0.1), ("b.wav", 0.2)]
    for name, new, error in (("a.wav", "c.wav", NotFound), ("b.wav", "../c.wav", InvalidName)):
        with pytest.raises(error):
            await library.rename(NOBODY, name, new, follow)
    assert len(followed) == 1


async def test_a_recording_that_its_transcripts_cannot_follow_keeps_its_name(
    library: Library, folder: Path
) -> None:
    async def follow(*_: str) -> None:
        raise StorageFailure("The database does not answer.")

    await library.add(NOBODY, "a.wav", _chunks(_wav(0.1)))
    with pytest.raises(StorageFailure):
        await library.rename(NOBODY, "a.wav", "b.wav", follow)
    assert _files(folder) == ["a.wav"]


class _Followed:
    """What refers to a recording: it follows when `may_follow` is set, or fails."""

    def __init__(self, failure: StorageFailure | None = None) -> None:
        self.names: list[tuple[str, str]] = []
        self.asked = asyncio.Event()
        self.may_follow = asyncio.Event()
        self._failure = failure

    async def __call__(self, _owner: str, name: str, new: str) -> None:
        self.asked.set()
        await self.may_follow.wait()
        if self._failure is not None:
            raise self._failure
        self.names.append((name, new))


@pytest.mark.parametrize("failure", [None, StorageFailure("no")])
async def test_nobody_gets_or_loses_a_name_while_a_recording_changes_its_name(
    failure: StorageFailure | None, library: Library
) -> None:
    await library.add(NOBODY, "a.wav", _chunks(_wav(0.1)))
    followed = _Followed(failure)
    renaming = asyncio.create_task(library.rename(NOBODY, "a.wav", "b.wav", followed))
    await followed.asked.wait()
    others = [
        asyncio.create_task(other)
        for other in (
            library.add(NOBODY, "b.wav", _chunks(_wav(0.2))),
            library.add(NOBODY, "a.wav", _chunks(_wav(0.3))),
        )
    ]
    deleting = asyncio.create_task(library.delete(NOBODY, "b.wav"))
    await asyncio.wait([*others, deleting], timeout=0.2)
    assert not any(other.done() for other in (*others, deleting))
    followed.may_follow.set()
    outcome = (await asyncio.gather(renaming, return_exceptions=True))[0]
    assert outcome == (failure or "b.wav")
    assert await asyncio.gather(*others) == ["b.wav", "a.wav"]
    await asyncio.gather(deleting, return_exceptions=True)
    sizes = {each.media.name: each.media.size for each in await library.list(NOBODY)}
    assert sizes.pop("a.wav") == len(_wav(0.3))
    # Deleted before the upload, or after it.
    assert sizes in ({}, {"b.wav": len(_wav(0.2))})


async def test_who_exchanges_two_names_does_not_wait_for_ever(library: Library) -> None:
    for name in ("a.wav", "b.wav"):
        await library.add(NOBODY, name, _chunks(_wav(0.1)))
    followed = _Followed()
    first = asyncio.create_task(library.rename(NOBODY, "b.wav", "c.wav", followed))
    await followed.asked.wait()
    others = [
        asyncio.create_task(library.rename(NOBODY, *names, followed))
        for names in (("b.wav", "a.wav"), ("a.wav", "b.wav"))
    ]
    await asyncio.sleep(0.01)
    followed.may_follow.set()
    async with asyncio.timeout(10):
        assert await first == "c.wav"
        missing, renamed = await asyncio.gather(*others, return_exceptions=True)
    assert isinstance(missing, NotFound)
    assert renamed == "b.wav"
    assert [each.media.name for each in await library.list(NOBODY)] == ["b.wav", "c.wav"]


async def test_a_recording_is_renamed_to_the_end_although_nobody_waits(library: Library) -> None:
    await library.add(NOBODY, "a.wav", _chunks(_wav(0.1)))
    followed = _Followed()
    renaming = asyncio.create_task(library.rename(NOBODY, "a.wav", "b.wav", followed))
    await followed.asked.wait()
    renaming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await renaming
    closing_ = asyncio.create_task(library.aclose())
    await asyncio.sleep(0)
    assert not closing_.done()
    followed.may_follow.set()
    await closing_
    assert followed.names == [("a.wav", "b.wav")]
    assert [each.media.name for each in await library.list(NOBODY)] == ["b.wav"]
    await library.aclose()


async def test_the_list_says_what_each_recording_is(library: Library, folder: Path) -> None:
    for name, seconds in (("b.wav", 2.0), ("a.wav", 0.5)):
        await library.add(NOBODY, name, _chunks(_wav(seconds)))
    (folder / "notes.txt").write_text("put here by hand")
    (folder / "folder").mkdir()
    (folder / "folder" / "c.wav").write_bytes(_wav(0.1))
    recordings = await library.list(NOBODY)
    assert [(r.media.name, r.media.size) for r in recordings] == [
        ("a.wav", 16_044),
        ("b.wav", 64_044),
        ("notes.txt", 16),
    ]
    track = Track(1, "pcm_s16le", 16_000, 1, None, None, default=False, decodable=True)
    assert [r.format for r in recordings] == [
        AudioFormat("wav", "pcm_s16le", 16_000, 1, 0.5, 1, (track,)),
        AudioFormat("wav", "pcm_s16le", 16_000, 1, 2.0, 1, (track,)),
        None,
    ]


async def test_what_a_recording_is_found_out_once_a_version_whoever_asks_later(
    library: Library, folder: Path, decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    await library.add(NOBODY, "uploaded.wav", _chunks(_wav(0.5)))
    (folder / "copied.wav").write_bytes(_wav(0.25))
    (folder / "notes.txt").write_bytes(b"This is no audio")
    first = await library.list(NOBODY)
    assert [r.format and r.format.duration for r in first] == [0.25, None, 0.5]

    restarted = Library(FolderMediaStore.at(str(folder)), decoders, MAX_BYTES)
    looked_at: list[str] = []
    look = OwnersFolder.open

    async def noted(store: OwnersFolder, media: StoredMedia) -> Source:
        looked_at.append(media.name)
        return await look(store, media)

    monkeypatch.setattr(OwnersFolder, "open", noted)
    assert await restarted.list(NOBODY) == first
    assert looked_at == []
    (folder / "copied.wav").write_bytes(_wav(1.0))
    changed = await restarted.list(NOBODY)
    assert [r.format and r.format.duration for r in changed] == [1.0, None, 0.5]
    assert looked_at == ["copied.wav"]


@pytest.mark.parametrize("note", [b"", b"?\n{}", b"\xff" * 100])
async def test_a_note_that_is_damaged_is_made_anew(
    library: Library, folder: Path, decoders: Decoders, note: bytes
) -> None:
    await library.add(NOBODY, "a.wav", _chunks(_wav(0.5)))
    first = await library.list(NOBODY)
    (path,) = (folder / ".notes").iterdir()
    whole = path.read_bytes()
    for damaged in (note, whole[: len(whole) // 2], whole.replace(b"16000", b'"16000"')):
        path.write_bytes(damaged)
        assert await Library(FolderMediaStore.at(str(folder)), decoders, MAX_BYTES).list(NOBODY) == first
        assert path.read_bytes() == whole


async def test_a_list_does_not_wait_for_what_cannot_be_found_out(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await library.add(NOBODY, "known.wav", _chunks(_wav(0.5)))
    (folder / "broken.wav").write_bytes(_wav(0.5))
    (folder / "slow.wav").write_bytes(_wav(0.5))
    look, release = OwnersFolder.open, asyncio.Event()

    async def opened(store: OwnersFolder, media: StoredMedia) -> Source:
        if media.name == "broken.wav":
            raise RuntimeError("nobody foresaw this")
        await release.wait()
        return await look(store, media)

    monkeypatch.setattr(OwnersFolder, "open", opened)
    monkeypatch.setattr("transcribed.service.library.LISTING_SECONDS", 0.05)
    assert [r.format and r.format.duration for r in await library.list(NOBODY)] == [None, 0.5, None]
    release.set()
    monkeypatch.setattr("transcribed.service.library.LISTING_SECONDS", 30)
    assert [r.format and r.format.duration for r in await library.list(NOBODY)] == [None, 0.5, 0.5]
    await library.aclose()


async def test_a_new_recording_takes_the_place_of_one_of_its_name(library: Library, folder: Path) -> None:
    await library.add(NOBODY, "a.wav", _chunks(_wav(2.0)))
    with closing(await library.open(NOBODY, "a.wav")) as reading:
        assert await reading.read(0, 4) == b"RIFF"
    old = await library.find(NOBODY, "a.wav")
    await library.add(NOBODY, "a.wav", _chunks(_wav(1.0)))
    assert (folder / "a.wav").read_bytes() == _wav(1.0)
    with pytest.raises(MediaChanged):
        b"".join([chunk async for chunk in library.read(old, 0, old.size)])
    assert _files(folder) == ["a.wav"]


async def test_deleting_is_for_good(library: Library, folder: Path) -> None:
    await library.add(NOBODY, "a.wav", _chunks(_wav(0.1)))
    await library.delete(NOBODY, "a.wav")
    assert _files(folder) == []
    for missing in (library.find, library.open, library.delete):
        with pytest.raises(NotFound, match=r"a\.wav"):
            await missing(NOBODY, "a.wav")


async def test_what_is_replaced_or_deleted_leaves_nothing_in_memory(library: Library) -> None:
    def known() -> int:
        gc.collect()
        return sum(isinstance(each, AudioFormat) for each in gc.get_objects())

    before = known()
    for seconds in (0.1, 0.2, 0.3):
        await library.add(NOBODY, "a.wav", _chunks(_wav(seconds)))
    assert known() == before + 1
    await library.delete(NOBODY, "a.wav")
    assert known() == before


async def test_each_owner_has_a_library(library: Library, folder: Path, decoders: Decoders) -> None:
    for owner, seconds in ((NOBODY, 0.1), ("anna", 0.2), ("Anna", 0.3)):
        await library.add(owner, "a.wav", _chunks(_wav(seconds)))
    await library.delete("Anna", "a.wav")
    await library.add("bert", "b.wav", _chunks(_wav(0.4)))
    for each in (library, Library(FolderMediaStore.at(str(folder)), decoders, MAX_BYTES)):
        listed = await each.list(None)
        assert [(r.media.owner, r.media.name, r.format and r.format.duration) for r in listed] == [
            (NOBODY, "a.wav", 0.1),
            ("anna", "a.wav", 0.2),
            ("bert", "b.wav", 0.4),
        ]
        (annas,) = await each.list("anna")
        assert annas == listed[1]
        assert await each.list("Anna") == []
        media = await each.find("anna", "a.wav")
        assert b"".join([chunk async for chunk in each.read(media, 0, media.size)]) == _wav(0.2)
        with closing(await each.open("bert", "b.wav")) as source:
            assert source.size == len(_wav(0.4))
        for missing in (each.find, each.open, each.delete):
            with pytest.raises(NotFound):
                await missing("bert", "a.wav")


async def test_the_largest_recording_fits(folder: Path, decoders: Decoders) -> None:
    content = _wav(1.0)
    library = Library(FolderMediaStore.at(str(folder)), decoders, len(content))
    await library.add(NOBODY, "a.wav", _chunks(content))
    assert _files(folder) == ["a.wav"]


class _Broken(Exception):
    pass


async def _breaks_off(content: bytes) -> AsyncIterator[bytes]:
    yield content[: len(content) // 2]
    raise _Broken


async def _endless(content: bytes) -> AsyncIterator[bytes]:
    while True:
        yield content


@pytest.mark.parametrize(
    ("name", "chunks", "error"),
    [
        ("empty.wav", lambda: _chunks(b""), UnreadableAudio),
        ("text.wav", lambda: _chunks(b"This is a test.\n" * 100), UnreadableAudio),
        ("noise.wav", lambda: _chunks(np.random.default_rng(0).bytes(50_000)), UnreadableAudio),
        ("large.wav", lambda: _chunks(_wav(10.0)), TooLarge),
        ("endless.wav", lambda: _endless(_wav(0.1)), TooLarge),
        ("broken.wav", lambda: _breaks_off(_wav(1.0)), _Broken),
        ("../up.wav", lambda: _chunks(_wav(0.1)), InvalidName),
        (".incoming", lambda: _chunks(_wav(0.1)), InvalidName),
    ],
)
async def test_what_is_refused_changes_nothing(
    library: Library, folder: Path, name: str, chunks: object, error: type[Exception]
) -> None:
    if "/" not in name and not name.startswith("."):
        await library.add(NOBODY, name, _chunks(_wav(0.2)))
    before = _files(folder)
    with pytest.raises(error):
        await library.add(NOBODY, name, chunks())  # type: ignore[operator]
    assert _files(folder) == before
    assert all((folder / path).read_bytes() == _wav(0.2) for path in before)
    assert list((folder / ".incoming").iterdir()) == []


async def test_an_upload_that_is_given_up_leaves_nothing(library: Library, folder: Path) -> None:
    stalled = asyncio.Event()

    async def stall() -> AsyncIterator[bytes]:
        yield _wav(1.0)
        stalled.set()
        await asyncio.Event().wait()

    adding = asyncio.create_task(library.add(NOBODY, "a.wav", stall()))
    async with asyncio.timeout(30):
        await stalled.wait()
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert _files(folder) == []


@pytest.mark.parametrize(
    "name", ["..", "a/../b", "", "/etc/passwd", "\0", "CON", ".incoming/x", ".owners/b/a.wav", "../b/a.wav"]
)
@pytest.mark.parametrize("owner", [NOBODY, "anna"])
async def test_no_name_leads_out_of_the_library(library: Library, owner: str, name: str) -> None:
    for use in (library.find, library.open, library.delete):
        with pytest.raises(InvalidName):
            await use(owner, name)
