# ruff: noqa: RUF001 - names of every script
"""What every MediaStore owes, asked of a local folder and of S3 (moto's server, over real HTTP)."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import boto3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from properties import SHARED_FIXTURES

from transcribed.errors import (
    BadRequest,
    ConfigurationError,
    Conflict,
    InvalidName,
    MediaChanged,
    NotFound,
    StorageUnavailable,
)
from transcribed.principal import NOBODY
from transcribed.storage import folder, objects
from transcribed.storage.media import MediaStore, OwnersMedia, StoredMedia
from transcribed.storage.names import valid_name
from transcribed.storage.places import media_store

T = TypeVar("T")
KEY = "any will do"
PART = 64 * 1024
MULTIPART = 12 * 1024 * 1024
"""More than object stores take in one request."""
ODD_NAMES = [
    "with space.wav",
    "100%.wav",
    "100%25.wav",
    "%2e%2e%2fx.wav",
    "a#b.wav",
    "a&b=c;d,e+f.wav",
    "it's (1) [2] {3} ~!@$^`.wav",
    "Grüße.wav",
    "日本語の録音.flac",
    "🎙 take 1.wav",
    "no extension",
    "call #5",
    "👨\u200d👩\u200d👧 familie.m4a",
    "می\u200cخواهم.m4a",
    "שלום\u200f.wav",
    "\u200eWhatsApp Audio.opus",
    "at 3.12.45\u202fPM.m4a",
    "テスト：会議｜？＊＜＞＂.wav",
    "AC\u29f8DC… ½ ﬁ 1∶2.wav",
    "private \uf8ff, newer \U0001fae9.wav",
    "a" * 251 + ".wav",
]


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    resource = boto3.resource(
        "s3",
        region_name="us-east-1",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id=KEY,
        aws_secret_access_key=KEY,
    )
    yield resource
    resource.meta.client.close()
    server.stop()


@dataclass
class Place:
    """Where a store keeps its objects, looked at without the store."""

    location: str
    folder: Path | None = None
    bucket: Any = None

    def everything(self) -> list[str]:
        """All objects, hidden ones and unfinished uploads too."""
        if self.folder is not None:
            return sorted(str(f.relative_to(self.folder)) for f in self.folder.rglob("*") if f.is_file())
        unfinished = [upload.object_key for upload in self.bucket.multipart_uploads.all()]
        return sorted([entry.key for entry in self.bucket.objects.all()] + unfinished)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    made: Place = request.getfixturevalue(f"{request.param}_place")
    return made


@pytest.fixture
def folder_place(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "made" / "when missing"), folder=tmp_path / "made" / "when missing")


@pytest.fixture
def s3_place(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.meta.client.meta.endpoint_url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    bucket = s3.create_bucket(Bucket=f"recordings-{uuid.uuid4()}")
    return Place(f"s3://{bucket.name}", bucket=bucket)


@pytest.fixture
def whole(place: Place) -> Iterator[MediaStore]:
    """The store of all owners' recordings."""
    made = media_store(place.location)
    yield made
    crash(made)


@pytest.fixture
def store(whole: MediaStore) -> OwnersMedia:
    """The recordings that belong to nobody."""
    return whole.of(NOBODY)


def crash(store: MediaStore) -> None:
    """End a store as a process that is killed does: the system closes its files."""
    if isinstance(store, folder.FolderMediaStore):
        store.close()


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def read_at(store: OwnersMedia, media: StoredMedia, offset: int, size: int) -> bytes:
    with contextlib.closing(await store.open(media)) as source:
        return await source.read(offset, size)


async def put(store: OwnersMedia, name: str, *parts: bytes) -> StoredMedia:
    staged = await store.stage(chunks(*parts))
    await store.commit(staged, name)
    return await store.find(name)


async def everything(store: OwnersMedia, media: StoredMedia) -> bytes:
    return b"".join([chunk async for chunk in store.read(media, 0, media.size)])


