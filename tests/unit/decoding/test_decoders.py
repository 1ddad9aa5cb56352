"""Decoding processes, for real: what a source does to its process is that source's error alone."""

import asyncio
import os
import signal
import struct
import subprocess
import sys
import time
import wave
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
from memory_source import MemorySource

from transcribed.audio.source import FileSource
from transcribed.decoding import decoders as decoding
from transcribed.decoding.decoders import Decoders, LiveSource
from transcribed.decoding.forkserver import ForkServer
from transcribed.errors import (
    BadRequest,
    EngineFailure,
    LimitExceeded,
    MediaChanged,
    Unavailable,
    UnreadableAudio,
)

pytestmark = pytest.mark.anyio
TIMEOUT = 30
MIB = 1024 * 1024


def wav(seconds: float, rate: int = 16_000, channels: int = 1) -> bytes:
    content = BytesIO()
    with wave.open(content, "wb") as target:
        target.setparams((channels, 2, rate, 0, "NONE", ""))
        noise = np.random.default_rng(0).integers(-9_999, 9_999, round(seconds * rate) * channels)
        target.writeframes(noise.astype("<i2").tobytes())
    return content.getvalue()


def _flac() -> bytes:
    content = BytesIO()
    with av.open(content, "w", format="flac") as target:
        stream = target.add_stream("flac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4_096), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16_000
        target.mux([*stream.encode(frame), *stream.encode(None)])
    return content.getvalue()


def flac_with_comments(flac: bytes, tags: Iterable[bytes]) -> bytes:
    """A FLAC with these tags in place of its own."""
    info, position = flac[4:42], 4
    while True:
        header, length = flac[position], int.from_bytes(flac[position + 1 : position + 4])
        position += 4 + length
        if header & 0x80:
            break
    listed = [struct.pack("<I", len(tag)) + tag for tag in tags]
    block = struct.pack("<II", 0, len(listed)) + b"".join(listed)
    comment = b"\x84" + len(block).to_bytes(3) + block
    return b"fLaC" + bytes([info[0] & 0x7F]) + info[1:] + comment + flac[position:]


async def chunks(content: bytes, size: int = 4_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def _note(found: Decoders, source: Any, lengths: list[int]) -> None:
    async with found.decode(source) as reading:
        async for block in reading.blocks():
            lengths.append(block.shape[-1])  # noqa: PERF401 - what comes before a failure counts


async def seconds_of(found: Decoders, source: Any, **how: Any) -> float:
    length = 0
    async with asyncio.timeout(TIMEOUT), found.decode(source, **how) as reading:
        async for block in reading.blocks():
            length += block.shape[-1]
    return length / 16_000


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    """A fork server whose processes give up early."""
    script = (
        "import sys, socket; from transcribed.decoding import confinement, forkserver; "
        "confinement.CPU_SECONDS = 0; forkserver.main(socket.socket(fileno=int(sys.argv[1])))"
    )
    started = subprocess.Popen

    def start(command: list[str], **how: Any) -> Any:
        return started([sys.executable, "-c", script, command[-1]], **how)

    monkeypatch.setattr(subprocess, "Popen", start)
    server = ForkServer()
    server.start()
    yield server
    server.close()


# --- What comes back


@pytest.mark.parametrize("way", ["file", "served", "stream"])
async def test_all_audio_comes_back_however_the_bytes_reach_the_process(
    decoders: Decoders, tmp_path: Path, way: str
) -> None:
    content = wav(3.3)
    (tmp_path / "a.wav").write_bytes(content)
    source: Any = {
        "file": lambda: FileSource((tmp_path / "a.wav").open("rb")),
        "served": lambda: MemorySource(content),
        "stream": lambda: LiveSource(chunks(content)),
    }[way]()
    with ExitStack() as opened:
        if way == "file":
            opened.enter_context(source)
        assert await seconds_of(decoders, source) == 3.3
        if way != "stream":
            found = await decoders.probe(source)
            assert (found.container, found.codec, found.duration) == ("wav", "pcm_s16le", 3.3)


async def test_channels_come_apart(decoders: Decoders) -> None:
    async with decoders.decode(MemorySource(wav(1.0, channels=2)), channels=2) as reading:
        blocks = [block async for block in reading.blocks()]
    assert np.concatenate(blocks, axis=-1).shape == (2, 16_000)


async def test_a_position_that_others_share_is_not_moved(decoders: Decoders, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(1.0))
    with FileSource((tmp_path / "a.wav").open("rb")) as source:
        found = await asyncio.gather(*(seconds_of(decoders, source) for _ in range(4)))
        assert os.lseek(source.descriptor, 0, os.SEEK_CUR) == 0
    assert found == [1.0] * 4


# --- What a source may do to its process


async def test_a_source_that_takes_the_processor_is_given_up(small_limits: ForkServer) -> None:
    # FFmpeg looks through all tags for each.
    content = flac_with_comments(_flac(), (b"%x=1" % number for number in range(40_000)))
    began = time.monotonic()
    with pytest.raises(UnreadableAudio, match="too long"):
        await Decoders(small_limits).probe(MemorySource(content))
    assert time.monotonic() - began < TIMEOUT / 2


async def test_a_source_that_stands_still_in_its_process_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "WORK_SECONDS", 0.2)
    with Decoders() as found:
        async with found.decode(MemorySource(wav(600.0))) as reading:
            process = _first_process(found)
            blocks = reading.blocks()
            await anext(blocks)
            process.suspend()
            with pytest.raises(UnreadableAudio, match="too long"):
                async for _ in blocks:
                    pass
        await _gone(process)


def _index_bomb(samples: int) -> bytes:
    """An index that claims so many samples takes 24 bytes for each: a MOV of under a kilobyte."""

    def box(name: bytes, *parts: bytes) -> bytes:
        return struct.pack(">I", 8 + sum(map(len, parts))) + name + b"".join(parts)

    def full(name: bytes, *parts: bytes) -> bytes:
        return box(name, bytes(4), *parts)

    entry = bytes(6) + struct.pack(">HHHIHHHHI", 1, 0, 0, 0, 1, 16, 0, 0, 8_000 << 16)
    table = box(
        b"stbl",
        full(b"stsd", struct.pack(">I", 1), box(b"ulaw", entry)),
        full(b"stts", struct.pack(">III", 1, samples, 2)),
        full(b"stsc", struct.pack(">IIII", 1, 1, samples, 1)),
        full(b"stsz", struct.pack(">II", 1, samples)),
        full(b"stco", struct.pack(">II", 1, 44)),
    )
    data = box(b"dinf", full(b"dref", struct.pack(">I", 1), full(b"url ")))
    handler = full(b"hdlr", b"mhlrsoun" + bytes(13))
    media = box(
        b"mdia",
        full(b"mdhd", struct.pack(">IIIIHH", 0, 0, 8_000, 8_000, 0, 0)),
        handler,
        box(b"minf", full(b"smhd", bytes(4)), data, table),
    )
    header = full(b"tkhd", struct.pack(">IIIII", 0, 0, 1, 0, 8_000) + bytes(60))
    movie = full(b"mvhd", struct.pack(">IIII", 0, 0, 8_000, 8_000) + bytes(80))
    return (
        box(b"ftyp", b"qt  \0\0\0\0qt  ")
        + box(b"mdat", b"\xff" * 400)
        + box(b"moov", movie, box(b"trak", header, media))
    )


@pytest.mark.parametrize("live", [True, False])
async def test_a_source_that_takes_memory_is_given_up_before_it_has_it(
    fork_server: ForkServer, live: bool
) -> None:
    seen = [0]

    async def watch() -> None:
        while True:
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    seen.append(process.memory_info().rss)
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    for samples in (40_000_000, 2_000_000_000):
        bomb = _index_bomb(samples)
        with pytest.raises(UnreadableAudio):
            await seconds_of(
                Decoders(fork_server), LiveSource(chunks(bomb)) if live else MemorySource(bomb)
            )
    watching.cancel()
    assert max(seen) < 120 * MIB, "what it shares with its parent, and little more"


async def test_a_long_recording_gets_the_memory_that_its_index_takes_one_at_a_time(
    decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "MEMORY", 4 * MIB)
    monkeypatch.setattr(decoding, "LARGE_WAIT_SECONDS", 0.1)
    large = flac_with_comments(_flac(), [b"picture=" + bytes(8 * MIB)])
    async with decoders.decode(MemorySource(large)) as reading:
        assert reading.format.codec == "flac"
        with pytest.raises(LimitExceeded, match="memory"):
            await seconds_of(decoders, MemorySource(large))
        assert await seconds_of(decoders, MemorySource(_flac())) == 0.256
    assert await seconds_of(decoders, MemorySource(large)) == 0.256
    with pytest.raises(UnreadableAudio, match="memory"):
        await seconds_of(decoders, LiveSource(chunks(large)))


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL], ids=lambda n: n.name)
async def test_a_process_that_dies_is_the_error_of_its_source_alone(number: signal.Signals) -> None:
    with Decoders() as found:
        async with (
            found.decode(MemorySource(wav(600.0))) as dying,
            found.decode(MemorySource(wav(60.0))) as living,
        ):
            _first_process(found).send_signal(number)
            with pytest.raises(UnreadableAudio, match="crashes the decoder"):
                async for _ in dying.blocks():
                    pass
            assert sum([len(block) async for block in living.blocks()]) == 60 * 16_000


