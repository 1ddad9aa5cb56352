import asyncio
import logging
import os
import random
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from transcribed.http.spool import Spool, Spools

InVirtualTime = Callable[[Coroutine[Any, Any, Any]], Any]
PIECE = 256 * 1024


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def _all(spool: Spool) -> bytes:
    return b"".join([await spool.read(100_000) for _ in iter(lambda: len(spool), 0)])


@pytest.mark.parametrize("seed", range(3))
def test_what_was_written_first_is_read_first_however_the_ring_turns(
    in_virtual_time: InVirtualTime, seed: int
) -> None:
    async def turn() -> None:
        chance = random.Random(seed)
        spools = Spools(3 * PIECE + 1_000, 10 * PIECE)
        spool, written, read = spools.spool(), bytearray(), bytearray()
        while len(written) < 30 * PIECE:
            data = chance.randbytes(chance.randrange(1, PIECE))
            while not spool.has_room(len(data)):
                read += await spool.read(chance.randrange(1, PIECE))
            await spool.write(data)
            written += data
        read += await _all(spool)
        assert read == written
        assert spools.room == 10 * PIECE, "what is empty takes no room"
        await spool.aclose()

    in_virtual_time(turn())


def test_one_that_writes_and_one_that_reads_need_not_take_turns(in_virtual_time: InVirtualTime) -> None:
    async def both() -> None:
        spool, data = Spools().spool(), random.Random(0).randbytes(20 * PIECE)

        async def write() -> None:
            for start in range(0, len(data), 50_000):
                await spool.write(data[start : start + 50_000])
                await asyncio.sleep(0)

        writing, read = asyncio.create_task(write()), b""
        while len(read) < len(data):
            read += await spool.read(70_000)
            await asyncio.sleep(0)
        await writing
        assert read == data
        await spool.aclose()

    in_virtual_time(both())


def test_it_takes_no_more_than_may_wait_and_its_file_is_no_larger(in_virtual_time: InVirtualTime) -> None:
    async def fill() -> None:
        spool = Spools(4 * PIECE).spool()
        for _ in range(4):
            assert spool.has_room(PIECE)
            await spool.write(bytes(PIECE))
        assert not spool.has_room(1)
        for _ in range(10):
            for _ in range(4):
                await spool.read(PIECE // 4)
            await spool.write(bytes(PIECE))
        assert spool._file is not None
        assert os.fstat(spool._file.fileno()).st_size == 4 * PIECE
        await spool.aclose()

    in_virtual_time(fill())


def test_all_together_take_no_more_than_there_is(in_virtual_time: InVirtualTime) -> None:
    async def fill() -> None:
        spools = Spools(8 * PIECE, 2 * PIECE)
        first, second = spools.spool(), spools.spool()
        await first.write(bytes(2 * PIECE))
        await second.write(b"a" * PIECE)
        assert not second.has_room(1)
        assert await second.read(PIECE) == b"a" * PIECE, "it waited in memory"
        await first.aclose()
        assert spools.room == 2 * PIECE
        for number in range(3):
            assert second.has_room(PIECE), number
            await second.write(b"b" * PIECE)
        assert await _all(second) == b"b" * 3 * PIECE
        await second.aclose()

    in_virtual_time(fill())


def test_where_there_is_no_file_nothing_is_lost_and_the_log_says_so(
    in_virtual_time: InVirtualTime,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fill() -> None:
        spool = Spools().spool()
        monkeypatch.setattr(tempfile, "tempdir", str(folder / "missing"))
        await spool.write(b"a" * PIECE)
        assert not spool.has_room(1)
        assert await spool.read(PIECE // 2) == b"a" * (PIECE // 2)
        assert not spool.has_room(1)
        assert await spool.read(PIECE) == b"a" * (PIECE // 2)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        assert spool.has_room(1)
        await spool.write(b"b" * PIECE)
        assert spool.has_room(1)
        assert await _all(spool) == b"b" * PIECE
        await spool.aclose()

    with caplog.at_level(logging.WARNING):
        in_virtual_time(fill())
    (said,) = caplog.messages
    assert said.startswith("Live audio cannot wait in a file")


def test_a_closed_one_leaves_no_file(in_virtual_time: InVirtualTime, folder: Path) -> None:
    async def fill() -> None:
        spools = Spools()
        before = _descriptors()
        spool = spools.spool()
        await spool.write(bytes(PIECE))
        assert not _files(folder), "it has no name"
        assert _descriptors() == before + 1
        await spool.aclose()
        assert _descriptors() == before

    in_virtual_time(fill())