def distinct(size: int) -> bytes:
    """Bytes among which no range is like another."""
    return np.arange(size // 4, dtype=">u4").tobytes()


def test_what_is_committed_is_found_and_read(store: OwnersMedia) -> None:
    async def main() -> None:
        media = await put(store, "a.wav", b"one ", b"", b"two")
        assert (media.name, media.size) == ("a.wav", 7)
        assert await everything(store, media) == b"one two"

    run(main())


def test_what_is_staged_has_no_name_until_it_is_committed(store: OwnersMedia, place: Place) -> None:
    async def main() -> None:
        staged = await store.stage(chunks(b"bytes"))
        assert staged.size == 5
        assert await store.list() == []
        assert place.everything() == [staged.name]
        assert await read_at(store, staged, 0, 100) == b"bytes"
        await store.commit(staged, "a.wav")
        assert place.everything() == ["a.wav"]

    run(main())


def test_what_is_discarded_leaves_nothing(store: OwnersMedia, place: Place) -> None:
    async def main() -> None:
        await store.discard(await store.stage(chunks(b"bytes")))
        assert place.everything() == []

    run(main())


def test_nothing_at_all_can_be_staged(store: OwnersMedia) -> None:
    async def main() -> None:
        media = await put(store, "empty")
        assert media.size == 0
        assert await everything(store, media) == b""
        assert await read_at(store, media, 0, 1) == b""

    run(main())


def test_large_recordings_come_back_whole(store: OwnersMedia, place: Place) -> None:
    async def main() -> None:
        content = distinct(MULTIPART)
        parts = [content[start : start + PART] for start in range(0, len(content), PART)]
        media = await put(store, "large.wav", *parts)
        assert media.size == len(content)
        assert await everything(store, media) == content
        assert place.everything() == ["large.wav"]

    run(main())


def test_a_commit_replaces(store: OwnersMedia) -> None:
    async def main() -> None:
        first = await put(store, "a.wav", b"first")
        second = await put(store, "a.wav", b"second, longer")
        assert first.version != second.version
        assert await everything(store, second) == b"second, longer"
        assert await store.list() == [second]

    run(main())


def test_a_version_changes_with_the_bytes_alone(store: OwnersMedia) -> None:
    async def main() -> None:
        first = await put(store, "a.wav", b"same size 1")
        assert await store.find("a.wav") == first
        assert (await put(store, "a.wav", b"same size 2")).version != first.version

    run(main())


def test_readers_see_the_old_or_the_new_and_never_a_mix(store: OwnersMedia) -> None:
    versions = [bytes([letter]) * 300_000 for letter in b"ab"]

    async def main() -> None:
        await put(store, "a.wav", versions[0])
        replaced = asyncio.Event()
        seen: set[bytes] = set()

        async def replace() -> None:
            for number in range(1, 21):
                await put(store, "a.wav", versions[number % 2])
            replaced.set()

        async def read() -> None:
            while not replaced.is_set():
                try:
                    seen.add(await everything(store, await store.find("a.wav")))
                except MediaChanged:
                    continue

        await asyncio.gather(replace(), read(), read())
        assert seen <= set(versions)
        assert seen

    run(main())


def test_the_list_is_in_the_order_of_names(store: OwnersMedia) -> None:
    names = ["b.wav", "a.wav", "B.wav", "a b.wav", "ä.wav", "a.mp3", "10.wav", "9.wav"]

    async def main() -> None:
        stored = [await put(store, name, name.encode()) for name in names]
        assert await store.list() == sorted(stored, key=lambda media: media.name)

    run(main())


def test_the_list_holds_recordings_only(store: OwnersMedia, place: Place) -> None:
    async def main() -> None:
        assert await store.list() == []
        await put(store, "a.wav", b"a")
        await store.stage(chunks(b"staged"))
        if place.folder is not None:
            (place.folder / ".DS_Store").write_bytes(b"hidden")
            (place.folder / "folder").mkdir()
            (place.folder / "folder" / "inside.wav").write_bytes(b"deeper")
        else:
            place.bucket.put_object(Key=".DS_Store", Body=b"hidden")
            place.bucket.put_object(Key="folder/inside.wav", Body=b"deeper")
        assert [media.name for media in await store.list()] == ["a.wav"]

    run(main())


def test_all_pages_of_a_list_are_read(
    whole: MediaStore,
    store: OwnersMedia,
    place: Place,
    later: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later()
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    names = sorted(f"{number}.wav" for number in range(25))

    async def main() -> None:
        for name in names:
            await put(store, name, b"x")
            await store.stage(chunks(b"left"))
        assert [media.name for media in await store.list()] == names
        crash(whole)
        await media_store(place.location).sweep()
        assert place.everything() == names

    run(main())


def test_what_is_deleted_is_gone(store: OwnersMedia, place: Place) -> None:
    async def main() -> None:
        await put(store, "a.wav", b"a")
        await put(store, "b.wav", b"b")
        await store.delete("a.wav")
        assert place.everything() == ["b.wav"]
        with pytest.raises(NotFound, match=r"'a\.wav'"):
            await store.find("a.wav")

    run(main())


def test_a_recording_gets_another_name_and_replaces_none(store: OwnersMedia, place: Place) -> None:
    async def main() -> None:
        await put(store, "a.wav", b"a")
        await put(store, "b.wav", b"b")
        await store.set_note("a.wav", b"of a")
        with pytest.raises(Conflict, match=r"'b\.wav' exists"):
            await store.rename("a.wav", "b.wav")
        assert await everything(store, await store.find("b.wav")) == b"b"
        await store.rename("a.wav", "Größe #1.wav")
        assert await everything(store, await store.find("Größe #1.wav")) == b"a"
        assert await store.note("Größe #1.wav") == await store.note("a.wav") == b""
        assert [media.name for media in await store.list()] == ["Größe #1.wav", "b.wav"]
        with pytest.raises(NotFound):
            await store.rename("a.wav", "c.wav")
        await store.delete("Größe #1.wav")
        assert place.everything() == ["b.wav"]

    run(main())


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_a_file_system_without_hard_links_renames_too(
    folder_place: Place, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, "no links")

    async def main() -> None:
        store = media_store(folder_place.location).of(NOBODY)
        await put(store, "a.wav", b"a")
        await put(store, "b.wav", b"b")
        monkeypatch.setattr(os, "link", refused)
        with pytest.raises(Conflict):
            await store.rename("a.wav", "b.wav")
        await store.rename("a.wav", "c.wav")
        assert folder_place.everything() == ["b.wav", "c.wav"]

    run(main())


def test_what_is_not_there_is_not_found(store: OwnersMedia) -> None:
    async def main() -> None:
        gone = await put(store, "a.wav", b"a")
        await store.delete("a.wav")
        with pytest.raises(NotFound):
            await store.delete("a.wav")
        with pytest.raises(NotFound):
            await everything(store, gone)
        with pytest.raises(NotFound):
            await read_at(store, gone, 0, 1)
        with pytest.raises(NotFound):
            await store.commit(gone, "b.wav")
        assert await store.list() == []

    run(main())


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (0, 4000), (3999, 4000), (17, 18), (100, 3000), (5, 5), (4000, 4000)]
)
def test_ranges_are_read_exactly(store: OwnersMedia, start: int, end: int) -> None:
    async def main() -> None:
        media = await put(store, "a.wav", distinct(4000))
        found = b"".join([chunk async for chunk in store.read(media, start, end)])
        assert found == distinct(4000)[start:end]

    run(main())


