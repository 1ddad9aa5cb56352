"""Authentication with access keys, which come from a file and from the database.

All keys are held in memory, so that a request needs no query. They are read again every few seconds, so
that all servers notice a key that is added, rotated or removed.
"""

import asyncio
import hmac
import logging
import math
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from transcribed.clock import utc_now
from transcribed.errors import (
    AccessDenied,
    BadRequest,
    ConfigurationError,
    ExpiredToken,
    InvalidSignature,
    StorageFailure,
    TranscribedError,
    Unavailable,
    UnknownClient,
)
from transcribed.principal import ANYBODY, Principal, Role
from transcribed.service import trail
from transcribed.service.key_file import AccessKey, KeyFile
from transcribed.service.stored_keys import ReadKeys, StoredKeys
from transcribed.service.threads import in_thread
from transcribed.service.tokens import expired, make_token, read_token
from transcribed.service.trail import Action
from transcribed.storage.keys import KeyStore
from transcribed.wire import sigv4

REFRESH_SECONDS = 3.0
"""The interval between two reads of the keys."""
EARLY_REFRESH_SECONDS = 1.0
"""The shortest interval, for reads because of an unknown key."""

CLIENT_SECRET = "ek_"  # noqa: S105 - a prefix
"""What client secrets begin with, before their token."""

