"""The folders of owners, inside a folder or prefix that all owners share.

The files of NOBODY are directly in it. Those of others are in `.owners/NAME`, which is no valid name of a
recording or list. NAME is the owner, if all file systems preserve it: lower-case letters, digits, `_`, `-`
and inner dots. Any other owner is encoded in base32 after an `=`. So two owners have two folders even on a
case-insensitive file system, and each folder's name determines its owner.
"""

import base64
import os
import re
from contextlib import suppress
from pathlib import Path

from transcribed.errors import BadRequest, shown
from transcribed.principal import NOBODY
from transcribed.storage.names import is_device

OWNERS = ".owners"
"""The folder, or prefix of keys, with the folders of owners."""
LONGEST_OWNER = 158
"""The most bytes of an owner in UTF-8, so that its base32 encoding fits into a file's name."""

_PLAIN = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,126}[a-z0-9_-])?")
_ENCODED = "="


def place_of(owner: str) -> str:
    """The relative path of an owner's folder; empty for NOBODY. Raises BadRequest for an invalid owner."""
    if owner == NOBODY:
        return ""
    if _PLAIN.fullmatch(owner) and not is_device(owner):
        return f"{OWNERS}/{owner}"
    try:
        encoded = owner.encode()
    except UnicodeEncodeError:
        encoded = b""
    if not 0 < len(encoded) <= LONGEST_OWNER:
        raise BadRequest(
            f"{shown(owner)} cannot own anything: give it a name of 1 to {LONGEST_OWNER} bytes."
        )
    return f"{OWNERS}/{_ENCODED}{base64.b32encode(encoded).decode().rstrip('=').lower()}"


def owner_at(name: str) -> str | None:
    """The owner whose folder inside `.owners` has this name; None for an invalid name."""
    owner = name
    if name.startswith(_ENCODED):
        encoded = name[1:].upper()
        try:
            owner = base64.b32decode(encoded + "=" * (-len(encoded) % 8)).decode()
        except ValueError:
            return None
    try:
        return owner if owner and place_of(owner) == f"{OWNERS}/{name}" else None
    except BadRequest:
        return None


def owners_in(root: Path) -> list[str]:
    """NOBODY and the owners of folders, sorted. Blocks; raises OSError."""
    owners, folder = [NOBODY], root / OWNERS
    if folder.is_symlink():
        return owners  # Nothing behind a link belongs to an owner.
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            owner = owner_at(entry.name)
            if owner is not None and entry.is_dir(follow_symlinks=False):
                owners.append(owner)
    return sorted(owners)
