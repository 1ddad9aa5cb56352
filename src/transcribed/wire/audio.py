"""Live audio as it arrives, in any protocol."""

from dataclasses import dataclass


@dataclass(slots=True)
class AudioChunk:
    """Some bytes of live audio, as they were received."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """A request to close the open segment after the audio so far."""


@dataclass(frozen=True, slots=True)
class EndOfAudio:
    """The end of the audio."""
