"""Access keys, and files of them that are written by hand."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from transcribed.errors import BadRequest, ConfigurationError, shown
from transcribed.principal import Principal, Role
from transcribed.storage.private import read_secret

SHORTEST_SECRET = 16
"""Characters. A signed request that is intercepted allows guessing the secret offline."""

# An id is delimited by slashes in a signature's scope and by commas in its header, and may name a folder.
_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_SECRET = re.compile(rf"[!-~]{{{SHORTEST_SECRET},128}}")
_ROLES = {role.value: role for role in Role}
_ID_FORM = "1 to 128 letters, digits, '_', '.' and '-'"
_SECRET_FORM = f"{SHORTEST_SECRET} to 128 visible ASCII characters"
_FORM = (
    f"A line is an id and its secret, separated by a space: {_ID_FORM}, then {_SECRET_FORM}. A role may "
    f"follow ({', '.join(_ROLES)}; by default {Role.TRANSCRIBE.value}), then an owner, in an id's form. "
    "Lines that begin with '#' are ignored."
)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key with its secret. `streams` and `seconds_a_day` are as in `StoredKey`."""

    id: str
    secret: SecretStr
    owner: str
    role: Role = Role.TRANSCRIBE
    streams: int | None = None
    seconds_a_day: float | None = None

    def principal(self) -> Principal:
        """The principal of requests with this key."""
        return Principal(self.owner, self.role, self.id, self.streams, self.seconds_a_day)


def valid_key_id(text: str, what: str = "id of a key") -> str:
    """The id of a key, or an owner, itself. Raises BadRequest for an invalid one."""
    if not _ID.fullmatch(text):
        raise BadRequest(f"{shown(text)} cannot be the {what}. Use {_ID_FORM}.")
    return text


def valid_secret(text: str) -> str:
    """The secret itself. Raises BadRequest for an invalid one, without quoting it."""
    if not _SECRET.fullmatch(text):
        raise BadRequest(f"The secret is not valid. Use {_SECRET_FORM}.")
    return text


def parsed_keys(text: str, source: str) -> tuple[AccessKey, ...]:
    """Parse lines `ID SECRET [ROLE [OWNER]]`. Raises ConfigurationError, without quoting them."""
    found: dict[str, AccessKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        key = _key(words)
        if key is None:
            raise ConfigurationError(f"{source}, line {number} is no access key. {_FORM}")
        if key.id in found:
            raise ConfigurationError(f"{source}, line {number}: this id already has a secret.")
        if any(key.secret == other.secret for other in found.values()):
            raise ConfigurationError(f"{source}, line {number}: another id already has this secret.")
        found[key.id] = key
    if not found:
        raise ConfigurationError(f"{source} contains no access key. {_FORM}")
    return tuple(found.values())


def _key(words: Sequence[str]) -> AccessKey | None:
    match words:
        case [key_id, secret, *more] if _ID.fullmatch(key_id) and _SECRET.fullmatch(secret):
            key = AccessKey(key_id, SecretStr(secret), key_id)
        case _:
            return None
    match more:
        case []:
            return key
        case [role] if role in _ROLES:
            return AccessKey(key.id, key.secret, key.id, _ROLES[role])
        case [role, owner] if role in _ROLES and _ID.fullmatch(owner):
            return AccessKey(key.id, key.secret, owner, _ROLES[role])
    return None


class KeyFile:
    """A file of keys, which may change while the server runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, ...] | None = None
        self._keys: tuple[AccessKey, ...] = ()

    def read(self) -> tuple[AccessKey, ...]:
        """The keys; reads the file again if it has changed. Blocks. Raises ConfigurationError."""
        try:
            stat = self.path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp != self._stamp:
                self._keys = parsed_keys(read_secret(self.path).decode(), str(self.path))
                self._stamp = stamp
        except OSError as error:
            raise ConfigurationError(
                f"The access keys in {self.path} cannot be read: {error.strerror}. Name a file with "
                "--access-keys."
            ) from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(
                f"{self.path} is not text. --access-keys names a file of lines: ID SECRET."
            ) from error
        return self._keys
