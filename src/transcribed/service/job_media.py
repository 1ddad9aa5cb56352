"""Where the recordings of jobs come from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

from transcribed.audio.source import Source
from transcribed.decoding.decoders import Decoders
from transcribed.errors import BadRequest, shown
from transcribed.service.library import Library
from transcribed.storage.jobs import LIBRARY, library_media, library_recording
from transcribed.storage.names import valid_name

LONGEST_ADDRESS = 2000
"""The most characters in the address of a recording, as in Amazon's API."""


@dataclass(frozen=True, slots=True)
class OpenMedia:
    """An open recording; `recording` is its name in the library, if it is there.

    `duration` is its length in seconds, None if the file does not tell.
    """

    source: Source
    recording: str | None
    duration: float | None


class JobMedia:
    """Recordings by address. The only addresses are those of the library: audio://NAME."""

    def __init__(self, library: Library, decoders: Decoders) -> None:
        self._library = library
        self._decoders = decoders

    async def found(self, owner: str, address: str) -> str:
        """The address in its normal form, after a look whether there is such a recording.

        Raises BadRequest for an address of another kind, InvalidName and NotFound.
        """
        name = _name(address)
        await self._library.find(owner, name)
        return library_media(name)

    @asynccontextmanager
    async def opened(self, owner: str, address: str) -> AsyncIterator[OpenMedia]:
        """An open recording. Raises as `found`, UnreadableAudio and LimitExceeded."""
        name = _name(address)
        with closing(await self._library.open(owner, name)) as source:
            found = await self._decoders.probe(source)
            yield OpenMedia(source, name, found.duration)


def _name(address: str) -> str:
    name = library_recording(address)
    if name is None or len(address) > LONGEST_ADDRESS:
        raise BadRequest(
            f"{shown(address)} is not an address of a recording here. Upload the recording with POST "
            f"/audio, then give its address: {LIBRARY}NAME."
        )
    return valid_name(name)
