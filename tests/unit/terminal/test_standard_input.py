import asyncio
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest

from transcribed.audio.formats import InputFormat
from transcribed.errors import BadRequest
from transcribed.terminal.standard_input import StandardInput

TIMEOUT = 30


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


@pytest.mark.anyio
async def test_bytes_come_as_they_are_written_and_end_with_the_pipe(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    with StandardInput(InputFormat(), reader) as chunks:
        async with asyncio.timeout(TIMEOUT):
            for data in (b"one", b"two"):
                waiting = asyncio.ensure_future(anext(chunks))
                await asyncio.sleep(0)
                assert not waiting.done()
                os.write(writer, data)
                assert await waiting == data
            os.close(writer)
            assert [chunk async for chunk in chunks] == []


@pytest.mark.anyio
@pytest.mark.parametrize("when", ["before", "while it waits"])
async def test_stop_ends_it(pipe: tuple[int, int], when: str) -> None:
    reader, writer = pipe
    with os.fdopen(writer, "wb"), StandardInput(InputFormat(), reader) as chunks:
        async with asyncio.timeout(TIMEOUT):
            if when == "before":
                chunks.stop()
            waiting = asyncio.ensure_future(anext(chunks, None))
            await asyncio.sleep(0)
            chunks.stop()
            assert await waiting is None


@pytest.mark.anyio
async def test_it_can_be_left_while_it_waits(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    with os.fdopen(writer, "wb"), StandardInput(InputFormat(), reader) as chunks:
        waiting = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0)
        waiting.cancel()
        async with asyncio.timeout(TIMEOUT):
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert not asyncio.get_running_loop().remove_reader(reader)


@pytest.mark.anyio
async def test_a_file_will_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    with (tmp_path / "file").open("rb") as file, StandardInput(InputFormat(), file.fileno()) as chunks:
        assert [len(chunk) async for chunk in chunks] == [65_536, 34_464]


@pytest.mark.anyio
async def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    with StandardInput(InputFormat(), folder) as chunks, pytest.raises(BadRequest, match="directory"):
        await anext(chunks)
    os.close(folder)


def test_a_keyboard_is_no_audio() -> None:
    keyboard, screen = pty.openpty()
    with pytest.raises(BadRequest, match="Pipe audio"):
        StandardInput(InputFormat(), screen)
    os.close(keyboard)
    os.close(screen)
