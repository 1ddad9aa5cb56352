"""Digests of files, of the kinds that the origins of models publish."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import google_crc32c

CRC32C = "crc32c"
"""Detects accidental damage, and is as fast as reading a file. Moonshine publishes it."""
SHA256 = "sha256"
"""The hub publishes it for large files."""
GIT_BLOB = "git-blob"
"""The id that git gives a file, which the hub publishes for small files."""

_BLOCK = 1 << 20


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Crc32c:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = google_crc32c.extend(self._value, data)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


_KINDS: Mapping[str, Callable[[int], _Digest]] = {
    CRC32C: lambda _: _Crc32c(),
    SHA256: lambda _: hashlib.sha256(),
    # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    GIT_BLOB: lambda size: hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False),
}
KINDS = frozenset(_KINDS)
"""All kinds."""


def digests_of(path: Path, kinds: Iterable[str]) -> dict[str, str]:
    """The digests of a file, as lower-case hexadecimal digits by kind. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        digests = {kind: _KINDS[kind](path.stat().st_size) for kind in kinds}
        while block := file.read(_BLOCK):
            for digest in digests.values():
                digest.update(block)
    return {kind: digest.hexdigest() for kind, digest in digests.items()}