def test_a_recording_is_read_at_any_position(store: OwnersMedia) -> None:
    content = distinct(1_000_000)

    async def main() -> None:
        with contextlib.closing(await store.open(await put(store, "a.wav", content))) as source:
            assert source.size == 1_000_000
            for offset, size in [
                (0, 10),
                (10, 300_000),
                (999_995, 100),
                (1_000_000, 1),
                (2_000_000, 5),
                (500_001, 499_999),
                (0, 1_000_001),
            ]:
                assert await source.read(offset, size) == content[offset : offset + size]

    run(main())


@pytest.mark.parametrize("fate", ["replaced", "deleted"])
def test_what_befalls_a_recording_while_it_is_read_changes_none_of_its_bytes_or_is_said(
    store: OwnersMedia, fate: str
) -> None:
    async def main() -> None:
        media = await put(store, "a.wav", distinct(2_000_000))
        with contextlib.closing(await store.open(media)) as source:
            assert await source.read(0, 4) == distinct(4)
            await (put(store, "a.wav", bytes(2_000_000)) if fate == "replaced" else store.delete("a.wav"))
            with contextlib.suppress(MediaChanged, NotFound):
                assert await source.read(1_500_000, 4) == distinct(1_500_004)[-4:]
        if fate == "replaced":
            with pytest.raises(MediaChanged, match=r"'a\.wav'"):
                await everything(store, media)
            with pytest.raises(MediaChanged):
                await read_at(store, media, 0, 4)

    run(main())


