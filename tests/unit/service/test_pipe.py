import asyncio
import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.service.pipe import Pipe

pytestmark = pytest.mark.anyio
WAIT = 30


def _read_all(pipe: Pipe, size: int) -> bytes:
    read = io.BytesIO()
    while data := pipe.read(size):
        assert len(data) <= size
        read.write(data)
    return read.getvalue()


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=50), max_size=50),
    limit=st.integers(1, 200),
    size=st.integers(1, 60),
)
def test_what_is_written_is_read_in_order(chunks: list[bytes], limit: int, size: int) -> None:
    async def through() -> bytes:
        pipe = Pipe(limit)
        reading = asyncio.create_task(asyncio.to_thread(_read_all, pipe, size))
        async with asyncio.timeout(WAIT):
            for chunk in chunks:
                await pipe.write(chunk)
            pipe.end()
            return await reading

    assert asyncio.run(through()) == b"".join(chunks)


async def test_a_full_pipe_makes_the_writer_wait_until_there_is_room() -> None:
    pipe = Pipe(100)
    await pipe.write(bytes(99))
    writing = asyncio.create_task(pipe.write(bytes(101)))
    await asyncio.sleep(0)
    assert await asyncio.to_thread(pipe.read, 100) == bytes(99)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not writing.done()
    assert await asyncio.to_thread(pipe.read, 50) == bytes(50)
    async with asyncio.timeout(WAIT):
        await writing


async def test_an_empty_pipe_makes_the_reader_wait() -> None:
    pipe = Pipe(100)
    reading = asyncio.create_task(asyncio.to_thread(pipe.read, 100))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not reading.done()
    await pipe.write(b"a")
    async with asyncio.timeout(WAIT):
        assert await reading == b"a"


async def test_at_its_end_what_is_there_is_read_and_no_more_is_taken() -> None:
    pipe = Pipe(100)
    await pipe.write(b"a")
    pipe.end()
    await pipe.write(b"b")
    assert [pipe.read(10), pipe.read(10), pipe.read(10)] == [b"a", b"", b""]


async def test_closing_frees_both_sides() -> None:
    empty, full = Pipe(1), Pipe(1)
    reader = threading.Thread(target=empty.read, args=(10,))
    reader.start()
    writing = asyncio.create_task(full.write(b"abc"))
    await asyncio.sleep(0)
    assert not writing.done()
    for pipe in (empty, full):
        pipe.close()
    async with asyncio.timeout(WAIT):
        await writing
        await asyncio.to_thread(reader.join, WAIT)
    assert not reader.is_alive()
    assert full.read(10) == b""
