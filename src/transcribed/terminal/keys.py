"""`transcribed keys`: manages the access keys in the database. Servers may be running."""

import json
import math
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import click

from transcribed.clock import utc_now
from transcribed.errors import BadRequest, ConfigurationError
from transcribed.principal import Role
from transcribed.service.key_file import valid_key_id, valid_secret
from transcribed.service.stored_keys import StoredKeys, generated_secret
from transcribed.settings import NO_TRANSCRIPTS, ServerSettings
from transcribed.storage.keys import KeyUsage, StoredKey
from transcribed.storage.opening import Stores, open_stores
from transcribed.terminal.table import aligned

_STANDARD_INPUT = "-"
_MOST_READ = 4096
"""The bytes that are read of a file with a secret."""
_COLUMNS = (
    *("KEY", "OWNER", "ROLE", "ADDED", "ROTATED", "LAST USED"),
    *("AUDIO TODAY", "STREAMS TODAY", "AUDIO IN 30 DAYS", "STREAMS IN 30 DAYS"),
)
_MOST_STREAMS = 2**31 - 1
"""The largest number that every database can store."""
_DAYS = 30
"""The period whose use is listed, in days, including today."""
_UNKNOWN = "-"
"""Shown for unknown facts of a key that is in a file, or was removed."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be added. Without an `owner` the owner is named like the key."""

    id: str
    role: Role
    owner: str | None = None
    streams: int | None = None
    seconds_a_day: float | None = None


async def add_key(settings: ServerSettings, key: NewKey, secret_file: str | None) -> None:
    """Add a key. A generated secret goes to standard output. Raises TranscribedError."""
    valid_key_id(key.id)
    if key.seconds_a_day is not None and not math.isfinite(key.seconds_a_day):
        raise BadRequest("--seconds-a-day is a number of seconds, or 0 for no limit.")
    if key.streams is not None and key.streams > _MOST_STREAMS:
        raise BadRequest(f"--streams is at most {_MOST_STREAMS}, or 0 for no limit.")
    owner = key.id if key.owner is None else valid_key_id(key.owner, "owner")
    secret = _secret(secret_file)
    async with _opened(settings, make=True) as stores:
        keys = StoredKeys(stores.keys, settings.keys_key)
        await keys.add(key.id, owner, key.role, secret, streams=key.streams, seconds=key.seconds_a_day)
        _tell(f"Added the key {key.id}: role {key.role.value}, owner {owner}, in {stores.keys.place}.")
        if len(await stores.keys.all()) == 1:
            _tell(
                "It is the first key in this database: servers ask for keys from now on. What was stored "
                "without keys belongs to no owner, and only keys of the role admin read it, with ?owner= "
                "in the address."
            )
    _show(secret, secret_file)


async def rotate_key(settings: ServerSettings, key_id: str, secret_file: str | None) -> None:
    """Give a key another secret. A generated one goes to standard output. Raises TranscribedError."""
    secret = _secret(secret_file)
    async with _opened(settings) as stores:
        await StoredKeys(stores.keys, settings.keys_key).rotate(key_id, secret)
        _tell(f"The key {key_id} has another secret now. Streams with the old one end within 5 s.")
    _show(secret, secret_file)


async def remove_key(settings: ServerSettings, key_id: str) -> None:
    """Remove a key. Raises TranscribedError."""
    async with _opened(settings) as stores:
        await stores.keys.remove(key_id)
        left = len(await stores.keys.all())
    _tell(f"Removed the key {key_id}. Its streams end within 5 s.")
    if not left:
        _tell(
            "It was the last key in this database. Running servers still require keys. A server that is "
            "restarted, reachable from this machine only and without a file of keys, admits everybody."
        )


@dataclass(frozen=True, slots=True)
class UsedKey:
    """A key and its use. `key` is None for a key that is in a file, or was removed."""

    id: str
    key: StoredKey | None
    today: KeyUsage
    lately: KeyUsage
    last_used: date | None


