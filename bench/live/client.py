"""The clients of a run, in one process that does as little work as possible.

It reads a Plan as JSON from standard input, and writes the streams with their results to standard output. A
chunk is sent when its last sample would have been captured, on a schedule that does not drift. Messages are
only recorded, with the time of their arrival.
"""

import asyncio
import json
import math
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path

from audio import RATE
from dialects import DIALECTS, TRY_AGAIN_LATER, Dialect, Wrap
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

CHUNK_SECONDS = 0.1
CHUNK = 2 * round(RATE * CHUNK_SECONDS)
LAST_WORDS = 60.0
"""A stream that is not finished so many seconds after its audio has failed; so has one that is not read."""


@dataclass
class Stream:
    """What a client sends, and what it receives.

    `audio` is a file of samples; `after` is when to connect, in seconds from the start of the run.
    `started` is the time of the first sample on the monotonic clock, `spoke` that of the first message with
    audio. The times of `messages` count from `started`, `refused_after` from `spoke`, or from the
    connection if no audio was sent. `late` and `blocked` are the largest delay of a chunk and the longest
    time to send one.
    """

    audio: str
    after: float
    outcome: str = "failed"
    detail: str = ""
    started: float = 0.0
    spoke: float | None = None
    refused_after: float | None = None
    seconds: float = 0.0
    late: float = 0.0
    blocked: float = 0.0
    messages: list[tuple[float, str]] = field(default_factory=list)

    @property
    def last(self) -> float:
        """The time of the last message on the monotonic clock."""
        return self.started + (self.messages[-1][0] if self.messages else 0.0)


@dataclass
class Plan:
    """The server, its dialect, and the streams."""

    port: int
    dialect: str
    streams: list[Stream]


async def run(plan: Plan, audio: list[bytes]) -> None:
    """Run all streams to their end."""
    begin = time.monotonic()
    dialect = DIALECTS[plan.dialect]
    async with asyncio.TaskGroup() as group:
        for stream, samples in zip(plan.streams, audio, strict=True):
            group.create_task(_drive(stream, samples, plan.port, dialect, begin))


async def _drive(stream: Stream, samples: bytes, port: int, dialect: Dialect, begin: float) -> None:
    await _until(begin + stream.after)
    path, wrap = dialect.connection(port)
    url = f"ws://127.0.0.1:{port}{path}"
    stream.started = time.monotonic()
    try:
        async with connect(
            url, compression=None, max_size=None, ping_interval=None, open_timeout=30, close_timeout=2
        ) as socket:
            await _speak(stream, samples, socket, dialect, wrap)
    except InvalidStatus as error:
        stream.detail = f"HTTP {error.response.status_code}"
        if error.response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            _refuse(stream, stream.detail)
    except ConnectionClosed as error:
        code = error.rcvd.code if error.rcvd else None
        if code == TRY_AGAIN_LATER:
            _refuse(stream, stream.detail or str(error))
        else:
            stream.detail = stream.detail or f"closed: {error}"
    except (OSError, TimeoutError, WebSocketException) as error:
        stream.detail = f"{type(error).__name__}: {error}"


async def _speak(
    stream: Stream, samples: bytes, socket: ClientConnection, dialect: Dialect, wrap: Wrap
) -> None:
    if dialect.hello:
        await socket.send(dialect.hello)
    message: str | None = None
    while not dialect.is_ready(message):
        async with asyncio.timeout(LAST_WORDS):
            message = dialect.text(await socket.recv())
        if why := dialect.refusal(message):
            return _refuse(stream, why)
    stream.started = time.monotonic()
    listening = asyncio.create_task(_listen(stream, socket, dialect))
    try:
        await _send(stream, samples, socket, dialect, wrap, listening)
        await _finish(stream, dialect, listening)
    except ConnectionClosed:
        await listening  # which has kept what came before, and may know why
        if stream.outcome == "failed":
            raise
    finally:
        listening.cancel()


async def _send(  # noqa: PLR0917
    stream: Stream,
    samples: bytes,
    socket: ClientConnection,
    dialect: Dialect,
    wrap: Wrap,
    listening: asyncio.Task[None],
) -> None:
    free = stream.started
    for count in range(math.ceil(len(samples) / CHUNK)):
        due = max(stream.started + (count + 1) * CHUNK_SECONDS, free)
        await _until(due)
        if listening.done():
            return
        now = time.monotonic()
        stream.spoke = stream.spoke or now
        message = wrap(samples[count * CHUNK : (count + 1) * CHUNK])
        async with asyncio.timeout(LAST_WORDS):
            await socket.send(message)
        free = time.monotonic()
        stream.late = max(stream.late, now - due)
        stream.blocked = max(stream.blocked, free - now)
        stream.seconds = min((count + 1) * CHUNK, len(samples)) / 2 / RATE
    if dialect.patience is None:
        await socket.send(wrap(dialect.end))


async def _finish(stream: Stream, dialect: Dialect, listening: asyncio.Task[None]) -> None:
    ended = time.monotonic()
    while not listening.done() and time.monotonic() < ended + LAST_WORDS:
        await asyncio.wait({listening}, timeout=0.5)
        silent_since = max(ended, stream.last)
        if dialect.patience is not None and time.monotonic() > silent_since + dialect.patience:
            stream.outcome = "served"
            return
    if listening.done():
        await listening
    else:
        stream.detail = f"unfinished {LAST_WORDS:g} s after its audio"


async def _listen(stream: Stream, socket: ClientConnection, dialect: Dialect) -> None:
    async for received in socket:
        message = dialect.text(received)
        stream.messages.append((time.monotonic() - stream.started, message))
        if dialect.is_done(message):
            stream.outcome = "served"
            return
        if why := dialect.refusal(message):
            stream.detail = why
            refused_after = _since_first_audio(stream)
            async with asyncio.timeout(5):
                await socket.wait_closed()
            if socket.close_code == TRY_AGAIN_LATER or dialect.patience is not None:
                _refuse(stream, why, refused_after)
            return
    if dialect.closes:
        stream.outcome = "served"


def _refuse(stream: Stream, why: str, after: float | None = None) -> None:
    stream.outcome, stream.detail = "refused", why
    stream.refused_after = _since_first_audio(stream) if after is None else after


def _since_first_audio(stream: Stream) -> float:
    return time.monotonic() - (stream.spoke or stream.started)


async def _until(moment: float) -> None:
    await asyncio.sleep(moment - time.monotonic())


def main() -> None:
    """Run a plan."""
    given = json.load(sys.stdin)
    plan = Plan(given["port"], given["dialect"], [Stream(**stream) for stream in given["streams"]])
    asyncio.run(run(plan, [Path(stream.audio).read_bytes() for stream in plan.streams]))
    used = resource.getrusage(resource.RUSAGE_SELF)
    report = {"cpu": used.ru_utime + used.ru_stime, "streams": [asdict(s) for s in plan.streams]}
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
