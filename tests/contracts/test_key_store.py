"""What every KeyStore owes, asked of SQLite and of a real PostgreSQL."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from transcribed.errors import Conflict, NotFound
from transcribed.principal import Role
from transcribed.storage.database import open_database
from transcribed.storage.keys import KeyStore, SealedSecret, StoredKey
from transcribed.storage.migrations import run as migrations
from transcribed.storage.opening import Stores, open_stores
from transcribed.storage.postgresql import PostgresqlDatabase
from transcribed.storage.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio

MADE = datetime(2026, 11, 27, 12, 0, 0, 123456, tzinfo=UTC)
LATER = MADE + timedelta(days=1)
TODAY = date(2026, 11, 27)
UNKNOWN = ["two", "on%", "", "\ud800", "\0"]


def secret(number: int = 0) -> SealedSecret:
    return SealedSecret(bytes([number, 0, 255]) + os.urandom(20), bytes([number]) * 32)


def key(id_: str = "one", number: int = 0, **more: Any) -> StoredKey:
    return replace(StoredKey(id_, id_, Role.TRANSCRIBE, secret(number), MADE), **more)


@pytest.fixture
async def stores(place: str) -> AsyncIterator[Stores]:
    opened = await open_stores(place)
    yield opened
    await opened.aclose()


@pytest.fixture
def store(stores: Stores) -> KeyStore:
    return stores.keys


async def test_keys_come_back_as_they_were_kept_in_the_order_of_their_ids(
    store: KeyStore, place: str
) -> None:
    assert await store.all() == ()
    plain = key("b", 1)
    full = key(
        "B.-_9",
        2,
        owner="somebody else",
        role=Role.ADMIN,
        streams=3,
        seconds_a_day=7200.5,
        rotated=LATER,
        last_used=TODAY,
    )
    await store.add(plain)
    await store.add(full)
    await store.add(key("a", 3, role=Role.READ, streams=0, seconds_a_day=0.0))
    assert [kept.id for kept in await store.all()] == ["B.-_9", "a", "b"]
    assert (await store.all())[0] == full
    assert (await store.all())[2] == plain
    again = await open_stores(place)
    assert await again.keys.all() == await store.all()
    assert again.keys.place == store.place
    await again.aclose()


async def test_an_id_and_a_secret_are_one_keys(store: KeyStore) -> None:
    first = key("one", 1)
    await store.add(first)
    with pytest.raises(Conflict, match="key one already"):
        await store.add(key("one", 2))
    with pytest.raises(Conflict, match="has this secret"):
        await store.add(key("two", 1))
    assert await store.all() == (first,)


async def test_of_keys_that_are_added_at_once_under_one_id_one_is_kept(place: str, store: KeyStore) -> None:
    other = await open_stores(place)
    adding = [each.add(key("one", n)) for n, each in enumerate([store, other.keys, store, other.keys])]
    outcomes = await asyncio.gather(*adding, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome] == [Conflict] * 3
    assert len(await store.all()) == 1
    await other.aclose()


async def test_a_key_gets_another_secret(store: KeyStore) -> None:
    first, other = key("one", 1, streams=2), key("two", 2)
    await store.add(first)
    await store.add(other)
    new = secret(3)
    await store.rotate("one", new, LATER)
    assert await store.all() == (replace(first, secret=new, rotated=LATER), other)
    with pytest.raises(Conflict, match="has this secret"):
        await store.rotate("one", secret(2), LATER)
    for unknown in ("three", *UNKNOWN[1:]):
        with pytest.raises(NotFound, match="keys list"):
            await store.rotate(unknown, secret(4), LATER)


async def test_a_key_is_removed_and_may_come_again(store: KeyStore) -> None:
    await store.add(key("one", 1))
    for unknown in UNKNOWN:
        with pytest.raises(NotFound, match="keys list"):
            await store.remove(unknown)
    await store.remove("one")
    assert await store.all() == ()
    await store.add(key("one", 1))
    assert len(await store.all()) == 1


async def test_the_last_day_on_which_a_key_was_used_is_kept(store: KeyStore) -> None:
    await store.add(key("one", 1))
    await store.add(key("two", 2))
    await store.note_used(frozenset({"one", "gone"}), TODAY)
    await store.note_used(frozenset({"one"}), TODAY - timedelta(days=1))
    assert [each.last_used for each in await store.all()] == [TODAY, None]
    await store.note_used(frozenset({"one", "two"}), TODAY + timedelta(days=1))
    assert [each.last_used for each in await store.all()] == [TODAY + timedelta(days=1)] * 2
    await store.note_used(frozenset(), TODAY)


async def test_another_programs_table_of_keys_is_told_and_left(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = PostgresqlDatabase(place) if "://" in place else SqliteDatabase(place)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "NEWEST", "0003")
        await old.start(migrations.migrate)
    await old.write(lambda connection: connection.execute(text("CREATE TABLE keys (door integer)")))
    await old.aclose()
    with pytest.raises(Exception, match="another program has a table 'keys'"):
        await open_database(place)
