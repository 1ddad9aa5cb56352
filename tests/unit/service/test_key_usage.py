"""What keys used, from accounts into a store and back, by the clock of the tests."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from transcribed.errors import StorageUnavailable
from transcribed.principal import Principal, Role
from transcribed.scheduling.accounts import Accounts
from transcribed.service.key_usage import STOP_SECONDS, SYNC_SECONDS, AccountSync
from transcribed.storage.keys import KeyUsage

Run = Callable[[Coroutine[Any, Any, None]], None]
EVENING = datetime(2026, 11, 27, 23, 59, tzinfo=UTC)
TODAY, TOMORROW = date(2026, 11, 27), date(2026, 11, 28)
KEY = Principal("a", Role.TRANSCRIBE, "a", seconds_a_day=60)


class Store:
    """A KeyUsageStore in memory that fails, or does not answer, for as long as it is told to."""

    def __init__(self) -> None:
        self.used: dict[tuple[date, str], tuple[float, int]] = {}
        self.error: Exception | None = None
        self.silent = False

    async def add(self, used: Sequence[KeyUsage]) -> None:
        if self.silent:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        for each in used:
            seconds, streams = self.used.get((each.day, each.key), (0.0, 0))
            self.used[each.day, each.key] = seconds + each.audio_seconds, streams + each.streams

    async def since(self, day: date) -> tuple[KeyUsage, ...]:
        return tuple(KeyUsage(key, at, *used) for (at, key), used in self.used.items() if at >= day)


def accounts() -> Accounts:
    """By the clock of the event loop, which begins a minute before midnight."""
    loop = asyncio.get_running_loop()
    return Accounts(now=lambda: EVENING + timedelta(seconds=loop.time()))


def hear(counted: Accounts, seconds: float) -> None:
    account = counted.account(KEY)
    account.day.opened += 1
    account.day.seconds += seconds


def test_servers_and_restarts_count_together(in_virtual_time: Run) -> None:
    async def run() -> None:
        store = Store()
        one, two = accounts(), accounts()
        async with AccountSync(one, store):
            async with AccountSync(two, store):
                hear(one, 40)
                hear(two, 10)
                assert not two.account(KEY).is_exhausted
                await asyncio.sleep(2 * SYNC_SECONDS + 1)
                hear(two, 10)
                assert two.account(KEY).is_exhausted
            await asyncio.sleep(SYNC_SECONDS + 1)
            assert one.account(KEY).is_exhausted
        again = accounts()
        async with AccountSync(again, store):
            assert again.account(KEY).is_exhausted
        assert await store.since(TODAY) == (KeyUsage("a", TODAY, 60.0, 3),)

    in_virtual_time(run())


def test_at_midnight_there_is_audio_again(in_virtual_time: Run) -> None:
    async def run() -> None:
        store = Store()
        counted = accounts()
        async with AccountSync(counted, store):
            await asyncio.sleep(58)
            account = counted.account(KEY)
            account.day.seconds += 60
            await asyncio.sleep(1)
            assert account.is_exhausted
            await asyncio.sleep(1.5)
            assert not account.is_exhausted  # Nobody asked for anything.
            account.day.seconds += 1
        assert set(await store.since(TODAY)) == {
            KeyUsage("a", TODAY, 60.0, 0),
            KeyUsage("a", TOMORROW, 1.0, 0),
        }

    in_virtual_time(run())


def test_a_store_that_fails_is_told_once_and_loses_nothing(
    in_virtual_time: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        store = Store()
        counted = accounts()
        store.error = StorageUnavailable("The transcripts in x are away.")
        async with AccountSync(counted, store):
            hear(counted, 60)
            assert counted.account(KEY).is_exhausted
            await asyncio.sleep(4 * SYNC_SECONDS)
            store.error = ValueError("of another kind")
            await asyncio.sleep(2 * SYNC_SECONDS)
            assert await store.since(TODAY) == ()
            store.error = None
            await asyncio.sleep(SYNC_SECONDS + 1)
            assert await store.since(TODAY) == (KeyUsage("a", TODAY, 60.0, 1),)
            store.error = StorageUnavailable("Away again.")
            await asyncio.sleep(SYNC_SECONDS + 1)

    with caplog.at_level(logging.INFO):
        in_virtual_time(run())
    told = [record.getMessage() for record in caplog.records if "The use of keys" in record.getMessage()]
    assert len(told) == 2
    assert told[0].endswith("stored later. The transcripts in x are away.")


def test_the_stop_does_not_wait_for_a_store_without_end(
    in_virtual_time: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        store = Store()
        counted = accounts()
        async with AccountSync(counted, store):
            hear(counted, 1)
            store.silent = True
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began == STOP_SECONDS

    in_virtual_time(run())
    assert "the database did not answer" in caplog.text


def test_without_a_store_keys_are_counted_until_the_stop(in_virtual_time: Run) -> None:
    async def run() -> None:
        counted = accounts()
        async with AccountSync(counted, None):
            hear(counted, 60)
            await asyncio.sleep(2 * SYNC_SECONDS)
            assert counted.account(KEY).is_exhausted
            await asyncio.sleep(60)
            assert not counted.account(KEY).is_exhausted
            assert counted.account(KEY).seconds == 60
        assert counted.unsaved().used == []

    in_virtual_time(run())
