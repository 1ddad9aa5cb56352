"""Temporary tokens of access keys. Pure.

A token is a JWT (RFC 7519), signed with HMAC-SHA-256 by a key that is derived from the access key's secret.
So every server that has the key can verify its tokens, no token is stored, and all become invalid with the
key or its secret. A client secret is a token with the configuration of the sessions that it opens.

The library of tokens is slow to import: it is imported with the first token.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from transcribed.errors import AccessDenied, ExpiredToken
from transcribed.principal import Principal, Role
from transcribed.service.key_file import AccessKey

LONGEST_SECONDS = 24 * 3600

_ALGORITHM = "HS256"
_PARTS = 3
_LONGEST = 8192
"""The most characters in a token; longer ones are not parsed."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is valid; it `expires`, in seconds since 1970. `session`: see `make_token`."""

    principal: Principal
    expires: float
    session: Mapping[str, Any] | None = None


def make_token(
    key: AccessKey, role: Role | None, expires: datetime, session: Mapping[str, Any] | None = None
) -> str:
    """Make a token of a key, with its role or a lesser one. Raises AccessDenied for a greater role.

    With `session`, the configuration of sessions as JSON, it is a client secret, which only opens those.
    """
    role = role or key.role
    if not key.role.includes(role):
        raise AccessDenied(
            f"The key {key.id} has the role {key.role.value}, and its tokens cannot have a greater one. "
            f"Use {key.role.value} or a lesser role."
        )
    import jwt  # noqa: PLC0415 - slow to import

    claims: dict[str, Any] = {"sub": key.owner, "role": role.value, "exp": expires}
    if session is not None:
        claims["session"] = session
    return jwt.encode(claims, _signing_key(key), _ALGORITHM, {"kid": key.id})


def read_token(token: str, key_of: Callable[[str], AccessKey | None]) -> Token | None:
    """Read a token; None if no known key made it. Raises ExpiredToken."""
    if token.count(".") != _PARTS - 1 or len(token) > _LONGEST:
        return None
    import jwt  # noqa: PLC0415 - slow to import

    try:
        key = key_of(str(jwt.get_unverified_header(token).get("kid")))
        if key is None:
            return None
        claims = jwt.decode(
            token, _signing_key(key), [_ALGORITHM], options={"require": ["exp", "sub", "role"]}
        )
        role, expires, session = Role(claims["role"]), float(claims["exp"]), claims.get("session")
    except jwt.ExpiredSignatureError as error:
        raise expired() from error
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        return None
    # The key may have been added again with the same id and secret, but another owner or a lesser role.
    if claims["sub"] != key.owner or not key.role.includes(role):
        return None
    return Token(replace(key.principal(), role=role), expires, session)


def expired() -> ExpiredToken:
    """The error for a request with an expired token."""
    return ExpiredToken("The token has expired. Create another one with POST /tokens.")


def _signing_key(key: AccessKey) -> bytes:
    return hmac.digest(key.secret.get_secret_value().encode(), b"transcribed token", "sha256")
