"""Audio read and cut beside the event loop."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import closing

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.media import MediaReader
from transcribed.service.threads import InThread


async def blocks(run: InThread, media: Callable[[], MediaReader]) -> AsyncGenerator[Samples, None]:
    """The blocks of a reader, opened and read by `run`. Close the generator: that closes the reader."""
    with closing(await run(media)) as reader:
        read = reader.blocks()
        while (block := await run(next, read, None)) is not None:
            yield block


def cut(samples: Samples, seconds: float) -> Iterator[Samples]:
    """Samples in pieces of at most so many seconds."""
    longest = round(seconds * SAMPLE_RATE)
    for start in range(0, samples.shape[-1], longest):
        yield samples[..., start : start + longest]