def used_keys(keys: Iterable[StoredKey], used: Iterable[KeyUsage], today: date) -> list[UsedKey]:
    """All keys, and other keys that were used, sorted by id."""
    stored = {key.id: key for key in keys}
    of: dict[str, list[KeyUsage]] = {key: [] for key in stored}
    for each in used:
        of.setdefault(each.key, []).append(each)
    found = []
    for key_id, days in sorted(of.items()):
        key = stored.get(key_id)
        lately = _sum(key_id, today, days)
        of_today = _sum(key_id, today, [each for each in days if each.day == today])
        noted = [key.last_used] if key is not None and key.last_used is not None else []
        last_used = max([*noted, *(each.day for each in days)], default=None)
        found.append(UsedKey(key_id, key, of_today, lately, last_used))
    return found


def _sum(key_id: str, day: date, days: Sequence[KeyUsage]) -> KeyUsage:
    seconds, streams = sum(each.audio_seconds for each in days), sum(each.streams for each in days)
    return KeyUsage(key_id, day, seconds, streams)


async def list_keys(settings: ServerSettings, *, as_json: bool) -> None:
    """Print all keys with their use, without secrets. Raises TranscribedError."""
    today = utc_now().date()
    async with _opened(settings) as stores:
        keys = await stores.keys.all()
        used = await stores.key_usage.since(today - timedelta(days=_DAYS - 1))
    found = used_keys(keys, used, today)
    if as_json:
        click.echo(json.dumps(list(map(_described, found)), indent=2))
        return
    if not keys:
        _tell("There are no keys here. Add one: transcribed keys add NAME")
    if not found:
        return
    for line in aligned([_COLUMNS, *map(_row, found)]):
        click.echo(line)


@asynccontextmanager
async def _opened(settings: ServerSettings, *, make: bool = False) -> AsyncIterator[Stores]:
    place = settings.transcripts
    if place == NO_TRANSCRIPTS:
        raise ConfigurationError(
            "Keys are stored with the transcripts, but --transcripts is none. Name the file or database, "
            "or use a file of keys: --access-keys."
        )
    if not make and _is_missing(place):
        raise ConfigurationError(
            f"There is no database {place} here. Run this in the server's folder, or name the server's "
            "database with --transcripts."
        )
    stores = await open_stores(place)
    try:
        yield stores
    finally:
        await stores.aclose()


def _is_missing(place: str) -> bool:
    return ":" not in place and not Path(place).expanduser().exists()


def _secret(file: str | None) -> str:
    """A new secret, or the one in a file. Raises BadRequest."""
    if file is None:
        return generated_secret()
    try:
        if file == _STANDARD_INPUT:
            content = sys.stdin.buffer.read(_MOST_READ)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(_MOST_READ)
        return valid_secret(content.decode().strip())
    except OSError as error:
        raise BadRequest(f"The secret cannot be read from {file}: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise BadRequest(
            f"{file} is not a text file. It must contain the secret and nothing else."
        ) from None


def _tell(line: str) -> None:
    """Print a line for people. Standard output is for programs."""
    click.echo(line, err=True)


def _show(secret: str, file: str | None) -> None:
    if file is None:
        _tell("This is its secret, which cannot be shown again:")
        click.echo(secret)


def _row(each: UsedKey) -> tuple[str, ...]:
    key = each.key
    known = (
        (_UNKNOWN,) * 4
        if key is None
        else (key.owner, key.role.value, _day(key.created), _day(key.rotated))
    )
    most = key.seconds_a_day if key is not None else None
    return (
        each.id,
        *known,
        _day(each.last_used),
        f"{each.today.audio_seconds:.0f} s" + (f" of {most:g} s" if most else ""),
        str(each.today.streams),
        f"{each.lately.audio_seconds:.0f} s",
        str(each.lately.streams),
    )


def _day(moment: date | None) -> str:
    return "never" if moment is None else moment.strftime("%Y-%m-%d")


def _described(each: UsedKey) -> dict[str, object]:
    key = each.key
    rotated = None if key is None else key.rotated
    return {
        "Key": each.id,
        "Owner": None if key is None else key.owner,
        "Role": None if key is None else key.role.value,
        "Streams": None if key is None else key.streams,
        "SecondsADay": None if key is None else key.seconds_a_day,
        "Added": None if key is None else key.created.isoformat(),
        "Rotated": None if rotated is None else rotated.isoformat(),
        "LastUsed": None if each.last_used is None else each.last_used.isoformat(),
        "Today": _used(each.today),
        f"Last{_DAYS}Days": _used(each.lately),
    }


def _used(used: KeyUsage) -> dict[str, float]:
    return {"AudioSeconds": round(used.audio_seconds, 3), "Streams": used.streams}
