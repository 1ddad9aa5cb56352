"""Live audio as it arrives, whatever the protocol."""

from dataclasses import dataclass


@dataclass(slots=True)
class AudioChunk:
    """Some bytes of it."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EndOfAudio:
    """No more of it comes."""
