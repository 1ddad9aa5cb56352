"""Encryption of access keys' secrets for the database, with a key in a file outside it.

Signature Version 4 is an HMAC with the secret itself: the server must know the secret, and cannot store
just a hash. It is encrypted with AES-256-GCM; the key's id is the associated data, so that a secret
encrypted for one id cannot be decrypted for another. An HMAC-SHA-256 of the secret detects two keys with
the same secret. Both encryption and HMAC keys are derived from the key in the file by HKDF (RFC 5869).
"""

import hmac
import os
from pathlib import Path

from filelock import FileLock, Timeout

from transcribed.errors import ConfigurationError
from transcribed.storage.keys import SealedSecret
from transcribed.storage.private import make_private_folder, read_secret, write_private

KEY_BYTES = 32
"""The size of the file."""

_NONCE_BYTES = 12
_LOCK_SECONDS = 10.0


class NotOurs(Exception):
    """A secret was encrypted with another key or for another id, or has been altered."""


class Sealing:
    """Encrypts and decrypts secrets with the key in the file."""

    def __init__(self, content: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - most have no keys

        self._cipher = AESGCM(_derived(content, b"transcribed access keys: encryption"))
        self._fingerprints = _derived(content, b"transcribed access keys: fingerprints")

    def seal(self, key_id: str, secret: str) -> SealedSecret:
        """Encrypt the secret of a key."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, secret.encode(), key_id.encode())
        return SealedSecret(sealed, hmac.digest(self._fingerprints, secret.encode(), "sha256"))

    def open(self, key_id: str, secret: SealedSecret) -> str:
        """Decrypt the secret of a key. Raises NotOurs."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above

        nonce, encrypted = secret.sealed[:_NONCE_BYTES], secret.sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, encrypted, key_id.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise NotOurs from error


def read_sealing(path: Path) -> Sealing | None:
    """The Sealing of a file; None if there is no file. Raises ConfigurationError."""
    try:
        content = read_secret(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    if len(content) != KEY_BYTES:
        raise ConfigurationError(
            f"{path} is not the file that encrypts access keys: it has {len(content)} bytes instead of "
            f"{KEY_BYTES}. Restore it from a copy, or name another file with --keys-key."
        )
    return Sealing(content)


def made_sealing(path: Path) -> Sealing:
    """The Sealing of a file, which is created if it is missing. Raises ConfigurationError."""
    found = read_sealing(path)
    if found is not None:
        return found
    try:
        make_private_folder(path.parent)
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_SECONDS, mode=0o600):
            found = read_sealing(path)  # Another process may have created it.
            if found is not None:
                return found
            content = os.urandom(KEY_BYTES)
            write_private(path, content)
    except Timeout as error:
        raise ConfigurationError(
            f"{path} is being created by another process, which does not finish. End that process."
        ) from error
    except OSError as error:
        raise _unusable(path, error) from error
    return Sealing(content)


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"The file {path}, which encrypts access keys, cannot be used: {error.strerror}. Name another one "
        "with --keys-key."
    )


def _derived(content: bytes, purpose: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose).derive(content)
