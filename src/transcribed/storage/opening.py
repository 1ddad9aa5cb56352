"""Opening the stores in a database.

SQLAlchemy is slow to import: it is imported only when a store is opened, and in a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from transcribed.storage.jobs import JobStore
from transcribed.storage.keys import KeyStore, KeyUsageStore
from transcribed.storage.transcripts import TranscriptStore


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores in one database."""

    transcripts: TranscriptStore
    keys: KeyStore
    key_usage: KeyUsageStore
    jobs: JobStore

    async def aclose(self) -> None:
        """Close the database."""
        await self.transcripts.aclose()


async def open_stores(place: str) -> Stores:
    """Open the stores at a path of a SQLite file or a PostgreSQL URL; the file is created if missing.

    Raises ConfigurationError, which says what to do.
    """
    opened = await asyncio.to_thread(_load)
    return await opened(place)


async def open_transcripts(place: str) -> TranscriptStore:
    """Open the transcripts alone."""
    return (await open_stores(place)).transcripts


def _load() -> Callable[[str], Awaitable[Stores]]:
    from transcribed.storage.database import open_database  # noqa: PLC0415 - slow to import
    from transcribed.storage.sql import SqlTranscriptStore  # noqa: PLC0415
    from transcribed.storage.sql_jobs import SqlJobStore  # noqa: PLC0415
    from transcribed.storage.sql_key_usage import SqlKeyUsageStore  # noqa: PLC0415
    from transcribed.storage.sql_keys import SqlKeyStore  # noqa: PLC0415

    async def opened(place: str) -> Stores:
        database = await open_database(place)
        return Stores(
            SqlTranscriptStore(database),
            SqlKeyStore(database),
            SqlKeyUsageStore(database),
            SqlJobStore(database),
        )

    return opened
