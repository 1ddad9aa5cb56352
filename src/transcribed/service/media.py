"""Sending the audio of containers to sessions."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.audio.source import Source
from transcribed.decoding.decoders import Decoders, LiveSource
from transcribed.service.live import ContainerReport


async def send_decoded(
    decoders: Decoders,
    source: Source | LiveSource,
    send: Callable[[Samples], Awaitable[None]],
    *,
    track: int | None = None,
    channels: int | None = None,
) -> ContainerReport:
    """Decode a source and send its audio block by block. Returns a report on the container.

    `channels` is the number of channels to keep separate; None mixes them. Raises UnreadableAudio,
    LimitExceeded, and what the source and `send` raise.
    """
    async with decoders.decode(source, track=track, channels=channels) as decoding:
        blocks: AsyncGenerator[Samples, None] = decoding.blocks()
        async with aclosing(blocks):
            async for block in blocks:
                await send(block)
        return ContainerReport(decoding.format.track, decoding.format.tracks, decoding.warnings)


def cut(samples: Samples, seconds: float) -> Iterator[Samples]:
    """Split samples into pieces of at most so many seconds."""
    longest = round(seconds * SAMPLE_RATE)
    for start in range(0, samples.shape[-1], longest):
        yield samples[..., start : start + longest]
