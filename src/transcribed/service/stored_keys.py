"""The access keys in the database, which servers read and `transcribed keys` changes."""

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydantic import SecretStr

from transcribed.clock import utc_now
from transcribed.errors import ConfigurationError
from transcribed.principal import Role
from transcribed.service.key_file import AccessKey
from transcribed.service.sealing import NotOurs, Sealing, made_sealing, read_sealing
from transcribed.service.threads import in_thread
from transcribed.storage.keys import KeyStore, SealedSecret, StoredKey

GENERATED = "tr_"
"""The prefix of generated secrets, by which secret scanners recognise them."""

_GENERATED_CHARACTERS = 40
_ALPHABET = string.ascii_letters + string.digits


def generated_secret() -> str:
    """A new random secret of 238 bits."""
    return GENERATED + "".join(secrets.choice(_ALPHABET) for _ in range(_GENERATED_CHARACTERS))


@dataclass(frozen=True, slots=True)
class ReadKeys:
    """The keys in a database, and the ids of keys whose secret cannot be decrypted, and why."""

    keys: tuple[AccessKey, ...]
    unreadable: tuple[str, ...] = ()
    reason: str = ""


class StoredKeys:
    """The keys in a store, with secrets encrypted by a key in a file. The caller closes the store.

    Methods raise ConfigurationError if the file cannot be used, and what the store raises.
    """

    def __init__(self, store: KeyStore, sealing_file: Path) -> None:
        self._store = store
        self._sealing_file = sealing_file
        self._opened: dict[tuple[str, SealedSecret], SecretStr] = {}

    async def read(self) -> ReadKeys:
        """All keys; decrypts only new secrets. An unusable file is not an error, but the `reason`."""
        stored = await self._store.all()
        reason = missing_file(self._sealing_file)
        try:
            await self._open(stored)
        except ConfigurationError as error:
            reason = error.message
        readable = [key for key in stored if (key.id, key.secret) in self._opened]
        return ReadKeys(
            tuple(self._known(key) for key in readable),
            tuple(key.id for key in stored if key not in readable),
            reason,
        )

    async def listed(self) -> tuple[StoredKey, ...]:
        """All keys without their secrets, sorted by id."""
        return await self._store.all()

    async def add(
        self,
        key_id: str,
        owner: str,
        role: Role,
        secret: str,
        *,
        streams: int | None,
        seconds: float | None,
    ) -> None:
        """Store a new key. Raises Conflict if there is one with this id or this secret."""
        sealed = (await self._sealing()).seal(key_id, secret)
        await self._store.add(StoredKey(key_id, owner, role, sealed, utc_now(), streams, seconds))

    async def rotate(self, key_id: str, secret: str) -> None:
        """Give a key another secret. Raises NotFound and Conflict."""
        await self._store.rotate(key_id, (await self._sealing()).seal(key_id, secret), utc_now())

    async def remove(self, key_id: str) -> None:
        """Remove a key. Raises NotFound."""
        await self._store.remove(key_id)

    async def note_used(self, keys: frozenset[str], day: date) -> None:
        """Note that keys were used on a day."""
        await self._store.note_used(keys, day)

    async def _sealing(self) -> Sealing:
        """The file's Sealing; creates the file if it is missing and there are no keys yet."""
        found = await in_thread(read_sealing, self._sealing_file)
        if found is None and await self._store.all():
            raise ConfigurationError(missing_file(self._sealing_file))
        return await in_thread(made_sealing, self._sealing_file)

    async def _open(self, stored: Sequence[StoredKey]) -> None:
        there = {(key.id, key.secret) for key in stored}
        self._opened = {each: secret for each, secret in self._opened.items() if each in there}
        new = there - self._opened.keys()
        # The file is read each time, because it may have been added since.
        sealing = await in_thread(read_sealing, self._sealing_file) if new else None
        for key_id, sealed in new:
            try:
                if sealing is not None:
                    self._opened[key_id, sealed] = SecretStr(sealing.open(key_id, sealed))
            except NotOurs:
                pass

    def _known(self, key: StoredKey) -> AccessKey:
        secret = self._opened[key.id, key.secret]
        return AccessKey(key.id, secret, key.owner, key.role, key.streams, key.seconds_a_day)


def missing_file(path: Path) -> str:
    """The message for secrets that cannot be decrypted with the file."""
    return (
        f"The secrets of the access keys were encrypted with another file than {path}. Copy the file of "
        "--keys-key from the machine on which the keys were added, or remove the keys and add them again."
    )
