"""Synchronisation of the usage of keys with a store that several servers share."""

import asyncio
import logging
from contextlib import suppress
from typing import Self

from transcribed.errors import TranscribedError
from transcribed.scheduling.accounts import Accounts
from transcribed.storage.keys import KeyUsageStore

SYNC_SECONDS = 5.0
"""The interval of synchronisation, and so the delay with which a server learns of usage on others."""
STOP_SECONDS = 5.0
"""Seconds for the last synchronisation, when the server stops."""

_log = logging.getLogger(__name__)


class AccountSync:
    """Synchronises accounts with a store, and so with other servers. With None nothing is stored.

    An async context manager: entering it reads earlier usage, leaving it writes the remaining usage.
    """

    def __init__(self, accounts: Accounts, store: KeyUsageStore | None) -> None:
        self._accounts = accounts
        self._store = store
        self._stopping = asyncio.Event()
        self._failed = False

    async def __aenter__(self) -> Self:
        await self._synchronise()
        self._running = asyncio.create_task(self._run(), name="key-usage")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._running
                await self._synchronise()
        except TimeoutError:
            _log.error("The use of keys in the last seconds is not stored: the database did not answer.")

    async def _run(self) -> None:
        while not self._stopping.is_set():
            # Also at the end of the day, when the limits of all keys begin anew.
            with suppress(TimeoutError):
                async with asyncio.timeout(min(SYNC_SECONDS, self._accounts.seconds_left)):
                    await self._stopping.wait()
            await self._synchronise()

    async def _synchronise(self) -> None:
        """Write the usage of this server, then read that of all. Failures are retried the next time."""
        self._accounts.roll_over()
        unsaved = self._accounts.unsaved()
        try:
            if self._store is not None:
                await self._store.add(unsaved.used)
                unsaved.mark_saved()
                today = self._accounts.today
                totals = {each.key: each.audio_seconds for each in await self._store.since(today)}
                self._accounts.set_totals(today, totals)
            else:
                unsaved.mark_saved()
        except Exception as error:  # noqa: BLE001 - any failure is retried
            self._log_failure(error)
        else:
            self._failed = False

    def _log_failure(self, error: Exception) -> None:
        """Log the first failure after a success."""
        if self._failed:
            return
        self._failed = True
        message = "The use of keys cannot be stored. It is counted here, and stored later."
        if isinstance(error, TranscribedError):
            _log.warning("%s %s", message, error.message)
        else:
            _log.error("%s", message, exc_info=error)
