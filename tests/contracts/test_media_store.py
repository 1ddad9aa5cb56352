"""What every MediaStore owes, asked of a local folder and of S3 (moto's server, over real HTTP)."""

import asyncio
import io
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from transcribed.errors import ConfigurationError, MediaChanged, NotFound
from transcribed.storage import objects
from transcribed.storage.media import StoredMedia
from transcribed.storage.names import valid_name
from transcribed.storage.objects import ObjectMediaStore

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
def store(place: Place) -> ObjectMediaStore:
    return ObjectMediaStore.at(place.location)


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def put(store: ObjectMediaStore, name: str, *parts: bytes) -> StoredMedia:
    staged = await store.stage(chunks(*parts))
    await store.commit(staged, name)
    return await store.find(name)


async def everything(store: ObjectMediaStore, media: StoredMedia) -> bytes:
    return b"".join([chunk async for chunk in store.read(media, 0, media.size)])


def distinct(size: int) -> bytes:
    """Bytes among which no range is like another."""
    return np.arange(size // 4, dtype=">u4").tobytes()


def test_what_is_committed_is_found_and_read(store: ObjectMediaStore) -> None:
    async def main() -> None:
        media = await put(store, "a.wav", b"one ", b"", b"two")
        assert (media.name, media.size) == ("a.wav", 7)
        assert await everything(store, media) == b"one two"

    run(main())


def test_what_is_staged_has_no_name_until_it_is_committed(store: ObjectMediaStore, place: Place) -> None:
    async def main() -> None:
        staged = await store.stage(chunks(b"bytes"))
        assert staged.size == 5
        assert await store.list() == []
        assert place.everything() == [staged.name]
        assert store.open(staged).read(100) == b"bytes"
        await store.commit(staged, "a.wav")
        assert place.everything() == ["a.wav"]

    run(main())


def test_what_is_discarded_leaves_nothing(store: ObjectMediaStore, place: Place) -> None:
    async def main() -> None:
        await store.discard(await store.stage(chunks(b"bytes")))
        assert place.everything() == []

    run(main())


def test_nothing_at_all_can_be_staged(store: ObjectMediaStore) -> None:
    async def main() -> None:
        media = await put(store, "empty")
        assert media.size == 0
        assert await everything(store, media) == b""
        assert store.open(media).read(1) == b""

    run(main())


def test_large_recordings_come_back_whole(store: ObjectMediaStore, place: Place) -> None:
    async def main() -> None:
        content = distinct(MULTIPART)
        parts = [content[start : start + PART] for start in range(0, len(content), PART)]
        media = await put(store, "large.wav", *parts)
        assert media.size == len(content)
        assert await everything(store, media) == content
        assert place.everything() == ["large.wav"]

    run(main())


def test_a_commit_replaces(store: ObjectMediaStore) -> None:
    async def main() -> None:
        first = await put(store, "a.wav", b"first")
        second = await put(store, "a.wav", b"second, longer")
        assert first.version != second.version
        assert await everything(store, second) == b"second, longer"
        assert await store.list() == [second]

    run(main())


def test_a_version_changes_with_the_bytes_alone(store: ObjectMediaStore) -> None:
    async def main() -> None:
        first = await put(store, "a.wav", b"same size 1")
        assert await store.find("a.wav") == first
        assert (await put(store, "a.wav", b"same size 2")).version != first.version

    run(main())


def test_readers_see_the_old_or_the_new_and_never_a_mix(store: ObjectMediaStore) -> None:
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


def test_the_list_is_in_the_order_of_names(store: ObjectMediaStore) -> None:
    names = ["b.wav", "a.wav", "B.wav", "a b.wav", "ä.wav", "a.mp3", "10.wav", "9.wav"]

    async def main() -> None:
        stored = [await put(store, name, name.encode()) for name in names]
        assert await store.list() == sorted(stored, key=lambda media: media.name)

    run(main())


def test_the_list_holds_recordings_only(store: ObjectMediaStore, place: Place) -> None:
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
    store: ObjectMediaStore, place: Place, later: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    later()
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    names = sorted(f"{number}.wav" for number in range(25))

    async def main() -> None:
        for name in names:
            await put(store, name, b"x")
            await store.stage(chunks(b"left"))
        assert [media.name for media in await store.list()] == names
        await store.sweep()
        assert place.everything() == names

    run(main())


def test_what_is_deleted_is_gone(store: ObjectMediaStore, place: Place) -> None:
    async def main() -> None:
        await put(store, "a.wav", b"a")
        await put(store, "b.wav", b"b")
        await store.delete("a.wav")
        assert place.everything() == ["b.wav"]
        with pytest.raises(NotFound, match=r"'a\.wav'"):
            await store.find("a.wav")

    run(main())


def test_what_is_not_there_is_not_found(store: ObjectMediaStore) -> None:
    async def main() -> None:
        gone = await put(store, "a.wav", b"a")
        await store.delete("a.wav")
        with pytest.raises(NotFound):
            await store.delete("a.wav")
        with pytest.raises(NotFound):
            await everything(store, gone)
        with pytest.raises(NotFound):
            store.open(gone).read(1)
        with pytest.raises(NotFound):
            await store.commit(gone, "b.wav")
        assert await store.list() == []

    run(main())


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (0, 4000), (3999, 4000), (17, 18), (100, 3000), (5, 5), (4000, 4000)]
)
def test_ranges_are_read_exactly(store: ObjectMediaStore, start: int, end: int) -> None:
    async def main() -> None:
        media = await put(store, "a.wav", distinct(4000))
        found = b"".join([chunk async for chunk in store.read(media, start, end)])
        assert found == distinct(4000)[start:end]

    run(main())


