"""Opening a store of transcripts. SQLAlchemy is imported only then, and beside the event loop."""

import asyncio
from collections.abc import Awaitable, Callable

from transcribed.storage.transcripts import TranscriptStore


async def open_transcripts(place: str) -> TranscriptStore:
    """The transcripts in a file, which is made if there is none; its tables are brought up to date.

    Raises ConfigurationError with what to do where they cannot be kept there.
    """
    opened = await asyncio.to_thread(_load)
    return await opened(place)


def _load() -> Callable[[str], Awaitable[TranscriptStore]]:
    from transcribed.storage.sql import open_store  # noqa: PLC0415 - see above

    return open_store
