"""Who asks, by which key, and what they may do."""

from dataclasses import dataclass
from enum import Enum

NOBODY = ""
"""The owner of all that is made where no keys are asked for."""


class Role(Enum):
    """What a key is for. Each role may do what those before it may."""

    READ = "read"
    """Read its owner's transcripts, recordings and vocabulary filters."""
    TRANSCRIBE = "transcribe"
    """Make, change and delete them, and open live sessions."""
    ADMIN = "admin"
    """All that, of every owner; read the server's metrics."""

    def includes(self, other: "Role") -> bool:
        """Whether what `other` may do, this may too."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks.

    What they make belongs to `owner`; several keys may have the same. `key` is the id of the key that they
    showed; None where none is asked for. With it they may have so many `streams` at once, and
    `seconds_a_day` of audio recognised; 0 is no limit, None what the settings say.
    """

    owner: str
    role: Role
    key: str | None = None
    streams: int | None = None
    seconds_a_day: float | None = None


ANYBODY = Principal(NOBODY, Role.ADMIN)
"""Everyone, where no keys are asked for."""
