"""Keys of a real file and a real database; the clock of the looks is the event loop's."""

import asyncio
import logging
import math
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from signing import sign

from transcribed.clock import utc_now
from transcribed.errors import (
    AccessDenied,
    BadRequest,
    ConfigurationError,
    ExpiredToken,
    MissingAuthentication,
    StorageFailure,
    Unavailable,
    UnknownClient,
)
from transcribed.principal import ANYBODY, NOBODY, Principal, Role
from transcribed.service import access_keys, tokens
from transcribed.service.access_keys import Access, AccessKeys, AccessPolicy
from transcribed.service.key_file import KeyFile
from transcribed.service.sealing import KEY_BYTES, NotOurs, Sealing, made_sealing, read_sealing
from transcribed.service.stored_keys import StoredKeys, generated_secret
from transcribed.storage.keys import StoredKey
from transcribed.storage.opening import Stores, open_stores
from transcribed.wire import sigv4

pytestmark = pytest.mark.anyio

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105 - Amazon's own example
OTHER = SECRET[::-1]
LONG = 10.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_keys, "REFRESH_SECONDS", 0.02)
    monkeypatch.setattr(access_keys, "EARLY_REFRESH_SECONDS", 0.0)


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = await open_stores(str(tmp_path / "transcripts.db"))
    yield opened
    await opened.aclose()


@pytest.fixture
def sealing(tmp_path: Path) -> Path:
    return tmp_path / "made" / "keys-key"


@pytest.fixture
def stored(stores: Stores, sealing: Path) -> StoredKeys:
    return StoredKeys(stores.keys, sealing)


async def add(stored: StoredKeys, key_id: str, secret: str, role: Role = Role.TRANSCRIBE) -> None:
    await stored.add(key_id, f"{key_id}'s".replace("'", "-"), role, secret, streams=None, seconds=None)


def key_file(folder: Path, *lines: str) -> KeyFile:
    path = folder / "keys"
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    return KeyFile(path)


@asynccontextmanager
async def watched(
    stores: Stores | None, sealing: Path, file: KeyFile | None = None
) -> AsyncIterator[AccessKeys]:
    keys = AccessKeys(AccessPolicy(), file, sealing)
    async with keys.watched(None if stores is None else stores.keys):
        yield keys


async def assert_unknown(keys: AccessKeys, secret: str) -> None:
    with pytest.raises(UnknownClient):
        await keys.by_secret(secret)


async def logged(caplog: pytest.LogCaptureFixture, said: str) -> None:
    async with asyncio.timeout(LONG):
        while said not in caplog.text:  # noqa: ASYNC110 - the log has no events
            await asyncio.sleep(0.01)


def content(path: Path) -> bytes:
    return path.read_bytes()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


async def revoked(access: Access) -> None:
    async with asyncio.timeout(LONG):
        await access.revoked.wait()


# --- Who is let in


async def test_nobody_is_let_in_before_the_keys_are_read() -> None:
    with pytest.raises(Unavailable):
        assert AccessKeys().open


async def test_without_any_everybody_may_do_everything(stores: Stores, sealing: Path) -> None:
    async with watched(stores, sealing) as keys:
        assert keys.open
        assert keys.anybody().principal == ANYBODY
        assert keys.anybody().principal.owner == NOBODY
        with pytest.raises(BadRequest, match="uses no keys"):
            keys.token(keys.anybody(), 60, None)


