"""The protocols of stores of access keys and of their usage, and the values that they take and return."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from transcribed.principal import Role


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """An encrypted secret, and an HMAC of the secret by which it is recognised.

    Both need the key of `service/sealing.py`, which no store has.
    """

    sealed: bytes
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An access key.

    `streams` is the most concurrent streams, `seconds_a_day` the most audio on a day in UTC; None leaves
    these to the settings. Datetimes are in UTC; `last_used` is a day in UTC, None if it was never used.
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
    """The usage of a key on a day in UTC: the seconds of audio recognised, and the streams begun."""

    key: str
    day: date
    audio_seconds: float
    streams: int


class KeyStore(Protocol):
    """Durable storage of access keys. Methods raise StorageFull and StorageFailure, and end within 30 s."""

    @property
    def place(self) -> str:
        """The path or address, without passwords, for messages."""
        ...

    async def all(self) -> tuple[StoredKey, ...]:
        """All keys, sorted by id."""
        ...

    async def add(self, key: StoredKey) -> None:
        """Store a new key. Raises Conflict if there is one with this id or this secret."""
        ...

    async def rotate(self, key: str, secret: SealedSecret, moment: datetime) -> None:
        """Replace a key's secret. Raises NotFound, and Conflict if another key has this secret."""
        ...

    async def remove(self, key: str) -> None:
        """Delete a key, even on a full disk. Raises NotFound."""
        ...

    async def note_used(self, keys: frozenset[str], day: date) -> None:
        """Store the last day of use of keys; unknown keys are ignored."""
        ...


class KeyUsageStore(Protocol):
    """Durable storage of the usage of keys on all servers together. Methods raise as those of KeyStore."""

    async def add(self, used: Sequence[KeyUsage]) -> None:
        """Add usage to the stored one, atomically."""
        ...

    async def since(self, day: date) -> tuple[KeyUsage, ...]:
        """The usage of all keys on each day from this one on."""
        ...
