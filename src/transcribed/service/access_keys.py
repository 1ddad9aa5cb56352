"""Access keys for Amazon's endpoints."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import SecretStr

from transcribed.errors import ConfigurationError

SHORTEST_SECRET = 16
"""Characters. A signed request that is intercepted allows guessing the secret offline."""

# An id must not contain slashes or commas, which delimit it in a signature's scope and header.
_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_SECRET = re.compile(rf"[!-~]{{{SHORTEST_SECRET},128}}")
_FORM = (
    "A line is an id and its secret with a space between: 1 to 128 letters, digits, '_', '.' and '-', then "
    f"{SHORTEST_SECRET} to 128 visible ASCII characters. Lines that begin with '#' are left out."
)


@dataclass(frozen=True)
class AccessKeys:
    """The secrets of access keys, by key id; when empty, requests need no key."""

    _secrets: Mapping[str, SecretStr] = field(default_factory=dict)

    @classmethod
    def parsed(cls, text: str, source: str) -> Self:
        """Parse lines `ID SECRET`. Raises ConfigurationError, whose message contains nothing of a line."""
        secrets: dict[str, SecretStr] = {}
        for number, line in enumerate(text.splitlines(), 1):
            match line.split():
                case []:
                    continue
                case [first, *_] if first.startswith("#"):
                    continue
                case [key_id, secret] if _ID.fullmatch(key_id) and _SECRET.fullmatch(secret):
                    if key_id in secrets:
                        raise ConfigurationError(f"{source}, line {number}: this id has a secret already.")
                    secrets[key_id] = SecretStr(secret)
                case _:
                    raise ConfigurationError(f"{source}, line {number} is no access key. {_FORM}")
        if not secrets:
            raise ConfigurationError(f"{source} holds no access key. {_FORM}")
        return cls(secrets)

    @property
    def open(self) -> bool:
        """Whether requests need no key."""
        return not self._secrets

    def secret(self, key_id: str) -> str | None:
        """The secret of a key; None for an unknown key."""
        found = self._secrets.get(key_id)
        return None if found is None else found.get_secret_value()
