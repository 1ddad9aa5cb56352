"""What every KeyUsageStore owes, asked of SQLite and of a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest

from transcribed.storage.keys import KeyUsage, KeyUsageStore
from transcribed.storage.opening import open_stores

pytestmark = pytest.mark.anyio

TODAY = date(2026, 11, 27)
BEFORE = TODAY - timedelta(days=1)


@pytest.fixture
async def stores(place: str) -> AsyncIterator[list[KeyUsageStore]]:
    """Those of two servers."""
    opened = [await open_stores(place) for _ in range(2)]
    yield [each.key_usage for each in opened]
    for each in opened:
        await each.aclose()


async def since(store: KeyUsageStore, day: date) -> set[KeyUsage]:
    found = await store.since(day)
    assert len(found) == len(set(found))
    return set(found)


async def test_what_is_used_is_added_to_what_is_there(stores: list[KeyUsageStore]) -> None:
    one, two = stores
    assert await since(one, TODAY) == set()
    await one.add([])
    await one.add([KeyUsage("b", TODAY, 1.5, 1), KeyUsage("a", TODAY, 0.25, 2)])
    await two.add(
        [KeyUsage("b", BEFORE, 7.0, 3), KeyUsage("b", TODAY, 2.5, 0), KeyUsage("b", TODAY, 1.0, 1)]
    )
    for store in stores:
        assert await since(store, TODAY) == {KeyUsage("b", TODAY, 5.0, 2), KeyUsage("a", TODAY, 0.25, 2)}
        assert await since(store, BEFORE) - await since(store, TODAY) == {KeyUsage("b", BEFORE, 7.0, 3)}
        assert await since(store, TODAY + timedelta(days=1)) == set()


async def test_nothing_is_lost_where_servers_add_at_once(stores: list[KeyUsageStore]) -> None:
    names = ["a", "b", "c"]
    await asyncio.gather(
        *(
            stores[number % 2].add(
                [KeyUsage(names[(number + each) % 3], TODAY, 0.5, 1) for each in range(3)]
            )
            for number in range(40)
        )
    )
    assert await since(stores[0], TODAY) == {KeyUsage(name, TODAY, 20.0, 40) for name in names}
