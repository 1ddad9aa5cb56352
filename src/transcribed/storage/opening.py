"""Opening what is kept in a database. SQLAlchemy is imported only then, and beside the event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from transcribed.storage.keys import KeyStore
from transcribed.storage.transcripts import TranscriptStore


@dataclass(frozen=True, slots=True)
class Stores:
    """What is kept in one database, which is closed with the transcripts."""

    transcripts: TranscriptStore
    keys: KeyStore

    async def aclose(self) -> None:
        """Give everything back."""
        await self.transcripts.aclose()


async def open_stores(place: str) -> Stores:
    """The stores in a file, which is made if there is none; its tables are brought up to date.

    Raises ConfigurationError with what to do where nothing can be kept there.
    """
    opened = await asyncio.to_thread(_load)
    return await opened(place)


async def open_transcripts(place: str) -> TranscriptStore:
    """The transcripts alone."""
    return (await open_stores(place)).transcripts


def _load() -> Callable[[str], Awaitable[Stores]]:
    from transcribed.storage.database import open_database  # noqa: PLC0415 - see above
    from transcribed.storage.sql import SqlTranscriptStore  # noqa: PLC0415
    from transcribed.storage.sql_keys import SqlKeyStore  # noqa: PLC0415

    async def opened(place: str) -> Stores:
        database = await open_database(place)
        return Stores(SqlTranscriptStore(database), SqlKeyStore(database))

    return opened