def test_a_recording_is_a_file(store: ObjectMediaStore) -> None:
    content = distinct(1_000_000)
    media = run(put(store, "a.wav", content))
    file, model = store.open(media), io.BytesIO(content)

    for offset, whence, size in [
        (0, io.SEEK_SET, 10),
        (0, io.SEEK_CUR, 300_000),
        (-20, io.SEEK_CUR, 40),
        (-5, io.SEEK_END, 100),
        (0, io.SEEK_END, 1),
        (999_999, io.SEEK_SET, 5),
        (2_000_000, io.SEEK_SET, 5),
        (500_001, io.SEEK_SET, 499_999),
        (0, io.SEEK_SET, 1_000_001),
    ]:
        assert file.seek(offset, whence) == model.seek(offset, whence)
        assert file.read(size) == model.read(size)
        assert file.tell() == model.tell()


def test_a_file_that_is_replaced_while_it_is_read_says_so(store: ObjectMediaStore) -> None:
    media = run(put(store, "a.wav", distinct(2_000_000)))
    file = store.open(media)
    assert file.read(4) == distinct(4)
    run(put(store, "a.wav", bytes(2_000_000)))

    file.seek(1_500_000, io.SEEK_SET)
    with pytest.raises(MediaChanged, match=r"'a\.wav'"):
        file.read(4)
    with pytest.raises(MediaChanged):
        run(everything(store, media))


def test_a_file_that_is_deleted_while_it_is_read_says_so(store: ObjectMediaStore) -> None:
    media = run(put(store, "a.wav", distinct(2_000_000)))
    file = store.open(media)
    assert file.read(4) == distinct(4)
    run(store.delete("a.wav"))

    file.seek(1_500_000, io.SEEK_SET)
    with pytest.raises(NotFound, match=r"'a\.wav'"):
        file.read(4)


@pytest.mark.parametrize("parts", [0, 1, MULTIPART // PART])
def test_chunks_that_fail_leave_nothing(store: ObjectMediaStore, place: Place, parts: int) -> None:
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
    store: ObjectMediaStore, place: Place, eventually: Callable[..., None], parts: int
) -> None:
    async def main() -> None:
        standing = asyncio.Event()

        async def standing_still() -> AsyncIterator[bytes]:
            for _ in range(parts):
                yield bytes(PART)
            standing.set()
            await asyncio.Event().wait()

        staging = asyncio.create_task(store.stage(standing_still()))
        await asyncio.wait_for(standing.wait(), 10)
        staging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await staging

    run(main())
    eventually(lambda: place.everything() == [], 5, "nothing is left")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_come_back_as_they_are(store: ObjectMediaStore, place: Place, name: str) -> None:
    async def main() -> None:
        assert valid_name(name) == name
        media = await put(store, name, b"bytes")
        assert media.name == name
        assert await store.list() == [media]
        assert await everything(store, media) == b"bytes"
        assert store.open(media).read(9) == b"bytes"
        assert place.everything() == [name]
        await store.delete(name)
        assert place.everything() == []

    run(main())


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes all that is staged old enough to have been abandoned."""
    return lambda: monkeypatch.setattr(objects, "_ABANDONED_AFTER", -60.0)


def test_what_a_crash_left_is_swept(
    store: ObjectMediaStore, place: Place, later: Callable[[], None]
) -> None:
    async def main() -> None:
        await store.sweep()
        await put(store, "a.wav", b"a")
        staged = {(await store.stage(chunks(b"staged"))).name for _ in range(3)}
        await store.sweep()
        assert set(place.everything()) == {"a.wav"} | staged, "what is being staged is not swept"
        later()
        await store.sweep()
        assert place.everything() == ["a.wav"]

    run(main())


def test_unfinished_files_that_a_crash_left_are_swept(folder_place: Place) -> None:
    assert folder_place.folder is not None
    store = ObjectMediaStore.at(folder_place.location)
    incoming = folder_place.folder / ".incoming"
    incoming.mkdir()
    for name, age in [("abandoned#1", 7200), ("growing#1", 60)]:
        (incoming / name).write_bytes(b"half")
        modified = time.time() - age  # noqa: TID251 - files are dated by the wall clock
        os.utime(incoming / name, (modified, modified))

    run(store.sweep())

    assert folder_place.everything() == [".incoming/growing#1"]


def test_a_prefix_in_a_bucket_is_a_store_of_its_own(s3_place: Place, later: Callable[[], None]) -> None:
    later()

    async def main() -> None:
        whole = ObjectMediaStore.at(s3_place.location)
        part = ObjectMediaStore.at(f"{s3_place.location}/some/where")
        await put(part, "a.wav", b"a")
        staged = await part.stage(chunks(b"staged"))
        await whole.sweep()
        assert await whole.list() == []
        assert [media.name for media in await part.list()] == ["a.wav"]
        assert s3_place.everything() == [f"some/where/{staged.name}", "some/where/a.wav"]
        await part.sweep()
        assert s3_place.everything() == ["some/where/a.wav"]

    run(main())


def test_files_put_into_the_folder_by_hand_are_found(folder_place: Place) -> None:
    assert folder_place.folder is not None
    store = ObjectMediaStore.at(folder_place.location)
    (folder_place.folder / "by hand.wav").write_bytes(b"bytes")

    assert run(everything(store, run(store.find("by hand.wav")))) == b"bytes"


@pytest.mark.parametrize("location", ["/dev/null/audio", "s3://", "gopher://bucket"])
def test_a_place_that_cannot_be_is_told(location: str) -> None:
    with pytest.raises(ConfigurationError, match="Name a folder"):
        ObjectMediaStore.at(location)
