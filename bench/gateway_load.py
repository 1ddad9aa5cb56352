"""The cost of a client of Amazon's protocol: streams of 100 ms messages in real time, in one process.

    python bench/gateway_load.py sdk|engine|connection ENDPOINT STREAMS SECONDS

`sdk` is amazon-transcribe, used as in its examples; `engine` is this project's Amazon engine with failover,
as in a gateway; `connection` is the engine without failover. The script prints one line of JSON. It is run
by bench/gateway.py, with the trusted certificates and the keys in the environment.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

PERIOD = 0.1
BYTES = 3200
WARM_UP = 2.0
REGION = "us-east-1"


@dataclass
class Count:
    """The number of results, and the largest delay of a message."""

    results: int = 0
    finals: int = 0
    sent: int = 0
    late: float = 0.0
    texts: set[str] = field(default_factory=set)

    def result(self, text: str, *, final: bool) -> None:
        """Count a result."""
        self.results += 1
        self.finals += final
        self.texts.add(text)


Send = Callable[[], Awaitable[None]]
Open = Callable[[Count], AbstractAsyncContextManager[tuple[Send, Send]]]
"""A stream: how to send a tenth of a second, and how to end the audio and read all that is left."""


def sdk(endpoint: str) -> Open:
    """Run a stream of amazon-transcribe."""
    from amazon_transcribe.client import TranscribeStreamingClient  # noqa: PLC0415 - one of the two alone
    from amazon_transcribe.endpoints import StaticEndpointResolver  # noqa: PLC0415
    from amazon_transcribe.handlers import TranscriptResultStreamHandler  # noqa: PLC0415
    from amazon_transcribe.model import TranscriptEvent  # noqa: PLC0415

    class Handler(TranscriptResultStreamHandler):
        def __init__(self, stream: object, count: Count) -> None:
            super().__init__(stream)
            self._count = count

        async def handle_transcript_event(self, transcript_event: TranscriptEvent) -> None:
            for result in transcript_event.transcript.results:
                self._count.result(result.alternatives[0].transcript, final=not result.is_partial)

    client = TranscribeStreamingClient(region=REGION, endpoint_resolver=StaticEndpointResolver(endpoint))
    chunk = bytes(BYTES)

    @asynccontextmanager
    async def opened(count: Count) -> AsyncIterator[tuple[Send, Send]]:
        stream = await client.start_stream_transcription(
            language_code="en-US", media_sample_rate_hz=16_000, media_encoding="pcm"
        )
        reading = asyncio.create_task(Handler(stream.output_stream, count).handle_events())

        async def send() -> None:
            await stream.input_stream.send_audio_event(audio_chunk=chunk)

        async def end() -> None:
            await stream.input_stream.end_stream()
            await reading

        yield send, end

    return opened


def engine(endpoint: str, *, alone: bool) -> Open:
    """Run a stream of this project's engine; `alone` is without failover."""
    import numpy as np  # noqa: PLC0415

    from transcribed.engines.amazon.engine import load  # noqa: PLC0415
    from transcribed.engines.amazon.settings import AmazonSettings  # noqa: PLC0415
    from transcribed.engines.base import Engine, Hypothesis  # noqa: PLC0415
    from transcribed.engines.failover.engine import FailoverEngine  # noqa: PLC0415
    from transcribed.options import StreamOptions  # noqa: PLC0415

    amazon: Engine = load(AmazonSettings(region=REGION, endpoint_url=endpoint))
    used = amazon if alone else FailoverEngine(amazon)
    chunk = np.zeros(BYTES // 2, np.float32)

    @asynccontextmanager
    async def opened(count: Count) -> AsyncIterator[tuple[Send, Send]]:
        stream = await used.open(StreamOptions())

        async def read() -> None:
            async for event in stream:
                if isinstance(event, Hypothesis):
                    count.result(event.text, final=event.final)

        reading = asyncio.create_task(read())

        async def send() -> None:
            await stream.send(chunk)

        async def end() -> None:
            await stream.finish()
            await reading
            await stream.aclose()

        yield send, end

    return opened


async def measure(opened: Open, streams: int, seconds: float) -> dict[str, float]:
    """Run a number of streams, whose messages are spread evenly over 0.1 s."""
    count = Count()
    ready, go = asyncio.Semaphore(0), asyncio.Event()
    begin = 0.0

    async def run(number: int) -> None:
        async with opened(count) as (send, end):
            ready.release()
            await go.wait()
            for turn in range(round((WARM_UP + seconds) / PERIOD)):
                due = begin + turn * PERIOD + number * PERIOD / streams
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                count.late = max(count.late, time.monotonic() - due)
                count.sent += 1
                await send()
            await end()

    async with asyncio.TaskGroup() as tasks:
        for number in range(streams):
            tasks.create_task(run(number))
        for _ in range(streams):
            await ready.acquire()
        begin = time.monotonic() + PERIOD
        go.set()
        await asyncio.sleep(begin + WARM_UP - time.monotonic())
        count.late, before = 0.0, (time.monotonic(), time.process_time())
        await asyncio.sleep(seconds - PERIOD)
        after = (time.monotonic(), time.process_time())
    took, cpu = (b - a for a, b in zip(before, after, strict=True))
    return {
        "streams": streams,
        "cpu": round(cpu / took, 4),
        "cpu_per_stream": round(cpu / took / streams, 5),
        "results": count.results,
        "finals": count.finals,
        "sent": count.sent,
        "late": round(1000 * count.late, 1),
    }


def main() -> None:
    """Measure once."""
    kind, endpoint, streams, seconds = sys.argv[1:]
    opened = sdk(endpoint) if kind == "sdk" else engine(endpoint, alone=kind == "connection")
    print(json.dumps(asyncio.run(measure(opened, int(streams), float(seconds)))))


if __name__ == "__main__":
    main()