def test_what_is_noted_beside_a_recording_stays_until_it_is_deleted(
    store: OwnersMedia, place: Place
) -> None:
    async def main() -> None:
        media = await put(store, "a.wav", b"bytes")
        assert await store.note("a.wav") == b""
        for note in (b"first", b"second \x00\n"):
            await store.set_note("a.wav", note)
            assert await store.note("a.wav") == note
        await store.set_note("b.wav", b"of nothing")
        assert await store.list() == [media]
        await store.delete("a.wav")
        assert await store.note("a.wav") == b""
        assert len(place.everything()) == 1, "the note of what was never deleted"

    run(main())


@pytest.mark.parametrize("parts", [0, 1, MULTIPART // PART])
def test_chunks_that_fail_leave_nothing(store: OwnersMedia, place: Place, parts: int) -> None:
    class BrokenOff(Exception):
        pass

    async def breaking() -> AsyncIterator[bytes]:
        for _ in range(parts):
            yield bytes(PART)
        raise BrokenOff

    async def main() -> None:
        await put(store, "a.wav", b"stays")
        with pytest.raises(BrokenOff):
            await store.stage(breaking())
        assert place.everything() == ["a.wav"]

    run(main())


@pytest.mark.parametrize("parts", [1, MULTIPART // PART])
def test_staging_that_is_cancelled_leaves_nothing(
    store: OwnersMedia, place: Place, eventually: Callable[..., None], parts: int
) -> None:
    async def main() -> None:
        standing = asyncio.Event()

        async def standing_still() -> AsyncIterator[bytes]:
            for _ in range(parts):
                yield bytes(PART)
            standing.set()
            await asyncio.Event().wait()

        staging = asyncio.create_task(store.stage(standing_still()))
        async with asyncio.timeout(10):
            await standing.wait()
        staging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await staging

    run(main())
    eventually(lambda: place.everything() == [], 5, "nothing is left")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_come_back_as_they_are(store: OwnersMedia, place: Place, name: str) -> None:
    async def main() -> None:
        assert valid_name(name) == name
        media = await put(store, name, b"bytes")
        assert media.name == name
        assert await store.list() == [media]
        assert await everything(store, media) == b"bytes"
        assert await read_at(store, media, 0, 9) == b"bytes"
        assert place.everything() == [name]
        await store.delete(name)
        assert place.everything() == []

    run(main())


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes all that is staged old enough to have been abandoned."""

    def pass_by() -> None:
        monkeypatch.setattr(objects, "_ABANDONED_AFTER", timedelta(minutes=-1))
        monkeypatch.setattr(folder, "_ABANDONED_AFTER", -60.0)

    return pass_by


def test_what_a_crash_left_is_swept(
    whole: MediaStore, store: OwnersMedia, place: Place, later: Callable[[], None]
) -> None:
    async def main() -> None:
        await whole.sweep()
        await put(store, "a.wav", b"a")
        staged = {(await store.stage(chunks(b"staged"))).name for _ in range(3)}
        await whole.sweep()
        assert set(place.everything()) == {"a.wav"} | staged, "what is being staged is not swept"
        later()
        crash(whole)
        await media_store(place.location).sweep()
        assert place.everything() == ["a.wav"]

    run(main())


def _left(folder_place: Place, name: str, age: float) -> None:
    """A staged file that nobody holds."""
    path = Path(folder_place.location) / ".incoming" / name
    path.write_bytes(b"half")
    modified = time.time() - age  # noqa: TID251 - files are dated by the wall clock
    os.utime(path, (modified, modified))


def test_a_jump_of_the_clock_sweeps_nothing_that_is_being_staged(folder_place: Place) -> None:
    """Its file looks a day old, or dated tomorrow."""
    first, second = media_store(folder_place.location), media_store(folder_place.location)
    for name, age in [("abandoned#1", 7200), ("growing", 60), ("from tomorrow", -86400)]:
        _left(folder_place, name, age)

    async def main() -> None:
        for days in (1, -1):
            staged = await first.of(NOBODY).stage(chunks(b"bytes"))
            modified = time.time() - days * 86400  # noqa: TID251 - as above
            os.utime(Path(folder_place.location) / staged.name, (modified, modified))
            for each in (first, second):
                await each.sweep()
            assert set(folder_place.everything()) == {".incoming/growing", staged.name}
            await first.of(NOBODY).discard(staged)

    run(main())


def test_recordings_are_their_owners_alone(folder_place: Place) -> None:
    whole, root = media_store(folder_place.location), Path(folder_place.location)
    before = os.umask(0)
    try:
        for owner, folder in ((NOBODY, root), ("anna", root / ".owners" / "anna")):
            store = whole.of(owner)
            staged = run(store.stage(chunks(b"bytes")))
            run(store.commit(staged, "a.wav"))
            run(store.set_note("a.wav", b"x"))
            assert {
                stat.S_IMODE(p.stat().st_mode) for p in (folder, folder / ".incoming", folder / ".notes")
            } == {0o700}
            assert stat.S_IMODE((folder / "a.wav").stat().st_mode) == 0o600
        assert stat.S_IMODE((root / ".owners").stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_what_is_no_file_is_no_recording(folder_place: Place, tmp_path: Path) -> None:
    """Nor does it break the list, hold anything up, or let what is outside be read, replaced or deleted."""
    store = media_store(folder_place.location).of(NOBODY)
    folder, outside = Path(folder_place.location), tmp_path / "secret"
    outside.write_bytes(b"secret")
    (folder / "link.wav").symlink_to(outside)
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "around").symlink_to(folder, target_is_directory=True)
    (folder / "dangling.wav").symlink_to("nothing")
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    with contextlib.suppress(PermissionError):
        os.mknod(folder / "device.wav", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(folder)  # The path would be too long for a socket.
        listening.bind("socket.wav")
    (folder / os.fsdecode(b"latin-\xfc.wav")).write_bytes(b"x")
    names = [path.name for path in folder.iterdir() if path.suffix == ".wav"]

    async def main() -> None:
        real = await put(store, "real.wav", b"real")
        assert await store.list() == [real]
        for name in [*names, "around"]:
            if not name.startswith("latin"):
                with pytest.raises(NotFound):
                    await store.find(name)
                with pytest.raises(NotFound):
                    await store.delete(name)
                media = StoredMedia(name, 6, "any", NOBODY)
                with pytest.raises(NotFound):
                    await everything(store, media)
                with pytest.raises(NotFound):
                    await store.open(media)
        staged = await store.stage(chunks(b"new"))
        with pytest.raises(InvalidName, match="folder"):
            await store.commit(staged, "folder.wav")
        await store.discard(staged)
        for name in ["link.wav", "loop.wav", "pipe.wav", "socket.wav"]:
            assert await everything(store, await put(store, name, b"new")) == b"new"
        assert list((folder / ".incoming").iterdir()) == []

    run(main())
    assert outside.read_bytes() == b"secret"


def test_a_link_in_place_of_the_staging_folder_is_not_followed(folder_place: Place, tmp_path: Path) -> None:
    store = media_store(folder_place.location).of(NOBODY)
    (Path(folder_place.location) / ".incoming").rmdir()
    (Path(folder_place.location) / ".incoming").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "kept").write_bytes(b"x")
    os.utime(tmp_path / "kept", (0, 0))
    run(media_store(folder_place.location).sweep())
    with pytest.raises(StorageUnavailable):
        run(store.stage(chunks(b"bytes")))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["kept"]


def test_an_opened_recording_is_a_file_with_a_descriptor(folder_place: Place) -> None:
    store = media_store(folder_place.location).of(NOBODY)

    async def main() -> None:
        with contextlib.closing(await store.open(await put(store, "a.wav", b"bytes"))) as source:
            assert source.descriptor is not None
            assert os.pread(source.descriptor, 9, 0) == b"bytes"

    run(main())


def test_a_file_that_is_written_while_it_is_read_says_so(folder_place: Place) -> None:
    store = media_store(folder_place.location).of(NOBODY)

    async def main() -> None:
        media = await put(store, "a.wav", distinct(2_000_000))
        with contextlib.closing(await store.open(media)) as source:
            assert await source.read(0, 4) == distinct(4)
            (Path(folder_place.location) / "a.wav").write_bytes(b"short")
            with pytest.raises(MediaChanged):
                await source.read(1_500_000, 4)

    run(main())


def test_an_address_may_name_a_folder(tmp_path: Path) -> None:
    store = media_store(f"file://{tmp_path}/with%20space")
    assert store.place == f"{tmp_path}/with space"


# --- Owners

OWNERS = [
    *(NOBODY, "anna", "Anna", "ANNA", "ann", "anna.", ".anna", "anna.smith", "con", "a" * 128, "A" * 128),
    *(
        "..",
        ".",
        "../anna",
        "/anna",
        "anna/b.wav",
        ".incoming",
        ".owners",
        "a\\b",
        "a\0b",
        "日本",
        "A\u030a",
        "Å",
    ),
    *("=ifxg4yi", "%61nna", "anna ", "~", "*", "🎙" * 39),
]


def test_one_name_of_many_owners_is_as_many_recordings(whole: MediaStore, place: Place) -> None:
    async def main() -> None:
        stored = {owner: await put(whole.of(owner), "a.wav", owner.encode() + b"!") for owner in OWNERS}
        for owner in OWNERS:
            await whole.of(owner).set_note("a.wav", owner.encode())
        assert await whole.owners() == sorted(OWNERS)
        await whole.of("Anna").delete("a.wav")
        await put(whole.of("ann"), "b.wav", b"another")
        for owner, media in stored.items():
            store = whole.of(owner)
            if owner == "Anna":
                assert await store.list() == []
                assert await store.note("a.wav") == b""
                with pytest.raises(NotFound):
                    await store.find("a.wav")
                continue
            assert media.owner == owner
            assert await store.find("a.wav") == media
            assert media in await store.list()
            assert await everything(store, media) == owner.encode() + b"!"
            assert await read_at(store, media, 0, 999) == owner.encode() + b"!"
            assert await store.note("a.wav") == owner.encode()
        paths = place.everything()
        assert "a.wav" in paths, "what belongs to nobody is where it was before there were owners"
        assert len({path.casefold() for path in paths}) == 2 * len(OWNERS) - 1, (
            "no two are one to any system"
        )
        assert {path.split("/")[0] for path in paths} == {"a.wav", ".notes", ".owners"}

    run(main())


async def _all_that_is_read(store: OwnersMedia) -> object:
    stored = await store.list()
    return [(media, await everything(store, media), await store.note(media.name)) for media in stored]


@given(
    owner=st.sampled_from([NOBODY, "anna", "Anna"]),
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "delete", "note", "leave"]), st.sampled_from(["a.wav", "b.wav"])),
        min_size=1,
        max_size=8,
    ),
)
@settings(SHARED_FIXTURES, max_examples=6)
def test_what_one_owner_does_never_changes_what_another_reads(
    whole: MediaStore, owner: str, steps: list[tuple[str, str]]
) -> None:
    others = [each for each in (NOBODY, "anna", "Anna") if each != owner]

    async def main() -> None:
        for other in others:
            await put(whole.of(other), "a.wav", other.encode() + b"!")
            await whole.of(other).set_note("a.wav", other.encode())
        before = [await _all_that_is_read(whole.of(other)) for other in others]
        store = whole.of(owner)
        for number, (step, name) in enumerate(steps):
            if step == "put":
                await put(store, name, bytes([number]))
            elif step == "delete":
                with contextlib.suppress(NotFound):
                    await store.delete(name)
            elif step == "note":
                await store.set_note(name, bytes([number]))
            else:
                await store.stage(chunks(b"left"))
        await whole.sweep()
        assert [await _all_that_is_read(whole.of(other)) for other in others] == before

    run(main())


def test_an_owner_without_recordings_has_none(whole: MediaStore, place: Place) -> None:
    store = whole.of("anna")

    async def main() -> None:
        assert await whole.owners() == [NOBODY]
        assert await store.list() == []
        assert await store.note("a.wav") == b""
        for call in (store.find("a.wav"), store.delete("a.wav")):
            with pytest.raises(NotFound):
                await call
        await store.discard(await store.stage(chunks(b"bytes")))
        assert await store.list() == []
        assert place.everything() == []

    run(main())


@pytest.mark.parametrize("owner", ["x" * 159, "日" * 53, "x" * 100_000, "half \ud83c"])
def test_an_owner_without_room_is_told(whole: MediaStore, place: Place, owner: str) -> None:
    with pytest.raises(BadRequest, match="cannot own"):
        whole.of(owner)
    assert place.everything() == []


def test_what_a_crash_left_of_any_owner_is_swept(
    whole: MediaStore, place: Place, later: Callable[[], None]
) -> None:
    async def main() -> None:
        for owner in (NOBODY, "anna", "Anna"):
            await put(whole.of(owner), "a.wav", b"kept")
            await whole.of(owner).stage(chunks(b"staged"))
        kept = [path for path in place.everything() if path.endswith("a.wav")]
        await whole.sweep()
        assert len(place.everything()) == 6, "what is being staged is not swept"
        later()
        crash(whole)
        await media_store(place.location).sweep()
        assert place.everything() == kept

    run(main())


def test_only_owners_places_are_taken_for_owners(folder_place: Place) -> None:
    whole = media_store(folder_place.location)
    owners = Path(folder_place.location) / ".owners"
    for name in ("anna", "Bert", "=zzzz", "=ifxg4yi", "=1", ".hidden", "lost+found"):
        (owners / name).mkdir(parents=True)
    (owners / "file").write_bytes(b"x")
    (owners / "link").symlink_to(owners / "anna", target_is_directory=True)
    assert run(whole.owners()) == [NOBODY, "Anna", "anna"]


def test_a_link_in_place_of_an_owners_folder_is_not_followed(folder_place: Place, tmp_path: Path) -> None:
    whole = media_store(folder_place.location)
    outside, owners = tmp_path / "outside", Path(folder_place.location) / ".owners"
    (outside / "anna").mkdir(parents=True)
    for folder_ in (outside, outside / "anna"):
        (folder_ / "a.wav").write_bytes(b"secret")

    async def refused() -> None:
        store = whole.of("anna")
        media = StoredMedia("a.wav", 6, "any", "anna")
        for call in (
            *(store.list(), store.find("a.wav"), store.delete("a.wav"), store.stage(chunks(b"x"))),
            *(store.open(media), everything(store, media), store.set_note("a.wav", b"x")),
        ):
            with pytest.raises(StorageUnavailable):
                await call
        await whole.sweep()

    owners.symlink_to(outside, target_is_directory=True)
    run(refused())
    assert run(whole.owners()) == [NOBODY]
    owners.unlink()
    owners.mkdir()
    (owners / "anna").symlink_to(outside, target_is_directory=True)
    run(refused())
    assert sorted(str(path.relative_to(outside)) for path in outside.rglob("*")) == [
        "a.wav",
        "anna",
        "anna/a.wav",
    ]


# --- An object store that stands still


class Forwarder:
    """A TCP proxy in front of an object store that can stand still: it takes all and forwards nothing."""

    def __init__(self, target: tuple[str, int] | None) -> None:
        self._target = target
        self._flowing = threading.Event()
        self.standing = threading.Event()
        self._left: int | None = None
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        if target is not None:
            self._flowing.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self, after: int = 0) -> None:
        """Stand still as soon as so many more bytes of answers have come through."""
        self._left = after

    def close(self) -> None:
        self._left = None
        self._flowing.set()
        self._listening.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._sockets.append(client)
                if self._target is None:
                    continue
                server = socket.create_connection(self._target)
                self._sockets.append(server)
                threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                if answers and self._left is not None:
                    self._left -= len(data)
                    if self._left < 0:
                        self._flowing.clear()
                        self.standing.set()
                self._flowing.wait()
                sink.sendall(data)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes a moment."""
    for name in ("_ANSWERING", "_TAKING", "_COPYING", "_RETRYING"):
        monkeypatch.setattr(objects, name, timedelta(seconds=0.3))
    monkeypatch.setattr(objects, "_CALL_SECONDS", 1.0)
    monkeypatch.setattr(objects, "_CLEARING_SECONDS", 0.3)


@pytest.fixture
def forwarder(s3: Any, s3_place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forwarder]:
    host, port = s3.meta.client.meta.endpoint_url.removeprefix("http://").split(":")
    made = Forwarder((host, int(port)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.port}")
    yield made
    made.close()


async def _refused(call: Coroutine[Any, Any, object]) -> None:
    with pytest.raises(StorageUnavailable) as refused:
        async with asyncio.timeout(5):
            await call
    assert "127.0.0.1" not in refused.value.message
    assert ".incoming" not in refused.value.message


def test_a_store_that_stands_still_fails_every_call_in_time(
    impatient: None, forwarder: Forwarder, s3_place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    store = media_store(s3_place.location).of(NOBODY)

    async def main() -> None:
        media = await put(store, "a.wav", distinct(100_000))
        staged = await store.stage(chunks(b"bytes"))
        forwarder.freeze()
        await _refused(store.list())
        await _refused(store.find("a.wav"))
        await _refused(store.delete("a.wav"))
        await _refused(store.stage(chunks(b"bytes")))
        await _refused(store.stage(chunks(*[bytes(PART)] * (MULTIPART // PART))))
        await _refused(store.commit(staged, "b.wav"))
        await _refused(everything(store, media))
        await _refused(read_at(store, media, 0, 4))
        async with asyncio.timeout(5):
            await store.discard(staged)
        async with asyncio.timeout(5):
            await media_store(s3_place.location).sweep()

    run(main())
    assert "What earlier uploads left" in caplog.text


def test_a_store_that_stands_still_within_an_answer_fails_in_time(
    impatient: None, forwarder: Forwarder, s3_place: Place
) -> None:
    store = media_store(s3_place.location).of(NOBODY)

    async def main() -> None:
        media = await put(store, "a.wav", distinct(4_000_000))
        forwarder.freeze(after=1_000_000)
        await _refused(everything(store, media))
        await _refused(read_at(store, media, 0, 4))

    run(main())


def test_staging_that_is_cancelled_while_the_store_stands_still_ends(
    impatient: None, forwarder: Forwarder, s3_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_TAKING", timedelta(minutes=1))
    store = media_store(s3_place.location).of(NOBODY)

    async def main() -> None:
        forwarder.freeze()
        staging = asyncio.create_task(store.stage(chunks(b"bytes")))
        assert await asyncio.to_thread(forwarder.standing.wait, 5)
        staging.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await staging

    run(main())


def test_nobody_there_is_told(impatient: None, s3_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = nobody.getsockname()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{address[1]}")
    run(_refused(media_store(s3_place.location).of(NOBODY).list()))


def test_a_prefix_in_a_bucket_is_a_store_of_its_own(s3_place: Place, later: Callable[[], None]) -> None:
    later()

    async def main() -> None:
        whole = media_store(s3_place.location)
        part = media_store(f"{s3_place.location}/some/where")
        await put(part.of(NOBODY), "a.wav", b"a")
        staged = await part.of(NOBODY).stage(chunks(b"staged"))
        await whole.sweep()
        assert await whole.of(NOBODY).list() == []
        assert [media.name for media in await part.of(NOBODY).list()] == ["a.wav"]
        assert s3_place.everything() == [f"some/where/{staged.name}", "some/where/a.wav"]
        await part.sweep()
        assert s3_place.everything() == ["some/where/a.wav"]

    run(main())


def test_files_put_into_the_folder_by_hand_are_found(folder_place: Place) -> None:
    assert folder_place.folder is not None
    store = media_store(folder_place.location).of(NOBODY)
    (folder_place.folder / "by hand.wav").write_bytes(b"bytes")

    assert run(everything(store, run(store.find("by hand.wav")))) == b"bytes"


@pytest.mark.parametrize("location", ["/dev/null/audio", "s3://", "gopher://bucket"])
def test_a_place_that_cannot_be_is_told(location: str) -> None:
    with pytest.raises(ConfigurationError, match="Name a folder"):
        media_store(location)
