"""Live audio as it arrives, whatever the protocol."""

from dataclasses import dataclass


@dataclass(slots=True)
class AudioChunk:
    """Some bytes of it."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """The open segment is to be closed behind the audio before this."""


@dataclass(frozen=True, slots=True)
class EndOfAudio:
    """No more of it comes."""
