"""Synchronisation of the usage of access keys with a store that several servers share."""

import asyncio
import logging
from contextlib import suppress
from typing import Self

from transcribed.errors import TranscribedError
from transcribed.scheduling.accounts import Accounts
from transcribed.storage.keys import KeyUsageStore

KEEP_SECONDS = 5.0
"""The interval of synchronisation, by which a server learns late about usage on others."""
STOP_SECONDS = 5.0
"""Seconds for the last synchronisation, when the server stops."""

_log = logging.getLogger(__name__)


class KeptAccounts:
    """Keeps accounts in step with a store, and so with other servers; None stores nothing.

    An async context manager: entering it reads earlier usage, leaving it writes the rest.
    """

    def __init__(self, accounts: Accounts, store: KeyUsageStore | None) -> None:
        self._accounts = accounts
        self._store = store
        self._stopping = asyncio.Event()
        self._failed = False

    async def __aenter__(self) -> Self:
        await self._exchange()
        self._keeping = asyncio.create_task(self._keep(), name="key-usage")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._keeping
                await self._exchange()
        except TimeoutError:
            _log.error("The use of keys in the last seconds is not stored: the database did not answer.")

    async def _keep(self) -> None:
        while not self._stopping.is_set():
            # At the end of the day at the latest, when all allowances are renewed.
            with suppress(TimeoutError):
                async with asyncio.timeout(min(KEEP_SECONDS, self._accounts.seconds_left)):
                    await self._stopping.wait()
            await self._exchange()

    async def _exchange(self) -> None:
        """Write the usage here, and read the usage everywhere. A failure is retried the next time."""
        self._accounts.turn()
        unkept = self._accounts.unkept()
        try:
            if self._store is not None:
                await self._store.add(unkept.used)
                unkept.kept()
                today = self._accounts.today
                totals = {each.key: each.audio_seconds for each in await self._store.since(today)}
                self._accounts.know(today, totals)
            else:
                unkept.kept()
        except Exception as error:  # noqa: BLE001 - any failure is retried
            self._tell(error)
        else:
            self._failed = False

    def _tell(self, error: Exception) -> None:
        """Log the first failure after a success."""
        if self._failed:
            return
        self._failed = True
        message = "The use of keys cannot be stored. It is counted here, and stored later."
        if isinstance(error, TranscribedError):
            _log.warning("%s %s", message, error.message)
        else:
            _log.error("%s", message, exc_info=error)