_DIGEST_KEY_BYTES = 32

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The requirements for access. `beyond` is the host by which other machines reach the server, if any.

    If `beyond` is set, keys are required, unless `no_auth` is set. With `no_auth` there must be no keys.
    """

    beyond: str | None = None
    no_auth: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Access:
    """A successful authentication, with a key or with one of its tokens.

    `revoked` is set when the key is removed or changed. A token `expires`, in seconds since 1970; keys do
    not (None). `session` is the configuration in a client secret, which opens sessions alone.
    """

    principal: Principal
    revoked: asyncio.Event = field(default_factory=asyncio.Event)
    expires: float | None = None
    session: Mapping[str, Any] | None = None

    @property
    def by_token(self) -> bool:
        """Whether it was a token."""
        return self.expires is not None

    def check(self) -> None:
        """Check the expiry before a new request on an open connection. Raises ExpiredToken.

        A session that a client secret has opened goes on after its expiry.
        """
        if self.session is None and self.expires is not None and utc_now().timestamp() >= self.expires:
            raise expired()


@dataclass(frozen=True, eq=False, slots=True)
class _Entry:
    key: AccessKey
    access: Access


class AccessKeys:
    """All access keys. Access is refused until `watched` has read them.

    If there are no keys, everybody has full access. Once keys exist, removing the last one does not restore
    that while the server runs, because that is hardly intended.
    """

    def __init__(
        self,
        policy: AccessPolicy | None = None,
        file: KeyFile | None = None,
        sealing_file: Path | None = None,
    ) -> None:
        self._policy = policy or AccessPolicy()
        self._file = file
        self._sealing_file = sealing_file
        self._stored: StoredKeys | None = None
        self._in_file: Sequence[AccessKey] = ()
        self._in_database = ReadKeys(())
        self._read = False
        self._locked = False
        self._anybody = Access(ANYBODY)
        # Makes the client secrets of a server without keys, so that their configuration can be read.
        self._keyless = AccessKey("", SecretStr(os.urandom(_DIGEST_KEY_BYTES).hex()), ANYBODY.owner)
        self._by_id: dict[str, _Entry] = {}
        # Keyed by an HMAC with a random key, so that the time of a look-up reveals nothing about a secret.
        self._by_digest: dict[bytes, _Entry] = {}
        self._digest_key = os.urandom(_DIGEST_KEY_BYTES)
        self._logged: set[str] = set()
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed = -math.inf
        self._known = -math.inf
        self._used: set[str] = set()
        self._noted: dict[str, date] = {}

    @property
    def open(self) -> bool:
        """Whether access needs no key. Raises Unavailable until the keys have been read."""
        if not self._read:
            raise Unavailable("The access keys are being read. Try again in a moment.")
        return not self._locked

    @property
    def count(self) -> int:
        """The number of keys."""
        return len(self._by_id)

    def principal(self, key_id: str) -> Principal | None:
        """The principal of requests with a key; None if there is no such key."""
        found = self._key(key_id)
        return None if found is None else found.principal()

    # --- Authentication

    def anybody(self, secret: str | None = None) -> Access:
        """The access of everybody when there are no keys; of a client secret with its configuration."""
        if secret is not None and secret.startswith(CLIENT_SECRET):
            with suppress(ExpiredToken):
                token = read_token(secret.removeprefix(CLIENT_SECRET), lambda _: self._keyless)
                if token is not None:
                    return Access(ANYBODY, self._anybody.revoked, None, token.session)
        return self._anybody

    async def by_secret(self, secret: str) -> Access:
        """Authenticate with the secret of a key, or with a token. Raises UnknownClient."""
        found = self._of_secret(secret)
        if found is None:
            await self._refresh_early()
            found = self._of_secret(secret)
        if found is None:
            raise UnknownClient(
                "This server does not know the key or token. Use one that was created for it."
            )
        return self._note(found)

    async def by_id(self, key_id: str, secret: str) -> Access:
        """Authenticate with a key's id and secret. Raises UnknownClient."""
        found = await self.by_secret(secret)
        if found.principal.key != key_id:
            raise UnknownClient("The id and the secret do not belong to the same key. Check both.")
        return found

    async def by_signature(
        self, request: sigv4.Request, now: datetime
    ) -> tuple[Access, sigv4.VerifiedSignature]:
        """Authenticate with the signature of a request. Raises what `sigv4.verify` raises."""
        try:
            signed = sigv4.verify(request, self._secret, now)
        except (UnknownClient, InvalidSignature):
            # The key or its secret may have been added since the last read.
            await self._refresh_early()
            signed = sigv4.verify(request, self._secret, now)
        return self._note(self._by_id[signed.credentials.access_key].access), signed

    def token(self, access: Access, seconds: int, role: Role | None) -> tuple[str, datetime]:
        """Make a token of the key, with the key's role or a lesser one, and return it with its expiry.

        Raises BadRequest if access needs no key, and AccessDenied for a greater role and for a token's own
        access.
        """
        entry = self._by_id.get(access.principal.key or "")
        if entry is None:
            raise BadRequest("This server uses no keys, so there is no key to create a token from.")
        return self._token(entry.key, access, seconds, role or entry.key.role)

    def client_secret(
        self, access: Access, seconds: int, session: Mapping[str, Any]
    ) -> tuple[str, datetime]:
        """Make a client secret, which opens sessions with a configuration, and return it with its expiry.

        Raises AccessDenied for a key that cannot open sessions, and for a token's own access. Without keys,
        it is known to this server alone, and others admit its client without its configuration.
        """
        entry = self._by_id.get(access.principal.key or "")
        key = self._keyless if entry is None else entry.key
        token, expires = self._token(key, access, seconds, Role.TRANSCRIBE, session)
        return f"{CLIENT_SECRET}{token}", expires

    def _token(
        self,
        key: AccessKey,
        access: Access,
        seconds: int,
        role: Role,
        session: Mapping[str, Any] | None = None,
    ) -> tuple[str, datetime]:
        if access.by_token:
            raise AccessDenied("A token makes no tokens. Use the key itself.")
        expires = (utc_now() + timedelta(seconds=seconds)).replace(microsecond=0)
        token = make_token(key, role, expires, session)
        trail.record(Action.TOKEN_MADE, key.id, owner=key.owner, role=role.value, seconds=seconds)
        return token, expires

    def _secret(self, key_id: str) -> str | None:
        found = self._by_id.get(key_id)
        return None if found is None else found.key.secret.get_secret_value()

    def _of_secret(self, secret: str) -> Access | None:
        found = self._by_digest.get(self._digest(secret))
        if found is not None:
            return found.access
        token = read_token(secret.removeprefix(CLIENT_SECRET), self._key)
        if token is None or token.principal.key is None:
            return None
        revoked = self._by_id[token.principal.key].access.revoked
        return Access(token.principal, revoked, token.expires, token.session)

    def _key(self, key_id: str) -> AccessKey | None:
        found = self._by_id.get(key_id)
        return None if found is None else found.key

    def _digest(self, secret: str) -> bytes:
        return hmac.digest(self._digest_key, secret.encode("utf-8", "surrogatepass"), "sha256")

    def _note(self, access: Access) -> Access:
        if access.principal.key is not None:
            self._used.add(access.principal.key)
        return access

    # --- Reading the keys

    @asynccontextmanager
    async def watched(self, store: KeyStore | None) -> AsyncIterator[None]:
        """Read the keys, then read them again periodically inside the context.

        `store` is None without a database. Raises ConfigurationError if the keys cannot be read, or if they
        contradict the requirements in `AccessPolicy`.
        """
        if store is not None and self._sealing_file is not None:
            self._stored = StoredKeys(store, self._sealing_file)
        try:
            await self._refresh()
        except StorageFailure as error:
            raise ConfigurationError(f"The access keys cannot be read. {error.message}") from error
        self._check()
        self._read = True
        watching = asyncio.create_task(self._watch(), name="access-keys")
        try:
            yield
        finally:
            tasks = [watching, *([self._refreshing] if self._refreshing else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(TranscribedError):
                await self._store_used()

    def _check(self) -> None:
        beyond, no_auth = self._policy.beyond, self._policy.no_auth
        if no_auth and self._locked:
            raise ConfigurationError(
                "There are access keys, and --no-auth would admit everybody without one. Leave --no-auth "
                "out, or remove the keys, which `transcribed keys list` shows."
            )
        if self._locked and not self._by_id:
            raise ConfigurationError(self._in_database.reason)
        if beyond is not None and not no_auth and not self._locked:
            raise ConfigurationError(
                f"--host {beyond} makes the server reachable from other machines, and there are no "
                "access keys. Add one with `transcribed keys add NAME`, name a file of keys with "
                "--access-keys, or allow access without keys with --no-auth."
            )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self._refresh()
                await self._store_used()
            except TranscribedError as error:
                self._log_once(_unchanged(error))
            except Exception:  # noqa: BLE001 - no error must end the periodic reads
                _log.exception("The access keys stay as they were.")

    async def _refresh_early(self) -> None:
        """Read the keys, so that every change before this call is known. Raises StorageFailure.

        Waits EARLY_REFRESH_SECONDS after the last read, so that guessing secrets costs few queries.
        """
        asked = _time()
        with suppress(ConfigurationError):  # The next periodic read logs it.
            while self._known < asked:
                if self._refreshing is None:
                    await asyncio.sleep(self._refreshed + EARLY_REFRESH_SECONDS - _time())
                await self._refresh()

    async def _refresh(self) -> None:
        """Read the keys once for all concurrent callers."""
        if self._refreshing is None:
            self._refreshed = _time()
            self._refreshing = asyncio.create_task(
                # Run in an empty context: the read does not belong to the request that starts it.
                self._read_keys(),
                name="access-keys-refresh",
                context=Context(),
            )
            self._refreshing.add_done_callback(_retrieve_exception)
        await asyncio.shield(self._refreshing)

    async def _read_keys(self) -> None:
        """Read the file and the database. If one fails, its keys remain and its error is raised at the end.

        So a key that is removed from one becomes invalid even if the other cannot be read.
        """
        failures: list[TranscribedError] = []
        try:
            if self._file is not None:
                try:
                    self._in_file = await in_thread(self._file.read)
                except ConfigurationError as error:
                    failures.append(error)
            if self._stored is not None:
                try:
                    self._in_database = await self._stored.read()
                except TranscribedError as error:
                    failures.append(error)
            if self._read or not failures:
                self._replace_keys(list(map(_unchanged, failures)))
            if failures:
                raise failures[-1]
        finally:
            # Set here, because a done callback would run one event loop iteration later.
            self._refreshing, self._known = None, self._refreshed

    def _replace_keys(self, problems: list[str]) -> None:
        """Replace the keys. The file's have precedence over the database's."""
        stored, keys = self._in_database, {key.id: key for key in self._in_file}
        secrets = {key.secret for key in keys.values()}
        # If no key can be read at the start, `_check` raises this reason instead.
        if stored.unreadable and (self._read or keys or stored.keys):
            problems.append(f"{', '.join(stored.unreadable)}: {stored.reason}")
        for key in stored.keys:
            if key.id in keys or key.secret in secrets:
                problems.append(
                    f"The access key {key.id} of the database is left out: the file has its id or secret."
                )
            else:
                keys[key.id] = key
        self._logged.intersection_update(problems)
        for problem in problems:
            self._log_once(problem)
        former = self._by_id
        self._by_id = {
            each: entry
            if (entry := former.get(each)) and entry.key == key
            else _Entry(key, Access(key.principal()))
            for each, key in keys.items()
        }
        self._by_digest = {
            self._digest(entry.key.secret.get_secret_value()): entry for entry in self._by_id.values()
        }
        for each, entry in former.items():
            if self._by_id.get(each) is not entry:
                entry.access.revoked.set()
        if self._read:
            _record_changes({each: entry.key for each, entry in former.items()}, keys)
        self._lock_for(any_there=bool(keys or stored.unreadable))

    def _lock_for(self, *, any_there: bool) -> None:
        if not any_there or self._locked:
            return
        if self._read and self._policy.no_auth:
            self._log_once("Access keys were added, but --no-auth admits everybody. Restart without it.")
            return
        self._locked = True
        self._anybody.revoked.set()

    def _log_once(self, problem: str) -> None:
        """Log a problem once."""
        if problem not in self._logged:
            self._logged.add(problem)
            _log.error("%s", problem)

    async def _store_used(self) -> None:
        """Store the date for keys that were used today for the first time."""
        today = utc_now().date()
        new = frozenset(key for key in self._used if self._noted.get(key) != today)
        self._used.clear()
        if new and self._stored is not None:
            await self._stored.note_used(new, today)
            self._noted |= dict.fromkeys(new, today)


def _unchanged(error: TranscribedError) -> str:
    return f"The access keys stay as they were. {error.message}"


def _retrieve_exception(refreshing: asyncio.Task[None]) -> None:
    """Retrieve the exception of a read, so that asyncio does not log it if no caller waits."""
    if not refreshing.cancelled():
        refreshing.exception()


def _time() -> float:
    return asyncio.get_running_loop().time()


def _record_changes(former: Mapping[str, AccessKey], keys: Mapping[str, AccessKey]) -> None:
    """Record changes of keys in the trail."""
    for key_id in former.keys() | keys.keys():
        before, after = former.get(key_id), keys.get(key_id)
        if before == after:
            continue
        if before is None:
            action = Action.KEY_ADDED
        elif after is None:
            action = Action.KEY_REMOVED
        elif before.secret != after.secret:
            action = Action.KEY_ROTATED
        else:
            action = Action.KEY_CHANGED
        shown = after or before
        assert shown is not None  # noqa: S101 - the id is in one of the mappings
        trail.record(action, key_id, owner=shown.owner, role=shown.role.value)