# --- What a process may do


def _attempted(attempt: str) -> str:
    """What comes of some code in a process that is confined as a decoding process is."""
    code = (
        "import os, socket, subprocess\n"
        "from transcribed.decoding.confinement import Confinement\n"
        "reading = os.open('/etc/hostname', os.O_RDONLY)\n"
        "Confinement().confine()\n"
        "try:\n"
        f"    {attempt}\n"
        "    print('done')\n"
        "except OSError as error:\n"
        "    print(type(error).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's alone")
@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/passwd')",
        "open('/tmp/written', 'w')",
        "os.listdir('/')",
        "os.stat('/etc/passwd')",
        "os.unlink('/tmp/nothing')",
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
        "os.dup(reading)",
    ],
)
def test_a_process_can_reach_nothing(attempt: str) -> None:
    assert _attempted(attempt) == "PermissionError"


def test_a_process_can_read_what_it_was_handed() -> None:
    assert _attempted("assert os.pread(reading, 4, 0)") == "done"


def test_a_process_knows_none_of_the_servers_secrets(
    fork_server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    server = ForkServer()
    server.start()
    (started,) = (each for each in _fork_servers() if each.pid == server.pid)
    assert not any("AWS" in name for name in started.environ())
    server.close()


# --- Sources that fail


async def test_a_source_that_fails_is_raised_behind_what_came_before(decoders: Decoders) -> None:
    def fail() -> None:
        raise MediaChanged("replaced")

    lengths: list[int] = []
    with pytest.raises(MediaChanged, match="replaced"):
        await _note(decoders, MemorySource(wav(60.0), 30 * 32_000, fail), lengths)
    assert sum(lengths) / 16_000 == pytest.approx(30, abs=0.1)


async def test_a_stream_that_breaks_off_is_raised_behind_what_came_before(decoders: Decoders) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        async for chunk in chunks(wav(2.0)):
            yield chunk
        raise BadRequest("broke off")

    lengths: list[int] = []
    with pytest.raises(BadRequest, match="broke off"):
        await _note(decoders, LiveSource(breaking()), lengths)
    assert sum(lengths) == 32_000


async def test_a_file_that_is_written_while_it_is_read_says_so(decoders: Decoders, tmp_path: Path) -> None:
    class Changed(FileSource):
        async def read(self, offset: int, size: int) -> bytes:
            raise MediaChanged("written since")

    (tmp_path / "a.wav").write_bytes(wav(1.0))
    with Changed((tmp_path / "a.wav").open("rb")) as source, pytest.raises(MediaChanged):
        await seconds_of(decoders, source)


# --- Many at once


async def test_a_look_that_takes_long_makes_way_for_those_that_do_not(
    fork_server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "QUICK_PROBE_SECONDS", 1.0)
    found, held = Decoders(fork_server), asyncio.Event()

    class Held(MemorySource):
        async def read(self, offset: int, size: int) -> bytes:
            await held.wait()
            return await super().read(offset, size)

    held_up = [asyncio.create_task(found.probe(Held(wav(1.0)))) for _ in range(decoding.SLOW_PROBES)]
    async with asyncio.timeout(TIMEOUT):
        await _until(found._slow.locked)
        assert (await found.probe(MemorySource(wav(1.0)))).duration == 1.0
        with pytest.raises(LimitExceeded, match="being examined"):
            await found.probe(Held(wav(1.0)))
        held.set()
        assert [each.duration for each in await asyncio.gather(*held_up)] == [1.0] * len(held_up)


async def test_no_more_looks_begin_than_have_a_place(
    fork_server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "PROBES", 1)
    monkeypatch.setattr(decoding, "QUICK_PROBE_SECONDS", TIMEOUT)
    found, begun, held = Decoders(fork_server), asyncio.Event(), asyncio.Event()

    class Held(MemorySource):
        async def read(self, offset: int, size: int) -> bytes:
            begun.set()
            await held.wait()
            return await super().read(offset, size)

    forks: list[int] = []
    fork = fork_server.fork
    monkeypatch.setattr(fork_server, "fork", lambda: forks.append(1) or fork())
    async with asyncio.timeout(TIMEOUT):
        looks = [asyncio.create_task(found.probe(Held(wav(1.0)))) for _ in range(3)]
        await begun.wait()
        assert len(forks) == 1
        held.set()
        assert [each.duration for each in await asyncio.gather(*looks)] == [1.0] * 3
    assert len(forks) == 3


@pytest.mark.parametrize("way", ["leave", "cancel"])
async def test_leaving_early_ends_the_process(way: str) -> None:
    with Decoders() as found:
        async with found.decode(MemorySource(wav(600.0))) as reading:
            process = _first_process(found)
            process.suspend()  # Not even one that does not listen stays.
            if way == "cancel":
                waiting = asyncio.create_task(anext(reading.blocks()))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
        await _gone(process)


async def test_fifty_streams_leave_no_process_and_no_descriptor() -> None:
    process = psutil.Process()
    with Decoders() as found:
        await seconds_of(found, MemorySource(wav(0.1)))
        before = process.num_fds()
        lengths = await asyncio.gather(
            *(seconds_of(found, LiveSource(chunks(wav(1.0)))) for _ in range(50))
        )
        assert lengths == [1.0] * 50
        assert process.num_fds() <= before
        (server,) = (each for each in _fork_servers() if each.pid == found._server.pid)
        async with asyncio.timeout(TIMEOUT):
            await _until(lambda: len(server.children()) <= 2)
    assert not server.is_running()


# --- The process of which they are forked


async def test_a_fork_server_that_is_killed_is_started_again() -> None:
    with Decoders() as found:
        async with found.decode(MemorySource(wav(600.0))) as reading:
            blocks = reading.blocks()
            await anext(blocks)
            process = _first_process(found)
            psutil.Process(found._server.pid).kill()
            with pytest.raises(
                (Unavailable, UnreadableAudio)
            ):  # As it falls: between two messages, or in one.
                async for _ in blocks:
                    pass
        await _gone(process)
        assert await seconds_of(found, MemorySource(wav(1.0))) == 1.0
    with pytest.raises(EngineFailure, match="stopping"):
        await seconds_of(found, MemorySource(wav(1.0)))


async def test_a_system_that_lets_no_process_be_started_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = (
        "import errno, os, sys, socket\n"
        "from transcribed.decoding import forkserver\n"
        "fork, failures = os.fork, [BlockingIOError(errno.EAGAIN, 'none left')]\n"
        "def failing():\n"
        "    if failures:\n"
        "        raise failures.pop()\n"
        "    return fork()\n"
        "os.fork = failing\n"
        "forkserver.main(socket.socket(fileno=int(sys.argv[1])))\n"
    )
    started = subprocess.Popen
    monkeypatch.setattr(
        subprocess,
        "Popen",
        lambda command, **how: started([sys.executable, "-c", script, command[-1]], **how),
    )
    with Decoders() as found:
        with pytest.raises(LimitExceeded, match="Try again"):
            await seconds_of(found, MemorySource(wav(1.0)))
        assert await seconds_of(found, MemorySource(wav(1.0))) == 1.0


def test_a_server_that_is_killed_leaves_no_process() -> None:
    code = (
        "import asyncio, sys\n"
        "from transcribed.decoding.decoders import Decoders, LiveSource\n"
        "async def silent():\n"
        "    yield b'RIFF'\n"
        "    print(decoders._server.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "decoders = Decoders()\n"
        "async def main():\n"
        "    with decoders:\n"
        "        async with decoders.decode(LiveSource(silent())):\n"
        "            pass\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        server = psutil.Process(int(process.stdout.readline()))
        forks = server.children()
        assert forks
        process.kill()
    _, alive = psutil.wait_procs([server, *forks], TIMEOUT)
    assert alive == []


def _fork_servers() -> list[psutil.Process]:
    return [
        each for each in psutil.Process().children() if "transcribed.decoding.forkserver" in each.cmdline()
    ]


def _first_process(found: Decoders) -> psutil.Process:
    """The process of the first source: those that wait for others are forked after it."""
    assert found._server.pid is not None
    return min(psutil.Process(found._server.pid).children(), key=lambda each: each.pid)


async def _gone(process: psutil.Process) -> None:
    async with asyncio.timeout(TIMEOUT):
        await _until(lambda: not process.is_running())


async def _until(holds: Callable[[], object]) -> None:
    while not holds():  # noqa: ASYNC110 - no event tells of another process
        await asyncio.sleep(0.01)
