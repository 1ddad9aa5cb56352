"""The contract of a store of access keys, and of what each key used."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from transcribed.principal import Role


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """A secret as it is kept: encrypted, and a fingerprint by which it is recognised.

    Neither can be made, nor the first be read, without the key of `service/sealing.py`, which no store
    has.
    """

    sealed: bytes
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An access key. Its id, owner and secret are as `service/access_keys.py` lets them be.

    `streams` is how many it may have open at once, `seconds_a_day` how much audio it may send; None leaves
    that to the settings. Moments are in UTC; `last_used` is a day in UTC, None where it never was.
    """

    id: str
    owner: str
    role: Role
    secret: SealedSecret
    created: datetime
    streams: int | None = None
    seconds_a_day: float | None = None
    rotated: datetime | None = None
    last_used: date | None = None


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """What a key used on a day in UTC: seconds of audio that were recognised, and streams that began."""

    key: str
    day: date
    audio_seconds: float
    streams: int


class KeyStore(Protocol):
    """Access keys that last. Methods raise StorageFull and StorageFailure, and end within half a minute."""

    @property
    def place(self) -> str:
        """Where they are kept, as it may be shown."""
        ...

    async def all(self) -> tuple[StoredKey, ...]:
        """All keys, in the order of their ids."""
        ...

    async def add(self, key: StoredKey) -> None:
        """Keep a new key. Raises Conflict where there is one of this id, or of this secret."""
        ...

    async def rotate(self, key: str, secret: SealedSecret, moment: datetime) -> None:
        """Give a key another secret. Raises NotFound; Conflict where another key has this secret."""
        ...

    async def remove(self, key: str) -> None:
        """Remove a key, on a full disk too. Raises NotFound."""
        ...

    async def note_used(self, keys: frozenset[str], day: date) -> None:
        """Note that keys were used on a day; those that are not there are left out."""
        ...


class KeyUsageStore(Protocol):
    """What each key used on each day, counted by all servers together. Methods raise as a KeyStore's."""

    async def add(self, used: Sequence[KeyUsage]) -> None:
        """Add to what is there, whoever else adds to it at the same time: all of it or nothing."""
        ...

    async def since(self, day: date) -> tuple[KeyUsage, ...]:
        """What keys used on each day from this one on."""
        ...
