"""Who makes a request, with which key and which rights."""

from dataclasses import dataclass
from enum import Enum

NOBODY = ""
"""The owner of everything that is made on a server without keys."""


class Role(Enum):
    """The rights of a key. Each role includes the rights of those before it."""

    READ = "read"
    """Read its owner's transcripts, recordings, vocabularies and vocabulary filters."""
    TRANSCRIBE = "transcribe"
    """Also create, change and delete them, and open live sessions."""
    ADMIN = "admin"
    """The same for every owner, and read the server's metrics."""

    def includes(self, other: "Role") -> bool:
        """Whether this role has all rights of `other`."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Principal:
    """The originator of a request.

    What it makes belongs to `owner`; several keys may share an owner. `key` is the id of its key; None on a
    server without keys. `streams` is the number of streams that the key may have at once, and
    `seconds_a_day` the audio that may be recognised for it; 0 means no limit, None the settings' limit.
    """

    owner: str
    role: Role
    key: str | None = None
    streams: int | None = None
    seconds_a_day: float | None = None


ANYBODY = Principal(NOBODY, Role.ADMIN)
"""The originator of every request on a server without keys."""