async def test_keys_are_of_the_file_and_the_database(
    stores: Stores, stored: StoredKeys, sealing: Path, tmp_path: Path
) -> None:
    await stored.add("two", "somebody", Role.READ, OTHER, streams=3, seconds=60.5)
    async with watched(stores, sealing, key_file(tmp_path, f"one {SECRET}")) as keys:
        assert not keys.open
        assert keys.count == 2
        assert (await keys.by_secret(SECRET)).principal == Principal("one", Role.TRANSCRIBE, "one")
        two = Principal("somebody", Role.READ, "two", 3, 60.5)
        assert (await keys.by_secret(OTHER)).principal == two
        assert (await keys.by_id("two", OTHER)).principal == two
        for wrong in ("", "x", "a.b.c", SECRET[:-1], f"{SECRET} ", "two", "\udcff", "é"):
            await assert_unknown(keys, wrong)
        with pytest.raises(UnknownClient, match="not belong to the same key"):
            await keys.by_id("one", OTHER)


async def test_a_signature_is_of_a_key(stores: Stores, stored: StoredKeys, sealing: Path) -> None:
    await add(stored, "AKIDEXAMPLE", SECRET)
    now = datetime(2026, 11, 27, tzinfo=UTC)
    plain = sigv4.Request("POST", "/stream-transcription", headers=(("host", "localhost"),))

    def signed(secret: str) -> sigv4.Request:
        return sign(plain, sigv4.Credentials("AKIDEXAMPLE", secret), "us-east-1", now)

    async with watched(stores, sealing) as keys:
        access, signature = await keys.by_signature(signed(SECRET), now)
        assert access.principal.key == signature.credentials.access_key == "AKIDEXAMPLE"
        with pytest.raises(AccessDenied, match="does not match"):
            await keys.by_signature(signed(OTHER), now)
        await stored.rotate("AKIDEXAMPLE", OTHER)
        assert (await keys.by_signature(signed(OTHER), now))[0].principal == access.principal


# --- What changes while the server runs


async def test_a_new_key_opens_at_once(
    stores: Stores, stored: StoredKeys, sealing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_keys, "REFRESH_SECONDS", LONG)
    await add(stored, "one", SECRET)
    async with watched(stores, sealing) as keys:
        await add(stored, "two", OTHER)
        found = await asyncio.gather(*(keys.by_secret(OTHER) for _ in range(5)))
        assert {each.principal.key for each in found} == {"two"}


async def test_who_tries_many_secrets_costs_few_looks(
    stores: Stores, stored: StoredKeys, sealing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_keys, "REFRESH_SECONDS", LONG)
    monkeypatch.setattr(access_keys, "EARLY_REFRESH_SECONDS", 0.2)
    await add(stored, "one", SECRET)
    async with watched(stores, sealing) as keys:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(assert_unknown(keys, f"{number} {OTHER}") for number in range(100)))
        for _ in range(2):
            await assert_unknown(keys, OTHER)
        assert asyncio.get_running_loop().time() - began > 2.9 * 0.2


@pytest.mark.parametrize("how", ["remove", "rotate"])
async def test_who_is_in_learns_that_the_key_is_good_no_more(
    stores: Stores, stored: StoredKeys, sealing: Path, how: str
) -> None:
    await add(stored, "one", SECRET)
    await add(stored, "two", OTHER)
    new = generated_secret()
    async with watched(stores, sealing) as keys:
        one, two = await keys.by_secret(SECRET), await keys.by_secret(OTHER)
        token, _ = keys.token(one, 60, None)
        by_token = await keys.by_secret(token)
        await (stored.remove("one") if how == "remove" else stored.rotate("one", new))
        await revoked(one)
        await revoked(by_token)
        assert not two.revoked.is_set()
        await assert_unknown(keys, SECRET)
        await assert_unknown(keys, token)
        assert (await keys.by_secret(OTHER)) is two
        if how == "rotate":
            assert (await keys.by_secret(new)).principal == one.principal


async def test_with_the_first_key_everybody_is_let_in_no_more_and_for_good(
    stores: Stores, stored: StoredKeys, sealing: Path
) -> None:
    async with watched(stores, sealing) as keys:
        anybody = keys.anybody()
        await add(stored, "one", SECRET)
        await revoked(anybody)
        assert not keys.open
        one = await keys.by_secret(SECRET)
        await stored.remove("one")
        await revoked(one)
        assert keys.count == 0
        assert not keys.open


async def test_a_file_is_read_again_and_a_broken_one_changes_nothing(
    sealing: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = key_file(tmp_path, f"one {SECRET}", f"two {OTHER}")
    async with watched(None, sealing, file) as keys:
        one, two = await keys.by_secret(SECRET), await keys.by_secret(OTHER)
        file.path.write_text("nonsense")
        await logged(caplog, "line 1 is no access key")
        assert await keys.by_secret(SECRET) is one
        file.path.write_text(f"two {OTHER}")
        await revoked(one)
        assert await keys.by_secret(OTHER) is two
        assert caplog.text.count("stay as they were") == 1


async def test_when_a_key_was_last_used_is_kept(stores: Stores, stored: StoredKeys, sealing: Path) -> None:
    await add(stored, "one", SECRET)
    await add(stored, "two", OTHER)
    async with watched(stores, sealing) as keys:
        await keys.by_secret(SECRET)
    today = datetime.now(UTC).date()  # noqa: TID251 - it is the wall clock's
    one, two = await stored.listed()
    assert one.last_used in {today, today - timedelta(days=1)}
    assert two.last_used is None


async def test_a_broken_file_keeps_no_key_of_the_database_good(
    stores: Stores, stored: StoredKeys, sealing: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = key_file(tmp_path, f"one {SECRET}")
    await add(stored, "two", OTHER)
    async with watched(stores, sealing, file) as keys:
        one, two = await keys.by_secret(SECRET), await keys.by_secret(OTHER)
        file.path.write_text("nonsense")
        await logged(caplog, "line 1 is no access key")
        await stored.remove("two")
        await revoked(two)
        await assert_unknown(keys, OTHER)
        await add(stored, "three", OTHER)
        assert (await keys.by_secret(OTHER)).principal.key == "three"
        assert await keys.by_secret(SECRET) is one
        assert caplog.text.count("stay as they were") == 1


async def test_a_broken_database_keeps_no_key_of_the_file_good(
    sealing: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = await open_stores(str(tmp_path / "broken.db"))
    await add(StoredKeys(opened.keys, sealing), "two", OTHER)
    file = key_file(tmp_path, f"one {SECRET}")
    async with watched(opened, sealing, file) as keys:
        one, two = await keys.by_secret(SECRET), await keys.by_secret(OTHER)
        await opened.aclose()
        await logged(caplog, "stay as they were")
        file.path.write_text(f"three {SECRET[::2]}")
        await revoked(one)
        with pytest.raises(StorageFailure):
            await keys.by_secret(SECRET)
        assert (await keys.by_secret(SECRET[::2])).principal.key == "three"
        assert await keys.by_secret(OTHER) is two
        assert caplog.text.count("stay as they were") == 1


async def test_a_sealing_file_that_breaks_keeps_no_removed_key_good(
    stores: Stores, stored: StoredKeys, sealing: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await add(stored, "one", SECRET)
    await add(stored, "two", OTHER)
    ours = content(sealing)
    async with watched(stores, sealing) as keys:
        one, two = await keys.by_secret(SECRET), await keys.by_secret(OTHER)
        sealed = read_sealing(sealing)
        assert sealed is not None
        put(sealing, b"x" * 31)
        await stores.keys.add(
            StoredKey("three", "", Role.READ, sealed.seal("three", SECRET[::2]), utc_now())
        )
        await stored.remove("one")
        await revoked(one)
        await logged(caplog, "three: ")
        await assert_unknown(keys, SECRET[::2])
        assert "31 bytes" in caplog.text
        assert await keys.by_secret(OTHER) is two
        put(sealing, ours)
        assert (await keys.by_secret(SECRET[::2])).principal.key == "three"
    put(sealing, b"x" * 31)
    with pytest.raises(ConfigurationError, match="31 bytes"):
        async with watched(stores, sealing):
            pass


async def test_only_what_may_be_of_a_new_key_is_looked_for(
    stores: Stores, stored: StoredKeys, sealing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_keys, "REFRESH_SECONDS", LONG)
    monkeypatch.setattr(access_keys, "EARLY_REFRESH_SECONDS", LONG)
    await add(stored, "one", SECRET)
    async with watched(stores, sealing) as keys, asyncio.timeout(LONG / 2):
        with pytest.raises(MissingAuthentication):
            await keys.by_signature(sigv4.Request("POST", "/"), utc_now())


# --- The policy


async def test_keys_and_no_auth_contradict_each_other(
    stores: Stores, stored: StoredKeys, sealing: Path
) -> None:
    policy = AccessPolicy("0.0.0.0", no_auth=True)  # noqa: S104 - the point
    async with AccessKeys(policy, None, sealing).watched(stores.keys):
        pass
    await add(stored, "one", SECRET)
    with pytest.raises(ConfigurationError, match="--no-auth"):
        async with AccessKeys(policy, None, sealing).watched(stores.keys):
            pass


async def test_a_key_that_comes_where_nobody_is_asked_is_told(
    stores: Stores, stored: StoredKeys, sealing: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = AccessKeys(AccessPolicy(no_auth=True), None, sealing)
    async with keys.watched(stores.keys):
        await add(stored, "one", SECRET)
        await logged(caplog, "--no-auth admits everybody")
        assert keys.open


async def test_beyond_this_machine_keys_are_needed(
    stores: Stores, stored: StoredKeys, sealing: Path
) -> None:
    policy = AccessPolicy("0.0.0.0")  # noqa: S104 - the point
    with pytest.raises(ConfigurationError, match="keys add"):
        async with AccessKeys(policy, None, sealing).watched(stores.keys):
            pass
    await add(stored, "one", SECRET)
    async with AccessKeys(policy, None, sealing).watched(stores.keys):
        pass


async def test_a_store_that_fails_lets_nobody_in(tmp_path: Path, sealing: Path) -> None:
    opened = await open_stores(str(tmp_path / "broken.db"))
    await opened.aclose()
    keys = AccessKeys(AccessPolicy(), None, sealing)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        async with keys.watched(opened.keys):
            pass
    with pytest.raises(Unavailable):
        assert keys.open


async def test_a_store_that_fails_later_changes_nothing_and_what_is_unknown_has_to_wait(
    tmp_path: Path, sealing: Path
) -> None:
    opened = await open_stores(str(tmp_path / "broken.db"))
    await add(StoredKeys(opened.keys, sealing), "one", SECRET)
    async with watched(opened, sealing) as keys:
        await opened.aclose()
        assert (await keys.by_secret(SECRET)).principal.key == "one"
        with pytest.raises(StorageFailure):
            await keys.by_secret(OTHER)


async def test_an_id_or_secret_of_the_file_goes_before_the_databases(
    stores: Stores, stored: StoredKeys, sealing: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await add(stored, "one", OTHER)
    await add(stored, "two", SECRET)
    async with watched(stores, sealing, key_file(tmp_path, f"one {SECRET}")) as keys:
        assert (await keys.by_secret(SECRET)).principal.owner == "one"
        await assert_unknown(keys, OTHER)
        assert keys.count == 1
    assert caplog.text.count("is left out") == 2


# --- The file that seals


async def test_without_the_file_nobody_is_let_in(stores: Stores, stored: StoredKeys, sealing: Path) -> None:
    await add(stored, "one", SECRET)
    ours = content(sealing)
    assert len(ours) == KEY_BYTES
    assert mode(sealing) == 0o600
    sealing.unlink()  # noqa: ASYNC240
    with pytest.raises(ConfigurationError, match="--keys-key"):
        async with watched(stores, sealing):
            pass
    with pytest.raises(ConfigurationError, match="--keys-key"):
        await add(stored, "two", OTHER)
    assert not list(sealing.parent.glob(sealing.name))
    put(sealing, os.urandom(KEY_BYTES))
    with pytest.raises(ConfigurationError, match="--keys-key"):
        async with watched(stores, sealing):
            pass
    put(sealing, ours)
    async with watched(stores, sealing) as keys:
        assert await keys.by_secret(SECRET)


async def test_the_first_key_of_another_machine_locks_and_opens_when_the_file_is_there(
    stores: Stores, stored: StoredKeys, sealing: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(stores, sealing.with_name("copy")) as keys:
        anybody = keys.anybody()
        await add(stored, "one", SECRET)
        await revoked(anybody)
        await assert_unknown(keys, SECRET)
        assert "one: The secrets of the access keys" in caplog.text
        put(sealing.with_name("copy"), content(sealing))
        assert (await keys.by_secret(SECRET)).principal.key == "one"


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_file_that_is_none_is_told(sealing: Path, content: bytes) -> None:
    put(sealing, content)
    with pytest.raises(ConfigurationError, match="bytes"):
        read_sealing(sealing)


async def test_those_who_make_the_file_at_once_make_one(sealing: Path) -> None:
    made = await asyncio.gather(*(asyncio.to_thread(made_sealing, sealing) for _ in range(8)))
    sealed = made[0].seal("one", SECRET)
    assert {each.open("one", sealed) for each in made} == {SECRET}


def test_what_is_sealed_opens_under_the_same_key_and_id_alone() -> None:
    sealing = Sealing(b"k" * KEY_BYTES)
    first, again = sealing.seal("one", SECRET), sealing.seal("one", SECRET)
    assert first.sealed != again.sealed
    assert first.fingerprint == again.fingerprint
    assert SECRET.encode() not in first.sealed + first.fingerprint
    assert sealing.open("one", first) == SECRET
    for other, key_id, sealed in (
        (Sealing(b"l" * KEY_BYTES), "one", first),
        (sealing, "two", first),
        (sealing, "one", replace(first, sealed=first.sealed[:-1] + bytes([first.sealed[-1] ^ 1]))),
        (sealing, "one", replace(first, sealed=b"")),
    ):
        with pytest.raises(NotOurs):
            other.open(key_id, sealed)


async def test_the_database_has_no_secret(
    stored: StoredKeys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await add(stored, "one", SECRET)
    await stored.rotate("one", OTHER)
    with closing(sqlite3.connect(tmp_path / "transcripts.db")) as database:
        assert database.execute("SELECT count(*) FROM keys").fetchone() == (1,)
    files = list(map(content, tmp_path.glob("transcripts.db*")))  # noqa: ASYNC240
    assert len(files) > 2
    for secret in (SECRET, OTHER):
        assert not any(secret.encode() in content for content in files)
        assert secret not in caplog.text


# --- Tokens


async def test_a_token_opens_what_its_key_opens_or_less(
    stores: Stores, stored: StoredKeys, sealing: Path
) -> None:
    await add(stored, "one", SECRET)
    async with watched(stores, sealing) as keys:
        one = await keys.by_secret(SECRET)
        token, expires = keys.token(one, 60, None)
        found = await keys.by_secret(token)
        assert found.principal == one.principal
        assert found.by_token
        assert found.expires == expires.timestamp()
        found.check()
        one.check()
        with pytest.raises(ExpiredToken):
            replace(found, expires=found.expires - 61).check()
        now = datetime.now(UTC)  # noqa: TID251 - a token is dated
        assert timedelta(seconds=55) < expires - now <= timedelta(seconds=60)
        less, _ = keys.token(one, 60, Role.READ)
        assert (await keys.by_secret(less)).principal == replace(one.principal, role=Role.READ)
        with pytest.raises(AccessDenied, match="transcribe or a lesser role"):
            keys.token(one, 60, Role.ADMIN)
        with pytest.raises(AccessDenied, match="makes no tokens"):
            keys.token(found, 60, None)


async def test_a_client_secret_has_the_configuration_of_its_sessions(
    stores: Stores, stored: StoredKeys, sealing: Path
) -> None:
    await add(stored, "one", SECRET)
    async with watched(stores, sealing) as keys:
        one = await keys.by_secret(SECRET)
        secret, expires = keys.client_secret(one, 60, {"include": None})
        assert secret.startswith("ek_")
        found = await keys.by_secret(secret)
        assert found.session == {"include": None}
        assert found.principal == replace(one.principal, role=Role.TRANSCRIBE)
        assert found.expires == expires.timestamp()
        replace(found, expires=0.0).check()  # What it has opened goes on.
        with pytest.raises(AccessDenied, match="makes no tokens"):
            keys.client_secret(found, 60, {})
        assert (await keys.by_secret(keys.token(one, 60, None)[0])).session is None


async def test_without_keys_a_client_secret_has_its_configuration_and_any_other_has_none() -> None:
    keys, others = AccessKeys(), AccessKeys()
    secret, _ = keys.client_secret(keys.anybody(), 60, {"include": None})
    assert keys.anybody(secret).session == {"include": None}
    assert keys.anybody(secret).principal == ANYBODY
    late, _ = keys.client_secret(keys.anybody(), -1, {"include": None})
    for shown in (secret[:-2] + "AA", late, "ek_", "sk-any", None):
        assert keys.anybody(shown).session is None
    assert others.anybody(secret).session is None


async def test_what_is_no_token_of_these_keys_opens_nothing(
    stores: Stores, stored: StoredKeys, sealing: Path
) -> None:
    await add(stored, "one", SECRET)
    async with watched(stores, sealing) as keys:
        one = await keys.by_secret(SECRET)
        old, _ = keys.token(one, -1, None)
        with pytest.raises(UnknownClient, match="expired"):
            await keys.by_secret(old)
        token, _ = keys.token(one, 60, None)
        signing = tokens._signing_key(keys._by_id["one"].key)
        later = datetime(2100, 1, 1, tzinfo=UTC)
        claims = {"sub": "one-s", "role": "transcribe", "exp": later}
        good = jwt.encode(claims, signing, "HS256", {"kid": "one"})
        assert (await keys.by_secret(good)).principal == one.principal
        forged = [
            token[:-2] + ("AA" if token[-2:] != "AA" else "BB"),
            jwt.encode(claims, None, "none", {"kid": "one"}),
            jwt.encode(claims, signing * 2, "HS512", {"kid": "one"}),
            jwt.encode(claims, b"another" * 5, "HS256", {"kid": "one"}),
            jwt.encode(claims, signing, "HS256", {"kid": "two"}),
            jwt.encode(claims, signing, "HS256"),
            jwt.encode(claims | {"role": "admin"}, signing, "HS256", {"kid": "one"}),
            jwt.encode(claims | {"role": "root"}, signing, "HS256", {"kid": "one"}),
            jwt.encode(claims | {"sub": "two"}, signing, "HS256", {"kid": "one"}),
            jwt.encode(claims | {"nbf": later}, signing, "HS256", {"kid": "one"}),
            jwt.encode(claims | {"exp": "soon"}, signing, "HS256", {"kid": "one"}),
            jwt.encode(claims | {"exp": 10**400}, signing, "HS256", {"kid": "one"}),
            jwt.encode(claims | {"exp": math.inf}, signing, "HS256", {"kid": "one"}),
            jwt.encode(claims | {"exp": math.nan}, signing, "HS256", {"kid": "one"}),
            jwt.encode({"sub": "one-s", "role": "transcribe"}, signing, "HS256", {"kid": "one"}),
            "e30.e30.e30",
            "..",
            "a" * 3000 + "..",
        ]
        for each in forged:
            await assert_unknown(keys, each)
